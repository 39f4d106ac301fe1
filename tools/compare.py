"""Compare the faces of two photos with a trained model.

    python tools/compare.py A.jpg B.jpg --model_load_dir DIR --align 1 --report report

Prints cosine similarity and squared distance of the embeddings, and whether the photos show one person: at the
threshold of a report of ``insightface_val.py --report``, or at ``--threshold``. The embedding is f(image) +
f(mirrored image), or with ``--flip 0`` f(image); each has its own thresholds.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse

import numpy as np

from common.errors import UserError, run_command
from data.image_lists.places import FilePlace, load_face
from data.photos.detectors import open_detector
from data.photos.flags import add_face_flags, find_contradictions
from data.photos.photo import Fault
from data.photos.prepare import PhotoRules
from data.photos.walk import printable
from data.rejected import WRONG_SIZE
from engine.embedding_flags import add_device_flag, add_flip_flag
from evaluation.report_threshold import ReportThreshold, read_threshold
from evaluation.similarity import cosine_similarity, pair_distances
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
    parser.add_argument("photos", nargs=2, metavar="PHOTO", help="the two photos")
    parser.add_argument("--model_load_dir", required=True, help=FORMATS)
    add_input_flags(parser)
    add_face_flags(parser)
    add_flip_flag(parser)
    parser.add_argument("--report", default="", help="folder of a report on this model, which has the threshold")
    parser.add_argument("--set", default="", help="verification set of the report (default: its only one)")
    parser.add_argument(
        "--far", type=float, help="false accept rate of the report (default: the smallest that the set could measure)"
    )
    parser.add_argument("--threshold", type=float, help="one person above this cosine similarity, in place of --report")
    add_device_flag(parser)
    args = parser.parse_args()
    mistakes = {
        **dict.fromkeys(find_contradictions(args), True),
        "--report and --threshold contradict each other; give one": args.report and args.threshold is not None,
        "--set and --far need --report": (args.set or args.far is not None) and not args.report,
        f"--threshold {args.threshold} must be a cosine similarity, -1 to 1": args.threshold is not None
        and not -1 <= args.threshold <= 1,
    }
    if any(mistakes.values()):
        raise UserError(*(message for message, is_made in mistakes.items() if is_made))
    return args


def load_faces(photos: list[str], rules: PhotoRules) -> np.ndarray:
    """Return the faces, uint8 [2, 3, size, size], RGB.

    Raises:
        UserError: a photo cannot be used.
    """
    faces = [load_face(FilePlace(photo), rules) for photo in photos]
    problems = []
    for photo, face in zip(photos, faces, strict=True):
        if isinstance(face, Fault):
            hint = ""
            if face.reason == WRONG_SIZE:
                hint = f"; the model takes {rules.size}x{rules.size}: use --align 1, or --resize 1 if it is aligned"
            problems.append(f"{printable(photo)}: {face.reason}{f' ({face.details})' if face.details else ''}{hint}")
    if problems:
        raise UserError(*problems)
    return np.ascontiguousarray(np.stack(faces).transpose(0, 3, 1, 2))


def answer(cosine: float, threshold: ReportThreshold) -> str:
    """Return the line that says whether it is one person."""
    if cosine > threshold.cosine:
        return f"one person: {cosine:.4f} is above the threshold {threshold.cosine:.4f} ({threshold.origin})"
    return f"two people: {cosine:.4f} is not above the threshold {threshold.cosine:.4f} ({threshold.origin})"


def main() -> None:
    """Parse the command line, compare and print."""
    args = parse_arguments()
    model = open_model(args.model_load_dir, input_flags(args))
    model.print_notes()
    threshold = None
    if args.report:
        threshold = read_threshold(args.report, bool(args.flip), args.set, args.far, model.about)
    elif args.threshold is not None:
        threshold = ReportThreshold(args.threshold, "--threshold")
    size = describe_network(model.network)["input"]["height"]
    rules = PhotoRules(size, open_detector(args.detector) if args.align else None, bool(args.resize), min_size=0)
    images = load_faces(args.photos, rules)
    device, _ = choose_device({"device": args.device, "device_num_per_node": 1})
    from engine.embed_images import embed_faces  # here because OneFlow takes seconds, and mistakes are said before
    from engine.embedder import Embedder

    rows = embed_faces(Embedder.of(model, len(images), device), images, bool(args.flip))
    cosine, distance = (float(measure(rows[:1], rows[1:])[0]) for measure in (cosine_similarity, pair_distances))
    kind = "image + mirrored image" if args.flip else "image alone"
    print(f"cosine similarity {cosine:.4f}, squared distance {distance:.4f} ({kind})")
    if threshold is None:
        print("no threshold: give --report DIR of insightface_val.py, or --threshold COSINE")
    else:
        print(answer(cosine, threshold))


if __name__ == "__main__":
    run_command(main)
