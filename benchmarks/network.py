"""Write a network to files that the worker of any framework can read, so that all run the same one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from backbones import build_network
from backbones.graph.initializer import initial_arrays
from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError, lookup
from interchange.onnx.writer import write_onnx
from sample_config import default, generate_config, network

SEED = 1
# Each framework draws dropout differently; without it, equal losses show that all do the same work.
OUTPUT_WITHOUT_DROPOUT = {"E": "FC"}


def network_config(name: str) -> dict[str, Any]:
    """Return the config of network ``name`` without dropout.

    Raises:
        UserError: the network is unknown.
    """
    lookup(network, name, "network")
    config = dict(generate_config(name, default.dataset, default.loss))
    config["net_output"] = OUTPUT_WITHOUT_DROPOUT.get(config["net_output"], config["net_output"])
    return config


def describe_network(graph: NetworkGraph) -> dict[str, Any]:
    """Return ``graph`` as plain data for JSON: nodes in the order they run, each with its output's shape (no batch).

    Parameters are listed by MXNet name; ``decays``: whether weight decay applies (to weights and gammas).
    """
    nodes = [
        {
            "op": node.op,
            "name": node.name,
            "inputs": list(node.inputs),
            "attrs": dict(node.attrs),
            "shape": list(graph.shapes[node.name]),
        }
        for node in graph.nodes
    ]
    parameters = {
        name: {
            "shape": list(spec.shape),
            "trainable": spec.trainable,
            "auxiliary": spec.auxiliary,
            "decays": name.endswith(("_weight", "_gamma")),
        }
        for name, spec in graph.parameters().items()
    }
    return {"nodes": nodes, "parameters": parameters, "output": graph.output}


def list_convolutions(description: Mapping[str, Any]) -> list[dict[str, int]]:
    """Return the distinct convolutions of a described network, in the order they first run.

    Each has ``channels``, ``size`` (height and width of the input), ``filters``, ``kernel``, ``stride``, ``pad``,
    ``groups``, ``times`` (occurrences in the network) and ``first`` (1 if the input needs no gradient).
    """
    shapes = {node["name"]: node["shape"] for node in description["nodes"]}
    inputs = {node["name"] for node in description["nodes"] if node["op"] in ("input", "scale_shift")}
    counted: dict[tuple[tuple[str, int], ...], int] = {}
    for node in description["nodes"]:
        if node["op"] != "conv":
            continue
        channels, size, _ = shapes[node["inputs"][0]]
        attrs = {key: node["attrs"][key] for key in ("filters", "kernel", "stride", "pad", "groups")}
        first = int(node["inputs"][0] in inputs)
        key = tuple({"channels": channels, "size": size, **attrs, "first": first}.items())
        counted[key] = counted.get(key, 0) + 1
    return [{**dict(key), "times": times} for key, times in counted.items()]


def write_network(name: str, batch: int, folder: Path) -> dict[str, str]:
    """Write a network, its initial weights and one batch into ``folder``; return the paths by the job's keys.

    ``graph`` is JSON (see ``describe_network``), ``arrays`` an npz of float32 by MXNet name, ``onnx`` the project's
    export, ``batch`` an npz of ``images`` float32 [batch, 3, S, S] (whole numbers 0..255) and ``targets`` float32
    [batch, E].

    Raises:
        UserError: the network is unknown, or ``batch`` is below 2.
    """
    if batch < 2:
        raise UserError(f"--batch {batch} must be at least 2: the last layer normalises over the batch")
    graph = build_network(network_config(name))
    paths = {
        "graph": folder / f"{name}.json",
        "arrays": folder / f"{name}.npz",
        "onnx": folder / f"{name}.onnx",
        "batch": folder / f"{name}-batch.npz",
    }
    paths["graph"].write_text(json.dumps(describe_network(graph)))
    arrays = initial_arrays(graph, SEED)
    np.savez(paths["arrays"], **arrays)
    paths["onnx"].write_bytes(write_onnx(graph, arrays, {}).SerializeToString())
    random = np.random.default_rng(SEED)
    images = random.integers(0, 256, (batch, *graph.shapes[graph.nodes[0].name])).astype(np.float32)
    targets = random.standard_normal((batch, graph.embedding_size), np.float32)
    np.savez(paths["batch"], images=images, targets=targets)
    return {key: str(path) for key, path in paths.items()}
