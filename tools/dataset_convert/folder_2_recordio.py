"""Write a folder of photos, one folder in it for each person, as a training set in the layout of InsightFace.

``python tools/dataset_convert/folder_2_recordio.py --input_dir photos --output_dir datasets/photos`` writes train.rec,
train.idx and property, and classes.txt with a line for each class, the name of its folder: classes are numbered in the
order of the names. The photos are aligned faces of --image_size (``112x112``) and are stored as they are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from common.errors import UserError, require, run_command
from common.files import atomic_directory
from common.progress import progress
from data.image import DecodeError, decode_image
from data.recordio_dataset import write_insightface_recordio

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def list_people(folder: Path) -> dict[str, list[Path]]:
    """Return the photos of each person, people and photos by name.

    Raises:
        UserError: no such folder, no people in it, or a person without a photo.
    """
    require(folder.is_dir(), f"--input_dir {folder} is no folder; expected one that holds a folder for each person")
    names = sorted(path for path in folder.iterdir() if path.is_dir())
    require(bool(names), f"--input_dir {folder} holds no folders; expected one for each person, with the photos in it")
    people = {
        path.name: sorted(photo for photo in path.iterdir() if photo.suffix.lower() in SUFFIXES) for path in names
    }
    for name, photos in people.items():
        require(bool(photos), f"{folder / name} holds no photo ({', '.join(SUFFIXES)}); add some or remove the folder")
    return people


def read_photo(path: Path, size: int) -> bytes:
    """Return the file's bytes.

    Raises:
        UserError: it cannot be read or decoded, or has another size.
    """
    try:
        encoded = path.read_bytes()
        decode_image(encoded, size)
    except (OSError, DecodeError) as error:
        raise UserError(f"{path}: {error}; align the faces first, or give their --image_size") from error
    return encoded


def write_dataset(people: dict[str, list[Path]], output: Path, size: int) -> int:
    """Write all files and return the number of images; ``output`` appears when they are complete."""

    def photos() -> Iterator[tuple[bytes, int]]:
        for label, paths in enumerate(progress(list(people.values()), desc="people", unit="person")):
            for path in paths:
                yield read_photo(path, size), label

    with atomic_directory(output) as directory:
        num_images = write_insightface_recordio(directory, photos(), len(people), size)
        (directory / "classes.txt").write_text("".join(f"{name}\n" for name in people))
    return num_images


def main() -> None:
    """Parse the command line and write the dataset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input_dir", required=True, help="folder that holds a folder of photos for each person")
    parser.add_argument("--output_dir", required=True, help="folder to make")
    parser.add_argument("--image_size", type=int, default=112, help="height and width of the photos (default: 112)")
    args = parser.parse_args()
    people = list_people(Path(args.input_dir))
    num_images = write_dataset(people, Path(args.output_dir), args.image_size)
    print(f"{args.output_dir}: {num_images} images of {len(people)} people, --num_classes {len(people)}")


if __name__ == "__main__":
    run_command(main)
