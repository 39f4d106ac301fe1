"""The trained network that a run learns from besides the labels, before it computes. Free of OneFlow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from interchange.image_input import InputFlags
from interchange.open_model import TrainedModel, is_snapshot, open_model

_FLAG = re.compile(r"--(color_order|input_mean|input_scale)\b")


def open_teacher(config: Mapping[str, Any]) -> TrainedModel | None:
    """Return the model of ``teacher``; None for a run without one.

    Raises:
        UserError: it cannot be read, its flags do not fit, or it takes images of another size than the run has.
    """
    name = config["teacher"]
    if not name:
        return None
    keys = InputFlags.__dataclass_fields__
    flags = InputFlags(**{key: config[f"teacher_{key}"] for key in keys})
    if flags.are_given and is_snapshot(name):
        given = ", ".join(f"--teacher_{key}" for key in keys)
        raise UserError(f"--teacher {name} is a snapshot and says how it takes images; omit {given}")
    try:
        model = open_model(name, flags, bool(config["teacher_logits"]))
    except UserError as error:
        lines = (_FLAG.sub(r"--teacher_\1", line) for line in str(error).splitlines())
        raise UserError(*(f"--teacher: {line}" for line in lines)) from error
    size, wanted = _image_size(model.network), config["image_size"]
    if size != [wanted, wanted]:
        raise UserError(
            f"--teacher {name} takes images of {' x '.join(map(str, size))} pixels, and this run has --image_size "
            f"{wanted}; use a teacher for such images, or a set and --image_size of the teacher's size"
        )
    return model


def _image_size(network: NetworkGraph) -> list[int]:
    shape = next(network.shapes[node.name] for node in network.nodes if node.op == "input")
    return list(shape[1:])


def describe_teacher(model: TrainedModel, config: Mapping[str, Any], student: NetworkGraph) -> list[str]:
    """Return lines about the teacher of a run and what the student takes from it."""
    network, length = model.about["network"] or "unknown", model.network.embedding_size
    what, terms = "(1 - cosine with its embeddings)", []
    if length != student.embedding_size:
        what = "the mean square by which cosines between two images differ from its own"
    if config["teacher_weight"]:
        terms.append(f"{config['teacher_weight']:g} x {what}")
    if config["teacher_logits"]:
        softmax = "the divergence from its softmax over the classes"
        terms.append(f"{config['teacher_logits']:g} x {softmax} at temperature {config['teacher_temperature']:g}")
    images = "unchanged images, kept in a file" if config["teacher_cache"] else "the images of each step"
    return [
        f"teacher: {model.path}, network {network}, embeddings of {length} numbers of {images}; the loss adds "
        + " and ".join(terms),
        *(f"teacher: {note}" for note in model.notes),
    ]
