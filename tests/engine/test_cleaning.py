"""The class rows of a snapshot as sub-centres."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from engine.cleaning import read_subcentres
from settings.places import run_directory
from tests.support.tiny import tiny_config, tiny_network, train


@pytest.mark.parametrize("centres", [1, 3])
def test_rows_are_subcentres_if_there_are_several_per_class(tmp_path: Path, centres: int) -> None:
    config = tiny_config(tmp_path, num_subcenters=centres, train_iter=1, save_last_snapshot=True)
    trainer = train(config, tiny_network())
    snapshot = str(run_directory(config, config.models_root) / "snapshot_1")
    found = read_subcentres(snapshot, 31)
    if centres == 1:
        assert found is None
        return
    weight = trainer.train_step.head.weight.numpy()
    np.testing.assert_array_equal(found, weight.reshape(31, 3, -1))
    with pytest.raises(UserError, match="sub-centres of 31 classes, but the set has 30"):
        read_subcentres(snapshot, 30)


def test_other_models_have_none(tmp_path: Path) -> None:
    assert read_subcentres(str(tmp_path / "a.onnx"), 31) is None
