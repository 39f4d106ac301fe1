"""Write a folder of photos, with one subfolder per person, as a training set in the layout of InsightFace.

``python tools/dataset_convert/folder_2_recordio.py --input_dir photos --output_dir datasets/photos`` writes train.rec,
train.idx and property, and classes.txt with the subfolder's name for each class: classes are numbered in the order of
the names. The photos are aligned faces of --image_size (``112x112``) and are stored unchanged.
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
from data.image import DecodeError, ImageSizeError, decode_image
from data.recordio_dataset import write_insightface_recordio

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def list_people(folder: Path) -> dict[str, list[Path]]:
    """Return the photos of each person; people and photos are sorted by name.

    Raises:
        UserError: ``folder`` is not a folder, has no subfolders, or a subfolder has no photos.
    """
    require(folder.is_dir(), f"--input_dir {folder} is not a folder; give one with a subfolder of photos per person")
    names = sorted(path for path in folder.iterdir() if path.is_dir())
    require(bool(names), f"--input_dir {folder} has no subfolders; expected one with photos per person")
    people = {
        path.name: sorted(photo for photo in path.iterdir() if photo.suffix.lower() in SUFFIXES) for path in names
    }
    for name, photos in people.items():
        require(bool(photos), f"{folder / name} contains no photo ({', '.join(SUFFIXES)}); add one or remove it")
    return people


def read_photo(path: Path, size: int) -> bytes:
    """Return the bytes of a photo.

    Raises:
        UserError: the photo cannot be read or decoded, or is not ``size`` x ``size`` pixels.
    """
    try:
        encoded = path.read_bytes()
        decode_image(encoded, size)
    except ImageSizeError as error:
        raise UserError(f"{path}: {error}; align the faces first, or set --image_size to their size") from error
    except (OSError, DecodeError) as error:
        raise UserError(f"{path}: {error}; replace or remove the file") from error
    return encoded


def write_dataset(people: dict[str, list[Path]], output: Path, size: int) -> int:
    """Write all files and return the number of images; ``output`` appears once they are complete."""

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
    parser.add_argument("--input_dir", required=True, help="folder with one subfolder of photos per person")
    parser.add_argument("--output_dir", required=True, help="folder to create")
    parser.add_argument("--image_size", type=int, default=112, help="height and width of the photos (default: 112)")
    args = parser.parse_args()
    people = list_people(Path(args.input_dir))
    num_images = write_dataset(people, Path(args.output_dir), args.image_size)
    print(f"{args.output_dir}: {num_images} images of {len(people)} people, --num_classes {len(people)}")


if __name__ == "__main__":
    run_command(main)
