"""Checkpoints as people have them, without PyTorch: prefixes, containers, heads, files of ranks, older formats."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from backbones import build_network
from common.errors import UserError
from interchange.converted_snapshot import write_converted
from interchange.embedders import graph_embedder, oneflow_embedder
from interchange.pytorch.archive import read_archive
from interchange.pytorch.state import names_to_write, read_torch, write_torch
from sample_config import network as NETWORKS
from settings.convert_command import convert_model
from snapshots.reader import Snapshot
from tests.support.conversion import bring_in, relative_error
from tests.support.torch_files import make_module, save
from tools.model_convert.torch_2_oneflow import with_rows

MBF = {**NETWORKS.mbf, "net_multiplier": 1.0, "net_blocks": [1, 1, 1, 1], "emb_size": 16}
ROWS = np.random.default_rng(1).normal(size=(30, 16)).astype(np.float32)
State = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def state() -> State:
    """A state dict of arcface_torch's MobileFaceNet, with counters of steps."""
    graph = build_network(MBF)
    rng, specs = np.random.default_rng(0), graph.parameters()
    state: State = {}
    for ours, theirs in names_to_write(graph).items():
        state[theirs] = rng.uniform(0.5, 1, specs[ours].shape).astype(np.float32)
        if theirs.endswith("running_mean"):
            state[theirs.replace("running_mean", "num_batches_tracked")] = np.array(3, np.int64)
    return state


def named(state: State, prefix: str) -> State:
    return {prefix + name: array for name, array in state.items()}


def as_module(state: State) -> Any:
    """The state dict as nested modules."""
    groups: dict[str, State] = {}
    for name, array in state.items():
        first, _, rest = name.partition(".")
        groups.setdefault(first, {})[rest] = array
    return make_module(**{name: group[""] if "" in group else as_module(group) for name, group in groups.items()})


class Trainer:
    """An object of the program that wrote the file."""


