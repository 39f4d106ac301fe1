"""Verification files with false lengths: one line, quickly, without allocating the memory that they claim."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from data.verification.bin_file import write_bin
from tests.support.damage import read_all, require_clear

HUGE = 1 << 32
SHARED = 1 << 20  # bytes that a thousand images have in common
START = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tC\x01btR"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def dtype(name: str) -> bytes:
    state = b"(K\x04" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0Ntb"
    return b"cnumpy\ndtype\n(" + text(name) + b"K\0K\x01tR" + state


def array(name: str, shape: bytes, content: bytes) -> bytes:
    return START + b"(K\x01(" + shape + b"t" + dtype(name) + b"\x89C" + bytes([len(content)]) + content + b"tb"


def make_set(images: bytes, issame: bytes = b"](\x88e") -> bytes:
    return b"\x80\x05" + images + issame + b"\x86."


def shared_arrays() -> bytes:
    """A thousand arrays that are one piece of memory: 1 GB if each were copied."""
    content = b"B" + struct.pack("<I", SHARED) + bytes(SHARED) + b"q\0" + b"0"
    one = b"cnumpy.core.numeric\n_frombuffer\n(h\0" + dtype("u1") + b"(J" + struct.pack("<i", SHARED) + b"ttR"
    return b"\x80\x05" + content + b"](" + one * 1000 + b"e](" + b"\x88" * 500 + b"e\x86."


def shared_text() -> bytes:
    """A thousand images out of one text of Python 3's older protocols."""
    content = b"X" + struct.pack("<I", SHARED) + bytes(SHARED) + b"q\0" + b"0"
    one = b"c_codecs\nencode\n(h\0" + text("latin1") + b"tR"
    return b"\x80\x05" + content + b"](" + one * 1000 + b"e](" + b"\x88" * 500 + b"e\x86."


PAIR = b"](C\x01aC\x01be"
LIES = {
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", HUGE) + b"x.",
    "bytearray": b"\x80\x05\x96" + struct.pack("<Q", HUGE) + b"x.",
    "text": b"\x80\x04\x8d" + struct.pack("<Q", HUGE) + b"x.",
    "frame": b"\x80\x04\x95" + struct.pack("<Q", HUGE) + b"x.",
    "memo": b"\x80\x02}r" + struct.pack("<I", 1 << 30) + b".",
    "lists": b"\x80\x02" + b"]" * 1_000_000 + b".",
    "name": b"\x80\x02c" + b"x" * 1_000_000 + b"\ny\n.",
    "number": b"\x80\x02F" + b"x" * 1_000_000 + b"\n.",
    "zeros": make_set(b"](cbuiltins\nbytearray\nJ\0\0\0\x40\x85RC\x01be"),
    "pointers": make_set(array("O8", b"K\x02", struct.pack("<QQ", 0x4141414141, 0x4242424242))),
    "shape": make_set(b"](" + array("u1", b"J\xff\xff\xff\x7f", b"a") + b"C\x01be"),
    "axes": make_set(b"](" + array("u1", b"K\x01" * 200, b"a") + b"C\x01be"),
    "no_axes": make_set(array("u1", b"", b"a"), b"]"),
    "no_state": make_set(START, b"]"),
    "setup": make_set(b"](" + array("V8", b"K\x01", b"aaaaaaaa") + b"C\x01be"),
    "flag": make_set(PAIR, b"](" + text("y" * 100_000) + b"e"),
    "deep_flag": make_set(PAIR, b"](" + b"](" * 5000 + b"e" * 5000 + b"e"),
    "itself": b"\x80\x02]q\0(h\0h\0e.",
    "empty": b"",
    "arrays": shared_arrays(),
}


def test_lies_cost_no_memory(tmp_path: Path) -> None:
    for name, content in LIES.items():
        (tmp_path / f"{name}.bin").write_bytes(content)
    answers = read_all(tmp_path)
    require_clear(answers, {f"{name}.bin" for name in LIES})
    assert {kind for kind, *_ in answers.values()} == {"refused"}


def test_what_is_shared_is_held_once(tmp_path: Path) -> None:
    (tmp_path / "texts.bin").write_bytes(shared_text())
    array = np.zeros(SHARED, np.uint8)
    (tmp_path / "same.bin").write_bytes(pickle.dumps(([array] * 1000, [True] * 500), protocol=5))
    answers = read_all(tmp_path)
    assert {kind for kind, *_ in answers.values()} == {"read"}, answers


@pytest.mark.slow
def test_random_damage_is_never_more_than_one_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    images = [rng.integers(0, 256, 40, dtype=np.uint8) for _ in range(4)]
    write_bin(tmp_path / "good.bin", [image.tobytes() for image in images], [True, False])
    contents = [(tmp_path / "good.bin").read_bytes()]
    contents += [pickle.dumps((images, np.array([True, False])), protocol) for protocol in (0, 2, 5)]
    (tmp_path / "good.bin").unlink()
    for number in range(400):
        changed = bytearray(contents[number % len(contents)])
        for place in rng.integers(0, len(changed), 3):
            changed[place] = rng.integers(0, 256)
        length = rng.integers(1, len(changed)) if number % 5 == 0 else len(changed)
        (tmp_path / f"{number:03}.bin").write_bytes(changed[:length])
    require_clear(read_all(tmp_path), {path.name for path in tmp_path.iterdir()})
