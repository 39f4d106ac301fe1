"""Variables of a graph are built in the scope of their module, and keep names, values and gradients."""

from __future__ import annotations

import numpy as np
import pytest

from ops import flow


class Layers(flow.nn.Module):
    """A layer, a parameter and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = flow.nn.Linear(3, 2)
        self.factor = flow.nn.Parameter(flow.full((2,), 3.0))
        self.register_buffer("offset", flow.full((2,), 5.0))

    def forward(self, values: flow.Tensor) -> flow.Tensor:
        return self.layer(values) * self.factor + self.offset


class Step(flow.nn.Graph):
    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self.layers = layers
        self.config.proto.train_conf.SetInParent()

    def build(self, values: flow.Tensor) -> list[flow.Tensor]:
        loss = self.layers(values).square().sum()
        flow._oneflow_internal.nn.graph.AddTensorAsGraphLoss(loss)
        trained = [parameter.lazy_origin for parameter in self.layers.parameters()]
        return [loss, *flow.autograd.grad([loss], trained)]


def test_only_modules_have_scopes(monkeypatch: pytest.MonkeyPatch) -> None:
    flow.manual_seed(0)
    placement, broadcast, scoped = flow.placement.all("cpu"), flow.sbp.broadcast, []
    layers = Layers().to_global(placement, broadcast)
    values = flow.tensor(np.arange(6, dtype=np.float32).reshape(2, 3)).to_global(placement, broadcast)
    building = flow.framework.graph_build_util
    make = building.make_new_blockgraph_scope
    monkeypatch.setattr(
        building,
        "make_new_blockgraph_scope",
        lambda previous, block: scoped.append(block.name) or make(previous, block),
    )
    graph = Step(layers)
    results = graph(values)
    assert scoped == ["layers", "layer"]
    variables = {
        op.name for op in graph._full_job_proto.net.op if op.HasField("variable_conf") and "System" not in op.name
    }
    assert variables == {f"layers.{name}" for name in ("layer.weight", "layer.bias", "factor", "offset")}
    loss = layers(values).square().sum()
    expected = [loss, *flow.autograd.grad([loss], list(layers.parameters()))]
    for result, value in zip(results, expected, strict=True):
        np.testing.assert_allclose(result.numpy(), value.numpy(), rtol=1e-6)
