"""What ends a training writes a snapshot first if it can."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import UserError
from ops.runtime.tensors import local_view
from settings.places import run_directory
from snapshots.reader import Snapshot
from tests.support.bad_images import BadSource
from tests.support.tiny import make_trainer, read_losses, tiny_config, tiny_network

FAILURE = "set: 3 of 12 embeddings hold NaN or Inf"


class FailingVerifier:
    """Fails at its second verification; may break the weights before."""

    def __init__(self, trainer: object, breaks: bool) -> None:
        self._trainer, self._breaks, self._runs = trainer, breaks, 0

    def run(self) -> list:
        self._runs += 1
        if self._runs == 1:
            return []
        if self._breaks:
            local_view(self._trainer.train_step.backbone.fc1_weight).fill_(float("nan"))
        raise UserError(FAILURE)


def end_early(folder: Path, breaks: bool = False, **changes: object) -> tuple[list[str], str]:
    """Return the names of the snapshots and the log of a run whose verification fails at step 4."""
    config = tiny_config(folder, validation_interval=2, **changes)
    trainer, source = make_trainer(config, tiny_network())
    trainer.verifier = FailingVerifier(trainer, breaks)
    with pytest.raises(UserError, match=FAILURE):
        trainer.run(source)
    log = (run_directory(config, config.log_dir) / "train.log").read_text()
    return sorted(path.name for path in run_directory(config, config.models_root).glob("*snapshot*")), log


@pytest.fixture(autouse=True)
def best_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.saving.BestSoFar.update", lambda self, accuracies: False)


def test_a_verification_that_fails_leaves_a_snapshot(tmp_path: Path) -> None:
    kept, log = end_early(tmp_path)
    assert kept == ["snapshot_4"]
    assert Snapshot.open(next(tmp_path.rglob("snapshot_4"))).about["position"] == 32
    assert log.splitlines()[-1].endswith(" stopped after step 4; resume with --resume 1")
    config = tiny_config(tmp_path, train_iter=6, resume=True)
    trainer, source = make_trainer(config, tiny_network())
    trainer.run(source)
    assert [step for step, _ in read_losses(config)] == [1, 2, 3, 4, 5, 6]


def test_without_snapshots_none_is_written(tmp_path: Path) -> None:
    assert end_early(tmp_path, ckpt=0)[0] == []


def test_weights_that_cannot_be_saved_are_said_and_the_cause_stays(tmp_path: Path) -> None:
    kept, log = end_early(tmp_path, breaks=True)
    assert [name for name in kept if not name.startswith(".")] == []
    assert "step 4 has no snapshot: fc1_weight holds NaN or Inf after step 4" in log


def run_bad(folder: Path, **changes: object) -> list[str]:
    """Return the snapshots of a run without a good image that could replace a bad one."""
    config = tiny_config(folder, **changes)
    trainer, _ = make_trainer(config, tiny_network())
    with pytest.raises(UserError, match="image .*: it is bad"):
        trainer.run(BadSource(range(93), 93, 31))
    return [path.name for path in run_directory(config, config.models_root).glob("*snapshot*")]


def test_a_run_that_did_nothing_leaves_no_snapshot(tmp_path: Path) -> None:
    assert run_bad(tmp_path) == []