FORMS: dict[str, Callable[[State], Any]] = {
    "plain": lambda s: s,
    "model.": lambda s: named(s, "model."),
    "nested prefixes": lambda s: named(s, "_orig_mod.module.backbone.net."),
    "feat_net in a container": lambda s: {"epoch": 1, "state_dict": named(s, "feat_net.")},
    "arcface_torch": lambda s: {"state_dict_backbone": named(s, "module."), "state_optimizer": {"state": [ROWS]}},
    "containers": lambda s: {"model": {"state_dict": s}},
    "Lightning": lambda s: {
        "state_dict": named(s, "model."),
        "lr_schedulers": [{"milestones": Counter({12: 1})}],
        "callbacks": {Trainer: Trainer()},
    },
    "no counters": lambda s: {name: array for name, array in s.items() if not name.endswith("tracked")},
    "half": lambda s: {name: a.astype(np.float16) if a.dtype == np.float32 else a for name, a in s.items()},
    "a module": as_module,
    "a module in a module": lambda s: {"net": make_module(module=as_module(s))},
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_read(tmp_path: Path, state: State, form: str, legacy: bool) -> None:
    foreign = read_torch(save(tmp_path / "a.pth", FORMS[form](state), legacy), NETWORKS)
    names = names_to_write(build_network(MBF))
    for ours, theirs in names.items():
        expected = state[theirs].astype(np.float16) if form == "half" else state[theirs]
        np.testing.assert_array_equal(foreign.arrays[ours], expected.astype(np.float32))
    assert not foreign.head and foreign.config["net_blocks"] == [1, 1, 1, 1]


HEADS = {
    "head.weight": (lambda s: {**named(s, "backbone."), "head.weight": ROWS.T}, "one in each column"),
    "head.kernel": (lambda s: {**named(s, "model."), "head.kernel": ROWS.T, "head.t": ROWS[0]}, "one in each column"),
    "fc.weight": (lambda s: {**named(s, "backbone."), "fc.weight": ROWS}, "rows of 30 classes"),
    "beside bare names": (lambda s: {**s, "fc7.weight": ROWS}, "fc7.weight: rows of 30 classes"),
    "of one rank": (lambda s: {"net": s, "state_dict_softmax_fc": {"weight": ROWS}}, "rows of 30 classes"),
}


@pytest.mark.parametrize("name", HEADS)
def test_class_rows_beside_the_network_come_along(tmp_path: Path, state: State, name: str) -> None:
    content, note = HEADS[name]
    foreign = read_torch(save(tmp_path / "a.pth", content(state)), NETWORKS)
    np.testing.assert_array_equal(foreign.head["fc7_weight"], ROWS)
    assert any(note in each for each in foreign.notes)


def test_a_square_kernel_has_a_class_in_each_column(tmp_path: Path, state: State) -> None:
    square = ROWS[:16]
    for name, expected in (("head.kernel", square.T), ("head.weight", square)):
        foreign = read_torch(save(tmp_path / "a.pth", {**named(state, "model."), name: square}), NETWORKS)
        np.testing.assert_array_equal(foreign.head["fc7_weight"], expected)


def test_two_heads_are_said_and_not_guessed(tmp_path: Path, state: State) -> None:
    content = {**named(state, "backbone."), "a.weight": ROWS, "b.weight": ROWS}
    foreign = read_torch(save(tmp_path / "a.pth", content), NETWORKS)
    assert not foreign.head
    assert "2 arrays could be class rows, and none is taken: a.weight, b.weight" in foreign.notes


@pytest.mark.parametrize(
    ("values", "state_of_loss", "loss"),
    [
        ({"t": 0.0, "batch_mean": 21.5, "batch_std": 7.0}, {"length_mean": 21.5, "length_std": 7.0}, "adaface"),
        ({"t": 0.25}, {"t": 0.25}, "curricularface"),
        ({"batch_mean": np.inf, "batch_std": 7.0}, {}, "arcface"),
    ],
    ids=["AdaFace", "CurricularFace", "damaged"],
)
def test_the_moving_values_of_a_loss_come_along(
    tmp_path: Path, state: State, values: dict, state_of_loss: dict, loss: str
) -> None:
    head = {f"head.{name}": np.full(1, value, np.float32) for name, value in values.items()}
    path = save(tmp_path / "a.ckpt", {"state_dict": {**named(state, "model."), "head.kernel": ROWS.T, **head}})
    model = convert_model(read_torch(path, NETWORKS), "auto")
    write_converted(tmp_path / "snapshot", model, {})
    about = Snapshot.open(tmp_path / "snapshot").about
    assert about["fc7"]["loss_state"] == state_of_loss and about["config"]["loss"] == loss


def split(ranks: int, counts: list[int] | None = None) -> list[np.ndarray]:
    """The rows as arcface_torch gives them to ranks."""
    counts = counts or [30 // ranks + (rank < 30 % ranks) for rank in range(ranks)]
    return np.split(ROWS, np.cumsum(counts)[:-1])


def save_ranks(folder: Path, state: State, pieces: list[np.ndarray], steps: list[int] | None = None) -> Path:
    for rank, piece in enumerate(pieces):
        content = {"state_dict_backbone": state, "state_dict_softmax_fc": {"weight": piece}}
        content["global_step"] = steps[rank] if steps else 8
        save(folder / f"checkpoint_gpu_{rank}.pt", content)
    return folder / "checkpoint_gpu_0.pt"


def joined(path: Path, classes: int = 0, source: str = "auto") -> Any:
    return with_rows(read_torch(path, NETWORKS), str(path), source, classes)


def test_the_rows_of_eight_ranks_are_joined(tmp_path: Path, state: State) -> None:
    path = save_ranks(tmp_path, state, split(8))
    foreign = joined(path)
    np.testing.assert_array_equal(foreign.head["fc7_weight"], ROWS)
    assert "rows of 30 classes, joined from 8 ranks" in foreign.notes[-1] and len(foreign.notes) == 1
    np.testing.assert_array_equal(joined(path, 20).head["fc7_weight"], ROWS[:20])
    assert not joined(path, source="none").head
    for rank, piece in enumerate(split(8)):
        save(tmp_path / f"rank_{rank}_softmax_weight.pt", piece)
        save(tmp_path / f"rank_{rank}_softmax_weight_mom.pt", piece * 0)
    backbone = save(tmp_path / "backbone.pth", state)
    np.testing.assert_array_equal(joined(backbone).head["fc7_weight"], ROWS)
    other = save(tmp_path / "other.pth", state)
    assert not joined(other).head
    source = str(tmp_path / "rank_3_softmax_weight.pt")
    np.testing.assert_array_equal(joined(other, source=source).head["fc7_weight"], ROWS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, s: (f / "checkpoint_gpu_1.pt").unlink(), "has no rows of rank 1, but those of rank 3; copy"),
        (lambda f, s: (f / f"checkpoint_gpu_{10**12}.pt").touch(), r"no rows of rank 4, 5, .*11, \.\.\., but those of"),
        (lambda f, s: save_ranks(f, s, split(4, [8, 7, 8, 7])), r"have \[8, 7, 8, 7\] class rows; .* \[8, 8, 7, 7\]"),
        (lambda f, s: save_ranks(f, s, split(4), [8, 8, 9, 8]), "of different steps: .*checkpoint_gpu_2.pt of step 9"),
        (lambda f, s: save(f / "checkpoint_gpu_2.pt", s), "expected class rows of 16 numbers, found none"),
        (
            lambda f, s: save(f / "checkpoint_gpu_2.pt", {"state_dict_softmax_fc": {"weight": ROWS[:, :9]}}),
            r"expected class rows of 16 numbers, found the shape \(30, 9\)",
        ),
    ],
    ids=["missing", "many missing", "another split", "another step", "no rows", "other rows"],
)
def test_ranks_that_do_not_belong_together_are_refused(
    tmp_path: Path, state: State, change: Callable, message: str
) -> None:
    path = save_ranks(tmp_path, state, split(4))
    change(tmp_path, state)
    with pytest.raises(UserError, match=message):
        joined(path)


