"""Convert a model to ncnn and check it on real faces.

    python tools/deploy/to_ncnn.py --model_load_dir DIR --output y1_ncnn

Writes a folder with model.param, model.bin, and examples in C++ and Python with the names of input and output. Images
are RGB 0..255 without normalisation, which is inside. --precision bf16 is the file of float16 for a program that sets
``use_bf16_storage``: faster where the CPU has bfloat16, and other thresholds hold.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(dirname(realpath(__file__)))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

from pathlib import Path

from common.errors import run_command
from deploy.convert import convert_and_check, run_converter
from deploy.flags import check_conversion_flags, make_parser, make_task
from deploy.ncnn_examples import write_examples
from deploy.registry import NCNN, TO_NCNN
from deploy.source import Source


def main() -> None:
    """Parse the command line, convert, check, and keep the result."""
    args = make_parser(__doc__, "the folder to write", ["float16", "float32", "bf16"]).parse_args()
    check_conversion_flags(args)

    def convert(source: Source, onnx_file: Path, target: Path) -> None:
        run_converter(TO_NCNN, onnx_file, target / "model.param", half=args.precision != "float32")
        write_examples(target, source.size, args.precision)

    convert_and_check(
        make_task(
            args,
            precision=args.precision,
            label=f"ncnn, {args.precision}",
            runtime=NCNN,
            convert=convert,
            needs=[TO_NCNN],
            options={"precision": args.precision},
            file="model.param",
        )
    )
    print("input: RGB 0..255, no mean or norm; see example.py and example.cpp in the folder")


if __name__ == "__main__":
    run_command(main)
