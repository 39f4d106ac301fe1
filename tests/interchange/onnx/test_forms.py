"""ONNX files in the forms that other programs write: read so that embeddings agree, or refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from backbones import build_network
from common.errors import UserError
from interchange.agreement import HALF_TOLERANCE, TOLERANCE
from interchange.embedders import graph_embedder, onnx_embedder
from interchange.image_input import InputFlags, as_the_file_takes, take_images
from interchange.matching.adapt import adapt
from interchange.matching.recognise import AUTO, recognise, with_preprocessing_of
from interchange.onnx.arithmetic import OPERATORS, evaluate
from interchange.onnx.form import ExportForm
from interchange.onnx.operators import ONNX_READERS
from interchange.onnx.reader import read_onnx
from interchange.onnx.writer import write_onnx
from interchange.onnx_reference import WALK, run_file
from sample_config import network as NETWORKS
from tests.support.conversion import relative_error
from tests.support.foreign_onnx import torch_style

OPTIONS = {**NETWORKS.y1, "net_blocks": (1, 1, 1, 1)}
RAW = InputFlags()


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, 3, 112, 112)).astype(np.float32)


@pytest.fixture
def trained(random_arrays):
    graph = build_network(OPTIONS)
    return graph, random_arrays(graph, 1)


def set_batch(model: onnx.ModelProto, given: int | str | None, returned: int | str | None) -> None:
    for value, batch in ((model.graph.input[0], given), (model.graph.output[0], returned)):
        axis = value.type.tensor_type.shape.dim[0]
        axis.Clear()
        if isinstance(batch, int):
            axis.dim_value = batch
        elif batch:
            axis.dim_param = batch


def change_arrays(model: onnx.ModelProto, op: str, place: int, change: Callable[[np.ndarray], np.ndarray]) -> None:
    names = {node.input[place] for node in model.graph.node if node.op_type == op}
    for tensor in model.graph.initializer:
        if tensor.name in names:
            tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), tensor.name))


def flat_slopes(model: onnx.ModelProto) -> None:
    change_arrays(model, "PRelu", 1, np.ravel)


def doubles(model: onnx.ModelProto) -> None:
    factor = next(node for node in model.graph.node if node.op_type == "Mul")
    model.graph.initializer.append(numpy_helper.from_array(np.array(1 / 128, np.float64), "double"))
    factor.input[1] = "double"


def opset_8(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 8
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            node.attribute.append(helper.make_attribute("spatial", 0))


def weights_as_inputs(model: onnx.ModelProto) -> None:
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    flat_slopes(model)


def channels_last(model: onnx.ModelProto) -> None:
    image, first = model.graph.input[0], model.graph.node
    for node in first:
        for place, name in enumerate(node.input):
            if name == image.name:
                node.input[place] = "planes"
    transpose = helper.make_node("Transpose", [image.name], ["planes"], perm=[0, 3, 1, 2])
    nodes = [transpose, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del image.type.tensor_type.shape.dim[:]
    for length in ("N", 112, 112, 3):
        axis = image.type.tensor_type.shape.dim.add()
        setattr(axis, "dim_value" if isinstance(length, int) else "dim_param", length)


def view_by_shape(model: onnx.ModelProto) -> None:
    """Flatten as ``x.view(x.size(0), -1)`` is exported: by Shape, Gather, Unsqueeze, Concat and Reshape."""
    place, old = next((i, node) for i, node in enumerate(model.graph.node) if node.op_type in ("Reshape", "Flatten"))
    constants = {"zero": np.array(0), "first": np.array([0]), "rest": np.array([-1])}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    nodes = [
        helper.make_node("Shape", [old.input[0]], ["size"]),
        helper.make_node("Gather", ["size", "zero"], ["count"], axis=0),
        helper.make_node("Unsqueeze", ["count", "first"], ["counts"]),
        helper.make_node("Concat", ["counts", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", [old.input[0], "target"], list(old.output)),
    ]
    before, after = list(model.graph.node)[:place], list(model.graph.node)[place + 1 :]
    del model.graph.node[:]
    model.graph.node.extend([*before, *nodes, *after])


def fixed_reshape(model: onnx.ModelProto) -> None:
    """The batch is fixed in the graph alone, not in the shape of the input."""
    node = next(node for node in model.graph.node if node.op_type == "Flatten")
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, -1]), "one_row"))
    node.op_type = "Reshape"
    node.ClearField("attribute")
    node.input.append("one_row")


def bytes_in(model: onnx.ModelProto) -> None:
    image = model.graph.input[0]
    image.type.tensor_type.elem_type = TensorProto.UINT8
    next(node for node in model.graph.node if image.name in node.input).input[0] = "floats"
    nodes = [helper.make_node("Cast", [image.name], ["floats"], to=TensorProto.FLOAT), *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def halves(model: onnx.ModelProto) -> None:
    """The whole graph in float16, as ``model.half()`` is exported."""
    constants = [node.attribute[0].t for node in model.graph.node if node.op_type == "Constant"]
    for tensor in (*model.graph.initializer, *constants):
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16), tensor.name))
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16


# name -> (change of the file, whether onnxruntime runs it, flags)
FORMS: dict[str, tuple[Callable[[onnx.ModelProto], None], bool, InputFlags]] = {
    "any batch": (lambda model: set_batch(model, "N", "N"), True, RAW),
    "batch 1": (lambda model: set_batch(model, 1, 1), True, RAW),
    "batch N of which 1 comes out": (lambda model: set_batch(model, "N", 1), True, RAW),
    "batch 4": (lambda model: set_batch(model, 4, 4), True, RAW),
    "no batch": (lambda model: set_batch(model, None, None), True, RAW),
    "a batch of 1 in a Reshape": (fixed_reshape, True, RAW),
    "flattened by its shape": (view_by_shape, True, RAW),
    "images of bytes": (bytes_in, True, RAW),
    "float16": (halves, True, RAW),
    "channels last": (channels_last, True, RAW),
    "slopes without axes": (flat_slopes, False, RAW),
    "a double constant": (doubles, False, RAW),
    "opset 8 with spatial=0": (opset_8, True, RAW),
    "weights listed as inputs": (weights_as_inputs, False, RAW),
    "BGR": (lambda model: None, True, InputFlags("bgr")),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_read_and_checked(tmp_path: Path, trained, name: str, capsys: pytest.CaptureFixture) -> None:
    graph, arrays = trained
    model = write_onnx(graph, arrays, {})
    expected = onnx_embedder(model.SerializeToString())(images())
    change, runs, flags = FORMS[name]
    change(model)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    foreign = take_images(read_onnx(path), flags)
    reference, prepare = run_file(path, foreign), as_the_file_takes(foreign)
    assert reference.name == ("onnxruntime" if runs else WALK)
    assert ("onnxruntime refuses the file (" in capsys.readouterr().out) == (not runs)
    theirs = reference.embed(prepare(images())[: reference.images])
    ours = graph_embedder(foreign.network, foreign.arrays)(images()[: reference.images])
    assert reference.tolerance == (HALF_TOLERANCE if name == "float16" else TOLERANCE)
    assert relative_error(ours, theirs) < reference.tolerance
    if flags == RAW:
        assert relative_error(theirs, expected[: reference.images]) < reference.tolerance
    else:  # the weights are those of a network for RGB, so that as one for BGR it sees other colours
        swapped = onnx_embedder(model.SerializeToString())(images()[:, ::-1])
        assert relative_error(ours, swapped[: len(ours)]) < 1e-4 < relative_error(ours, expected[: len(ours)])


def rows_of_tokens(model: onnx.ModelProto) -> None:
    """Make a Gemm of each MatMul and Add on tokens, between two Reshapes, as onnxsim does."""
    units = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    columns = {node.output[0]: units[node.input[0]][::-1] for node in model.graph.node if node.op_type == "Transpose"
               if node.input[0] in units}  # fmt: skip
    nodes, constants = [], {}
    for node in model.graph.node:
        before = nodes[-1] if nodes else None
        is_shift = node.op_type == "Add" and before.op_type == "MatMul" and before.output[0] == node.input[0]
        if not is_shift or before.input[1] not in columns:
            nodes.append(node)
            continue
        (x, weight), made = nodes.pop().input, node.output[0]
        (features, width), tokens = columns[weight], 144
        constants |= {f"{made}_rows": np.array([-1, features]), f"{made}_shape": np.array([-1, tokens, width])}
        nodes += [
            helper.make_node("Reshape", [x, f"{made}_rows"], [f"{made}_in"]),
            helper.make_node("Gemm", [f"{made}_in", weight, node.input[1]], [f"{made}_out"]),
            helper.make_node("Reshape", [f"{made}_out", f"{made}_shape"], [made]),
        ]
    assert constants
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())


def no_change(model: onnx.ModelProto) -> None:
    pass


def one_row(model: onnx.ModelProto) -> None:
    """Leave the rows of the last Gemm as they are: one embedding per token."""
    rows_of_tokens(model)
    index = max(i for i, node in enumerate(model.graph.node) if node.op_type == "Reshape")
    node = model.graph.node[index]
    node.op_type = "Identity"
    del node.input[1:]


TOKENS = {"net_name": "vit", "num_layers": 2, "vit_width": 64, "emb_size": 32}


@pytest.mark.parametrize("opset", [11, 17, 21])
@pytest.mark.parametrize("change", [no_change, rows_of_tokens, halves])
def test_a_transformer_in_other_forms_is_read_and_recognised(tmp_path: Path, random_arrays, change, opset) -> None:
    graph = build_network(TOKENS)
    model = write_onnx(graph, random_arrays(graph, 2), {}, ExportForm(opset=opset))
    expected = onnx_embedder(model.SerializeToString())(images())
    change(model)
    onnx.save(model, tmp_path / "model.onnx")
    foreign = read_onnx(tmp_path / "model.onnx")
    assert relative_error(run_file(tmp_path / "model.onnx", foreign).embed(images()), expected) < 2e-2
    found = recognise(foreign.network, NETWORKS, AUTO, "model")
    assert found.name == "vit_t-num_layers2-vit_width64"
    found = with_preprocessing_of(found, foreign.network)  # float16 rounds 127.5
    arrays = adapt(found.network, found.pairs, foreign.network, foreign.arrays).arrays
    again = onnx_embedder(write_onnx(found.network, arrays, {}).SerializeToString())(images())
    assert relative_error(again, expected) < (HALF_TOLERANCE if change is halves else 1e-5)


def test_rows_of_tokens_that_stay_rows_are_refused(tmp_path: Path, random_arrays) -> None:
    graph = build_network(TOKENS)
    model = write_onnx(graph, random_arrays(graph, 2), {})
    one_row(model)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(UserError, match="is taken as the value of a layer, which it is not in any known network"):
        read_onnx(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("flags", "mean", "scale", "said"),
    [
        (RAW, 127.5, 1 / 127.5, "images as RGB, (x - 127.5) / 127.5: assumed"),
        (InputFlags("bgr", 0.0, 1 / 255), 0.0, 1 / 255, "images as BGR, (x - 0) / 255: as the flags say"),
        (InputFlags("rgb", 100.0), 100.0, 1 / 127.5, "images as RGB, (x - 100) / 127.5: as the flags say"),
    ],
)
def test_preprocessing_outside_is_assumed_or_said(tmp_path: Path, trained, flags, mean, scale, said) -> None:
    model = torch_style(*trained, folded=True)
    onnx.save(model, tmp_path / "model.onnx")
    foreign = take_images(read_onnx(tmp_path / "model.onnx"), flags)
    assert any(said in note for note in foreign.notes)
    seen = images()[:, ::-1] if flags.color_order == "bgr" else images()
    expected = onnx_embedder(model.SerializeToString())(((seen - mean) * scale).astype(np.float32))
    assert relative_error(graph_embedder(foreign.network, foreign.arrays)(images()), expected) < 1e-4


def test_flags_that_contradict_a_file_are_refused(tmp_path: Path, trained) -> None:
    onnx.save(write_onnx(*trained, {}), tmp_path / "model.onnx")
    foreign = read_onnx(tmp_path / "model.onnx")
    taken = take_images(foreign, InputFlags("rgb", 127.5, 1 / 128))
    assert taken.notes == ("images as RGB: assumed; (x - 127.5) / 128 is in the file",)
    with pytest.raises(UserError, match=r"normalises its images itself, \(x - 127.5\) / 128; omit --input_mean"):
        take_images(foreign, InputFlags("rgb", 0.0))
    with pytest.raises(UserError, match="is a file of this project and says how it takes images; omit --color_order"):
        take_images(foreign.replaced(exported_from="sum"), InputFlags("bgr"))


def test_channels_last_without_a_transpose_is_refused(tmp_path: Path, trained) -> None:
    model = write_onnx(*trained, {})
    channels_last(model)
    model.graph.node[0].op_type = "Identity"
    del model.graph.node[0].attribute[:]
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(UserError, match=r"a Conv, takes images \[N, S, S, 3\]; known: a Transpose first"):
        read_onnx(tmp_path / "model.onnx")


ARITHMETIC = [OPTIONS, {**NETWORKS.vit_t, "num_layers": 1}, {**NETWORKS.mnas025, "net_act": "softsign"}]


@pytest.mark.parametrize("options", ARITHMETIC)
def test_the_arithmetic_is_that_of_onnxruntime(random_arrays, options: dict) -> None:
    graph = build_network(options)
    model = write_onnx(graph, random_arrays(graph, 2), {})
    expected = onnx_embedder(model.SerializeToString())(images(1))
    assert relative_error(evaluate(model, images(1)), expected) < 1e-5


def test_the_arithmetic_knows_every_operator_that_is_read() -> None:
    assert set(ONNX_READERS) <= set(OPERATORS)


def test_constants_that_grow_are_refused(tmp_path: Path, trained) -> None:
    model = write_onnx(*trained, {})
    view_by_shape(model)
    place = next(i for i, node in enumerate(model.graph.node) if node.op_type == "Reshape")
    *before, reshape = list(model.graph.node)[: place + 1]
    after = list(model.graph.node)[place + 1 :]
    doubled = [
        helper.make_node("Concat", [name, name], [f"target{i}"], axis=0)
        for i, name in enumerate(["target", *(f"target{i}" for i in range(39))])
    ]
    reshape.input[1] = "target39"
    nodes = [*before, *doubled, reshape, *after]
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    del copied.graph.node[:]
    copied.graph.node.extend(nodes)
    onnx.save(copied, tmp_path / "model.onnx")
    with pytest.raises(UserError, match="is a Concat of a form that no known network has .it multiplies"):
        read_onnx(tmp_path / "model.onnx")
