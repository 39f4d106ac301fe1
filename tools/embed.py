"""Embed images with a trained model and write the embeddings as one NumPy file.

    python tools/embed.py --model_load_dir DIR --input photos --align 1 --output photos.npz

--input is a folder of photos, at any depth; a text file with a path per line, perhaps followed by five landmarks; a
``.rec``, or the folder of train.rec; a folder of OFRecord parts; or a verification ``.bin``.

An embedding is f(image) + f(mirrored image), or with ``--flip 0`` f(image), as the model gives it, not normalised. A
command that was killed is taken up where it was; one that is complete is not repeated.

The file has the arrays embeddings, norms, names and about (model, checksums, preprocessing); labels if the images have
classes; issame of a ``.bin``.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse

from common.errors import UserError, run_command
from common.flag_checks import find_mistakes
from common.workers import add_workers_flag
from data.image_lists.images import list_images
from data.photos.detectors import open_detector
from data.photos.flags import add_face_flags, find_contradictions
from data.photos.prepare import PhotoRules
from data.photos.walk import require_outside
from data.recordio.options import RecordIOOptions
from engine.embedding_flags import add_batch_flags, add_flip_flag
from interchange.open_model import FORMATS, open_model
from launch.devices import choose_device
from settings.input_flags import add_input_flags, input_flags
from snapshots.layout import describe_network


def parse_arguments() -> argparse.Namespace:
    """Return the checked command line.

    Raises:
        UserError: a flag is out of range, or two contradict each other.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_load_dir", required=True, help=FORMATS)
    add_input_flags(parser)
    parser.add_argument("--input", required=True, help="folder of photos, list of paths, .rec, its folder, or .bin")
    parser.add_argument("--root", default="", help="folder that the paths of a list are relative to (default: its own)")
    parser.add_argument(
        "--ignore_idx", type=int, choices=(0, 1), help="1: read all records of a .rec; 0: only those of its .idx"
    )
    parser.add_argument(
        "--renumber_labels", type=int, choices=(0, 1), default=0, help="1: number the classes of a .rec 0, 1, 2, ..."
    )
    parser.add_argument("--output", required=True, help="the .npz to write")
    add_face_flags(parser)
    add_flip_flag(parser)
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="of the embeddings")
    parser.add_argument(
        "--skip_bad", type=int, choices=(0, 1), default=0, help="1: leave out images that cannot be used"
    )
    add_workers_flag(parser, "images prepared at a time")
    add_batch_flags(parser)
    args = parser.parse_args()
    mistakes = {
        **dict.fromkeys(find_contradictions(args), True),
        f"--output {args.output}: the name must end in .npz": not args.output.endswith(".npz"),
        **dict.fromkeys(find_mistakes(args, "model_load_dir", "input", "output"), True),
    }
    if any(mistakes.values()):
        raise UserError(*(message for message, is_made in mistakes.items() if is_made))
    return args


def main() -> None:
    """Parse the command line, embed, and say what was written."""
    args = parse_arguments()
    ignore_idx = None if args.ignore_idx is None else bool(args.ignore_idx)
    records = RecordIOOptions(ignore_idx, bool(args.renumber_labels), bool(args.skip_bad))
    images = list_images(args.input, args.root, records)
    if images.is_folder:
        require_outside(args.output, args.input, "--output")
    model = open_model(args.model_load_dir, input_flags(args))
    model.print_notes()
    device, _ = choose_device({"device": args.device, "device_num_per_node": 1})
    # Imported here because it takes seconds, and mistakes are said before.
    from engine.embed_images import EmbeddingTask
    from engine.embed_once import embed_once

    size = describe_network(model.network)["input"]["height"]
    rules = PhotoRules(size, open_detector(args.detector) if args.align else None, bool(args.resize), min_size=0)
    task = EmbeddingTask(
        images, rules, bool(args.flip), args.dtype, args.batch_size, args.num_workers, bool(args.skip_bad)
    )
    embed_once(args.output, model, task, device, images.left_out)


if __name__ == "__main__":
    run_command(main)
