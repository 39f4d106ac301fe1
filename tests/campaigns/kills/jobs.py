"""The commands that are killed, and what of their results must be the same afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import load_file

from tests.campaigns.small_runs import training, verification
from tests.support.ranks import free_port

STEPS = 40
_INTERVAL = 8  # steps between two snapshots, and between two verifications
# Names of files that differ between runs: processes, times.
_VARYING = re.compile(r"events\.out\.|\.log$")
_SPEED = re.compile(rb'"images_per_second": [0-9.]+')
_OF_VERIFICATION = ("step", "kind", "accuracy", "accuracy_std", "xnorm", "auc")

_BAGS = ("--images_per_identity", 3, "--train_batch_size", 12, "--triplet_bag_size", 24)

State = Callable[[Path], object]


@dataclass(frozen=True)
class Job:
    """A command, or one for each machine.

    Attributes:
        commands: the words after ``python`` of each machine, which write into the folder; the second argument is true
            when they run again.
        results: what must be the same as in an undisturbed run, by name.
        is_done: whether the results are complete.
        moments: what goes on that is worth killing, by name: what of it the folder shows (anything that is true, and
            not as it was when the command started), and for how many seconds about it lasts.
    """

    commands: Callable[[Path, bool], list[list[str]]]
    results: Callable[[Path], Mapping[str, object]]
    is_done: Callable[[Path], bool]
    moments: Mapping[str, tuple[State, float]]

    def state(self, moment: str, folder: Path) -> object:
        """Return what the folder shows of a moment now; false where that is nothing."""
        with contextlib.suppress(FileNotFoundError):  # something was renamed meanwhile
            return self.moments[moment][0](folder)
        return None

    def is_under_way(self, folder: Path) -> bool:
        """Return whether one of the moments has come."""
        return any(self.state(moment, folder) for moment in self.moments)


def _digest(path: Path) -> str:
    """Return the checksum of a file; speeds do not count."""
    return hashlib.sha256(_SPEED.sub(b"", path.read_bytes())).hexdigest()


def _files(folder: Path) -> dict[str, object]:
    """Every file that is the same in each run, by its place."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not _VARYING.search(path.name):
            found[str(path.relative_to(folder))] = _digest(path)
    return found


