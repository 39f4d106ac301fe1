from __future__ import annotations

import io
import mmap
import pickle
from pathlib import Path
from typing import Any

import pytest

from common.pickles import DamagedError, ForbiddenError, RestrictedUnpickler


class Plain:
    """What the reader below makes of everything."""


class Reader(RestrictedUnpickler):
    def find_class(self, module: str, name: str) -> Any:
        return Plain if name == "Plain" else super().find_class(module, name)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_is_read_from_memory_and_from_a_map(tmp_path: Path, protocol: int) -> None:
    value = {"a": [1, -2.5, True, None, 1 << 70, "ä"], "b": ((), (1, 2, 3, 4))}
    path = tmp_path / "a"
    path.write_bytes(pickle.dumps(value, protocol))
    assert RestrictedUnpickler(path.read_bytes()).load() == value
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert RestrictedUnpickler(mapped).load() == value


def test_bytearrays_and_the_strings_of_python_2() -> None:
    assert RestrictedUnpickler(pickle.dumps(bytearray(b"ab"), 5)).load() == b"ab"
    assert RestrictedUnpickler(b"U\x02a\xff.", "bytes").load() == b"a\xff"


@pytest.mark.parametrize("content", [b"cos\nsystem\n.", pickle.dumps(io.BytesIO), b"(ios\nsystem\n.", b"\x82\x01."])
def test_classes_are_refused(content: bytes) -> None:
    with pytest.raises((ForbiddenError, DamagedError)):
        RestrictedUnpickler(content).load()


@pytest.mark.parametrize("content", [b"", b"\x80", b"]", b"N0.", b"h\x05.", b"I" + b"x" * 100_000 + b"\n."])
def test_damage_is_said_in_few_words(content: bytes) -> None:
    with pytest.raises(DamagedError) as caught:
        RestrictedUnpickler(content).load()
    assert len(str(caught.value)) <= 200


def test_a_state_changes_no_class() -> None:
    content = b"cx\nPlain\n(N}X\x04\0\0\0evilK\x01stb."
    assert Reader(content).load() is Plain
    assert not hasattr(Plain, "evil")
    assert pickle._Unpickler(io.BytesIO(content.replace(b"cx\n", f"c{__name__}\n".encode()))).load() is Plain
    assert Plain.evil == 1  # so does pickle's own
    del Plain.evil
