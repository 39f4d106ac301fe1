"""Show the effect of each augmentation on some images: ``python tools/show_augment.py --output augment.png``.

Each row of the sheet is one augmentation, applied to every image with different random numbers; the last two rows are
the recipes of InsightFace and of AdaFace with their probabilities, as drawn in training. The images are drawn faces, or
the first images of a training set (``--dataset_dir datasets/faces_emore``).
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from typing_extensions import override

from common.errors import UserError, require, run_command
from common.files import atomic_file
from common.wording import counted
from data.augmentations.color import ColorJitter, Photometric
from data.augmentations.crop import Crop
from data.augmentations.cutoff import Cutoff
from data.augmentations.exposure import Exposure
from data.augmentations.family import Family
from data.augmentations.geometry import Geometry
from data.augmentations.jpeg import Compression
from data.augmentations.low_resolution import LowResolution
from data.augmentations.warp import Warp
from data.drawn_faces import draw_face
from data.loading.augment import Augmentation
from data.sources.training_set import open_training_set

LABEL_WIDTH = 330
GAP = 6
CUTOFF = 56


class _Mirror(Geometry):
    """Mirrors every image."""

    @override
    def draw(self, seed: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
        return np.tile(np.float32([1, 0, 0, 1]), (len(indices), 1))


def list_rows(size: int) -> list[tuple[str, Sequence[Family]]]:
    """Return the label and the families of each row; all rows but the last two change every image."""
    cutoff = CUTOFF * size // 112
    insightface = Augmentation(color=2, cutoff=cutoff)
    adaface = Augmentation(crop=0.2, low_res=0.2, photometric=0.2)
    return [
        ("image", []),
        ("--data_rand_mirror 1", [_Mirror()]),
        ("--data_shift 6", [Geometry(mirror=False, shift=6)]),
        ("--data_zoom 0.2", [Geometry(mirror=False, zoom=0.2)]),
        ("--data_rotation 15", [Warp(rotation=15)]),
        ("--data_stretch 0.3", [Warp(stretch=0.3)]),
        ("--data_contrast 0.4", [Exposure(contrast=0.4)]),
        ("--data_brightness 0.4", [Exposure(brightness=0.4)]),
        ("--data_color 1", [ColorJitter()]),
        ("--data_color 2", [Compression(probability=1), ColorJitter()]),
        (f"--data_cutoff {cutoff}", [Cutoff(cutoff, probability=1)]),
        ("--crop_augmentation_prob", [Crop(1)]),
        ("--low_res_augmentation_prob", [LowResolution(1)]),
        ("--photometric_augmentation_prob", [Photometric(1)]),
        ("InsightFace: mirror, color 2, cutoff", insightface.families()),
        ("AdaFace: mirror, the three at 0.2", adaface.families()),
    ]


def apply_families(families: Sequence[Family], images: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
    """Apply ``families`` to the images; image i gets the random numbers of dataset image i."""
    changed = [image.copy() for image in images]
    for family in families:
        draws = family.draw(seed, 0, np.arange(len(images))).tolist()
        changed = [family.apply(image, draw) for image, draw in zip(changed, draws, strict=True)]
    return changed


def make_sheet(images: Sequence[np.ndarray], seed: int) -> np.ndarray:
    """Return the sheet, uint8 [H, W, 3] RGB, for images uint8 [S, S, 3]."""
    size = len(images[0])
    strips = []
    for text, families in list_rows(size):
        strip = np.full((size + GAP, LABEL_WIDTH + len(images) * (size + GAP), 3), 255, np.uint8)
        place = (GAP, (size + GAP) // 2)
        cv2.putText(strip, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        for i, image in enumerate(apply_families(families, images, seed)):
            left = LABEL_WIDTH + i * (size + GAP)
            strip[:size, left : left + size] = image
        strips.append(strip)
    return np.concatenate(strips)


def load_images(dataset_dir: str, count: int, size: int, seed: int) -> list[np.ndarray]:
    """Return uint8 [size, size, 3] images: the first images of a training set, or drawn faces without one.

    Raises:
        UserError: there are no images, the set is damaged, or an image has another size.
    """
    if not dataset_dir:
        return [draw_face(seed, person, 0, size) for person in range(count)]
    source = open_training_set(dataset_dir, image_size=size)
    return [source.read(i)[0] for i in range(min(count, len(source)))]


def main() -> None:
    """Parse the command line and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, help="the .png or .jpg to write")
    parser.add_argument(
        "--dataset_dir", default="", help="folder of OFRecord parts or with train.rec, or a .rec; empty: drawn faces"
    )
    parser.add_argument("--num_images", type=int, default=6, help="images in each row (default: 6)")
    parser.add_argument("--image_size", type=int, default=112, help="height and width of the images (default: 112)")
    parser.add_argument("--seed", type=int, default=1, help="seed of all random numbers (default: 1)")
    args = parser.parse_args()
    suffix = Path(args.output).suffix.lower()
    require(suffix in (".png", ".jpg", ".jpeg"), f"--output {args.output}: the name must end in .png or .jpg")
    require(args.num_images > 0, f"--num_images {args.num_images} must be at least 1")
    require(args.image_size >= 16, f"--image_size {args.image_size} must be at least 16")
    images = load_images(args.dataset_dir, args.num_images, args.image_size, args.seed)
    sheet = make_sheet(images, args.seed)
    done, encoded = cv2.imencode(suffix, cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if not done:
        raise UserError(
            f"{args.output}: {counted(len(images), 'image')} in a row are too wide for it; use a smaller --num_images"
        )
    with atomic_file(args.output) as file:
        file.write(encoded.tobytes())
    print(f"{args.output}: {len(list_rows(args.image_size))} rows of {counted(len(images), 'image')}")


if __name__ == "__main__":
    run_command(main)
