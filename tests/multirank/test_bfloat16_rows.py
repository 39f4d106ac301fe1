"""Class rows in bfloat16 on several ranks: losses and gradients against float64, and the same bits on any number."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ops import KERNELS
from settings.places import run_directory
from snapshots.layout import snapshot_path
from snapshots.reader import Snapshot
from tests.support.bfloat16_reference import round_rows, widen_bits
from tests.support.head_cases import CASES, SEED, usual_embeddings
from tests.support.head_reference import HeadValues, compute_head
from tests.support.ranks import run_ranks
from tests.support.tiny import tiny_config

PROGRAM = Path(__file__).parent / "bfloat16_program.py"
TRAIN = Path(__file__).parent / "train_program.py"
CLASSES = 31
PAIRS = (("model_parallel", "softmax"), ("replicated", "softmax"), ("replicated", "arcface"), ("partial_fc", "arcface"))
STEPS, SAVED = 6, 3

pytestmark = pytest.mark.skipif("oneDNN" not in KERNELS, reason=KERNELS)


@functools.cache
def run_heads(ranks: int) -> list[dict[Any, Any]]:
    return run_ranks(PROGRAM, ranks)


def first_bits(name: str) -> np.ndarray:
    weight = next(case for case in CASES if case.name == name).weight()
    return round_rows(weight, np.arange(CLASSES), "weight", SEED, 0)


@functools.cache
def reference(name: str) -> HeadValues:
    """Return the head's values for the rows as they are stored."""
    case = next(case for case in CASES if case.name == name)
    weight, bias = widen_bits(first_bits(name)), np.zeros(CLASSES) if case.bias else None
    return compute_head(usual_embeddings(), weight, case.labels(), case.margin, case.scale, bias)


def join(results: list[dict[Any, Any]], pair: tuple[str, str], read: Any) -> np.ndarray:
    """Return what the ranks have of the rows, as one array; replicated rows are the same on all."""
    parts = [read(rank[pair]) for rank in results]
    if pair[0] == "replicated":
        assert len({part.tobytes() for part in parts}) == 1
        return parts[0]
    return np.concatenate(parts)[:CLASSES]


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_the_loss_is_that_of_the_stored_rows(ranks: int, pair: tuple[str, str]) -> None:
    results, (form, name) = run_heads(ranks), pair
    np.testing.assert_array_equal(join(results, pair, lambda rank: rank["first"]["weight"]), first_bits(name))
    if form == "partial_fc":
        return
    expected = reference(name)
    for rank in results:
        assert rank[pair]["loss"] == pytest.approx(expected.loss, rel=1e-5)
        assert rank[pair]["correct"] == expected.correct
    gradient = join(results, pair, lambda rank: rank["gradient"])
    np.testing.assert_allclose(gradient, expected.weight, rtol=0, atol=2e-5 * np.abs(expected.weight).max())
    for bias in results[0][pair]["bias"]:
        start = results[0][pair]["shard"]
        np.testing.assert_allclose(bias[: CLASSES - start], expected.bias[: len(bias)], rtol=0, atol=1e-5)


@pytest.mark.parametrize("ranks", [2, 4])
def test_updates_give_the_same_bits_on_any_number_of_ranks(ranks: int) -> None:
    for pair in PAIRS:
        for name in ("weight", "momentum", "variance"):
            one, several = (join(run_heads(n), pair, lambda rank: rank["last"][name]) for n in (1, ranks))  # noqa: B023
            np.testing.assert_array_equal(several, one, err_msg=f"{pair} {name}")
            assert (one != join(run_heads(1), pair, lambda rank: rank["first"][name])).any()  # noqa: B023


def test_rows_take_two_bytes_a_number() -> None:
    for ranks, rows in ((1, 31), (2, 16)):
        assert run_heads(ranks)[0]["partial_fc", "arcface"]["bytes"] == rows * 16 * 2


def run(folder: Path, **config: Any) -> dict[str, Any]:
    settings = {"train_iter": STEPS, "lr": 0.05, "fc7_dtype": "bf16", "save_last_snapshot": True, **config}
    return {"folder": str(folder), "config": settings}


def saved(folder: Path, step: int) -> Snapshot:
    config = tiny_config(folder)
    return Snapshot.open(snapshot_path(run_directory(config, config.models_root), step))


FORMS = {
    "partial_fc": {"partial_fc": True, "sample_ratio": 0.2},
    "replicated": {"model_parallel": False, "optimizer": "adamw", "lr": 0.01},
}


@pytest.mark.parametrize("form", FORMS)
def test_an_interrupted_run_repeats_every_bit(tmp_path: Path, form: str) -> None:
    """With Partial FC it resumes in memory-mapped files."""
    given = str(tmp_path / "straight" / "models" / "y1-arcface-orl" / f"snapshot_{SAVED}")
    resumed = {"fc7_storage": "mmap"} if form == "partial_fc" else {}
    runs = {
        "straight": run(tmp_path / "straight", iter_num_in_snapshot=SAVED, **FORMS[form]),
        "again": run(tmp_path / "again", model_load_dir=given, **FORMS[form], **resumed),
    }
    losses = run_ranks(TRAIN, 2, runs)[0]
    assert len({value for _, value in losses["straight"]}) == STEPS
    assert losses["again"] == losses["straight"][SAVED:]
    ends = [saved(tmp_path / name, STEPS) for name in runs]
    assert [end.about["fc7"]["dtype"] for end in ends] == ["bf16"] * 2
    rows = [end.head_rows(0, CLASSES) for end in ends]
    assert rows[0].keys() == rows[1].keys() >= {"fc7_weight", "fc7_weight_momentum"}
    for name in rows[0]:
        assert rows[0][name].tobytes() == rows[1][name].tobytes(), name
        assert not (rows[0][name].view(np.uint32) & 0xFFFF).any(), name
