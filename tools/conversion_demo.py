"""Convert a trained model to MXNet and back, fine-tune it, export it to ONNX, and verify the results.

``python tools/conversion_demo.py`` takes the model of ``make demo`` (trained on two ranks) and shows each command:
OneFlow -> MXNet -> OneFlow, ten more steps on one rank, ONNX, and the verification of both files.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
from pathlib import Path

from common.errors import UserError, run_command
from snapshots.reader import newest_snapshot
from tools.demo import FACES, RECIPE, RUN, run

ROOT = Path(__file__).resolve().parents[1]

STEPS = 10
CONVERT = "tools/model_convert"


def convert(snapshot: Path, folder: Path, steps: int) -> None:
    """Run all commands on ``snapshot`` and write their outputs to ``folder``.

    Raises:
        UserError: ``folder`` exists already, or a command failed (it has printed its own message).
    """
    if (ROOT / folder).exists():
        raise UserError(f"{folder} exists already; remove it or choose another --output_dir")
    mxnet, back, tuned, onnx = folder / "mxnet" / "y1", folder / "from_mxnet", folder / "tuned", folder / "y1.onnx"
    check_bin = FACES / "orl.bin"
    run(
        "OneFlow -> MXNet, class centres included",
        f"{CONVERT}/oneflow_2_mxnet.py",
        of_model_dir=snapshot,
        mxnet_save_prefix=mxnet,
        mxnet_save_epoch=0,
        fc7=1,
        check_bin=check_bin,
    )
    run(
        "MXNet -> OneFlow",
        f"{CONVERT}/mxnet_2_oneflow.py",
        mxnet_load_prefix=mxnet,
        mxnet_load_epoch=0,
        of_model_dir=back,
        dataset="orl",
        check_bin=check_bin,
    )
    run(
        f"fine-tune for {steps} steps, now on one rank",
        "insightface_train.py",
        dataset="orl",
        network="y1",
        loss="arcface",
        **RECIPE,
        lr=0.005,
        train_iter=steps,
        device="cpu",
        device_num_per_node=1,
        model_load_dir=back,
        models_root=tuned,
        validation_interval=steps,
        log_dir=folder / "log",
    )
    newest = newest_snapshot(ROOT / tuned / RUN.name)
    if newest is None:
        raise UserError(f"training left no snapshot in {tuned}")
    run(
        "OneFlow -> ONNX",
        "tools/oneflow2onnx.py",
        model_load_dir=newest.relative_to(ROOT),
        onnx_path=onnx,
        check_bin=check_bin,
    )
    for title, model in (("the MXNet checkpoint", f"{mxnet},0"), ("the fine-tuned ONNX file", onnx)):
        run(
            f"verify {title}",
            "insightface_val.py",
            model_load_dir=model,
            network="y1",
            dataset="orl",
            device="cpu",
            log_dir=folder / "log",
        )


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_load_dir", default="", help="a y1 snapshot; default: the newest of make demo")
    parser.add_argument("--output_dir", default="demo/conversion", help="folder to write")
    parser.add_argument("--train_iter", type=int, default=STEPS, help="steps of the fine-tuning")
    args = parser.parse_args()
    newest = Path(args.model_load_dir) if args.model_load_dir else newest_snapshot(ROOT / RUN)
    if newest is None:
        raise UserError(f"{RUN} has no snapshot: run `make demo` first, or give --model_load_dir")
    convert(newest, Path(args.output_dir), args.train_iter)


if __name__ == "__main__":
    run_command(main)
