from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest

from backbones import build_network
from backbones.graph.initializer import initial_arrays
from tests.backbones import mxnet_light_networks as light
from tests.backbones import mxnet_networks

Y1 = build_network({"net_name": "fmobilefacenet", "emb_size": 128, "net_output": "GDC"})
R18 = build_network({"net_name": "fresnet", "num_layers": 18})
M05 = build_network({"net_name": "fmobilenet", "net_output": "GDC", "net_multiplier": 0.5, "emb_size": 256})
MNAS025 = build_network({"net_name": "fmnasnet", "net_output": "GDC", "net_multiplier": 0.25, "emb_size": 256})
GAUSSIAN = {"rnd_type": "gaussian", "factor_type": "out", "magnitude": 2}
UNIFORM = {"rnd_type": "uniform", "factor_type": "in", "magnitude": 2}


@pytest.mark.parametrize(
    ("graph", "symbol", "xavier"),
    [
        (Y1, mxnet_networks.mobilefacenet([1, 4, 6, 2], "GDC", 128), GAUSSIAN),
        (R18, mxnet_networks.fresnet([2, 2, 2, 2], [64, 64, 128, 256, 512], "E", 512), GAUSSIAN),
        (M05, light.mobilenet(0.5, 1, "GDC", 256), UNIFORM),
        (MNAS025, light.mnasnet(0.25, "GDC", 256), UNIFORM),
    ],
    ids=["y1", "r18", "m05", "mnas025"],
)
def test_distribution_is_that_of_mxnet(graph, symbol, xavier):
    attributes = symbol.attr_dict()  # slopes and moving statistics carry their own initialiser
    initializer = mx.init.Xavier(**xavier)
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
        tails = np.mean(np.abs(ours) > 2 * ours.std())  # where gaussian values have a share, and uniform ones none
        expected = 0.0455 if xavier is GAUSSIAN else 0
        assert tails == pytest.approx(expected, abs=5 * np.sqrt(0.0455 / ours.size)), name
        assert (ours.size < 1000) or (np.abs(ours).max() > 2 * ours.std()) == (xavier is GAUSSIAN), name


def test_first_weights_of_the_pytorch_networks():
    arrays = initial_arrays(build_network({"net_name": "iresnet", "num_layers": 18, "net_output": "FC"}), 1)
    assert arrays["stage1_unit1_conv1_weight"].std() == pytest.approx(0.1, rel=0.02)
    limit = 1 / np.sqrt(25088)
    assert np.abs(arrays["pre_fc1_weight"]).max() == pytest.approx(limit, rel=0.01)
    arrays = initial_arrays(build_network({"net_name": "vit", "num_layers": 1, "vit_mask_ratio": 0.1}), 1)
    for name in ("block0_attn_qkv_weight", "pos_embed_weight", "pre_fc1_weight"):
        assert arrays[name].std() == pytest.approx(0.02, rel=0.02)
    assert np.abs(arrays["patch_embed_weight"]).max() == pytest.approx(1 / np.sqrt(243), rel=0.01)


def test_values_depend_on_seed_and_name_alone():
    first, again, other = initial_arrays(Y1, 1), initial_arrays(Y1, 1), initial_arrays(Y1, 2)
    wider = initial_arrays(
        build_network({"net_name": "fmobilefacenet", "net_output": "GDC", "net_blocks": [2, 8, 16, 4]}), 1
    )
    name, twin = "res_3_block0_conv_sep_conv2d_weight", "res_3_block1_conv_sep_conv2d_weight"
    np.testing.assert_array_equal(first[name], again[name])
    np.testing.assert_array_equal(first[name], wider[name])
    assert not np.array_equal(first[name], other[name])
    assert not np.array_equal(first[name], first[twin])


def test_values_do_not_depend_on_the_number_of_threads(monkeypatch):
    found = []
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found.append(initial_arrays(Y1, seed=3))
    assert list(found[0]) == list(found[1]) == list(Y1.parameters())
    for name, values in found[0].items():
        np.testing.assert_array_equal(values, found[1][name], err_msg=name)


def test_arrays_begin_at_a_cache_line_and_do_not_overlap():
    arrays = sorted(initial_arrays(Y1, seed=3).values(), key=lambda array: array.ctypes.data)
    assert all(array.ctypes.data % 64 == 0 and array.dtype == np.float32 for array in arrays)
    assert all(a.ctypes.data + a.nbytes <= b.ctypes.data for a, b in zip(arrays, arrays[1:], strict=False))
