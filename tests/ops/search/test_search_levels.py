"""The loops of the search kernel compute the same for each instruction set that this processor has."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from common.compiling import locate_program, run_tool
from ops.native.build import LEVELS
from ops.native.requirements import locate_compiler
from ops.search.kernel import COMPILE_FLAGS, SHARED, SOURCES, build_library, default_cache

FEATURES = {"baseline": set(), "avx2": {"avx2", "fma"}, "avx512": {"avx2", "fma", "avx512f", "avx512bw", "avx512dq"}}
LANES, TILE_ROWS = 32, 256  # kGalleryPanel, kTileRows
FLOATS, INT = ctypes.c_void_p, ctypes.c_int64


class Loops(ctypes.Structure):
    """``TileLoops`` of ``tile.h``."""

    _fields_ = (
        ("probe_panel", INT),
        ("pack", ctypes.CFUNCTYPE(None, FLOATS, INT, INT, INT, FLOATS)),
        ("multiply", ctypes.CFUNCTYPE(None, FLOATS, FLOATS, INT, INT, FLOATS)),
        ("above", ctypes.CFUNCTYPE(ctypes.c_uint64, FLOATS, ctypes.c_float)),
        ("reaching", ctypes.CFUNCTYPE(ctypes.c_uint64, FLOATS, ctypes.c_float)),
        ("place", ctypes.CFUNCTYPE(None, FLOATS, ctypes.c_float, FLOATS)),
    )


class Sums(ctypes.Structure):
    """``RowSums`` of ``row_sums.h``."""

    _fields_ = (
        ("add", ctypes.CFUNCTYPE(None, FLOATS, ctypes.c_float, FLOATS, INT, FLOATS)),
        ("add_mean", ctypes.CFUNCTYPE(None, FLOATS, ctypes.c_float, INT, FLOATS)),
    )


@pytest.fixture(params=list(LEVELS))
def level(request: pytest.FixtureRequest) -> str:
    flags = set(Path("/proc/cpuinfo").read_text().split("flags", 1)[-1].split("\n", 1)[0].split())
    if not FEATURES[request.param] <= flags:
        pytest.skip(f"this processor has no {request.param}")
    return request.param


@pytest.fixture
def loops(level: str) -> Loops:
    library = ctypes.CDLL(str(build_library(default_cache())))
    return Loops.in_dll(library, f"_ZN11insightface{len(level)}{level}10kTileLoopsE")


def aligned(*shape: int) -> np.ndarray:
    memory = np.zeros(int(np.prod(shape)) + 16, np.float32)
    start = -memory.ctypes.data % 64 // 4
    return memory[start : start + int(np.prod(shape))].reshape(shape)


def test_products(loops: Loops) -> None:
    rng = np.random.default_rng(0)
    width, panel = 37, loops.probe_panel
    probes = rng.integers(-4, 5, (panel - 1, width)).astype(np.float32)
    gallery = rng.integers(-4, 5, (LANES + 5, width)).astype(np.float32)
    packed_probes, packed = aligned(width, panel), aligned(2, width, LANES)
    loops.pack(probes.ctypes.data, panel - 1, width, panel, packed_probes.ctypes.data)
    for number, rows in enumerate((LANES, 5)):
        loops.pack(gallery[number * LANES :].ctypes.data, rows, width, LANES, packed[number].ctypes.data)
    scores = aligned(12, TILE_ROWS)
    loops.multiply(packed_probes.ctypes.data, packed.ctypes.data, 2, width, scores.ctypes.data)
    assert np.array_equal(scores[: panel - 1, : LANES + 5], probes @ gallery.T)
    assert not scores[panel - 1, : 2 * LANES].any() and not scores[:panel, LANES + 5 : 2 * LANES].any()


def test_comparisons(loops: Loops) -> None:
    scores = np.random.default_rng(1).integers(-3, 4, 64).astype(np.float32)
    for compare, expected in ((loops.above, scores > 1), (loops.reaching, scores >= 1)):
        assert compare(scores.ctypes.data, 1.0) == sum(1 << int(place) for place in np.flatnonzero(expected))


def test_places(loops: Loops) -> None:
    scores = np.random.default_rng(2).uniform(-1.3, 1.3, 64).astype(np.float32)
    scores[:6] = -1, 1, 0, -0.0, 2**-15, -(2**-15)
    places = np.zeros(64, np.int32)
    loops.place(scores.ctypes.data, 32768.0, places.ctypes.data)
    assert np.array_equal(places, np.floor(scores * 32768.0).clip(-32768, 32768))


@pytest.mark.parametrize("width", [7, 16, 67])
def test_sums_round_each_product_and_addition(level: str, width: int) -> None:
    library = ctypes.CDLL(str(build_library(default_cache())))
    sums = Sums.in_dll(library, f"_ZN11insightface{len(level)}{level}8kRowSumsE")
    rows = np.random.default_rng(3).standard_normal((9, width), dtype=np.float32)
    total, expected = np.zeros(width, np.float32), np.zeros(width, np.float32)
    for row in rows:
        sums.add(row.ctypes.data, 0.3, rows.ctypes.data, width, total.ctypes.data)
        expected += row * np.float32(0.3)
    assert np.array_equal(total, expected)
    target = rows[0].copy()
    sums.add_mean(total.ctypes.data, 9.0, width, target.ctypes.data)
    assert np.array_equal(target, rows[0] + expected / np.float32(9)) and not total.any()


@pytest.mark.parametrize("name", ["tile", "row_sums"])
def test_no_function_is_merged_across_levels(tmp_path: Path, name: str) -> None:
    """A weak symbol is one that the linker merges: its AVX-512 code might run on an older processor."""
    level, target = list(LEVELS)[-1], str(tmp_path / "loops.o")
    flags = [*COMPILE_FLAGS, *LEVELS[level], f"-DINSIGHTFACE_LEVEL={level}", f"-I{SOURCES}", f"-I{SHARED}", "-O0"]
    run_tool([locate_compiler(), *flags, "-c", str(SOURCES / f"{name}.simd.cpp"), "-o", target])
    nm = locate_program(("nm",), "nm")
    listing = subprocess.run([nm, "-C", "--defined-only", target], capture_output=True, text=True, check=True).stdout
    kinds = {line.split(maxsplit=2)[1] for line in listing.splitlines()}
    assert kinds and not kinds & set("WwVvu"), listing
