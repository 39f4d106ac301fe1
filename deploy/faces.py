"""Real faces: pairs to verify, images to compare embeddings of, and images to calibrate with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

import sample_config
from common.errors import UserError, require, shorten
from common.wording import counted
from data.image_lists.images import ImageList, list_images
from data.image_lists.places import load_face
from data.photos.photo import Fault
from data.photos.prepare import PhotoRules
from data.photos.walk import printable
from data.verification.verification_set import load_verification_set

ORL = "orl"
FOLDS = 10


@dataclass(frozen=True, eq=False)
class Faces:
    """Images on which results are compared.

    Attributes:
        source: the name under which they were opened.
        images: uint8 [M, 3, S, S], RGB.
        index: int64 [2N] into ``images``, the two sides of each pair; None if they are not pairs.
        issame: bool [N]; None if they are not pairs.
    """

    source: str
    images: np.ndarray
    index: np.ndarray | None = None
    issame: np.ndarray | None = None


def load_faces(source: str, size: int, images: int, seed: int = 0) -> Faces:
    """Load faces to compare results on.

    Args:
        source: ``orl``, the set of the demo (a folder of this name is ./orl); a .bin of pairs; or a set of images or
            a folder, without pairs.
        size: height and width of the images.
        images: how many of a set without pairs.
        seed: of the choice.

    Raises:
        UserError: they are not there, damaged, or of another size than ``size``.
    """
    path = Path(source)
    if source == ORL:
        place = Path(sample_config.dataset.orl.val_dataset_dir)
        found = place if place.is_dir() else place.parent / f"{ORL}.bin"
        require(found.exists(), f"--pairs orl: {found} is not there; make it with: make demo")
        return _pairs(source, found, size)
    if path.suffix == ".bin":
        require(path.is_file(), f"--pairs {source} does not exist; give orl, a .bin of pairs or a folder of faces")
        return _pairs(source, path, size)
    return Faces(source, load_sample(source, size, images, seed, "--pairs"))


def _pairs(source: str, path: Path, size: int) -> Faces:
    found = load_verification_set(path, path.stem if path.is_file() else ORL, size)
    pairs = len(found.issame)
    require(pairs >= FOLDS, f"--pairs {source} has {counted(pairs, 'pair')}; {FOLDS} are needed, one for each fold")
    return Faces(source, found.images, found.index, found.issame)


def load_sample(source: str, size: int, count: int, seed: int, flag: str) -> np.ndarray:
    """Return images of a set of any kind, uint8 [N, 3, size, size].

    Args:
        source: a folder, a ``.rec`` or its folder, OFRecord parts, a ``.bin`` or a list of paths.
        size: height and width; images of a folder are scaled to it.
        count: how many images; all if there are fewer.
        seed: the choice depends on it alone.
        flag: the flag that names the set, for messages.

    Raises:
        UserError: the set cannot be read, or one of the chosen images cannot be used.
    """
    try:
        listed = list_images(source)
    except UserError as error:
        raise UserError(*(line.replace("--input", flag, 1) for line in str(error).splitlines())) from error
    places = len(listed.places)
    chosen = np.sort(np.random.default_rng(seed).permutation(places)[:count]).tolist()
    rules = PhotoRules(size, None, listed.is_folder, min_size=0)
    faces = {number: load_face(listed.places[number], rules) for number in chosen}
    problems = [_describe(listed, number, face) for number, face in faces.items() if isinstance(face, Fault)]
    if problems:
        raise UserError(*shorten(problems, "bad images"))
    return np.ascontiguousarray(np.stack(list(faces.values())).transpose(0, 3, 1, 2))


def _describe(listed: ImageList, number: int, fault: Fault) -> str:
    details = f" ({fault.details})" if fault.details else ""
    return f"{listed.source}: {printable(str(listed.name(number)))}: {fault.reason}{details}"
