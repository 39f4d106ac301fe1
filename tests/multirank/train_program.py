"""Rank program: short runs of the tiny network, one after the other in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.networks import BY_NODES, SMALL
from tests.support.tiny import read_losses, tiny_config, tiny_network, train


def main(runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what rank 0 logged for every run: name -> [(step, loss)].

    A run is {folder, config: keys that differ, network: options of the tiny network, or small: name of another one}.
    """
    losses = {}
    for name, run in runs.items():
        config = tiny_config(Path(run["folder"]), **run["config"])
        small = (SMALL | BY_NODES).get(run.get("small"))
        network = small() if small else tiny_network(**run.get("network", {}))
        trainer = train(config, network)
        if trainer.train_step.world.rank == 0:
            losses[name] = read_losses(config)
    return losses
