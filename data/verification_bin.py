"""The former place of ``data.verification.bin_file``, for scripts of users that import from here."""

from data.verification.bin_file import read_bin

__all__ = ["read_bin"]
