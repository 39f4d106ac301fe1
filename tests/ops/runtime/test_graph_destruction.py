"""A graph that is destroyed while another one is built does no harm."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest

from ops import flow

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
