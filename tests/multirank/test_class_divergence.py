"""What a teacher's softmax over the classes adds to loss and gradients, on several ranks, against float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.divergence import CLASSES, WAYS, expected
from tests.support.ranks import run_ranks

PROGRAM = Path(__file__).with_name("divergence_program.py")
KINDS = {"replicated": "MarginSoftmaxHead", "all_rows": "MarginSoftmaxHead", "smoothing": "MarginSoftmaxHead"}


def assert_close(found: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("ranks", "names"),
    [
        (1, ["model_parallel", "subcenters"]),
        (2, ["replicated", "partial_fc", "bf16"]),
        (3, ["model_parallel", "copied_rows"]),
        *(
            pytest.param(ranks, [way], marks=pytest.mark.slow, id=f"{ranks}-{way}")
            for ranks in (1, 2, 3)
            for way in WAYS
        ),
    ],
)
def test_the_divergence_adds_the_loss_and_gradients_of_float64(ranks: int, names: list[str]) -> None:
    found = run_ranks(PROGRAM, ranks, names)
    for name in names:
        runs, way = [rank[name] for rank in found], WAYS[name]
        is_sharded = way.get("model_parallel", True)
        parts = runs if is_sharded else runs[:1]
        rows, classes = np.concatenate([run["own_rows"] for run in parts]), [run["taught"]["classes"] for run in parts]
        assert len(rows) == CLASSES and runs[0]["kind"] == KINDS.get(name, "PartialFCHead")
        value, by_embeddings, by_rows = expected(rows, np.concatenate(classes), way.get("taught", 1))
        for run in runs:
            without, taught = run["without"], run["taught"]
            assert taught["logged"] == pytest.approx(without["logged"], rel=1e-6)
            assert taught["loss"] - without["loss"] == pytest.approx(value, rel=1e-4)
            assert_close(taught["embeddings"] - without["embeddings"], by_embeddings)
        assert_close(np.concatenate([run["taught"]["rows"] - run["without"]["rows"] for run in parts]), by_rows)
