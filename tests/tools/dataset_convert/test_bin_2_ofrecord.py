from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from data.ofrecord.records import decode_verification_record, read_dataset_info, read_part
from data.verification.bin_file import write_bin
from data.verification.verification_set import load_verification_set


def test_any_set(run_tool: Callable, faces: list[tuple[bytes, int]], tmp_path: Path) -> None:
    bins = [encoded for encoded, _ in faces[:4]]
    write_bin(tmp_path / "my_set.bin", bins, [True, False])
    flags = {"data_dir": tmp_path, "output_filepath": tmp_path / "out", "dataset_name": "my_set"}
    result = run_tool("bin_2_ofrecord", **flags)
    assert (result.returncode, result.stderr) == (0, "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["_SUCCESS", "dataset.json", "part-0"]
    records = [decode_verification_record(payload) for _, payload in read_part(tmp_path / "out" / "part-0")]
    assert records == list(zip(bins, [True, True, False, False], strict=True))
    assert read_dataset_info(tmp_path / "out") == {"num_images": 4, "num_pairs": 2, "num_same": 1, "num_parts": 1}
    converted = load_verification_set(tmp_path / "out", "my_set", 32)
    original = load_verification_set(tmp_path / "my_set.bin", "my_set", 32)
    np.testing.assert_array_equal(converted.images, original.images)
    np.testing.assert_array_equal(converted.issame, original.issame)
    result = run_tool("bin_2_ofrecord", **flags)
    assert result.returncode == 1 and "complete conversion" in result.stderr


def test_missing_set(run_tool: Callable, tmp_path: Path) -> None:
    result = run_tool("bin_2_ofrecord", data_dir=tmp_path, output_filepath=tmp_path / "out")
    assert result.returncode == 1 and result.stderr.startswith("error: ") and "lfw.bin cannot be read" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_set_without_pairs(run_tool: Callable, tmp_path: Path) -> None:
    write_bin(tmp_path / "lfw.bin", [], [])
    result = run_tool("bin_2_ofrecord", data_dir=tmp_path, output_filepath=tmp_path / "out")
    assert result.stderr == f"error: {tmp_path}/lfw.bin contains no pairs\n" and not (tmp_path / "out").exists()
