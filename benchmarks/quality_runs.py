"""Trainings of bench_quality: their command lines, and running, resuming and reading them."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.quality_recipes import Recipe
from benchmarks.quality_sets import QualitySet
from common.errors import UserError
from common.files import atomic_file
from settings.complete import complete_config
from settings.config import Config
from settings.places import run_directory
from settings.train_command import resolve_train_config
from snapshots.layout import AVERAGE, snapshot_path

ROOT = Path(__file__).resolve().parents[1]
RESULT, CONSOLE, REPORT = "result.json", "console.log", "verification"
SNAPSHOTS = 4  # of a training, to resume from
_PLACES = ("dataset_dir", "val_dataset_dir", "val_protocols", "models_root", "log_dir", "resume")


class Form(NamedTuple):
    """The head of a training: Partial FC's ratio (1 is the full head), the type of the rows, the number of ranks."""

    ratio: str
    row_dtype: str
    ranks: int


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        data: its set.
        recipe: how it is trained.
        form: its head.
        seed: of all randomness.
        extra: words that end its command line.
        folder: what belongs to it.
    """

    data: QualitySet
    recipe: Recipe
    form: Form
    seed: str
    extra: tuple[str, ...]
    folder: Path

    @property
    def name(self) -> str:
        """Return what it is called: set, recipe, ratio, rows, ranks, seed."""
        return "-".join(map(str, (self.data.name, self.recipe.name, *self.form, self.seed)))

    @property
    def is_finished(self) -> bool:
        """Return whether its result is there."""
        return (self.folder / RESULT).is_file()

    @property
    def is_started(self) -> bool:
        """Return whether it was interrupted after a snapshot."""
        return any(self.folder.glob("models/*/snapshot_*"))

    def train_words(self) -> list[str]:
        """Return the command line of the training, without the program."""
        data, form = self.data, self.form
        flags = {
            **data.train_flags,
            "device": "cpu",
            "device_num_per_node": form.ranks,
            "train_iter": data.steps,
            "do_validation_while_train": 0,
            "iter_num_in_snapshot": -(-data.steps // SNAPSHOTS),
            "loss_print_frequency": min(20, data.steps),
            "partial_fc": int(float(form.ratio) < 1),
            "sample_ratio": form.ratio,
            "fc7_dtype": form.row_dtype,
            "seed": self.seed,
            "models_root": self.folder / "models",
            "log_dir": self.folder / "log",
            "resume": 1,
        }
        return [*_words(flags), *self.recipe.words(data.steps), *self.extra]

    def verify_words(self, snapshot: Path) -> list[str]:
        """Return the command line of the verification, without the program."""
        flags = {
            "model_load_dir": snapshot,
            **self.data.verify_flags,
            "val_batch_size": 100,
            "report": self.folder / REPORT,
            "log_dir": self.folder / "log",
            "device": "cpu",
        }
        return [*_words(flags), *self.recipe.verify]

    def settings(self) -> Config:
        """Return the settings of the training; its set must be there.

        Raises:
            UserError: a flag is unknown, or values are impossible.
        """
        return complete_config(resolve_train_config(self.train_words()), self.form.ranks, "cpu")


def _words(flags: Mapping[str, object]) -> list[str]:
    return [word for flag, value in flags.items() for word in (f"--{flag}", str(value))]


def check_flags(runs: Iterable[Run]) -> None:
    """Check the flags of the trainings, once for each recipe and set; the sets need not be there.

    Raises:
        UserError: a flag is unknown, or values are impossible; the message has all mistakes.
    """
    mistakes = []
    for run in {(each.data.name, each.recipe.name, each.form): each for each in runs}.values():
        words = run.train_words()
        for flag in ("--dataset_dir", "--name"):
            if flag in words:
                place = words.index(flag)
                del words[place : place + 2]
        try:
            complete_config(resolve_train_config(["--use_synthetic_data", "1", *words]), run.form.ranks, "cpu")
        except UserError as error:
            mistakes += [f"recipe '{run.recipe.name}': {line}" for line in str(error).splitlines()]
    if mistakes:
        raise UserError(*dict.fromkeys(mistakes))


def read_result(run: Run) -> dict[str, Any] | None:
    """Return the result of a finished training; None if it is not finished."""
    return json.loads((run.folder / RESULT).read_text()) if run.is_finished else None


def check_settings(run: Run, settings: Config) -> None:
    """Check that a run that was started before has these settings.

    Raises:
        UserError: it has others; the message names them.
    """
    path = run.folder / "settings.json"
    if not path.is_file():
        return
    old, new = json.loads(path.read_text()), json.loads(json.dumps(dict(settings)))
    others = [f"{key} {old[key]!r}, now {new[key]!r}" for key in old if key in new and old[key] != new[key]]
    if others:
        raise UserError(f"{run.folder} was trained with {'; '.join(others)}: use another --output or recipe name")


def settle(run: Run) -> None:
    """Resolve the settings of a training and write them beside its results, or compare them with those there.

    Raises:
        UserError: the folder is of a training with other settings.
    """
    settings = Config({key: value for key, value in run.settings().items() if key not in _PLACES})
    check_settings(run, settings)
    run.folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(run.folder / "settings.json", "w") as file:
        json.dump(dict(settings), file, indent=1, sort_keys=True)
    with atomic_file(run.folder / "command.txt", "w") as file:
        file.write(f"python insightface_train.py {subprocess.list2cmdline(run.train_words())}\n")


def perform(run: Run, keep_models: bool) -> dict[str, Any]:
    """Train, from the newest snapshot on if there is one, verify, write the result and return it.

    With ``ema_decay`` the average of the weights is verified.

    Raises:
        UserError: training or verification failed; its output is in the run's folder.
        KeyboardInterrupt: the training was interrupted.
    """
    settings = run.settings()
    _call("insightface_train.py", run.train_words(), run)
    models = run_directory(settings, run.folder / "models")
    last = snapshot_path(models, settings.train_iter)
    average = last / AVERAGE
    _call("insightface_val.py", run.verify_words(average if average.is_dir() else last), run)
    result = {
        "set": run.data.name,
        "recipe": run.recipe.name,
        "ratio": float(run.form.ratio),
        "row_dtype": run.form.row_dtype,
        "ranks": run.form.ranks,
        "seed": run.seed,
        "steps": settings.train_iter,
        **read_log(run_directory(settings, run.folder / "log") / "metrics.jsonl", settings.train_batch_size),
        **read_report(run.folder / REPORT, run.data.pairs),
    }
    with atomic_file(run.folder / RESULT, "w") as file:
        json.dump(result, file, indent=1)
    if not keep_models:
        shutil.rmtree(run.folder / "models")
    return result


def _call(program: str, words: Sequence[str], run: Run) -> None:
    """Run a program of the project; its output goes to the run's folder.

    Raises:
        UserError: it failed; the message has the last line that it wrote.
        KeyboardInterrupt: it was interrupted.
    """
    console = run.folder / CONSOLE
    with open(console, "a") as file:
        # In its own process group: Ctrl-C reaches this process alone, which passes it on once. A second signal would
        # end the training without a snapshot.
        command = [sys.executable, program, *words]
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file, preexec_fn=os.setpgrp)
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if code == 130:
        raise KeyboardInterrupt
    if code:
        said = [line for line in console.read_text(errors="replace").splitlines() if line.startswith("error")]
        raise UserError(f"{run.name}: {program} failed ({said[-1] if said else f'exit code {code}'}); see {console}")


def read_log(path: Path, batch: int) -> dict[str, Any]:
    """Return the losses of a training, and the seconds that its steps took, from metrics.jsonl."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    train = [line for line in lines if line["kind"] == "train"]
    steps = np.diff([0, *(line["step"] for line in train)])
    seconds = sum(count * batch / line["images_per_second"] for count, line in zip(steps, train, strict=True))
    return {"losses": [line["loss"] for line in train], "seconds": float(seconds)}


def read_report(folder: Path, pairs: str) -> dict[str, Any]:
    """Return accuracy, identification at rank 1 and which pairs are right, from the files of a verification."""
    found = json.loads((folder / "report.json").read_text())["sets"][pairs]
    protocols = json.loads((folder / "protocols.json").read_text())
    identified = next(numbers["rank_1"] for name, numbers in protocols.items() if name.startswith("identify"))
    with open(folder / "scores.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["set"] == pairs]
    return {
        "accuracy": found["accuracy"],
        "accuracy_std": found["accuracy_std"],
        "rank_1": identified,
        "folds": 1 + max(int(row["fold"]) for row in rows),
        "right": "".join(str(int(row["same"] == row["accepted"])) for row in rows),
    }
