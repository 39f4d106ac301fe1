"""Run every step on real faces: prepare, convert, train, verify, identify, export; then print a summary.

Trains MobileFaceNet with ArcFace on 30 people of the AT&T (ORL) faces, on two ranks that share the fc7 weight, and
verifies on the ten others. Existing outputs are kept: a second run does only the missing steps.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from common.errors import UserError, run_command
from data.verification.verification_set import load_verification_set
from evaluation.baseline import verify_pixels
from snapshots.layout import snapshot_path

ROOT = Path(__file__).resolve().parents[1]

FACES = Path("datasets/faces_orl")
TRAIN_PARTS = FACES / "ofrecord" / "train"
VERIFY_PARTS = FACES / "ofrecord" / "orl"
MODELS = Path("demo/models")
RUN = MODELS / "y1-arcface-orl"
REPORT = Path("demo/report/report.json")
PEOPLE = Path("datasets/orl_people")
IDENTIFICATION = Path("demo/identification/identification.json")
ONNX = Path("demo/y1.onnx")
LOGS = Path("demo/log")
RANKS = 2
STEPS = 150
SCHEDULE = {"train_iter": STEPS, "lr_steps": 130, "scales": 0.1}
# 300 photographs are soon overfitted, so they are augmented strongly; docs/data.md lists what was tried.
RECIPE = {
    "loss_s": 12,
    "data_shift": 10,
    "data_zoom": 0.15,
    "data_rotation": 15,
    "data_stretch": 0.15,
    "data_contrast": 0.2,
    "data_brightness": 0.15,
    "low_res_augmentation_prob": 0.3,
}


def run(title: str, script: str, **flags: object) -> None:
    """Run one of the project's commands and print it as a user would type it.

    Raises:
        UserError: the command failed (it has printed its own message).
    """
    command = [script, *(word for flag, value in flags.items() for word in (f"--{flag}", str(value)))]
    print(f"\n== {title}\n$ python {shlex.join(command)}", flush=True)
    start = time.perf_counter()
    code = subprocess.run([sys.executable, *command], cwd=ROOT).returncode
    if code:
        raise UserError(f"the step '{title}' failed (exit code {code}); `make demo` resumes from here")
    print(f"   {time.perf_counter() - start:.0f} s", flush=True)


def prepare() -> None:
    """Write the faces as InsightFace's recordio, then as OFRecord parts."""
    convert = "tools/dataset_convert"
    if not (ROOT / FACES / "property").is_file():
        run("prepare the faces", f"{convert}/orl_2_recordio.py", output_dir=FACES)
    if not (ROOT / TRAIN_PARTS / "_SUCCESS").is_file():
        run(
            "convert the training set",
            f"{convert}/mx_recordio_2_ofrecord_shuffled_npart.py",
            data_dir=FACES,
            output_filepath=TRAIN_PARTS,
            num_part=4,
        )
    if not (ROOT / VERIFY_PARTS / "_SUCCESS").is_file():
        run(
            "convert the verification set",
            f"{convert}/bin_2_ofrecord.py",
            data_dir=FACES,
            output_filepath=VERIFY_PARTS,
            dataset_name="orl",
        )
    if not (ROOT / PEOPLE).is_dir():
        run("write the photos of the ten others", f"{convert}/orl_2_recordio.py", people_dir=PEOPLE)


def train() -> Path:
    """Train, or resume an interrupted training; return the last snapshot."""
    last = snapshot_path(RUN, STEPS)
    if not (ROOT / last).is_dir():
        run(
            f"train y1 with arcface on {RANKS} ranks",
            "insightface_train.py",
            dataset="orl",
            network="y1",
            loss="arcface",
            **RECIPE,
            **SCHEDULE,
            device="cpu",
            device_num_per_node=RANKS,
            model_parallel=1,
            models_root=MODELS,
            log_dir=LOGS,
            resume=1,
        )
    return last


def verify_and_export(snapshot: Path) -> None:
    """Verify the snapshot, identify people with it, and export it to ONNX, unless the output is newer than it."""
    made = (ROOT / snapshot).stat().st_mtime
    if not _is_newer(REPORT, made):
        run(
            "verify",
            "insightface_val.py",
            model_load_dir=snapshot,
            network="y1",
            device="cpu",
            report=REPORT.parent,
            bad_cases=20,
            raw_pixels=1,
            val_protocols=f"identify:{PEOPLE}",
            log_dir=LOGS,
        )
    if not _is_newer(IDENTIFICATION, made):
        shutil.rmtree(ROOT / IDENTIFICATION.parent, ignore_errors=True)  # embeddings of an earlier snapshot
        run(
            "identify the ten others, one gallery photo each",
            "tools/evaluate/identify.py",
            input=PEOPLE,
            gallery_per_person=1,
            model_load_dir=snapshot,
            output=IDENTIFICATION.parent,
            device="cpu",
        )
    if not _is_newer(ONNX, made):
        run("export", "tools/oneflow2onnx.py", model_load_dir=snapshot, onnx_path=ONNX)


def _is_newer(path: Path, moment: float) -> bool:
    return (ROOT / path).is_file() and (ROOT / path).stat().st_mtime > moment


def summarise(snapshot: Path, seconds: float) -> str:
    """Return the summary: the network's accuracy beside that of raw pixels, and the paths of all outputs."""
    faces = load_verification_set(ROOT / VERIFY_PARTS, "orl")
    pixels = verify_pixels("orl", faces.images, faces.index, faces.issame)
    network = json.loads((ROOT / REPORT).read_text())["sets"]["orl"]
    found = json.loads((ROOT / IDENTIFICATION).read_text())
    rows: Sequence[tuple[str, str]] = (
        ("verification, 900 pairs of 10 unseen people", ""),
        ("  raw pixels (baseline)", f"{pixels.accuracy:.2%} +- {pixels.accuracy_std:.2%}"),
        ("  y1 + arcface", f"{network['accuracy']:.2%} +- {network['accuracy_std']:.2%}"),
        ("  better by", f"{100 * (network['accuracy'] - pixels.accuracy):.2f} points"),
        (
            f"identification, {found['probes']} photos of {found['people']} people",
            f"{found['rank']['1']:.2%} at rank 1",
        ),
        ("faces, recordio and OFRecord", str(FACES)),
        ("snapshot", str(snapshot)),
        ("report and pictures", str(REPORT.parent)),
        ("raw pixels, bad cases, identification", str(REPORT.with_name("comparison.html"))),
        ("identification, mistakes as pictures", str(IDENTIFICATION.parent)),
        ("ONNX model", str(ONNX)),
        ("logs, metrics.jsonl, TensorBoard", str(LOGS / RUN.name)),
        ("time of this run", f"{seconds:.0f} s"),
    )
    return "\n== summary\n" + "\n".join(f"{name:<46}{value}" for name, value in rows)


def main() -> None:
    """Run the missing steps, then print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    start = time.perf_counter()
    prepare()
    snapshot = train()
    verify_and_export(snapshot)
    print(summarise(snapshot, time.perf_counter() - start))


if __name__ == "__main__":
    run_command(main)
