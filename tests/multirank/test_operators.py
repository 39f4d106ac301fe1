"""What only some networks have, trained in a graph: the same on one rank and on two.

``shared`` is computed by the op for whole networks, which takes copies of what it has in another form; it normalises
over the images of a rank, so one rank takes the batch in two pieces. The others are computed by nodes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.networks import BY_NODES, SMALL
from tests.support.ranks import run_ranks

PROGRAM = Path(__file__).parent / "train_program.py"
NETWORKS = {**BY_NODES, "shared": SMALL["shared"]}
SETTINGS = {"emb_size": 5, "lr": 0.002, "train_iter": 5}


def batch_norm(name: str, ranks: int) -> dict[str, bool | int]:
    """Return the settings with which one rank and two normalise over the same images."""
    return {"sync_bn": True} if name in BY_NODES else {"gradient_accumulation": 2 // ranks}


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, list[tuple[int, float]]]]:
    results = {}
    for ranks in (1, 2):
        folder = tmp_path_factory.mktemp(f"ranks-{ranks}")
        runs = {
            name: {
                "config": SETTINGS | {"image_size": make().shapes["data"][-1]} | batch_norm(name, ranks),
                "small": name,
                "folder": str(folder / name),
            }
            for name, make in NETWORKS.items()
        }
        (results[ranks], *_) = run_ranks(PROGRAM, ranks, runs)
    return results


@pytest.mark.parametrize("name", NETWORKS)
def test_ranks_agree(losses, name):
    one, two = ([loss for _, loss in losses[ranks][name]] for ranks in (1, 2))
    assert len(one) == 5 and one[0] != one[-1]
    np.testing.assert_allclose(two, one, rtol=1e-4)
