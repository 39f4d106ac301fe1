"""The commands of docs/own_photos.md on a folder as a user has it: from photographs to the comparison of two photos."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

import sample_config
from data.photos.align import TEMPLATE
from data.photos.detectors import open_detector
from data.recordio.dataset import open_recordio
from tests.support.commands import ROOT, run
from tests.support.strangers import GBK_NAME, NAMES, write_strangers_folder

SHORT = {"--train_iter": "2", "--train_batch_size": "6"}


def documented_commands() -> list[list[str]]:
    """Return the words of the five commands, from the script on."""
    block = re.search(r"^```\n(.*?)^```$", (ROOT / "docs/own_photos.md").read_text(), re.DOTALL | re.MULTILINE)[1]
    return [shlex.split(line)[1:] for line in block.replace("\\\n", " ").splitlines()]


def test_no_command_names_another_dataset() -> None:
    commands = documented_commands()
    assert len(commands) == 5
    words = {word for command in commands for word in command}
    assert not words & {"--dataset", *sample_config.dataset}


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[subprocess.CompletedProcess]]:
    """The folder, and what each command printed; the training is cut to two steps."""
    folder = tmp_path_factory.mktemp("own")
    write_strangers_folder(folder, pictures=4)
    (folder / "others" / "other 16").rename(folder / "others" / "anna")
    (folder / "others" / "anna" / "photo 2.JPEG").rename(folder / "others" / "anna" / "2.jpg")
    (folder / "others" / "anna" / "1.png").rename(folder / "others" / "anna" / "1.jpg")
    results = []
    for script, *words in documented_commands():
        words = [re.sub(r"snapshot_\d+$", f"snapshot_{SHORT['--train_iter']}", word) for word in words]
        words = [SHORT.get(before, word) for before, word in zip(["", *words], words, strict=False)]
        results.append(run(script, *words, folder=folder))
    return folder, results


def test_the_dataset_has_every_face_and_says_what_was_left_out(chain: tuple) -> None:
    folder, results = chain
    mine = folder / "datasets" / "mine"
    lines = results[0].stdout.splitlines()
    # 15 people with 4 pictures, but one with 1, and two photographs.
    assert lines[0] == "datasets/mine: 59 images of 17 people"
    assert lines[-1] == "warning: no class for people without an image: group, nobody"
    classes = (mine / "classes.txt").read_bytes().split(b"\n")
    assert GBK_NAME in classes and NAMES[2].encode() in classes and b"astronaut" in classes
    with open(mine / "rejected.csv", encoding="utf-8", errors="surrogateescape", newline="") as handle:
        rejected = {file: reason for file, reason, _ in list(csv.reader(handle))[1:]}
    assert rejected == {
        ".ipynb_checkpoints": "hidden name",
        "Anna Berg/._1.jpg": "hidden name",
        "notes.txt": "belongs to no person",
        "Anna Berg/names.txt": "not decodable",
        "Jörg Müller/cut.jpg": "not decodable",
        "Jörg Müller/half.jpg": "no face",
        "group/album/t1.jpg": "several equal faces",
    }
    with open(mine / "images.csv", encoding="utf-8", errors="surrogateescape", newline="") as handle:
        files = [row["file"] for row in csv.DictReader(handle)]
    assert f"{os.fsdecode(GBK_NAME)}/1.png" in files and "hanks/album/Tom_Hanks_54745.png" in files
    assert cv2.imread(str(mine / "sheet.jpg")).shape[0] > 500


def test_faces_lie_on_the_template(chain: tuple) -> None:
    detect, distances = open_detector(), []
    for encoded, _ in open_recordio(chain[0] / "datasets" / "mine").read(range(0, 59, 6)):
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
        assert image.shape == (112, 112, 3)
        distances += [np.linalg.norm(face.landmarks - TEMPLATE, axis=1).mean() for face in detect(image)[:1]]
    assert len(distances) > 8 and np.mean(distances) < 5


def test_the_network_is_trained_verified_and_answers(chain: tuple) -> None:
    folder, results = chain
    _, drawn, trained, verified, compared = results
    assert drawn.stdout.startswith("datasets/mine/others.bin: 200 pairs of 80 photos, 100 of one person and 100 of two")
    assert "59 images of 17 classes" in trained.stdout and "snapshot_2" in trained.stdout
    report = json.loads((folder / "report" / "report.json").read_text())["sets"]["others"]
    assert report["pairs"] == 200 and f"{report['accuracy']:.5f}" in verified.stdout
    assert re.search(r"cosine similarity -?[01]\.\d+", compared.stdout)
