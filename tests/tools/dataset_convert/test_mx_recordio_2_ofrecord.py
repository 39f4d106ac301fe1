from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from data.ofrecord.records import decode_train_record, list_parts, read_part
from data.recordio.property import Property, write_property

PLAIN = "mx_recordio_2_ofrecord"
SHUFFLED = "mx_recordio_2_ofrecord_shuffled_npart"
Faces = list[tuple[bytes, int]]


def read_all(folder: Path) -> Faces:
    return [decode_train_record(payload) for part in list_parts(folder) for _, payload in read_part(part)]


def test_plain(run_tool: Callable, recordio_dir: Path, faces: Faces, tmp_path: Path) -> None:
    result = run_tool(PLAIN, data_dir=recordio_dir, output_filepath=tmp_path / "out")
    assert (result.returncode, result.stderr) == (0, "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["_SUCCESS", "dataset.json", "part-00000"]
    assert read_all(tmp_path / "out") == faces
    info = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert (info["num_images"], info["num_classes"], info["image_size"], info["num_parts"]) == (9, 3, 32, 1)


@pytest.mark.parametrize("flag", ["num_part", "part_num"])
def test_shuffled(run_tool: Callable, recordio_dir: Path, faces: Faces, tmp_path: Path, flag: str) -> None:
    for name, workers in (("out", 2), ("again", 1)):
        flags = {"data_dir": recordio_dir, "output_filepath": tmp_path / name, flag: 4, "num_workers": workers}
        result = run_tool(SHUFFLED, **flags)
        assert (result.returncode, result.stderr) == (0, "")
    parts = list_parts(tmp_path / "out", 4)
    assert [part.name for part in parts] == [f"part-{number:05d}" for number in range(4)]
    assert [sum(1 for _ in read_part(part)) for part in parts] == [3, 2, 2, 2]
    found = read_all(tmp_path / "out")
    assert sorted(found) == sorted(faces) and found != faces
    for part in parts:
        assert part.read_bytes() == (tmp_path / "again" / part.name).read_bytes()
    assert (tmp_path / "out" / "_SUCCESS").exists()


def test_seeds_give_other_orders(run_tool: Callable, recordio_dir: Path, tmp_path: Path) -> None:
    for seed in (1, 2):
        run_tool(SHUFFLED, data_dir=recordio_dir, output_filepath=tmp_path / str(seed), num_part=1, seed=seed)
    assert read_all(tmp_path / "1") != read_all(tmp_path / "2")


def test_neither_index_nor_property(run_tool: Callable, recordio_dir: Path, faces: Faces, tmp_path: Path) -> None:
    (recordio_dir / "train.idx").unlink()
    (recordio_dir / "property").unlink()
    result = run_tool(PLAIN, data_dir=recordio_dir, output_filepath=tmp_path / "out")
    assert (result.returncode, result.stderr) == (0, "")
    assert read_all(tmp_path / "out") == faces
    info = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert (info["num_classes"], info["image_size"]) == (3, 32)


def test_output_is_never_overwritten(run_tool: Callable, recordio_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run_tool(PLAIN, data_dir=recordio_dir, output_filepath=tmp_path / "empty").returncode == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "empty").iterdir()}
    result = run_tool(PLAIN, data_dir=recordio_dir, output_filepath=tmp_path / "empty")
    assert result.returncode == 1 and result.stderr.startswith("error: ") and "complete conversion" in result.stderr
    assert result.stderr.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "empty").iterdir()} == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious").touch()
    result = run_tool(SHUFFLED, data_dir=recordio_dir, output_filepath=tmp_path / "other", num_part=2)
    assert result.returncode == 1 and "not an empty folder" in result.stderr
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["precious"]


@pytest.mark.parametrize(("tool", "flags"), [(PLAIN, {}), (SHUFFLED, {"num_part": 3, "num_workers": 2})])
def test_too_few_classes_in_property(
    run_tool: Callable, recordio_dir: Path, tmp_path: Path, tool: str, flags: dict[str, int]
) -> None:
    write_property(recordio_dir, Property(2, 32, 32))
    result = run_tool(tool, data_dir=recordio_dir, output_filepath=tmp_path / "out", **flags)
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert "is not below the 2 classes of its property file" in result.stderr and "key " in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]


