from __future__ import annotations

import re
from pathlib import Path

from ops.runtime.patches import SOURCES, build_library
from tests.support.stand_in import build_stand_in, run_python

QUERY = "".join(re.findall(r'"(.*?)"', (SOURCES / "patient_scheduler.c").read_text().split("#define QUERY")[1])[:2])
# In place of OneFlow's library: the answer is what the status points to.
FAKE = f"""
#include <stdbool.h>
bool {QUERY}(const void* policy, const void* stream, const bool* status) {{ return *status; }}
"""
ANSWERS = f"""
import ctypes, sys
ours = ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
fake = ctypes.CDLL(sys.argv[2])
ask = ours.{QUERY}
ask.restype = ctypes.c_bool
done = ctypes.c_bool(False)
naps = []
for answer, times in ((False, 300), (False, 5), (True, 1), (False, 300)):
    done.value = answer
    assert all(ask(None, None, ctypes.byref(done)) is answer for _ in range(times))
    naps.append(ours.insightface_naps())
print(*naps)
"""
# While a kernel works, sleeps are long.
WORK = f"""
import ctypes, sys, time
ours = ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
fake = ctypes.CDLL(sys.argv[2])
ask = ours.{QUERY}
ask.restype = ctypes.c_bool
done = ctypes.c_bool(False)
def refuse(times):
    start = time.monotonic()
    assert not any(ask(None, None, ctypes.byref(done)) for _ in range(times))
    return time.monotonic() - start
refuse(300)
ours.insightface_work_begins()
ours.insightface_work_begins()
assert refuse(4) >= 0.02 and ours.insightface_naps() == 4
ours.insightface_work_ends()
assert refuse(1) >= 0.005 and ours.insightface_naps() == 5
ours.insightface_work_ends()
refuse(400)
assert ours.insightface_naps() > 5
print("ok")
"""
GRAPH = """
import ctypes
from ops import flow
from ops.runtime.patches import build_library, default_cache
class Graph(flow.nn.Graph):
    def build(self, x):
        for _ in range(40):
            x = flow.matmul(x, x) * 1e-3
        return x.sum()
graph = Graph()
x = flow.ones(500, 500)
graph(x).numpy()
naps = ctypes.CDLL(str(build_library(default_cache()))).insightface_naps
for run in range(300):  # on a busy machine it may not even come to ask
    if naps():
        break
    graph(x).numpy()
print(naps())
"""


def test_only_long_waits_are_slept_through(tmp_path: Path) -> None:
    fake = build_stand_in(tmp_path, FAKE)
    assert run_python(ANSWERS, str(build_library(tmp_path)), str(fake)) == "0 5 5 5"


def test_the_scheduler_sleeps_while_a_kernel_works(tmp_path: Path) -> None:
    fake = build_stand_in(tmp_path, FAKE)
    assert run_python(WORK, str(build_library(tmp_path)), str(fake)) == "ok"


def test_oneflow_s_scheduler_sleeps_while_a_graph_runs() -> None:
    assert int(run_python(GRAPH)) > 0
