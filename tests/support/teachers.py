"""Teachers of the tiny network, and the distance to their embeddings in float64."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from backbones import build_network
from backbones.execution.backbone import Backbone
from backbones.graph.initializer import initial_arrays
from backbones.graph.network_graph import NetworkGraph
from engine.embedder import Embedder
from interchange.converted_snapshot import ConvertedModel, write_converted
from interchange.onnx.writer import write_onnx
from launch.world import join_world
from ops import flow
from tests.support.tiny import tiny_config, tiny_network


def write_teacher(path: Path, emb_size: int = 16, seed: int = 5) -> str:
    """Write a network as a file of another program, and return its name."""
    network = tiny_network(batch_norm=True, emb_size=emb_size)
    path.write_bytes(write_onnx(network, initial_arrays(network, seed), {}).SerializeToString())
    return str(path)


def write_taught_classes(path: Path, classes: int = 31, emb_size: int = 16, **head: np.ndarray) -> str:
    """Write y1 for small images with random class rows as a snapshot; return its name. ``head`` are further rows."""
    sizes = {"num_classes": classes, "emb_size": emb_size, "net_output": "FC"}
    config = {**tiny_config(path), **sizes}
    network = build_network(config)
    rows = np.random.default_rng(6).normal(0, 1, (classes, emb_size)).astype(np.float32)
    arrays = initial_arrays(network, 5)
    write_converted(path, ConvertedModel(config, network, arrays, {"fc7_weight": rows, **head}, []), {})
    return str(path)


def embed(network: NetworkGraph, arrays: Mapping[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """Return the embeddings of images, uint8 [N, S, S, 3], in inference mode."""
    world = join_world("cpu")
    backbone = Backbone(network, arrays).to_global(world.placement, flow.sbp.broadcast)
    return Embedder(backbone, world, len(images))(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def distance(student: np.ndarray, teacher: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the distance of embeddings [B, E] and [B, F] and its gradient by the first, in float64."""
    lengths = np.linalg.norm(student.astype(np.float64), axis=1, keepdims=True)
    student, teacher = student / lengths, teacher / np.linalg.norm(teacher.astype(np.float64), axis=1, keepdims=True)
    count = len(student)
    if student.shape[1] == teacher.shape[1]:
        value, by_unit = 1 - (student * teacher).sum() / count, -teacher / count
    else:
        difference = student @ student.T - teacher @ teacher.T
        np.fill_diagonal(difference, 0)
        value = (difference**2).sum() / (count * (count - 1))
        by_unit = 4 * difference @ student / (count * (count - 1))
    return value, (by_unit - (by_unit * student).sum(axis=1, keepdims=True) * student) / lengths
