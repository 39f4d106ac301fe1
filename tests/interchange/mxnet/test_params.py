from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from common.errors import UserError
from interchange.mxnet.params import MAGIC_V1, read_params, write_params

RNG = np.random.default_rng(0)
ARRAYS = {
    "arg:conv0_weight": RNG.normal(size=(4, 3, 3, 3)).astype(np.float32),
    "arg:fc1_gamma": np.ones(5, np.float32),
    "aux:bn0_moving_var": RNG.random(7).astype(np.float32),
}


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "uint8", "int32", "int8", "int64"])
def test_reads_what_mxnet_writes(tmp_path: Path, dtype: str) -> None:
    arrays = {name: (array * 3).astype(dtype) for name, array in ARRAYS.items()}
    mx.nd.save(str(tmp_path / "a.params"), {name: mx.nd.array(a, dtype=dtype) for name, a in arrays.items()})
    found = read_params(tmp_path / "a.params")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_mxnet_reads_what_is_written(tmp_path: Path, dtype: type) -> None:
    arrays = {name: array.astype(dtype) for name, array in ARRAYS.items()}
    write_params(tmp_path / "a.params", arrays)
    found = mx.nd.load(str(tmp_path / "a.params"))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == dtype
        np.testing.assert_array_equal(found[name].asnumpy(), array)
    mx.nd.save(str(tmp_path / "b.params"), {name: mx.nd.array(a, dtype=dtype) for name, a in arrays.items()})
    assert (tmp_path / "a.params").read_bytes() == (tmp_path / "b.params").read_bytes()


@pytest.mark.parametrize("magic", [MAGIC_V1, None], ids=["0.12", "before 0.12"])
def test_reads_the_layouts_of_old_versions(tmp_path: Path, magic: int | None) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    shape = struct.pack("<III", 2, 2, 3) if magic is None else struct.pack("<IIqq", magic, 2, 2, 3)
    body = shape + struct.pack("<iii", 1, 0, 0) + values.tobytes()
    name = b"arg:x"
    content = struct.pack("<QQQ", 0x112, 0, 1) + body + struct.pack("<QQ", 1, len(name)) + name
    (tmp_path / "a.params").write_bytes(content)
    np.testing.assert_array_equal(read_params(tmp_path / "a.params")["arg:x"], values)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("params") / "a.params"
    write_params(path, ARRAYS)
    return path.read_bytes()


def damage(whole: bytes, offset: int, layout: str, *values: int) -> bytes:
    piece = struct.pack(layout, *values)
    return whole[:offset] + piece + whole[offset + len(piece) :]


FIRST = 24  # where the first array starts
LIES = {
    "other magic": (0, "<Q", 0x113),
    "4 billion arrays": (16, "<Q", 1 << 32),
    "sparse": (FIRST + 4, "<i", 1),
    "4 billion axes": (FIRST + 8, "<I", 0xFFFFFFFF),
    "negative length": (FIRST + 12, "<q", -4),
    "huge length": (FIRST + 12, "<q", 1 << 40),
    "lengths whose product overflows": (FIRST + 12, "<qqqq", 1 << 62, 1 << 62, 1 << 62, 1 << 62),
    "unknown type": (FIRST + 12 + 4 * 8 + 8, "<i", 99),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_are_one_line_and_cost_no_memory(tmp_path: Path, whole: bytes, lie: str) -> None:
    path = tmp_path / "a.params"
    path.write_bytes(damage(whole, *LIES[lie]))
    tracemalloc.start()
    with pytest.raises(UserError, match="is damaged at byte") as caught:
        read_params(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    assert peak < 1 << 20


def test_every_cut_is_found(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "a.params"
    for length in range(1, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="is damaged at byte"):
            read_params(path)


def test_no_file_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read .*expected an MXNet .params file"):
        read_params(tmp_path / "absent.params")
    (tmp_path / "empty.params").touch()
    with pytest.raises(UserError, match="is empty"):
        read_params(tmp_path / "empty.params")