def test_too_many_classes_in_property_is_a_warning(run_tool: Callable, recordio_dir: Path, tmp_path: Path) -> None:
    write_property(recordio_dir, Property(5, 32, 32))
    result = run_tool(PLAIN, data_dir=recordio_dir, output_filepath=tmp_path / "out")
    assert result.returncode == 0
    assert result.stderr.count("\n") == 1 and "says 5 classes, but the images show 3" in result.stderr
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["num_classes"] == 5


def test_damaged_record_leaves_nothing_behind(run_tool: Callable, recordio_dir: Path, tmp_path: Path) -> None:
    (recordio_dir / "train.idx").unlink()
    data = (recordio_dir / "train.rec").read_bytes()
    (recordio_dir / "train.rec").write_bytes(data[: len(data) // 2])
    result = run_tool(PLAIN, data_dir=recordio_dir, output_filepath=tmp_path / "out")
    assert result.returncode == 1 and "train.rec: truncated" in result.stderr and "byte" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]


def test_impossible_numbers_of_parts(run_tool: Callable, recordio_dir: Path, tmp_path: Path) -> None:
    for number, message in ((0, "--num_part 0 must be at least 1"), (10, "9 images, too few for 10 parts")):
        result = run_tool(SHUFFLED, data_dir=recordio_dir, output_filepath=tmp_path / "out", num_part=number)
        assert result.returncode == 1 and message in result.stderr


def test_a_file_of_another_name(run_tool: Callable, recordio_dir: Path, faces: Faces, tmp_path: Path) -> None:
    for suffix in ("rec", "idx"):
        (recordio_dir / f"train.{suffix}").rename(recordio_dir / f"train_0.{suffix}")
    result = run_tool(PLAIN, data_dir=recordio_dir, output_filepath=tmp_path / "out")
    assert result.returncode == 1 and "found train_0.rec: name the file with --rec" in result.stderr
    flags = {"rec": recordio_dir / "train_0.rec", "output_filepath": tmp_path / "out"}
    result = run_tool(PLAIN, data_dir=recordio_dir, **flags)
    assert result.returncode == 1 and "give either --data_dir" in result.stderr
    result = run_tool(PLAIN, **flags)
    assert (result.returncode, result.stderr) == (0, "")
    assert read_all(tmp_path / "out") == faces


def test_the_flags_for_faults(run_tool: Callable, recordio_dir: Path, faces: Faces, tmp_path: Path) -> None:
    index = (recordio_dir / "train.idx").read_text().splitlines(keepends=True)
    (recordio_dir / "train.idx").write_text("".join(index[1:]))
    data = (recordio_dir / "train.rec").read_bytes()
    (recordio_dir / "train.rec").write_bytes(data.replace(faces[4][0], b"x" * len(faces[4][0])))
    flags = {"data_dir": recordio_dir, "num_part": 1, "output_filepath": tmp_path / "out"}
    result = run_tool(SHUFFLED, **flags)
    assert result.returncode == 1 and "train.idx leaves out 1 of the 9 images" in result.stderr
    result = run_tool(SHUFFLED, **flags, ignore_idx=1)
    assert result.returncode == 1 and "1 of 9 images are bad (1 not decodable)" in result.stderr
    assert not (tmp_path / "out").exists()
    result = run_tool(SHUFFLED, **flags, ignore_idx=1, skip_bad=1)
    assert result.returncode == 0 and "1 image left out (1 not decodable), listed in rejected.csv" in result.stderr
    assert sorted(read_all(tmp_path / "out")) == sorted(face for row, face in enumerate(faces) if row != 4)
    result = run_tool(SHUFFLED, **{**flags, "output_filepath": tmp_path / "all"}, ignore_idx=0, no_decode=1)
    assert result.returncode == 0 and "they are not used" in result.stderr
    assert len(read_all(tmp_path / "all")) == 8
