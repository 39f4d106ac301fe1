from __future__ import annotations

import numpy as np
import pytest

from backbones import build_backbone
from backbones.execution.backbone import Backbone
from backbones.graph.network_graph import ACTIVATION_TYPES, NetworkGraph
from backbones.networks.iresnet import build_residual_network
from backbones.networks.options import NetworkOptions
from common.errors import UserError
from ops import flow


def tiny_graph(output: str = "FC", act: str = "prelu") -> NetworkGraph:
    options = NetworkOptions("fresnet", emb_size=8, net_output=output, net_act=act, image_size=16)
    return build_residual_network([1, 1], [4, 4, 8], options)


@pytest.fixture
def backbone(random_arrays):
    graph = tiny_graph()
    return Backbone(graph, random_arrays(graph, 0))


@pytest.fixture
def images():
    return flow.tensor(np.random.default_rng(1).integers(0, 256, (4, 3, 16, 16)).astype(np.uint8))


class Inference(flow.nn.Graph):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def build(self, images: flow.Tensor) -> flow.Tensor:
        return self.backbone(images)


class Training(Inference):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone)
        self.add_optimizer(flow.optim.SGD(backbone.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1))

    def build(self, images: flow.Tensor) -> flow.Tensor:
        loss = loss_of(self.backbone, images)
        loss.backward()
        return loss


def loss_of(backbone: Backbone, images: flow.Tensor) -> flow.Tensor:
    return flow.tanh(backbone(images)).square().mean()


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({"net_name": "fmobilefacenet", "emb_size": 128, "net_output": "GDC"}, 128),
        ({"net_name": "fresnet", "num_layers": 18}, 512),
    ],
)
def test_networks_of_the_registry_run(config, size):
    embedding = build_backbone(config).eval()(flow.zeros(1, 3, 112, 112))
    assert tuple(embedding.shape) == (1, size)
    assert embedding.dtype == flow.float32
    assert np.isfinite(embedding.numpy()).all()


def test_bytes_and_floats_give_the_same_embedding(backbone, images):
    backbone.eval()
    np.testing.assert_array_equal(backbone(images).numpy(), backbone(images.to(flow.float32)).numpy())


@pytest.mark.parametrize("native", [True, False])
def test_images_with_channels_last_give_the_same_embedding(native, images, random_arrays):
    graph = tiny_graph()
    backbone = Backbone(graph, random_arrays(graph, 0), native=native).eval()
    channels_last = flow.tensor(np.ascontiguousarray(images.numpy().transpose(0, 2, 3, 1)))
    np.testing.assert_array_equal(backbone(channels_last).numpy(), backbone(images).numpy())
    np.testing.assert_array_equal(Inference(backbone)(channels_last).numpy(), backbone(images).numpy())


@pytest.mark.parametrize("kind", ACTIVATION_TYPES)
def test_every_activation_runs(kind, images):
    graph = tiny_graph(act=kind)
    arrays = {name: np.full(spec.shape, 0.1, np.float32) for name, spec in graph.parameters().items()}
    assert np.isfinite(Backbone(graph, arrays).eval()(images).numpy()).all()


