"""What must be the same program on all machines: its source and OneFlow."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
# What a rank runs. config.py may differ: settings are compared by themselves.
_ROOMS = [
    "backbones",
    "common",
    "data",
    "engine",
    "evaluation",
    "interchange",
    "launch",
    "ops",
    "settings",
    "snapshots",
]
_ENDINGS = {".py", ".cpp", ".h"}


def program_version() -> dict[str, str]:
    """Return a digest of the source that ranks run, and OneFlow's version."""
    digest = hashlib.sha256()
    for room in _ROOMS:
        for path in sorted(path for path in (_ROOT / room).rglob("*") if path.suffix in _ENDINGS):
            digest.update(f"\n{path.relative_to(_ROOT)}\n".encode() + path.read_bytes())
    try:
        oneflow = version("oneflow")
    except PackageNotFoundError:
        oneflow = "unknown"
    return {"source of this program": digest.hexdigest()[:12], "OneFlow": oneflow}
