from __future__ import annotations

import pickle
import pickletools
import struct
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from data.verification.bin_file import read_bin, write_bin

BINS = [b"\xff\xd8 one", b"\xff\xd8 two", b"\xff\xd8 three", b"\xff\xd8 one"]
ISSAME = [False, True]


def python2_pickle() -> bytes:
    """What cPickle.dump((list of str, list of bool), f, protocol=2) wrote."""

    def string(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value  # SHORT_BINSTRING

    bins = b"](" + b"".join(string(value) for value in BINS) + b"e"
    return b"\x80\x02" + bins + b"](\x89\x88e" + b"\x86."


def python2_array_pickle() -> bytes:
    """The same with uint8 arrays, whose dtype arguments and contents are str."""

    def array(value: bytes) -> bytes:
        dtype = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        start = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
        content = b"T" + struct.pack("<i", len(value)) + value
        return start + b"(K\x01(" + b"K" + bytes([len(value)]) + b"t" + dtype + b"\x89" + content + b"tb"

    return b"\x80\x02](" + b"".join(array(value) for value in BINS) + b"e](\x89\x88e\x86."


def test_round_trip_and_plain_pickle(tmp_path: Path) -> None:
    write_bin(tmp_path / "a.bin", BINS, ISSAME)
    assert read_bin(tmp_path / "a.bin") == (BINS, ISSAME)
    with open(tmp_path / "a.bin", "rb") as handle:
        bins, issame = pickle.load(handle, encoding="bytes")  # as InsightFace's load_bin does
    assert (bins, issame) == (BINS, ISSAME)


def test_python2_pickles(tmp_path: Path) -> None:
    for number, data in enumerate((python2_pickle(), python2_array_pickle())):
        pickletools.dis(data, out=open("/dev/null", "w"))  # noqa: SIM115  (raises if malformed)
        path = tmp_path / f"{number}.bin"
        path.write_bytes(data)
        with pytest.raises(UnicodeDecodeError):
            pickle.loads(data)
        assert read_bin(path) == (BINS, ISSAME)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "content",
    [
        (BINS, ISSAME),
        ([np.frombuffer(item, np.uint8) for item in BINS], ISSAME),
        ([np.frombuffer(item, np.uint8).copy() for item in BINS], np.array(ISSAME)),
        ([np.frombuffer(item, np.uint8)[:, None] for item in BINS], ISSAME),  # of older versions of OpenCV
        ([bytearray(item) for item in BINS], [np.bool_(same) for same in ISSAME]),
        [tuple(BINS), tuple(int(same) for same in ISSAME)],
    ],
)
def test_every_protocol_and_kind_of_image(tmp_path: Path, content: object, protocol: int) -> None:
    (tmp_path / "a.bin").write_bytes(pickle.dumps(content, protocol=protocol))
    assert read_bin(tmp_path / "a.bin") == (BINS, ISSAME)


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    victim = tmp_path / "touched"
    (tmp_path / "a.bin").write_bytes(pickle.dumps((BINS, [Malicious(victim)])))
    with pytest.raises(UserError, match=r"a\.bin: refused to load '.*pathlib.*'"):
        read_bin(tmp_path / "a.bin")
    assert not victim.exists()


@pytest.mark.parametrize("call", [b"cposix\nsystem\n", b"c__builtin__\neval\n", b"cnumpy\nload\n", b"cos\nsystem\n"])
def test_forbidden_names_are_named(tmp_path: Path, call: bytes) -> None:
    (tmp_path / "a.bin").write_bytes(b"\x80\x02" + call + b"U\x01x\x85R.")
    with pytest.raises(UserError, match="refused to load"):
        read_bin(tmp_path / "a.bin")


def test_codecs_other_than_latin1_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00xX\x04\x00\x00\x00zlib\x86R.")
    with pytest.raises(UserError, match="refused to load"):
        read_bin(tmp_path / "a.bin")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BINS, "found a list of 4 entries, expected a pair"),
        (5, "found a int"),
        ({"images": BINS, "issame": ISSAME}, "found a dict of 2 entries"),
        ((BINS, [True]), "found 4 images and 1 flags; expected two images for each flag"),
        ((BINS, [True, True, False, False]), r"4 images and 4 flags, one for each image; .* 2: write issame\[::2\]"),
        ((ISSAME, BINS), "2 images and 4 flags; .* not the other way round"),
        ((5, ISSAME), "its images are a int"),
        ((["text", b"x"], [True]), "image 0 is a str"),
        (([b"x", np.zeros(3)], [True]), r"image 1 is a numpy array float64 \[3\]; expected the bytes"),
        ((np.zeros((4, 5, 7, 3), np.uint8), ISSAME), r"array uint8 \[5, 7, 3\], decoded pixels \(and 3 more"),
        (([np.zeros((9, 8, 3), np.float32)] * 2, [True]), r"image 0 is a numpy array float32 \[9, 8, 3\], decoded"),
        (
            (np.array([b"x", b"yy"], object), [True]),
            r"its images are a numpy array of Python objects \[2\]; write list",
        ),
        ((BINS, np.array(ISSAME, object)), r"its flags are a numpy array of Python objects \[2\]"),
        ((np.array([BINS, ISSAME], object)), r"found a numpy array of Python objects \[2\]"),
        (([b"x", np.array(b"y", object)], [True]), r"image 1 is a numpy array of Python objects \[\]"),
        ((np.array([b"x", b"yy"]), [True]), "refused to load 'numpy.dtype S2'"),
        (([b"x", b"y"], ["yes"]), "issame of pair 0 is 'yes'"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, content: object, message: str) -> None:
    (tmp_path / "a.bin").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=rf"a\.bin: .*{message}"):
        read_bin(tmp_path / "a.bin")


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    write_bin(tmp_path / "a.bin", BINS, ISSAME)
    (tmp_path / "a.bin").write_bytes((tmp_path / "a.bin").read_bytes()[:-10])
    with pytest.raises(UserError, match=r"a\.bin: not a verification \.bin"):
        read_bin(tmp_path / "a.bin")
    (tmp_path / "a.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"a\.bin is empty \(0 bytes\); copy it again$"):
        read_bin(tmp_path / "a.bin")
    with pytest.raises(UserError, match=r"b\.bin cannot be read"):
        read_bin(tmp_path / "b.bin")
