"""config.py files in the manner of older sample_config.py files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from settings.train_command import TrainCommand, read_train_command

# The names of all files here. Values are neither our defaults nor those of the file without the key.
BASE = {
    "network.mine": {"net_name": "fresnet", "num_layers": 18},
    "dataset.mine": {"num_classes": 9000},
    "loss.mine": {"loss_name": "margin_softmax", "loss_m2": 0.5},
    "default": {"network": "mine", "dataset": "mine", "loss": "mine"},
    "config": {},
}
# Which one returns nothing, and copies the chosen entries in a different order, as theirs do.
GENERATE = """
def generate_config(net, data, kind):
    for entry in (dataset[data], loss[kind], network[net]):
        for key in entry:
            config[key] = entry[key]
            if key in default:
                default[key] = entry[key]
    config.network, config.dataset, config.loss = net, data, kind
    config.num_workers = 1
"""


def write(folder: Path, tables: dict[str, dict[str, Any]], generate: str = GENERATE) -> Path:
    """Write a config.py: an entry of ``tables`` is a table, or an entry of a table with its name."""
    lines = ["from easydict import EasyDict as edict"]
    lines += [f"{name} = edict()" for name in ("config", "default", "network", "dataset", "loss")]
    for table, entry in tables.items():
        lines += [f"{table} = edict()"] if "." in table else []
        lines += [f"{table}.{key} = {value!r}" for key, value in entry.items()]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.py").write_text("\n".join([*lines, generate]))
    return folder


def change(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the base's tables with entries changed; ``__`` stands for the dot of a table's name."""
    changed = {name.replace("__", "."): entry for name, entry in changes.items()}
    return {name: {**BASE.get(name, {}), **changed.get(name, {})} for name in {**BASE, **changed}}


def read(folder: Path, argv: str = "") -> TrainCommand:
    return read_train_command(argv.split(), folder)