IR = {"net_name": "ir", "num_layers": 18, "net_output": "E", "emb_size": 8, "image_size": 16}


@pytest.mark.parametrize(("unit", "se"), [(5, 0), (5, 1), (6, 0), (6, 1)])
def test_ir_networks_come_back_by_their_own_names(tmp_path: Path, random_arrays, unit: int, se: int) -> None:
    graph = build_network({**IR, "net_unit": unit, "net_se": se})
    arrays = {n: np.ones_like(a) if graph.parameters()[n].fixed else a for n, a in random_arrays(graph, 1).items()}
    path = tmp_path / "a.safetensors"
    write_torch(path, graph, arrays)
    names, _ = read_torch_names(path)
    place = {5: "res_layer.3.weight", 6: "res_layer.2.weight"}[unit]  # the slopes of the PReLU
    assert names[f"body.3.{place}"] == (128,) and "body.0.shortcut_layer.0.weight" not in names
    assert ("body.3.res_layer.se_block.fc1.weight" in names) == (unit == 5 and se == 1)
    assert ("body.3.res_layer.5.fc1.weight" in names) == (unit == 6 and se == 1)
    foreign = read_torch(path, NETWORKS)
    found, adaptation = bring_in(foreign)
    assert found.name == "ir18" + ("-net_se1" if se else "") + ("-net_unit6" if unit == 6 else "")
    for name, array in arrays.items():
        np.testing.assert_array_equal(adaptation.arrays[name], array, err_msg=name)
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16)).astype(np.float32)
    expected = graph_embedder(foreign.network, foreign.arrays)(images)
    assert relative_error(oneflow_embedder(found.network, adaptation.arrays)(images), expected) < 1e-4


def read_torch_names(path: Path) -> tuple[dict[str, tuple], Any]:
    from interchange.pytorch.state import read_state

    arrays, remark = read_state(path)
    return {name: tuple(array.shape) for name, array in arrays.items()}, remark


def test_a_gamma_that_was_trained_counts(tmp_path: Path, random_arrays) -> None:
    graph = build_network({**IR, "net_unit": 6})
    path = tmp_path / "a.safetensors"
    write_torch(path, graph, random_arrays(graph, 1))
    arrays, _ = read_state_arrays(path)
    arrays["output_layer.4.weight"] = np.linspace(0.5, 2, 8, dtype=np.float32)
    save_file(arrays, path)
    foreign = read_torch(path, NETWORKS)
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16)).astype(np.float32)
    expected = graph_embedder(foreign.network, foreign.arrays)(images)
    ones = graph_embedder(foreign.network, {**foreign.arrays, "fc1_gamma": np.ones(8, np.float32)})(images)
    assert relative_error(ones, expected) > 0.1
    found, adaptation = bring_in(foreign)
    assert relative_error(graph_embedder(found.network, adaptation.arrays)(images), expected) < 1e-4


