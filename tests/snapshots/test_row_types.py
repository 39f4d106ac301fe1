"""Class rows of snapshots in float32 and in bfloat16: how they are stored, and each kind loaded into the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.bfloat16 import BFLOAT16
from common.errors import UserError
from ops import KERNELS
from settings.places import run_directory
from snapshots.layout import HeadShard
from snapshots.reader import Snapshot, newest_snapshot
from snapshots.writer import Contents, SnapshotWriter
from tests.support.bfloat16_reference import round_rows, widen_bits
from tests.support.tiny import tiny_config, tiny_network, train
from tools.merge_fc7 import merge_fc7

pytestmark = pytest.mark.skipif("oneDNN" not in KERNELS, reason=KERNELS)

CLASSES, SEED = 31, 1
FORM = {"partial_fc": True, "sample_ratio": 0.3, "lr": 0.05, "optimizer": "adamw", "save_last_snapshot": True}


def run(folder: Path, steps: int = 2, **changes: Any) -> Snapshot:
    """Train and return the last snapshot."""
    config = tiny_config(folder, train_iter=steps, **{**FORM, **changes})
    train(config, tiny_network())
    return Snapshot.open(newest_snapshot(run_directory(config, config.models_root)))


def still(folder: Path, given: Snapshot, **changes: Any) -> Snapshot:
    """Resume for a step that moves no row."""
    return run(folder, 3, lr=0.0, model_load_dir=str(given.path), **changes)


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Snapshot]:
    """A snapshot of each kind."""
    folder = tmp_path_factory.mktemp("row-types")
    return {dtype: run(folder / dtype, fc7_dtype=dtype) for dtype in ("float32", "bf16")}


def read_file(path: Path) -> dict[str, tuple[str, np.ndarray]]:
    """Return type and bytes of each array, by the description of safetensors files alone."""
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    kinds = {"F32": np.float32, "BF16": np.uint16}
    return {
        name: (
            facts["dtype"],
            np.frombuffer(whole[8 + length :][slice(*facts["data_offsets"])], kinds[facts["dtype"]]).reshape(
                facts["shape"]
            ),
        )
        for name, facts in header.items()
    }


def test_the_file_holds_two_bytes_a_number(snapshots: dict[str, Snapshot]) -> None:
    names = ["fc7_weight", "fc7_weight_momentum", "fc7_weight_variance"]
    for dtype, kind, size in (("float32", "F32", 4), ("bf16", "BF16", 2)):
        snapshot = snapshots[dtype]
        assert snapshot.about["fc7"]["dtype"] == dtype
        arrays = read_file(snapshot.path / "fc7-00000-of-00001.safetensors")
        assert list(arrays) == names
        assert all((k, array.nbytes) == (kind, CLASSES * 16 * size) for k, array in arrays.values())
    rows = snapshots["bf16"].head_rows(0, CLASSES)
    for name, (_, bits) in arrays.items():
        assert rows[name].dtype == np.float32
        np.testing.assert_array_equal(rows[name], widen_bits(bits))
        np.testing.assert_array_equal(snapshots["bf16"].head_rows(5, 9)[name], widen_bits(bits[5:9]))
    assert snapshots["bf16"].head_rows(0, 0)["fc7_weight"].shape == (0, 16)


def test_float32_rows_are_rounded_once(tmp_path: Path, snapshots: dict[str, Snapshot]) -> None:
    given, after = snapshots["float32"], still(tmp_path, snapshots["float32"], fc7_dtype="bf16")
    weight = given.head_rows(0, CLASSES)["fc7_weight"]
    bits = round_rows(weight, np.arange(CLASSES), "weight", SEED, 0)
    np.testing.assert_array_equal(after.head_rows(0, CLASSES)["fc7_weight"], widen_bits(bits))
    moments, kept = (s.head_rows(0, CLASSES)["fc7_weight_momentum"] for s in (given, after))
    expected = widen_bits(round_rows(moments, np.arange(CLASSES), "momentum", SEED, 0))
    unsampled = (kept == expected).all(axis=1)
    assert 15 < unsampled.sum() < CLASSES and moments[unsampled].any()


def test_bfloat16_rows_become_float32_exactly(tmp_path: Path, snapshots: dict[str, Snapshot]) -> None:
    given, after = snapshots["bf16"], still(tmp_path, snapshots["bf16"])
    assert after.about["fc7"]["dtype"] == "float32"
    before, now = (snapshot.head_rows(0, CLASSES) for snapshot in (given, after))
    np.testing.assert_array_equal(now["fc7_weight"], before["fc7_weight"])
    kept = (now["fc7_weight_momentum"] == before["fc7_weight_momentum"]).all(axis=1)
    assert 15 < kept.sum() < CLASSES and before["fc7_weight_momentum"][kept].any()


def test_merged_rows_are_float32(tmp_path: Path, snapshots: dict[str, Snapshot]) -> None:
    merge_fc7(snapshots["bf16"], "fc7_weight", tmp_path / "rows.npy")
    rows = np.load(tmp_path / "rows.npy")
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, snapshots["bf16"].head_rows(0, CLASSES)["fc7_weight"])


def test_rows_with_nan_are_never_written(tmp_path: Path) -> None:
    rows = np.zeros((5, 4), BFLOAT16)
    rows["bfloat16"][3, 1] = 0x7FC0
    writer = SnapshotWriter()
    with pytest.raises(UserError, match="fc7_weight holds NaN or Inf after step 7"):
        writer.start(tmp_path / "s", Contents({"step": 7}, {}), HeadShard(0, 1, 0, 5, {"fc7_weight": rows}), False)
        writer.finish()
    assert not (tmp_path / "s").exists()
