"""The former place of ``data.recordio.dataset``, for scripts of users that import from here."""

from data.recordio.dataset import open_recordio

__all__ = ["open_recordio"]
