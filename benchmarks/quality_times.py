"""How long a training of bench_quality takes, from those that are finished."""

from __future__ import annotations

from collections.abc import Sequence

from backbones import build_network
from backbones.graph.flops import count_flops
from benchmarks.quality_runs import Run, read_result
from settings.complete import complete_config
from settings.train_command import resolve_train_config

FLOPS_PER_SECOND = 6e9  # forward, as y1 with 40 pixels has while training on two cores


def expected_seconds(run: Run, runs: Sequence[Run]) -> float:
    """Return the seconds of a training: the mean of finished ones of its set and length, else a guess from its work."""
    same = (each for each in runs if each.data is run.data and each.form.ranks == run.form.ranks)
    known = [result["seconds"] for result in map(read_result, same) if result is not None]
    if known:
        return sum(known) / len(known)
    words = ["--use_synthetic_data", "1"]
    places = ("dataset_dir", "name")
    for flag, value in run.data.train_flags.items():
        words += [] if flag in places else [f"--{flag}", str(value)]
    config = complete_config(resolve_train_config(words), 1, "cpu")
    return run.data.steps * config.train_batch_size * count_flops(build_network(config)) / FLOPS_PER_SECOND
