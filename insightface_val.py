"""Verify a trained network on pairs of faces: ``python insightface_val.py --model_load_dir DIR --network r100``.

The model is a snapshot, FILE.onnx, PREFIX,EPOCH of an MXNet checkpoint, or FILE.pth.
Prints InsightFace's XNorm and Accuracy-Flip lines for every set; ``--report DIR`` writes report.json and pictures.
Several ``--model_load_dir``, or a pattern, compare models.
"""

from __future__ import annotations

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import sys
from pathlib import Path

from common.errors import UserError, run_command
from common.imports import importing
from interchange.image_input import InputFlags
from interchange.open_model import is_snapshot, open_model
from launch.devices import choose_device, is_rank
from launch.rank import RankReporter, inherited_settings, run_as_rank
from launch.supervisor import launch
from settings.config import Config
from settings.precision import check_bfloat16, check_bfloat16_device
from settings.verify_command import read_verify_command


def verify_as_rank(config: Config, reporter: RankReporter) -> None:
    """Verify as one of the ranks."""
    with importing():
        from engine.verify_models import verify  # here, so that the launching process stays free of OneFlow

    verify(config, reporter)


def main() -> int:
    """Resolve and check the settings, then start the ranks, or be one."""
    handed = inherited_settings()
    if handed is not None:
        run_as_rank(verify_as_rank, Config(handed), stops_at_once=True)
    command = read_verify_command(sys.argv[1:])
    device, ranks = choose_device(command.config)
    check_bfloat16_device(command.config, device)
    config = command.config.replaced(device=device)
    if is_rank():  # of oneflow.distributed.launch, which hands no settings on
        run_as_rank(verify_as_rank, config, stops_at_once=True)
    for notice in command.notices:
        print(f"note: {notice}")
    if command.translation:
        print(f"note: in the flags of this program: python insightface_val.py {command.translation}")
    if not config.val_targets:
        raise UserError("--val_targets is empty: name at least one verification set")
    with importing():
        from engine.group_report import check_group_files  # here, so that --help comes sooner
        from engine.verification_sets import check_evaluation

    check_group_files(config.groups, config.group_pairs)
    for notice in check_evaluation(config):
        print(f"note: {notice}")
    if config.use_bf16:
        for model in config.models:
            check_bfloat16(
                config, open_model(model, InputFlags() if is_snapshot(model) else InputFlags.of(config)).network
            )
    return launch(config, ranks, Path(config.log_dir) / "verification", sys.argv[1:], stops_at_once=True)


if __name__ == "__main__":
    run_command(main)
