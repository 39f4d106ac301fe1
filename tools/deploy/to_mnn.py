"""Convert a model to MNN and check it on real faces.

    python tools/deploy/to_mnn.py --model_load_dir DIR --output y1.mnn

--precision float16 stores weights in half the bytes, int8 in a quarter; the computation stays in float32. The network
takes images [N, 3, S, S], RGB 0..255.
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
from deploy.registry import MNN, TO_MNN

STORAGE = {"float32": {}, "float16": {"half": True}, "int8": {"weight_bits": 8}}


def main() -> None:
    """Parse the command line, convert, check, and keep the result."""
    args = make_parser(__doc__, "the .mnn to write", list(STORAGE)).parse_args()
    check_conversion_flags(args, ".mnn")
    convert_and_check(
        make_task(
            args,
            precision=args.precision,
            label=f"MNN, weights {args.precision}",
            runtime=MNN,
            convert=lambda _, onnx_file, target: run_converter(TO_MNN, onnx_file, target, **STORAGE[args.precision]),
        )
    )


if __name__ == "__main__":
    run_command(main)
