from __future__ import annotations

import mxnet as mx
import mxnet_networks
import numpy as np
import pytest

from backbones import build_graph
from backbones.initializer import initial_arrays

Y1 = build_graph({"net_name": "fmobilefacenet", "emb_size": 128, "net_output": "GDC"})
R18 = build_graph({"net_name": "fresnet", "num_layers": 18})


@pytest.mark.parametrize(
    ("graph", "symbol"),
    [
        (Y1, mxnet_networks.mobilefacenet([1, 4, 6, 2], "GDC", 128)),
        (R18, mxnet_networks.fresnet([2, 2, 2, 2], [64, 64, 128, 256, 512], "E", 512)),
    ],
    ids=["y1", "r18"],
)
def test_distribution_is_that_of_mxnet(graph, symbol):
    attributes = symbol.attr_dict()  # slopes and moving statistics carry their own initialiser
    initializer = mx.init.Xavier(rnd_type="gaussian", factor_type="out", magnitude=2)
    mx.random.seed(3)
    for name, ours in initial_arrays(graph, seed=3).items():
        kind = graph.parameters()[name].kind
        assert ours.dtype == np.float32
        assert ours.shape == graph.parameters()[name].shape
        theirs = mx.nd.empty(ours.shape)
        initializer(mx.init.InitDesc(name, attributes.get(name)), theirs)
        theirs = theirs.asnumpy()
        if kind != "weight":
            np.testing.assert_array_equal(ours, theirs, err_msg=name)
            continue
        # The sample std of n normal numbers scatters by 1 / sqrt(2 n); two samples are compared, at five sigma.
        assert ours.std() / theirs.std() == pytest.approx(1, abs=5 / np.sqrt(ours.size)), name
        assert abs(ours.mean()) < 5 * ours.std() / np.sqrt(ours.size), name
        tails = np.mean(np.abs(ours) > 2 * ours.std())
        assert tails == pytest.approx(0.0455, abs=5 * np.sqrt(0.0455 / ours.size)), name  # gaussian, not uniform


def test_values_depend_on_seed_and_name_alone():
    first, again, other = initial_arrays(Y1, 1), initial_arrays(Y1, 1), initial_arrays(Y1, 2)
    wider = initial_arrays(
        build_graph({"net_name": "fmobilefacenet", "net_output": "GDC", "net_blocks": [2, 8, 16, 4]}), 1
    )
    name, twin = "res_3_block0_conv_sep_conv2d_weight", "res_3_block1_conv_sep_conv2d_weight"
    np.testing.assert_array_equal(first[name], again[name])
    np.testing.assert_array_equal(first[name], wider[name])
    assert not np.array_equal(first[name], other[name])
    assert not np.array_equal(first[name], first[twin])
