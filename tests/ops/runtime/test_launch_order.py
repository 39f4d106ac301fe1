from __future__ import annotations

from pathlib import Path

from ops.runtime.patches import build_library
from tests.support.stand_in import build_stand_in, run_python

ENQUEUE = "_ZN7oneflow2vm19LazyJobStreamPolicy14EnqueueNNGraphERKSt10shared_ptrINS_9NNGraphIfEE"
DEQUEUE = "_ZN7oneflow2vm19LazyJobStreamPolicy14DequeueNNGraphEv"
# Replaces OneFlow's library: records the calls.
FAKE = f"""
#include <string.h>
char calls[8];
void {ENQUEUE}(void* queue, const void* graph) {{ strcat(calls, "E"); }}
void {DEQUEUE}(void* queue) {{ strcat(calls, "D"); }}
"""
# A graph that ends before its start is noted, and another queue that must not help it on.
RACE = f"""
import ctypes, sys, threading, time
ours = ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
fake = ctypes.CDLL(sys.argv[2])
calls = ctypes.c_char_p.in_dll(fake, "calls")
seen = lambda: ctypes.string_at(ctypes.addressof(calls))
end = threading.Thread(target=lambda: ours.{DEQUEUE}(ctypes.c_void_p(1)))
end.start()
ours.{ENQUEUE}(ctypes.c_void_p(2), None)
time.sleep(0.2)
assert seen() == b"E", seen()
ours.{ENQUEUE}(ctypes.c_void_p(1), None)
end.join()
print(seen().decode())
"""
# A graph may hand over its result before the thread that started it has noted the start.
GRAPH = """
import ctypes, time
from ops import flow
from ops.runtime.patches import build_library, default_cache
class Graph(flow.nn.Graph):
    def build(self, x):
        return x + 1
graph = Graph()
for _ in range(5):
    assert graph(flow.ones(2)).numpy().tolist() == [2, 2]
launches = ctypes.CDLL(str(build_library(default_cache()))).insightface_launches
end = time.monotonic() + 60
while launches() < 5 and time.monotonic() < end:
    time.sleep(0.01)
print(launches())
"""


def test_taking_a_note_waits_until_there_is_one(tmp_path: Path) -> None:
    fake = build_stand_in(tmp_path, FAKE)
    assert run_python(RACE, str(build_library(tmp_path)), str(fake)) == "EED"


def test_oneflow_calls_them() -> None:
    assert run_python(GRAPH) == "5"
