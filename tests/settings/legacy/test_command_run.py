"""A command line of train_softmax.py, run as its users run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from data.image import encode_jpeg
from data.ofrecord.records import encode_train_record, write_record
from data.sources.synthetic import SyntheticSource
from data.verification.bin_file import write_bin

ROOT = Path(__file__).resolve().parents[3]
CLASSES, IMAGES, PAIRS = 5, 12, 10


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """What mx_recordio_2_ofrecord.py leaves beside the recordio, with one verification set."""
    folder = tmp_path / "faces"
    (folder / "ofrecord" / "train").mkdir(parents=True)
    source = SyntheticSource(max(IMAGES, 2 * PAIRS), CLASSES, 112, 3)
    faces = [encode_jpeg(source.read(i)[0]) for i in range(len(source))]
    with open(folder / "ofrecord" / "train" / "part-00000", "wb") as handle:
        for i in range(IMAGES):
            write_record(handle, encode_train_record(faces[i], i % CLASSES))
    write_bin(folder / "lfw.bin", faces[: 2 * PAIRS], [i % 2 == 0 for i in range(PAIRS)])
    (folder / "property").write_text(f"{CLASSES},112,112\n")
    return folder


@pytest.mark.slow
def test_a_command_line_of_train_softmax(data: Path, tmp_path: Path) -> None:
    flags = (
        f"--data-dir {data} --prefix {tmp_path}/models/first --network y1 --loss-type 4 --margin-m 0.4 --margin-s 32 "
        "--emb-size 64 --version-output GDC --per-batch-size 4 --lr 0.01 --lr-steps 2,3 --max-steps 3 --verbose 1 "
        "--ckpt 2 --target lfw,agedb_30 --use-deformable 0 --fc7-wd-mult 10 --rand-mirror 1"
    )
    done = subprocess.run(
        [sys.executable, str(ROOT / "insightface_train.py"), *flags.split(), "--log_dir", str(tmp_path / "log")],
        capture_output=True,
        text=True,
        timeout=600,
        env={name: value for name, value in os.environ.items() if name != "RANK"} | {"CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    notes = [line for line in done.stdout.splitlines() if line.startswith("note: ")]
    assert [line.split()[1] for line in notes] == ["a", "no", "--use_deformable", "in"]
    assert f"12 images of {CLASSES} classes, 3 steps an epoch, 3 steps in all on 1 rank(s)" in done.stdout
    rates = re.findall(r"lr=([\d.e-]+)\tstep=(\d)", done.stdout)
    assert rates == [("0.001", "3")]  # that of the third update, after the first of --lr-steps
    assert len(re.findall(r"\[lfw\]\[\d\]Accuracy-Flip", done.stdout)) == 3
    kept = sorted(path.name for path in (tmp_path / "models" / "y1-arc_loss-faces-first").iterdir())
    assert kept == ["snapshot_1", "snapshot_2", "snapshot_3"]
