"""Train a face recognition network: ``python insightface_train.py --dataset emore --network r100 --loss arcface``.

Settings come from config.py (a copy of sample_config.py) or sample_config.py; most keys are flags too, see --help.
The command starts its own ranks (``--device_num_per_node``), and also runs under ``oneflow.distributed.launch``.
"""

from __future__ import annotations

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import sys

from common.errors import run_command
from common.imports import importing
from launch.devices import choose_device, is_rank, world_size
from launch.rank import RankReporter, inherited_settings, run_as_rank
from launch.supervisor import launch
from settings.complete import complete_config
from settings.config import Config
from settings.places import run_directory
from settings.precision import describe_transfers
from settings.train_command import read_train_command


def train_as_rank(config: Config, reporter: RankReporter) -> None:
    """Train as one of the ranks; ``config`` is complete."""
    with importing():
        from engine.train import train  # here, so that the launching process stays free of OneFlow

    train(config, reporter)


def main() -> int:
    """Resolve and check the settings, then start the ranks, or be one."""
    handed = inherited_settings()
    if handed is not None:
        run_as_rank(train_as_rank, Config(handed))
    command = read_train_command(sys.argv[1:])
    device, ranks_here = choose_device(command.config)
    if is_rank():  # of oneflow.distributed.launch, which hands no settings on
        run_as_rank(train_as_rank, complete_config(command.config, world_size(), device))
    with importing():
        from engine.preflight import check_run  # here, so that --help and mistakes in flags come sooner

    ranks = ranks_here * command.config.num_nodes
    config = complete_config(command.config, ranks, device)
    for notice in (*command.notices, *describe_transfers(command.given, device)):
        print(f"note: {notice}")
    if command.translation:
        print(f"note: in the flags of this program: python insightface_train.py {command.translation}")
    check_run(config, ranks)
    return launch(config, ranks_here, run_directory(config, config.log_dir), sys.argv[1:])


if __name__ == "__main__":
    run_command(main)
