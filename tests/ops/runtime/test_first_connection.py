from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from ops.runtime.patches import SOURCES, build_library
from tests.support.ranks import ROOT, free_port, rank_environment
from tests.support.stand_in import build_stand_in, run_python

(LOAD_SERVER,) = re.findall(r'LOAD_SERVER "(.*)"', (SOURCES / "first_connection.c").read_text())
# In place of OneFlow's library: notes its arguments.
FAKE = f"""
long calls[3];
void {LOAD_SERVER}(void* client, const void* request, void* stub) {{
  calls[0] += (long)client; calls[1] += (long)request; calls[2] += (long)stub;
}}
"""
# Rank 0 listens half a second after the first call; when the second call comes, it listens no more.
LATE_LISTENER = f"""
import ctypes, os, socket, sys, threading, time
ours = ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
fake = ctypes.CDLL(sys.argv[2])
os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=sys.argv[3])
def listen():
    time.sleep(0.5)
    with socket.create_server(("127.0.0.1", int(sys.argv[3]))) as server:
        server.accept()
listener = threading.Thread(target=listen)
listener.start()
load = ours.{LOAD_SERVER}
load.argtypes = [ctypes.c_void_p] * 3
start = time.monotonic()
load(1, 20, 300)
assert 0.4 < time.monotonic() - start < 5
listener.join()
start = time.monotonic()
load(1, 20, 300)
assert time.monotonic() - start < 5
print(*(ctypes.c_long * 3).in_dll(fake, "calls"))
"""
JOIN = """
import os
from ops import flow
flow.comm.barrier()
print("joined", flush=True)
if flow.env.get_rank() == 0:
    input()  # rank 0 serves the barrier
os._exit(0)
"""


def test_the_first_call_waits_for_the_listener(tmp_path: Path) -> None:
    fake = build_stand_in(tmp_path, FAKE)
    assert run_python(LATE_LISTENER, str(build_library(tmp_path)), str(fake), str(free_port())) == "2 40 600"


def test_a_rank_that_comes_first_joins_as_soon_as_rank_0_listens() -> None:
    port = free_port()

    def start(rank: int) -> subprocess.Popen:
        environment = {**os.environ, **rank_environment(rank, 2, port)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        return subprocess.Popen([sys.executable, "-c", JOIN], cwd=ROOT, env=environment, **pipes)

    begun = time.monotonic()
    with start(1) as early:
        time.sleep(1.5)  # it has imported OneFlow, and no rank 0 is there
        with start(0) as first:
            assert early.communicate(timeout=60)[0] == b"joined\n"
            seconds = time.monotonic() - begun
            assert first.communicate(b"\n", timeout=60)[0] == b"joined\n"
    assert seconds < 10  # which is what OneFlow would sleep
