"""A training on a .rec is bit for bit one on the parts that the converter makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.conversion.convert import convert_recordio
from tests.support.ranks import run_ranks
from tests.support.recordio_set import draw_faces, write_recordio
from tests.support.tiny import IMAGE_SIZE

PROGRAM = Path(__file__).parent / "source_program.py"
STEPS = 40


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same images as .rec and as three parts."""
    folder = write_recordio(tmp_path_factory.mktemp("faces"), draw_faces(90, 18, IMAGE_SIZE))
    convert_recordio(folder, folder / "parts", 3)
    return {"rec": folder, "parts": folder / "parts"}


@pytest.mark.parametrize("ranks", [1, 2])
def test_losses_are_the_same_bit_for_bit(places: dict[str, Path], tmp_path: Path, ranks: int) -> None:
    config = {"train_iter": STEPS, "num_workers": 1, "data_rand_mirror": True, "data_shift": 2.0}
    runs = {
        name: {"folder": str(tmp_path / name), "place": str(place), "config": config} for name, place in places.items()
    }
    logged = run_ranks(PROGRAM, ranks, runs)[0]
    assert [step for step, _ in logged["rec"]] == list(range(1, STEPS + 1))
    assert len({loss for _, loss in logged["rec"]}) == STEPS
    assert logged["rec"] == logged["parts"]
