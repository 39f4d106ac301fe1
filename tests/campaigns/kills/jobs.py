"""The commands that are killed, and what of their results must be the same afterwards."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from data.verification.bin_file import write_bin
from tests.support.record_sets import small_faces, write_records

_PEOPLE, _IMAGES, _SIZE = 24, 4, 112
_STEPS = 18
# Names of files that differ between runs: processes, times.
_VARYING = re.compile(r"events\.out\.|rank.*\.log$|\.log$")


@dataclass(frozen=True)
class Job:
    """A command.

    Attributes:
        command: the words after ``python`` that write into the folder; the second argument is true when it runs again.
        results: what must be the same as in an undisturbed run, by name.
        is_done: whether the results are complete.
    """

    command: Callable[[Path, bool], list[str]]
    results: Callable[[Path], Mapping[str, object]]
    is_done: Callable[[Path], bool]


def write_sets(folder: Path) -> None:
    """Write what the jobs read: a recordio set with a verification set beside it, and a second recordio set."""
    faces = small_faces(_PEOPLE, _IMAGES, _SIZE)
    for name, own in (("faces", faces), ("more", faces[: len(faces) // 2])):
        people = 1 + max(label for _, label in own)
        write_records(folder / name, own, f"{people},{_SIZE},{_SIZE}")
    images = [encoded for encoded, _ in faces]
    pairs = (
        [images[4 * (i % _PEOPLE)] for i in range(20)],
        [images[4 * (i % _PEOPLE) + 1 + 7 * (i % 2)] for i in range(20)],
    )
    both = [image for pair in zip(*pairs, strict=True) for image in pair]
    write_bin(folder / "faces" / "lfw.bin", both, [i % 2 == 0 for i in range(20)])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _files(folder: Path) -> dict[str, object]:
    """Every file that is the same in each run, by its place; the others by name alone."""
    found = {}
    for path in sorted(folder.rglob("*")):
        place = str(path.relative_to(folder))
        if path.is_file() and not _VARYING.search(path.name):
            found[place] = _digest(path)
    return found


def _training_results(folder: Path) -> dict[str, object]:
    """Losses, verification and snapshots, and the names of everything that lies in the folders."""
    log = next((folder / "log").iterdir())
    lines = [json.loads(line) for line in (log / "metrics.jsonl").read_text().splitlines()]
    losses = {line["step"]: line["loss"] for line in lines if line["kind"] == "train"}
    verified = [
        {key: line[key] for key in ("step", "kind", "accuracy", "accuracy_std", "xnorm", "auc")}
        for line in lines
        if line["kind"] == "lfw"
    ]
    results: dict[str, object] = {"losses": losses, "verification": verified}
    models = folder / "models"
    for path in sorted(models.rglob("*")):
        place = str(path.relative_to(models))
        if path.suffix == ".safetensors":
            results[place] = _digest(path)
        elif path.is_file():
            results[place] = "there"  # the manifest has times in it
    return results


def _training(sets: Path, ranks: int, *flags: object) -> Job:
    def command(folder: Path, again: bool) -> list[str]:
        words = ["insightface_train.py", "--network", "y1", "--loss", "arcface", "--dataset", "emore"]
        words += ["--dataset_dir", sets / "faces", "--num_classes", _PEOPLE, "--train_batch_size", 12]
        words += ["--train_iter", _STEPS, "--iter_num_in_snapshot", 3, "--save_last_snapshot", 1, "--num_workers", 1]
        words += ["--loss_print_frequency", 1, "--lr_steps", 12, "--device", "cpu", "--device_num_per_node", ranks]
        words += ["--models_root", folder / "models", "--log_dir", folder / "log", "--do_validation_while_train", 0]
        words += [*flags, *(["--resume", 1] if again else [])]
        return [str(word) for word in words]

    return Job(command, _training_results, lambda folder: any(folder.glob(f"models/*/snapshot_{_STEPS}")))


def _writing(*words: object, done: str = "_SUCCESS") -> Job:
    """A command that writes the folder ``out``, and the file ``done`` in it last."""
    return Job(
        lambda folder, _: [str(word) for word in (*words, folder / "out")],
        _files,
        lambda folder: (folder / "out" / done).is_file(),
    )


def jobs(sets: Path) -> dict[str, Job]:
    """Return all jobs by name; ``sets`` is the folder of ``write_sets``."""
    partial = ("--partial_fc", 1, "--sample_ratio", 0.5)
    verified = ("--do_validation_while_train", 1, "--validation_interval", 3, "--val_targets", "lfw", "--nrof_folds", 2)
    faces = sets / "faces"
    convert = "tools/dataset_convert/"
    return {
        "replicated": _training(sets, 2, "--model_parallel", 0),
        "model parallel": _training(sets, 2),
        "Partial FC": _training(sets, 2, *partial),
        "Partial FC in mapped files": _training(sets, 2, *partial, "--fc7_storage", "mmap"),
        "bfloat16 class rows in mapped files": _training(
            sets, 2, *partial, "--fc7_storage", "mmap", "--fc7_dtype", "bf16"
        ),
        "triplet": _training(sets, 1, "--loss", "triplet", "--images_per_identity", 3),
        "accumulation": _training(sets, 2, "--gradient_accumulation", 2),
        "AdamW": _training(sets, 1, "--optimizer", "adamw", "--lr", 0.001),
        "with verification": _training(sets, 2, *partial, "--val_dataset_dir", faces, *verified),
        "recordio to OFRecord": _writing(
            convert + "mx_recordio_2_ofrecord_shuffled_npart.py",
            "--data_dir",
            faces,
            "--num_part",
            3,
            "--output_filepath",
        ),
        "merged sets": _writing(
            convert + "merge_datasets.py", faces, sets / "more", "--ofrecord", 1, "--num_part", 3, "--output"
        ),
    }
