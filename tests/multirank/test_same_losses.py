"""Without BatchNorm the number of ranks and the form of the head change only rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sample_config
from settings.choices import TRIPLET_LOSSES
from tests.support.ranks import run_ranks

PROGRAM = Path(__file__).parent / "train_program.py"
STEPS = 8
SETTINGS = {"train_iter": STEPS, "total_img_num": 44}  # the second epoch begins within the sixth step
RUNS = {
    **{loss: {"config": {"loss": loss}} for loss in sample_config.loss},
    # Eight triplets a step; a bag lasts for six steps at most.
    **{loss: {"config": {"loss": loss, "train_batch_size": 24, "total_img_num": 93}} for loss in TRIPLET_LOSSES},
    "dropout": {"config": {"loss": "arcface"}, "network": {"dropout": 0.4}},
    "replicated": {"config": {"loss": "arcface", "model_parallel": False}},
    "replicated_softmax": {"config": {"loss": "softmax", "model_parallel": False}},
    "frozen": {
        "config": {"loss": "arcface", "freeze_backbone_steps": 3, "freeze_bn": True},
        "network": {"dropout": 0.4, "batch_norm": True},
    },
    "workers": {"config": {"loss": "nsoftmax", "num_workers": 1}},
}
TWINS = {
    "replicated": "arcface",
    "replicated_softmax": "softmax",
    "workers": "nsoftmax",
    "arc_loss": "arcface",  # they differ beyond theta = pi - m2, where random embeddings never are
}
# Compiling is slowest on 4 ranks, so the others are in the slow suite.
QUICK = {1: list(RUNS), 2: [*sample_config.loss, "dropout", "replicated", "frozen"], 4: ["softmax", "arcface"]}


def run_all(folder: Path, ranks: int, names: list[str]) -> dict[str, np.ndarray]:
    """Return the losses [STEPS] of each run."""
    runs = {
        name: {**RUNS[name], "config": SETTINGS | RUNS[name]["config"], "folder": str(folder / name)} for name in names
    }
    logged = run_ranks(PROGRAM, ranks, runs)[0]
    for name, lines in logged.items():
        assert [step for step, _ in lines] == list(range(1, STEPS + 1)), (ranks, name)
    return {name: np.array([loss for _, loss in lines]) for name, lines in logged.items()}


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, np.ndarray]]:
    return {n: run_all(tmp_path_factory.mktemp(f"ranks{n}"), n, names) for n, names in QUICK.items()}


@pytest.mark.parametrize(("ranks", "name"), [(n, name) for n, names in QUICK.items() for name in names if n > 1])
def test_ranks_agree(losses: dict[int, dict[str, np.ndarray]], name: str, ranks: int) -> None:
    np.testing.assert_allclose(losses[ranks][name], losses[1][name], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_agree_in_all_runs(losses: dict[int, dict[str, np.ndarray]], tmp_path: Path, ranks: int) -> None:
    names = [name for name in RUNS if name not in QUICK[ranks]]
    for name, sequence in run_all(tmp_path, ranks, names).items():
        np.testing.assert_allclose(sequence, losses[1][name], rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("ranks", "name"), [(n, name) for n, names in QUICK.items() for name in names if name in TWINS]
)
def test_form_and_workers_change_nothing(losses: dict[int, dict[str, np.ndarray]], name: str, ranks: int) -> None:
    np.testing.assert_allclose(losses[ranks][name], losses[ranks][TWINS[name]], rtol=1e-4)


@pytest.mark.parametrize("name", RUNS)
def test_other_settings_give_other_losses(losses: dict[int, dict[str, np.ndarray]], name: str) -> None:
    sequence = losses[1][name]
    assert len(np.unique(sequence)) == STEPS
    for other in RUNS:
        if TWINS.get(other, other) != TWINS.get(name, name):
            assert np.abs(losses[1][other] - sequence).max() > 1e-3, other
