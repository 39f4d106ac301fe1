"""Small sets for the protocols on faces of ORL: a gallery with probes, a MegaFace, an IJB-C, pairs and their groups."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from data.drawn_faces import draw_face
from data.image import encode_jpeg
from data.verification.bin_file import write_bin
from tests.support import ijb_reference
from tests.support.strangers import orl

ALL = "identify:own,megaface:mega,ijb:IJBC,groups:groups.txt"
GROUP_OF = {"young": range(40), "old": range(40, 80)}


def write_sets(folder: Path, size: int) -> None:
    """Write ``own``, ``mega``, ``IJBC``, ``pairs.bin`` and ``groups.txt``; faces have ``size`` pixels on each side."""

    def face(person: int, number: int) -> np.ndarray:
        return cv2.resize(orl(person, number), (size, size), interpolation=cv2.INTER_AREA)

    for person in range(1, 7):
        for number in range(1, 5):
            place = folder / "own" / ("gallery" if number == 1 else "probes") / f"person {person}"
            place.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(place / f"{number}.png"), face(person, number))
    (folder / "own" / "probes" / "notes.txt").write_text("not a picture\n")

    names = {"facescrub": [], "megaface": []}
    for person in range(1, 6):
        for number in range(1, 4):
            names["facescrub"].append(f"P_{person}/P_{person}_{number}.png")
            write_png(folder / "mega" / "facescrub_images" / names["facescrub"][-1], face(person, number))
    for number in range(70):
        names["megaface"].append(f"{number % 3}/{number}@N01/{number}_0.png")
        drawn = draw_face(0, number, 0, size) if number < 20 else face(7 + number % 34, 5 + number % 5)
        write_png(folder / "mega" / "megaface_images" / names["megaface"][-1], drawn)
    for kind, lines in names.items():
        (folder / "mega" / f"{kind}_lst").write_text("".join(f"{line}\n" for line in lines))
    (folder / "mega" / "megaface_noises.txt").write_text(f"# noisy\n{names['megaface'][30]}\n")

    small = ijb_reference.make_set(2, 10)
    small.write(folder / "IJBC")
    (folder / "IJBC" / "loose_crop").mkdir()
    for number, ((name, *_), subject) in enumerate(zip(small.faces, small.subjects, strict=True)):
        picture = np.roll(orl(subject - 99, 1 + number % 10), number % 5, axis=1)
        cv2.imwrite(str(folder / "IJBC" / "loose_crop" / name), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])

    bins, rng = [], np.random.default_rng(0)
    for pair in range(40):
        one, other = 1 + rng.choice(6, 2, replace=False)
        bins += [encode_jpeg(face(one, 1 + pair % 5)), encode_jpeg(face(other if pair % 2 else one, 6 + pair % 4))]
    write_bin(folder / "pairs.bin", bins, [pair % 2 == 0 for pair in range(40)])
    lines = [f"{number} {group}\n" for group, numbers in GROUP_OF.items() for number in numbers]
    (folder / "groups.txt").write_text("".join(lines))


def write_png(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)
