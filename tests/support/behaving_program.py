"""Rank program: returns its rank, or misbehaves on a given rank."""

from __future__ import annotations

import os
import time
from typing import Any


def main(wanted: dict[str, Any]) -> dict[str, Any]:
    rank = int(os.environ["RANK"])
    print(wanted.get("says", ""))
    if wanted.get("fails") == rank:
        raise LookupError("no such thing")
    if "fails" in wanted or "hangs" in wanted:
        time.sleep(600)
    return {"rank": rank, "process": os.getpid(), "switch": os.environ.get("INSIGHTFACE_NATIVE")}
