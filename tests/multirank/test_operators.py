"""The operators that only some networks have, trained in a graph: the same on one rank and on two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.networks import BY_NODES
from tests.support.ranks import run_ranks

PROGRAM = Path(__file__).parent / "train_program.py"
SETTINGS = {"emb_size": 5, "lr": 0.002, "train_iter": 5, "sync_bn": True}


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, list[tuple[int, float]]]]:
    results = {}
    for ranks in (1, 2):
        folder = tmp_path_factory.mktemp(f"ranks-{ranks}")
        runs = {
            name: {
                "config": SETTINGS | {"image_size": make().shapes["data"][-1]},
                "small": name,
                "folder": str(folder / name),
            }
            for name, make in BY_NODES.items()
        }
        (results[ranks], *_) = run_ranks(PROGRAM, ranks, runs)
    return results


@pytest.mark.parametrize("name", BY_NODES)
def test_ranks_agree(losses, name):
    one, two = ([loss for _, loss in losses[ranks][name]] for ranks in (1, 2))
    assert len(one) == 5 and one[0] != one[-1]
    np.testing.assert_allclose(two, one, rtol=1e-4)
