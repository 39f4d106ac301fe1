"""Runs each command of its arguments with ``--help`` in a forked process; prints a JSON object of exit code and output.

Third-party modules are imported once, before the forks; modules of the project are imported by the commands alone.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import runpy
import sys

import cv2  # noqa: F401
import numpy  # noqa: F401
import onnx  # noqa: F401


def ask(path: str) -> tuple[int, str]:
    output, sys.argv, code = io.StringIO(), [path, "--help"], None
    with contextlib.redirect_stdout(output):
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as stop:
            code = stop.code
    return code, output.getvalue()


if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        print(json.dumps(dict(zip(sys.argv[1:], pool.map(ask, sys.argv[1:], chunksize=1), strict=True))))
