"""A graph that is destroyed while another one is built does no harm."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable

import pytest

from ops import flow
from tests.support.commands import ROOT

AFTER_THE_VARIABLES = "JobBuildAndInferCtx_GetCurrentJobId"
"""OneFlow calls it while the variables of a new graph wait for the compiled graph."""


class Scale(flow.nn.Graph):
    """Multiplies by a variable."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.layer = flow.nn.Linear(1, 1, bias=False)
        flow.nn.init.constant_(self.layer.to(flow.nn.Module).weight, factor)

    def build(self, values: flow.Tensor) -> flow.Tensor:
        return self.layer(values)


def run(graph: Scale) -> float:
    return graph(flow.ones(1, 1)).numpy().item()


def leave_in_a_cycle() -> weakref.ref:
    graph = Scale(2.0)
    assert run(graph) == 2.0
    graph.itself = [graph]
    return weakref.ref(graph)


def test_a_graph_that_is_collected_during_a_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's collector may run anywhere in a build; here it runs where that matters."""
    internal = flow._oneflow_internal
    function: Callable[[], int] = getattr(internal, AFTER_THE_VARIABLES)
    gc.disable()
    try:
        left, alive = leave_in_a_cycle(), []

        def collect() -> int:
            alive.append(left() is not None)
            gc.collect()
            alive.append(left() is not None)
            return function()

        monkeypatch.setattr(internal, AFTER_THE_VARIABLES, collect)
        graph = Scale(3.0)
        assert run(graph) == 3.0 and alive == [True, False]
    finally:
        gc.enable()
    del graph  # drops the variables
    assert run(Scale(4.0)) == 4.0


PRESS = """
import signal, time
from types import SimpleNamespace
from ops.runtime.graph_destruction import protect_builds
class Graph:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        print("destroyed")
internal = SimpleNamespace(lazy_mode=SimpleNamespace(is_enabled=lambda: False))
protect_builds(SimpleNamespace(_oneflow_internal=internal, nn=SimpleNamespace(Graph=Graph)))
try:
    Graph()
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_ctrl_c_within_a_destructor_is_not_lost() -> None:
    done = subprocess.run([sys.executable, "-c", PRESS], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "destroyed\ninterrupted\n", "")
