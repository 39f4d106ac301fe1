"""Convert a model to TensorFlow Lite for LiteRT and check it on real faces.

    python tools/deploy/to_tflite.py --model_load_dir DIR --output y1.tflite

The network takes one image [1, S, S, 3], RGB 0..255. --precision float16 stores weights in half the bytes. onnx2tf
needs TensorFlow (2.5 GB): ``bash tools/deploy/setup_deploy.sh tflite`` installs it in an environment of its own.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(dirname(realpath(__file__)))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

from common.errors import run_command
from deploy.convert import convert_and_check, run_converter
from deploy.flags import check_conversion_flags, make_parser, make_task
from deploy.registry import LITERT, TO_TFLITE


def main() -> None:
    """Parse the command line, convert, check, and keep the result."""
    args = make_parser(__doc__, "the .tflite to write", ["float32", "float16"]).parse_args()
    check_conversion_flags(args, ".tflite")
    half = args.precision == "float16"
    convert_and_check(
        make_task(
            args,
            precision=args.precision,
            label=f"LiteRT, {args.precision}",
            runtime=LITERT,
            convert=lambda _, onnx_file, target: run_converter(TO_TFLITE, onnx_file, target, half=half),
            needs=[TO_TFLITE],
        )
    )


if __name__ == "__main__":
    run_command(main)