def test_the_seed_decides_the_weights():
    config = {"net_name": "fmobilefacenet", "emb_size": 8, "net_output": "GDC", "net_blocks": [1, 1, 1, 1]}
    first, same, other = (build_backbone(config, seed).named_arrays()["conv_1_conv2d_weight"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_each_dropout_follows_its_columns_of_the_mask():
    network = NetworkGraph()
    x = network.dropout(network.input("data", (2, 3, 3)), "first", 0.25)
    network.flatten(network.dropout(x, "second", 0.5), "fc1")
    backbone = Backbone(network, {})
    rng = np.random.default_rng(4)
    values = rng.normal(size=(5, 2, 3, 3)).astype(np.float32)
    keep = rng.integers(0, 2, (5, 36)).astype(np.float32)
    assert backbone.dropout_width == 36
    expected = values.reshape(5, 18) * keep[:, :18] / 0.75 * keep[:, 18:] / 0.5
    actual = backbone.train()(flow.tensor(values), flow.tensor(keep)).numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_dropout_acts_in_training_only(images, random_arrays):
    graph = tiny_graph("E")
    arrays = random_arrays(graph, 0)
    backbone = Backbone(graph, arrays)
    without = Backbone(tiny_graph("FC"), arrays)
    assert without.dropout_width == 0
    np.testing.assert_array_equal(backbone.eval()(images).numpy(), without.eval()(images).numpy())
    with pytest.raises(ValueError, match="keep mask"):
        backbone.train()(images)


def test_state_has_the_names_of_the_description_and_nothing_else(backbone):
    parameters = backbone.network.parameters()
    assert set(backbone.state_dict()) == set(parameters) == set(backbone.named_tensors())
    trainable = {name for name, spec in parameters.items() if spec.trainable}
    assert {name for name, _ in backbone.named_parameters()} == trainable
    assert "fc1_gamma" not in trainable


def test_arrays_go_in_and_out(backbone, random_arrays):
    arrays = random_arrays(backbone.network, 7)
    backbone.load_arrays(arrays)
    copies = backbone.named_arrays()
    assert (copies.pop("fc1_gamma") == 1).all()
    for name, values in copies.items():
        np.testing.assert_array_equal(values, arrays[name], err_msg=name)
    copies["conv0_weight"][:] = 0  # a copy, not a window into the module
    np.testing.assert_array_equal(backbone.named_arrays()["conv0_weight"], arrays["conv0_weight"])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda arrays: arrays.pop("bn0_beta"), "lack 'bn0_beta'"),
        (lambda arrays: arrays.update(bn0_beta=np.zeros(5)), r"'bn0_beta' of shape \(5,\), the network expects \(4,\)"),
        (lambda arrays: arrays.update(fc7_weight=np.zeros(5)), "hold 'fc7_weight', which the network does not have"),
    ],
)
def test_foreign_arrays_are_refused_and_change_nothing(backbone, random_arrays, damage, message):
    before = backbone.named_arrays()
    arrays = random_arrays(backbone.network, 7)
    damage(arrays)
    with pytest.raises(UserError, match=message):
        backbone.load_arrays(arrays)
    for name, values in backbone.named_arrays().items():
        np.testing.assert_array_equal(values, before[name])


def test_a_compiled_graph_sees_loaded_arrays(backbone, images, random_arrays):
    backbone.eval()
    graph = Inference(backbone)
    first = graph(images).numpy().copy()
    np.testing.assert_allclose(first, backbone(images).numpy(), rtol=1e-6)
    backbone.load_arrays(random_arrays(backbone.network, 7))
    second = graph(images).numpy()
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_allclose(second, backbone(images).numpy(), rtol=1e-6)


def test_a_graph_step_is_the_eager_step(images, random_arrays):
    network = tiny_graph()
    arrays = random_arrays(network, 0)
    in_graph, eager = Backbone(network, arrays), Backbone(network, arrays)
    step = Training(in_graph)
    optimizer = flow.optim.SGD(eager.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
    for _ in range(2):
        loss = loss_of(eager, images)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        np.testing.assert_allclose(step(images).numpy(), loss.numpy(), rtol=1e-5)
    expected = eager.named_arrays()
    for name, values in in_graph.named_arrays().items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)
    assert (expected["fc1_gamma"] == 1).all()
    assert np.abs(expected["conv0_weight"] - arrays["conv0_weight"]).max() > 1e-3


def test_global_tensors_give_the_local_embedding(backbone, images, random_arrays):
    placement = flow.placement("cpu", [0])
    arrays = random_arrays(backbone.network, 7)
    local = Backbone(backbone.network, arrays).eval()(images).numpy()
    backbone.eval().to_global(placement, flow.sbp.broadcast)
    backbone.load_arrays(arrays)
    batch = images.to_global(placement, flow.sbp.split(0))
    np.testing.assert_array_equal(backbone(batch).to_local().numpy(), local)
    np.testing.assert_array_equal(Inference(backbone)(batch).to_local().numpy(), local)
    np.testing.assert_array_equal(backbone.named_arrays()["conv0_weight"], arrays["conv0_weight"])
