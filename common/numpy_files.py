"""Errors of NumPy's readers of .npy and .npz files, which are many for a damaged file."""

from __future__ import annotations

import tokenize
import zipfile
import zlib

NUMPY_ERRORS = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    AttributeError,
    SyntaxError,
    RuntimeError,  # of a part that is marked as encrypted, or compressed in an unknown way
    MemoryError,
    OverflowError,  # of a length beyond 64 bits
    tokenize.TokenError,  # of a header, which is Python's notation
    zipfile.BadZipFile,
    zlib.error,
)
_LONGEST = 120


def describe_error(error: Exception) -> str:
    """Return the reason in a few words: without the file's name, of one line, cut where it repeats what is in the file.

    ``MemoryError`` and ``OverflowError`` are what a false length ends in.
    """
    if isinstance(error, (MemoryError, OverflowError)):
        return "it claims more numbers than fit the memory"
    text = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
