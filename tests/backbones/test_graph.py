from __future__ import annotations

import subprocess
import sys

import pytest

from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError


@pytest.fixture
def graph():
    graph = NetworkGraph()
    graph.input("data", (6, 9, 9))
    return graph


def test_shapes_are_inferred_layer_by_layer(graph):
    x = graph.conv("data", "conv", 8, kernel=3, stride=2, pad=1, groups=2, bias=True)
    assert graph.shapes[x] == (8, 5, 5)
    x = graph.batch_norm(x, "bn", eps=1e-5, fix_gamma=True)
    x = graph.prelu(x, "slope")
    x = graph.add(x, graph.activation(x, "act", "relu"), "sum")
    x = graph.flatten(graph.dropout(x, "drop", 0.5), "flat")
    assert graph.shapes[x] == (200,)
    graph.fully_connected(x, "fc1", 4)
    assert (graph.output, graph.embedding_size) == ("fc1", 4)
    assert {name: spec.shape for name, spec in graph.parameters().items()} == {
        "conv_weight": (8, 3, 3, 3),
        "conv_bias": (8,),
        "bn_gamma": (8,),
        "bn_beta": (8,),
        "bn_moving_mean": (8,),
        "bn_moving_var": (8,),
        "slope_gamma": (8,),
        "fc1_weight": (4, 200),
        "fc1_bias": (4,),
    }


def test_kinds_tell_trainable_fixed_and_auxiliary_apart(graph):
    graph.batch_norm("data", "free", eps=1e-3)
    graph.batch_norm("data", "pinned", eps=1e-3, fix_gamma=True)
    graph.prelu("data", "slope")
    parameters = graph.parameters()
    assert {name for name, spec in parameters.items() if spec.fixed} == {"pinned_gamma"}
    assert {name for name, spec in parameters.items() if spec.auxiliary} == {
        "free_moving_mean",
        "free_moving_var",
        "pinned_moving_mean",
        "pinned_moving_var",
    }
    assert [name for name, spec in parameters.items() if spec.trainable] == [
        "free_gamma",
        "free_beta",
        "pinned_beta",
        "slope_gamma",
    ]
    assert parameters["slope_gamma"].kind == "prelu_gamma"


def test_fans_ignore_groups_as_mxnet_does(graph):
    graph.conv("data", "depthwise", 6, kernel=3, groups=6)
    spec = graph.parameters()["depthwise_weight"]
    assert (spec.fan_in, spec.fan_out) == (9, 54)


def test_kernel_larger_than_its_input_names_the_layer(graph):
    with pytest.raises(UserError, match="big: a 11x11 convolution does not fit its 9x9 input"):
        graph.conv("data", "big", 8, kernel=11)


def test_contradictions_are_refused(graph):
    graph.conv("data", "conv", 4, kernel=1)
    with pytest.raises(ValueError, match="conv"):
        graph.conv("data", "conv", 4, kernel=1)
    with pytest.raises(ValueError, match="cannot add"):
        graph.add("data", "conv", "sum")
    with pytest.raises(UserError, match="4 groups"):
        graph.conv("data", "grouped", 8, kernel=1, groups=4)
    with pytest.raises(UserError, match="swish.*relu, sigmoid, tanh"):
        graph.activation("data", "act", "swish")


def test_describing_a_network_imports_no_framework():
    code = (
        "import sys, backbones, backbones.graph.flops, interchange.onnx.writer\n"
        "graph = backbones.build_network({'net_name': 'fresnet', 'num_layers': 18})\n"
        "assert not {'oneflow', 'mxnet', 'ops'} & set(sys.modules), 'a framework was imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
