"""What the kernels plan to take: bytes of a training step, and of inference."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

from backbones import build_network
from backbones.execution.compiled import CompiledNetwork
from backbones.graph.masks import masks_by_node
from benchmarks.network import network_config
from engine.feature_maps import ELSEWHERE, HELD, USED_UP

BATCH = 16


def plan_training(name: str, bfloat16: bool, recompute: bool) -> dict[str, int]:
    """Return the bytes of the block of a step of network ``name``, by where the gradients are."""
    network = build_network(network_config(name))
    ops = CompiledNetwork(network, masks_by_node(network), bfloat16, recompute=recompute).ops
    count = sum(spec.trainable for spec in network.parameters().values())
    ways = {ELSEWHERE: (0, ""), HELD: (count, ""), USED_UP: (count, "1" * count)}
    return {
        gradients: replace(ops, used_up=used_up).measure_memory(BATCH, parameters=parameters)[0].block
        for gradients, (parameters, used_up) in ways.items()
    }


def plan_inference(name: str, bfloat16: bool) -> int:
    """Return the bytes that network ``name`` takes to embed images."""
    network = build_network(network_config(name))
    memory, _ = CompiledNetwork(network, masks_by_node(network), bfloat16).ops.measure_memory(BATCH, training=False)
    return memory.block + memory.copies


def main() -> None:
    """Print the bytes in bfloat16 of the networks of two lists of names: to train, to embed."""
    trained, embedding = (names.split(",") for names in sys.argv[1:])
    steps = {f"{name} {again}": plan_training(name, True, again) for name in trained for again in (False, True)}
    print(json.dumps({"steps": steps, "inference": {name: plan_inference(name, True) for name in embedding}}))


if __name__ == "__main__":
    main()
