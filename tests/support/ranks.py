"""Starts a test script as real ranks and collects what each returns.

A script ends with ``if __name__ == "__main__": serve(main)``; its ``main`` takes the arguments given to ``run_ranks``
and returns anything that can be pickled.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def rank_environment(rank: int, ranks: int, port: int) -> dict[str, str]:
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks), "OMP_NUM_THREADS": "1"}
    return {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": str(ROOT)}


def run_ranks(script: Path, ranks: int, arguments: Any = None, timeout: float = 300) -> list[Any]:
    """Return what ``script`` returned on each rank; the first failure ends all ranks and fails the test."""
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / f"rank-{rank}" for rank in range(ranks)]
        (Path(folder) / "arguments").write_bytes(pickle.dumps(arguments))
        port = free_port()
        processes = [_start(script, rank, ranks, port, place) for rank, place in enumerate(places)]
        try:
            _wait(processes, places, timeout)
        finally:
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return [pickle.loads(place.with_suffix(".result").read_bytes()) for place in places]


def _start(script: Path, rank: int, ranks: int, port: int, place: Path) -> subprocess.Popen:
    with open(place.with_suffix(".log"), "wb") as log:
        return subprocess.Popen(
            [sys.executable, str(script), str(place)],
            env=rank_environment(rank, ranks, port),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _wait(processes: list[subprocess.Popen], places: list[Path], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        codes = [process.poll() for process in processes]
        if all(code == 0 for code in codes):
            return
        failed = any(code not in (None, 0) for code in codes)
        if failed or time.monotonic() > deadline:
            if failed:
                time.sleep(1)  # the others may still say why
            logs = "\n".join(f"--- {p.name}: {p.with_suffix('.log').read_text(errors='replace')}" for p in places)
            raise AssertionError(
                f"ranks ended with {codes} ({'failure' if failed else f'no end in {timeout} s'})\n{logs}"
            )
        time.sleep(0.05)


def serve(main: Callable[[Any], Any]) -> None:
    """Run ``main`` as one rank; an exception ends the process at once, because the others wait for it."""
    place = Path(sys.argv[1])
    faulthandler.dump_traceback_later(280, exit=True)
    try:
        result = main(pickle.loads(place.with_name("arguments").read_bytes()))
        place.with_suffix(".result").write_bytes(pickle.dumps(result))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    from ops import flow

    rank, ranks = flow.env.get_rank(), flow.env.get_world_size()
    if ranks > 1:
        flow.comm.barrier()
        place.with_suffix(".done").touch()
        # Rank 0 serves the barrier: it must outlive the others' way out of it.
        while rank == 0 and not all(place.with_name(f"rank-{other}.done").exists() for other in range(ranks)):
            time.sleep(0.01)
    sys.stdout.flush()
    os._exit(0)