def read_state_arrays(path: Path) -> tuple[State, Any]:
    from interchange.pytorch.state import read_state

    arrays, remark = read_state(path)
    return {name: np.array(array) for name, array in arrays.items()}, remark


REFUSED = {
    "two networks": (lambda s: {**named(s, "a."), **named(s, "b.")}, "holds 2 networks, under a., b.; save the"),
    "a longer state dict": (lambda s: {**s, "x.y": ROWS[0]}, r"nearest is mbf.*\): names left over: x.y$"),
    "another shape": (
        lambda s: {**s, "conv_sep.layers.0.weight": ROWS},
        r"nearest is mbf.*: conv_sep.layers.0.weight has the shape \(30, 16\), expected \(512, 128, 1, 1\)",
    ),
    "a lost array": (
        lambda s: {n: a for n, a in s.items() if n != "conv_sep.layers.1.bias"},
        r"conv_sep.layers.1.bias is missing, expected \(512,\)$",
    ),
    "no network": (lambda s: {"a.weight": ROWS}, r"its 1 begin: a.weight \(30, 16\)"),
    "other names": (
        lambda s: {name.replace("features", "output"): array for name, array in s.items()},
        "nearest is mbf.*: features.layers.0.layers.0.weight is missing.*names left over: output.*, .* and 6 more",
    ),
    "nothing": (lambda s: {"epoch": 1}, "does not hold a state dict"),
    "an object": (lambda s: {"x": Trainer()}, "refused to load '.*Trainer'; save the state_dict alone"),
    "one array": (lambda s: ROWS, r"holds one array of shape \(30, 16\), not a network"),
    "bottleneck units": (
        lambda s: {
            "input_layer.0.weight": np.zeros((64, 3, 3, 3), np.float32),
            "body.0.res_layer.0.weight": ROWS[0],
            "body.0.res_layer.1.weight": np.zeros((64, 64, 1, 1), np.float32),
        },
        "nearest is ir18.*input_layer.1.weight is missing",
    ),
}


PICKLED = ("nothing", "an object", "one array")  # safetensors hold arrays by name alone


@pytest.mark.parametrize(
    ("name", "suffix"),
    [(name, "pth") for name in REFUSED] + [(name, "safetensors") for name in REFUSED if name not in PICKLED],
)
def test_what_does_not_fit_is_one_line_with_the_first_difference(
    tmp_path: Path, state: State, name: str, suffix: str
) -> None:
    make, message = REFUSED[name]
    content, path = make(state), tmp_path / f"a.{suffix}"
    if suffix == "safetensors":
        save_file({key: np.ascontiguousarray(array) for key, array in content.items()}, path)
    else:
        save(path, content)
    with pytest.raises(UserError, match=message) as caught:
        read_torch(path, NETWORKS)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_the_momentum_of_class_rows_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "rank_0_softmax_weight_mom.pt", ROWS)
    with pytest.raises(UserError, match="holds the momentum of class rows of shape"):
        read_torch(path, NETWORKS)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_that_is_cut_anywhere_is_one_line(tmp_path: Path, state: State, legacy: bool) -> None:
    path = save(tmp_path / "a.pth", {"state_dict": state}, legacy)
    content = path.read_bytes()
    for length in (1, 20, 40, 300, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match=re.escape(str(path))):
            read_torch(path, NETWORKS)


def test_endless_modules_are_refused(tmp_path: Path) -> None:
    module = make_module(weight=ROWS)
    for _ in range(40):  # each names the one before twice: 2 to the power of 40 arrays
        module = make_module(a=module, b=module)
    path = save(tmp_path / "a.pth", module)
    content, _ = read_archive(path)
    assert content is not None
    with pytest.raises(UserError, match="is damaged: it holds more than 100000 objects"):
        read_torch(path, NETWORKS)
