from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backbones.graph.initializer import initial_arrays
from tests.support.ranks import run_ranks
from tests.support.tiny import EMB_SIZE, tiny_network

PROGRAM = Path(__file__).parent / "embed_program.py"


@pytest.fixture(scope="module")
def results() -> dict[int, list[dict]]:
    return {ranks: run_ranks(PROGRAM, ranks) for ranks in (1, 2)}


def test_batches_are_a_multiple_of_the_ranks(results: dict[int, list[dict]]) -> None:
    assert [results[ranks][0]["batch_size"] for ranks in (1, 2)] == [5, 6]


def test_short_batches_are_padded_and_cut_again(results: dict[int, list[dict]]) -> None:
    assert results[1][0]["embeddings"].shape == (9, EMB_SIZE)
    assert np.isfinite(results[1][0]["embeddings"]).all()
    assert len(np.unique(results[1][0]["embeddings"], axis=0)) == 9
    assert results[1][0]["training"]


def test_ranks_embed_alike(results: dict[int, list[dict]]) -> None:
    for rank in results[2]:
        np.testing.assert_allclose(rank["embeddings"], results[1][0]["embeddings"], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(results[2][0]["embeddings"], results[2][1]["embeddings"])


def test_verification_is_the_same_on_all_ranks(results: dict[int, list[dict]]) -> None:
    name, pairs, accuracy, xnorm = results[1][0]["verification"]
    assert (name, pairs) == ("made_up", 6)
    for rank in results[2]:
        assert rank["verification"][:3] == (name, pairs, accuracy)
        assert rank["verification"][3] == pytest.approx(xnorm, rel=1e-5)
        assert rank["beats"] == 2  # 12 images in batches of 6


@pytest.mark.parametrize("ranks", [1, 2])
def test_statistics_are_averaged_and_nothing_else(results: dict[int, list[dict]], ranks: int) -> None:
    mean = np.arange(8) * np.mean([rank + 1 for rank in range(ranks)])
    for rank in results[ranks]:
        np.testing.assert_allclose(rank["statistics"]["bn0_moving_mean"], mean, rtol=1e-6)
        np.testing.assert_allclose(rank["statistics"]["bn0_moving_var"], np.full(8, (ranks + 1) / 2), rtol=1e-6)
        expected = initial_arrays(tiny_network(batch_norm=True), 1)
        for name, array in rank["unaveraged"].items():
            np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_the_compiled_graph_sees_the_averaged_statistics(results: dict[int, list[dict]]) -> None:
    for ranks in (1, 2):
        before, after = results[ranks][0]["embeddings"][:5], results[ranks][0]["after"]
        assert np.abs(before - after).max() > 1e-2
    np.testing.assert_array_equal(results[2][0]["after"], results[2][1]["after"])
