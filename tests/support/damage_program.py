"""Read files with false lengths with little free memory; print the answer to each as a JSON line.

``damage_program.py FOLDER``: each entry is read by the reader that its name ends in. A separate process, so that
allocations of any library count.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from common.errors import UserError
from data.verification.bin_file import read_bin
from interchange.mxnet.checkpoint import read_checkpoint
from interchange.oneflow.folders import read_oneflow_folder
from interchange.onnx.reader import read_onnx
from interchange.pytorch.state import read_torch
from sample_config import network as NETWORKS

SPARE = 256 << 20  # bytes; a length field of 4 GB, or a bomb, needs more
READERS: dict[str, Callable[[Path], object]] = {
    ".bin": read_bin,
    ".onnx": read_onnx,
    ".pth": lambda path: read_torch(path, NETWORKS),
    ".safetensors": lambda path: read_torch(path, NETWORKS),
    ".params": lambda path: read_checkpoint(str(path).removesuffix("-0000.params"), 0),
    ".folder": lambda path: read_oneflow_folder(path, NETWORKS),
}


def limit_memory() -> None:
    """Limit the free address space to ``SPARE`` bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + SPARE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> None:
    """Read all entries in order."""
    limit_memory()
    for path in sorted(Path(sys.argv[1]).iterdir()):
        read = READERS.get(path.suffix)
        if read is None:
            continue
        start = time.perf_counter()
        try:
            read(path)
            answer = ["read", ""]
        except UserError as error:
            answer = ["refused", str(error)]
        except BaseException as error:
            answer = [type(error).__name__, str(error)]
        print(json.dumps([path.name, *answer, time.perf_counter() - start]), flush=True)


if __name__ == "__main__":
    main()