def _metrics(folder: Path) -> list[dict[str, object]]:
    """Return the complete lines of the metrics so far."""
    lines = []
    for path in folder.glob("log/*/metrics.jsonl"):
        lines += [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return lines


def _training_results(folder: Path) -> dict[str, object]:
    """Losses, verification and snapshots, and the names of everything that lies in the folders."""
    lines = _metrics(folder)
    losses = {line["step"]: line["loss"] for line in lines if line["kind"] == "train"}
    verified = {line["step"]: [line[key] for key in _OF_VERIFICATION] for line in lines if line["kind"] == "lfw"}
    results: dict[str, object] = {"losses": losses, "verification": verified}
    models = folder / "models"
    for path in sorted(models.rglob("*")):
        place = str(path.relative_to(models))
        if path.name == "backbone.safetensors":
            results |= {f"{place} {name}": value for name, value in _weights(path).items()}
        elif path.suffix == ".safetensors":
            results[place] = _digest(path)
        elif path.is_file():
            results[place] = "there"  # the manifest has times in it
    return results


def _weights(path: Path) -> dict[str, object]:
    """Return the checksum of the weights, and running statistics by name.

    Each snapshot of several ranks averages these. One more snapshot, because a run was asked to stop, therefore
    changes their last bits, and nothing else.
    """
    arrays = load_file(path)
    statistics = {name: array for name, array in arrays.items() if name.endswith(("_moving_mean", "_moving_var"))}
    digest = hashlib.sha256()
    for name in sorted(arrays.keys() - statistics.keys()):
        digest.update(name.encode() + arrays[name].tobytes())
    return {"weights": digest.hexdigest(), **statistics}


def _snapshots_in_work(folder: Path) -> frozenset[tuple[str, int]]:
    return frozenset((path.name, path.stat().st_ctime_ns) for path in folder.glob("models/*/.snapshot_*.tmp"))


def _steps_so_far(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("log/*/metrics.jsonl"))


def _step_to_verify(folder: Path) -> int:
    """Return the step whose verification is running; 0 if none is."""
    last = next(iter(_metrics(folder)[-1:]), {"kind": ""})
    return last["step"] if last["kind"] == "train" and last["step"] % _INTERVAL == 0 else 0


def _files_in_work(folder: Path) -> frozenset[str]:
    return frozenset(path.name for path in folder.rglob(".*.tmp-*"))


_TRAINING_MOMENTS = {"step": (_steps_so_far, 1.5), "snapshot": (_snapshots_in_work, 0.1)}


def _training(sets: Path, ranks: int, *flags: object, verified: bool = False, machines: int = 1) -> Job:
    moments = {**_TRAINING_MOMENTS, **({"verification": (_step_to_verify, 0.5)} if verified else {})}
    if verified:
        flags = (*flags, *verification(sets, _INTERVAL))

    def commands(folder: Path, again: bool) -> list[list[str]]:
        own = ("--iter_num_in_snapshot", _INTERVAL, "--device_num_per_node", ranks, *flags)
        words = training(sets, folder, STEPS, *own, *(("--resume", 1) if again else ()))
        if machines == 1:
            return [words]
        meeting = ["--num_nodes", str(machines), "--node_ips", ",".join(["127.0.0.1"] * machines)]
        # A machine waits so long for another that was killed before they have met.
        meeting += ["--master_port", str(free_port()), "--rank_timeout", "45"]
        return [[*words, *meeting, "--node_rank", str(node)] for node in range(machines)]

    return Job(commands, _training_results, lambda folder: any(folder.glob(f"models/*/snapshot_{STEPS}")), moments)


def _writing(output: str, last: str, *words: object) -> Job:
    """A command whose last argument is ``output`` in its folder; ``last`` is the file or folder that appears last."""
    return Job(
        lambda folder, _: [[*map(str, words), str(folder / output)]],
        _files,
        lambda folder: (folder / last).exists(),
        {"writing": (_files_in_work, 0.3)},
    )


def training_jobs(sets: Path) -> dict[str, Job]:
    """Return the trainings by name; ``sets`` is the folder of ``write_sets``."""
    partial = ("--partial_fc", 1, "--sample_ratio", 0.5)
    mapped = (*partial, "--fc7_storage", "mmap")
    return {
        "replicated": _training(sets, 2, "--model_parallel", 0),
        "model parallel": _training(sets, 2),
        "Partial FC": _training(sets, 2, *partial),
        "Partial FC, mapped files": _training(sets, 1, *mapped),
        "Partial FC, mapped bfloat16 files, 2 ranks": _training(sets, 2, *mapped, "--fc7_dtype", "bf16"),
        "triplet": _training(sets, 1, "--loss", "triplet", *_BAGS),
        "accumulation": _training(sets, 1, "--gradient_accumulation", 2),
        "AdamW": _training(sets, 1, "--optimizer", "adamw", "--lr", 0.001),
        "with verification": _training(sets, 1, *partial, verified=True),
        "two machines": _training(sets, 1, *partial, machines=2),
    }


def writing_jobs(sets: Path, model: Path) -> dict[str, Job]:
    """Return the other commands by name; ``model`` is a snapshot."""
    faces, convert = sets / "faces", "tools/dataset_convert/"
    of = ("--model_load_dir", model)
    verify = ("insightface_val.py", *of, *verification(sets, 1)[4:], "--device", "cpu", "--log_dir", sets / "log")
    parts = ("--num_part", 3)
    to_ofrecord = convert + "mx_recordio_2_ofrecord_shuffled_npart.py"
    merge, more = convert + "merge_datasets.py", sets / "more"
    identify = ("tools/evaluate/identify.py", *of, "--input", faces, "--device", "cpu", "--output")
    to_mxnet = ("tools/model_convert/oneflow_2_mxnet.py", "--of_model_dir", model, "--mxnet_save_prefix")
    embed = ("tools/embed.py", *of, "--input", faces, "--batch_size", 16, "--device", "cpu", "--output")
    return {
        "recordio to OFRecord": _writing(
            "out", "out/_SUCCESS", to_ofrecord, "--data_dir", faces, *parts, "--output_filepath"
        ),
        "pictures of a set": _writing(
            "out", "out", convert + "recordio_2_folder.py", "--data_dir", faces, "--output_dir"
        ),
        "merged sets": _writing("out", "out/_SUCCESS", merge, faces, more, "--ofrecord", 1, *parts, "--output"),
        "embeddings": _writing("faces.npz", "faces.npz", *embed),
        "evaluation": _writing("out", "out/scores.csv", *verify, "--report"),
        "identification": _writing("out", "out/confusions.jpg", *identify),
        "MXNet checkpoint": _writing("y1", "y1-symbol.json", *to_mxnet),
        "ONNX file": _writing("y1.onnx", "y1.onnx", "tools/oneflow2onnx.py", *of, "--onnx_path"),
    }
