"""Loops compiled for several instruction sets: each level computes the same, and the best one is picked."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from common.compiling import locate_program
from ops.native import build
from ops.native.loader import open_loaded_library
from ops.native.requirements import locate_compiler

# Features in /proc/cpuinfo of each level, best level last.
FEATURES = {
    "baseline": set(),
    "avx2": {"avx2", "fma"},
    "avx512": {"avx2", "fma", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}


def supported_levels() -> list[str]:
    found = set(Path("/proc/cpuinfo").read_text().split("flags", 1)[-1].split("\n", 1)[0].split())
    return [level for level in build.LEVELS if FEATURES[level] <= found]


def symbol(*names: str) -> str:
    return "_ZN11insightface" + "".join(f"{len(name)}{name}" for name in names) + "E"


def table(level: str, name: str, size: int) -> list[int]:
    """Return the addresses of the functions in a level's table."""
    return list((ctypes.c_void_p * size).in_dll(open_loaded_library(), symbol(level, name)))


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.fixture(params=list(build.LEVELS))
def level(request: pytest.FixtureRequest, native: None) -> str:
    if request.param not in supported_levels():
        pytest.skip(f"this processor has no {request.param}")
    return request.param


@pytest.mark.parametrize("count", [1, 15, 64, 1001])
def test_arrays(level: str, count: int) -> None:
    addresses = table(level, "kArrayLoops", 5)
    prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    add, _, to_bfloat16, widen = (prototype(address) for address in addresses[:4])
    x, total = draw(count), np.ones(count, np.float32)
    add(pointer(total), pointer(x), count)
    np.testing.assert_array_equal(total, x + np.float32(1))
    rounded, back = np.zeros(count, np.uint16), np.zeros(count, np.float32)
    to_bfloat16(pointer(x), pointer(rounded), count)
    widen(pointer(rounded), pointer(back), count)
    np.testing.assert_allclose(back, x, rtol=2**-8)


@pytest.mark.parametrize("width", [1, 7, 64, 513])
def test_rows(level: str, width: int) -> None:
    addresses = table(level, "kRowLoops", 6)
    number, whole, address = ctypes.c_float, ctypes.c_int64, ctypes.c_void_p
    normalize = ctypes.CFUNCTYPE(None, address, whole, whole, number, address, address)(addresses[0])
    maximum = ctypes.CFUNCTYPE(number, address, whole)(addresses[4])
    x, y, squares = draw(5, width), np.zeros((5, width), np.float32), np.zeros(5, np.float32)
    normalize(pointer(x), 5, width, 1e-10, pointer(y), pointer(squares))
    exact = x.astype(np.float64)
    np.testing.assert_allclose(squares, (exact**2).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(y, exact / np.linalg.norm(exact, axis=1, keepdims=True), rtol=1e-5)
    assert maximum(pointer(x[0]), width) == x[0].max()


@pytest.mark.parametrize("channels", [3, 16, 40])
def test_channel_rows(level: str, channels: int) -> None:
    """y = PReLU((x - mean) * scale + shift) of the float32 table."""
    whole, address = ctypes.c_int64, ctypes.c_void_p
    apply_affine = ctypes.CFUNCTYPE(None, address, address, whole, whole, address, address)(
        table(level, "kChannelRows", 8)[1]
    )
    x, arrays, y = draw(6, channels), draw(4, channels), np.zeros((6, channels), np.float32)
    affine = (ctypes.c_void_p * 4)(*(array.ctypes.data for array in arrays))
    apply_affine(pointer(x), None, 6, channels, ctypes.cast(affine, address), pointer(y))
    mean, scale, shift, slope = arrays.astype(np.float64)
    value = (x - mean) * scale + shift
    np.testing.assert_allclose(y, np.where(value > 0, value, value * slope), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("channels", [3, 16, 40])
def test_spread_gradient(level: str, channels: int) -> None:
    """The gradient of a normalisation's input, with a zero pixel at both ends; channels in groups of whole vectors."""
    whole, address = ctypes.c_int64, ctypes.c_void_p
    spread_gradient = ctypes.CFUNCTYPE(None, address, address, whole, whole, address, address)(
        table(level, "kDepthwiseLines", 12)[5]
    )
    x, dy, arrays = *draw(2, 5, channels), draw(6, channels)
    line, lanes = np.full(7 * 48, np.nan, np.float32), {"baseline": 4, "avx2": 8, "avx512": 16}[level]
    rows = (address * 6)(*(row.ctypes.data for row in arrays))
    spread_gradient(pointer(x), pointer(dy), 5, channels, ctypes.cast(rows, address), pointer(line))
    mean, scale, shift, slope, factor, constant = arrays.astype(np.float64)
    g = np.where((x - mean) * scale + shift > 0, dy, dy * slope)
    expected = np.pad(g * scale + (x - mean) * factor + constant, ((1, 1), (0, 0)))
    for first in range(0, channels, lanes):
        group, count = line[first * 7 :].reshape(-1)[: 7 * lanes].reshape(7, lanes), min(lanes, channels - first)
        np.testing.assert_allclose(group[:, :count], expected[:, first : first + count], rtol=1e-4, atol=1e-5)


class Lines(ctypes.Structure):
    """The C++ struct Upcoming::Lines: where lines to prefetch begin, and how many there are."""

    _fields_ = (("start", ctypes.c_void_p), ("count", ctypes.c_int64))


@pytest.mark.parametrize("rows", [1, 3, 8, 12])
@pytest.mark.parametrize("lines", [0, 7, 50])
def test_tile_products(level: str, rows: int, lines: int) -> None:
    whole, address = ctypes.c_int64, ctypes.c_void_p
    function = table(level, "kTileProducts", 1)[0]
    multiply = ctypes.CFUNCTYPE(None, address, whole, whole, address, address, Lines)(function)
    a, b, c = draw(rows, 50), draw(50, 32), np.zeros((rows, 32), np.float32)
    multiply(pointer(a), rows, 50, pointer(b), pointer(c), Lines(b.ctypes.data, lines))
    np.testing.assert_allclose(c, a.astype(np.float64) @ b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("adds", [False, True])
def test_transposed_tile_products(level: str, adds: bool) -> None:
    """Both groups of 16 columns of b lie one behind the other, and rows of c are further apart than they are long."""
    whole, address = ctypes.c_int64, ctypes.c_void_p
    function = table(level, "kTileProducts", 2)[1]
    multiply = ctypes.CFUNCTYPE(None, address, address, whole, whole, ctypes.c_bool, address, whole)(function)
    a, b, c = draw(50, 16), draw(2, 50, 16), np.ones((16, 40), np.float32)
    multiply(pointer(a), pointer(b), 50 * 16, 50, adds, pointer(c), 40)
    expected = np.hstack([a.T.astype(np.float64) @ group for group in b]) + adds
    np.testing.assert_allclose(c[:, :32], expected, rtol=1e-4, atol=1e-5)
    assert (c[:, 32:] == 1).all()


class TileKind(ctypes.Structure):
    """The C++ struct of that name."""

    _fields_ = (("short_rows", ctypes.c_bool), ("short_columns", ctypes.c_bool))


class MatrixPlaces(ctypes.Structure):
    """The C++ struct of that name."""

    _fields_ = (("step", ctypes.c_int64), ("lanes_step", ctypes.c_int64))


class FilterPlaces(ctypes.Structure):
    """The C++ struct of that name."""

    NAMES = ("filters", "channels", "filter_step", "channel_step", "matrix_step", "row_step")
    _fields_ = tuple((name, ctypes.c_int64) for name in NAMES)


def pointers(square: np.ndarray) -> ctypes.Array[ctypes.c_void_p]:
    """Return the addresses of the pixels of a square, [side, side, channels]."""
    pixels = square.reshape(-1, square.shape[-1])
    return (ctypes.c_void_p * len(pixels))(*(pixel.ctypes.data for pixel in pixels))


@pytest.mark.parametrize("short_rows", [False, True])
@pytest.mark.parametrize("short_columns", [False, True])
def test_winograd_tiles(level: str, short_rows: bool, short_columns: bool) -> None:
    """A convolution of one tile, and the gradient of its filters, by the transforms and products between them."""
    whole, address = ctypes.c_int64, ctypes.c_void_p
    to_matrices = ctypes.CFUNCTYPE(None, TileKind, address, address, whole, address, MatrixPlaces)
    addresses = table(level, "kTileTransforms", 7)
    transform_patch, transform_gradient = map(to_matrices, addresses[:2])
    transform_filters = ctypes.CFUNCTYPE(None, address, ctypes.c_bool, address, address)(addresses[4])
    transform_products = ctypes.CFUNCTYPE(None, TileKind, address, whole, whole, address, address)(addresses[5])
    transform_filter_gradients = ctypes.CFUNCTYPE(None, address, address, address)(addresses[6])
    kind, channels, filters = TileKind(short_rows, short_columns), 48, 32
    rows, columns = 4 - short_rows, 4 - short_columns
    x, dy, weights = draw(6, 6, channels), draw(4, 4, filters), draw(filters, channels, 3, 3)

    def matrices_of(transform: ctypes._CFuncPtr, square: np.ndarray) -> np.ndarray:
        """Return the 36 matrices, whose groups of 16 channels lie further apart than they are long."""
        count = square.shape[-1]
        matrices = np.zeros((36, count // 16, 20), np.float32)
        transform(kind, pointers(square), None, count, pointer(matrices), MatrixPlaces(count // 16 * 20, 20))
        return matrices[:, :, :16].reshape(36, count).astype(np.float64)

    maps, gradients = matrices_of(transform_patch, x), matrices_of(transform_gradient, dy)
    places = ctypes.byref(FilterPlaces(filters, channels, channels * 9, 9, filters, 36 * filters))
    transformed, mirrored = np.zeros((2, channels, 36, filters), np.float32)
    transform_filters(pointer(weights), False, pointer(transformed), places)
    turned = np.ascontiguousarray(weights[:, :, ::-1, ::-1])
    transform_filters(pointer(turned), True, pointer(mirrored), places)
    np.testing.assert_array_equal(mirrored, transformed)
    products = np.einsum("mc,cmf->mf", maps, transformed).astype(np.float32)
    y = np.full((4, 4, filters), np.nan, np.float32)
    transform_products(kind, pointer(products), filters, filters, (address * 3)(), pointers(y))
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (3, 3), (0, 1))[:rows, :columns]
    expected = np.einsum("rkcij,fcij->rkf", windows, weights)
    np.testing.assert_allclose(y[:rows, :columns], expected, rtol=1e-4, atol=1e-4)

    outer = np.ascontiguousarray(maps.T[:, :, None] * gradients, np.float32)
    gradient = np.zeros_like(weights)
    transform_filter_gradients(pointer(outer), pointer(gradient), places)
    expected = np.einsum("rkcij,rkf->fcij", windows, dy[:rows, :columns])
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-4)


def run_strided_tiles(level: str, kind: TileKind) -> dict[str, np.ndarray]:
    """Return what the transforms of stride 2 of a level write."""
    whole, address, flag = ctypes.c_int64, ctypes.c_void_p, ctypes.c_bool
    addresses = table(level, "kStridedTransforms", 7)
    written, channels = {}, 48
    for number, side in ((0, 9), (1, 5), (2, 4)):  # pixels to places
        to_places = ctypes.CFUNCTYPE(None, TileKind, address, whole, address, whole)(addresses[number])
        x, places = draw(side, side, channels), np.zeros((9, 9, channels // 16 * 20), np.float32)
        to_places(kind, pointers(x), channels, pointers(places), 20)
        written[f"places of {side}x{side} pixels"] = places
    products = draw(9, 9, 32)
    places = pointers(products)
    y = np.zeros((4, 4, 32), np.float32)
    ctypes.CFUNCTYPE(None, TileKind, address, address)(addresses[3])(kind, places, pointers(y))
    dx = draw(8, 8, 32)
    ctypes.CFUNCTYPE(None, TileKind, address, flag, address)(addresses[4])(kind, places, True, pointers(dx))
    weights, matrices, gradient = draw(32, channels, 3, 3), draw(channels, 36, 32), draw(32, channels, 3, 3)
    filters = ctypes.byref(FilterPlaces(32, channels, channels * 9, 9, 32, 36 * 32))
    to_filters = ctypes.CFUNCTYPE(None, address, address, address)(addresses[6])
    to_filters(pointer(matrices), pointer(gradient), filters)
    to_matrices = ctypes.CFUNCTYPE(None, address, flag, address, address)(addresses[5])
    to_matrices(pointer(weights), True, pointer(matrices), filters)
    return written | {"outputs": y, "inputs' gradients": dx, "filters' gradients": gradient, "matrices": matrices}


@pytest.mark.parametrize("short_rows", [False, True])
@pytest.mark.parametrize("short_columns", [False, True])
def test_strided_tiles_are_those_of_the_best_level(native: None, short_rows: bool, short_columns: bool) -> None:
    """Convolutions compare the best level's with float64 (``test_native_network.py``)."""
    kind = TileKind(short_rows, short_columns)
    *others, level = supported_levels()
    best = run_strided_tiles(level, kind)
    for other in others:
        for name, values in run_strided_tiles(other, kind).items():
            assert np.ptp(values) > 1, name
            np.testing.assert_allclose(values, best[name], rtol=1e-4, atol=1e-4, err_msg=f"{other}: {name}")


class GradientLine(ctypes.Structure):
    """DepthwiseGradientLine of depthwise_lines.h."""

    _fields_ = [
        *(("x", ctypes.c_void_p), ("width", ctypes.c_int64), ("channels", ctypes.c_int64), ("stride", ctypes.c_int64)),
        *(("dy", ctypes.c_void_p * 3), ("weight", ctypes.c_void_p), ("affine", ctypes.c_void_p * 4)),
    ]


class DepthwiseSums(ctypes.Structure):
    """The C++ struct of that name."""

    _fields_ = (("weight", ctypes.c_void_p), ("channel", ctypes.c_void_p * 3), ("dv", ctypes.c_void_p))


@pytest.mark.parametrize("channels", [3, 16, 40])
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_lines(level: str, channels: int, stride: int) -> None:
    """The line above is outside the image; v = x, so that PReLU is the only step before the taps."""
    whole, address = ctypes.c_int64, ctypes.c_void_p
    addresses = table(level, "kDepthwiseLines", 12)
    spread_normalised = ctypes.CFUNCTYPE(None, address, whole, whole, address, address)(addresses[0])
    spread = ctypes.CFUNCTYPE(None, address, whole, whole, address)(addresses[1])
    convolve = ctypes.CFUNCTYPE(None, address, whole, whole, *(3 * (address,)), whole, whole, address)(addresses[2])
    add_gradient_sums = ctypes.CFUNCTYPE(None, address, address)(addresses[3])
    input_gradient = ctypes.CFUNCTYPE(None, address, address, address)(addresses[4])
    width, out_width = 7, (7 - 1) // stride + 1
    x, weight, dy = draw(2, width, channels), draw(9, channels), draw(2, out_width, channels)
    affine = np.stack([np.zeros(channels), np.ones(channels), np.zeros(channels), draw(channels)]).astype(np.float32)
    affine_rows = (address * 4)(*(row.ctypes.data for row in affine))
    lines = np.zeros((2, (width + 2) * 48), np.float32)
    for source, line in zip(x, lines, strict=True):
        spread_normalised(pointer(source), width, channels, ctypes.cast(affine_rows, address), pointer(line))
    y = np.zeros((out_width, channels), np.float32)
    triple = (address * 3)(None, *(line.ctypes.data for line in lines))
    from_lines = ctypes.cast(triple, address), width, stride, pointer(weight)
    convolve(*from_lines, None, None, out_width, channels, pointer(y))
    a = np.where(x > 0, x, x * affine[3]).astype(np.float64)
    padded, expected = np.pad(a, ((0, 0), (1, 1), (0, 0))), np.zeros((out_width, channels))
    for i, j in np.ndindex(2, 3):
        expected += padded[i, j : j + (out_width - 1) * stride + 1 : stride] * weight[3 * (i + 1) + j]
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    bias, slope = draw(2, channels)
    convolve(*from_lines, pointer(bias), pointer(slope), out_width, channels, pointer(y))
    v = expected + bias
    np.testing.assert_allclose(y, np.where(v > 0, v, v * slope), rtol=1e-4, atol=1e-5)

    # Filter rows 0 and 2 of two output lines meet the first input line.
    for source, line in zip(dy, lines, strict=True):
        spread(pointer(source), out_width, channels, pointer(line))
    dv, weight_sums, sums = (
        np.zeros_like(x[0]),
        np.zeros((9, channels), np.float32),
        np.zeros((3, channels), np.float32),
    )
    gradient_line = GradientLine(
        *(x.ctypes.data, width, channels, stride),
        (address * 3)(lines[0].ctypes.data, None, lines[1].ctypes.data),
        *(weight.ctypes.data, affine_rows),
    )
    channel_sums = (address * 3)(*(row.ctypes.data for row in sums))
    to = DepthwiseSums(weight_sums.ctypes.data, channel_sums, dv.ctypes.data)
    add_gradient_sums(ctypes.byref(gradient_line), ctypes.byref(to))
    exact, exact_weight = np.zeros((width, channels)), np.zeros((9, channels))
    for pixel, (line, i), j in ((p, part, j) for p in range(width) for part in enumerate((0, 2)) for j in range(3)):
        out, rest = divmod(pixel + 1 - j, stride)
        if rest == 0 and 0 <= out < out_width:
            exact[pixel] += dy[line, out] * weight[3 * i + j].astype(np.float64)
            exact_weight[3 * i + j] += dy[line, out] * a[0, pixel]
    np.testing.assert_allclose(dv, exact, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(weight_sums, exact_weight, rtol=1e-4, atol=1e-5)
    g = np.where(x[0] > 0, exact, exact * affine[3])
    expected_sums = [g.sum(0), (g * x[0]).sum(0), np.where(x[0] > 0, 0, exact * x[0]).sum(0)]
    np.testing.assert_allclose(sums, expected_sums, rtol=1e-4, atol=1e-5)
    if stride == 2:
        factor, constant = draw(2, channels)
        parameters = (address * 6)(*affine_rows, factor.ctypes.data, constant.ctypes.data)
        dx = np.zeros_like(x[0])
        input_gradient(ctypes.byref(gradient_line), ctypes.cast(parameters, address), pointer(dx))
        np.testing.assert_allclose(dx, g + x[0] * factor + constant, rtol=1e-4, atol=1e-5)


class PlaneLines(ctypes.Structure):
    """The C++ struct of that name."""

    _fields_ = (("plane", ctypes.c_void_p), *((name, ctypes.c_int64) for name in ("first", "height", "width")))


@pytest.mark.parametrize("width", [1, 2, 5, 8, 11])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("first", [0, 1])
def test_depthwise_planes(level: str, width: int, stride: int, first: int) -> None:
    """The output lines that read no line above ``first``, for the second vector of three."""
    whole, address = ctypes.c_int64, ctypes.c_void_p
    lanes, function, *_ = table(level, "kDepthwisePlanes", 4)
    lanes &= 0xFFFFFFFF  # an int of four bytes
    arguments = ctypes.POINTER(PlaneLines), whole, whole, address, whole, whole, address
    convolve = ctypes.CFUNCTYPE(None, *arguments)(function)
    height, channels, out_width = 5, 3 * lanes, (width - 1) // stride + 1
    own = slice(lanes, 2 * lanes)
    x, weight, (bias, slope) = draw(height, width, lanes), draw(9, channels), draw(2, channels)
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0))).astype(np.float64)
    plane = np.ascontiguousarray(x[first:])
    lines = PlaneLines(plane.ctypes.data, first, height, width)
    for row in range(2 * first // stride, (height - 1) // stride + 1):
        convolved = np.zeros((out_width, lanes))
        for i, j in np.ndindex(3, 3):
            taps = padded[row * stride + i, j : j + (out_width - 1) * stride + 1 : stride]
            convolved += taps * weight[3 * i + j, own]
        convolved += bias[own]
        activated = np.where(convolved > 0, convolved, convolved * slope[own])
        for slopes, expected in ((None, convolved), (slope[own].ctypes.data, activated)):
            y = np.zeros((out_width, channels), np.float32)
            arrays = (address * 3)(weight[:, own].ctypes.data, bias[own].ctypes.data, slopes)
            convolve(ctypes.byref(lines), row, stride, arrays, out_width, channels, pointer(y[:, own]))
            np.testing.assert_allclose(y[:, own], expected, rtol=1e-4, atol=1e-5)
            assert not y[:, :lanes].any() and not y[:, 2 * lanes :].any()


class WeightMatrix(ctypes.Structure):
    """The C++ struct of that name: element (k, n) is weights[k * inner_step + n * column_step]."""

    _fields_ = (
        ("weights", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("inner", "columns", "inner_step", "column_step")),
    )


class PlaneSums(ctypes.Structure):
    """The C++ struct of that name."""

    _fields_ = (*((name, ctypes.c_void_p) for name in ("bias", "slope", "planes")), ("step", ctypes.c_int64))


HALF_OUTER_ROWS = 288  # kHalfOuterRows


class ProductEpilogue(ctypes.Structure):
    """The C++ struct of that name."""

    _fields_ = (("adds", ctypes.c_bool), *((name, ctypes.c_void_p) for name in ("bias", "slope", "addend")))


def check_pointwise_products(
    addresses: list[int], number: type, rows: int, channels: int, filters: int, tolerance: float
) -> None:
    """Compare y = x weight^T, y += x weight^T and the weights' gradient with NumPy; ``number`` stores the maps."""
    whole, address = ctypes.c_int64, ctypes.c_void_p
    pack = ctypes.CFUNCTYPE(None, ctypes.POINTER(WeightMatrix), whole, whole, address)(addresses[0])
    multiply = ctypes.CFUNCTYPE(
        None, *(address, whole, whole, address, whole, ctypes.POINTER(ProductEpilogue), address, address)
    )(addresses[1])
    add_outer = ctypes.CFUNCTYPE(None, address, address, whole, whole, whole, address, address, address)(addresses[2])
    x, dy = stored(draw(rows, channels), number), stored(draw(rows, filters + 1)[:, 1:], number)
    weight = wide(stored(draw(filters, channels), number))
    matrix = WeightMatrix(weight.ctypes.data, channels, filters, 1, channels)
    packed, upcoming = np.full(channels * 128 * 4, -1, np.float32), np.zeros(18, np.int64)
    upcoming[:2] = x.ctypes.data, 3  # lines to prefetch
    upcoming[16:] = 1, 3
    y = np.zeros((rows, filters), number)
    pack(ctypes.byref(matrix), 0, filters, pointer(packed))
    turned, packed_turned = np.ascontiguousarray(weight.T), np.full_like(packed, -1)
    pack(
        ctypes.byref(WeightMatrix(turned.ctypes.data, channels, filters, filters, 1)),
        0,
        filters,
        pointer(packed_turned),
    )
    np.testing.assert_array_equal(packed_turned, packed)
    expected = wide(x).astype(np.float64) @ weight.T
    bias, slope = draw(2, filters)
    addend = stored(draw(rows, filters), number)
    finished = expected + bias
    finished = np.where(finished > 0, finished, finished * slope) + wide(addend)
    cases = (
        (ProductEpilogue(), expected),
        (ProductEpilogue(adds=True), 2 * expected),
        (ProductEpilogue(False, bias.ctypes.data, None, None), expected + bias),
        (ProductEpilogue(False, bias.ctypes.data, slope.ctypes.data, addend.ctypes.data), finished),
    )
    for epilogue, result in cases:
        pointers = pointer(packed), filters, ctypes.byref(epilogue), pointer(y), pointer(upcoming)
        multiply(pointer(x), rows, channels, *pointers)
        np.testing.assert_allclose(wide(y), result, rtol=tolerance, atol=tolerance * 10)
    assert upcoming[17] == 0 or filters < 64
    if filters % 64 == 0:
        check_planes(addresses[3:], x, packed, expected, bias, slope, tolerance)
    scratch = np.zeros(HALF_OUTER_ROWS * (filters + channels), np.uint16)
    sums = np.ones((filters, channels), np.float32)
    add_outer(pointer(dy), pointer(x), rows, filters, channels, *map(pointer, (sums, scratch, upcoming)))
    np.testing.assert_allclose(sums, 1 + wide(dy).astype(np.float64).T @ wide(x), rtol=1e-4, atol=1e-4)


def check_planes(
    entries: list[int],
    x: np.ndarray,
    packed: np.ndarray,
    product: np.ndarray,
    bias: np.ndarray,
    slope: np.ndarray,
    tolerance: float,
) -> None:
    """Compare the planes of all columns with NumPy; the table has the function and how many columns it computes."""
    whole, address = ctypes.c_int64, ctypes.c_void_p
    function, columns = entries
    multiply = ctypes.CFUNCTYPE(None, address, whole, whole, address, whole, ctypes.POINTER(PlaneSums))(function)
    rows, channels = x.shape
    lanes = {8: 4, 16: 8}.get(columns, 16)
    result = product + bias
    for slopes, expected in ((None, result), (slope, np.where(result > 0, result, result * slope))):
        for column in range(0, product.shape[1], columns):
            own = slice(column, column + columns)
            planes = np.full((columns // lanes, rows + 31, lanes), np.nan, np.float32)
            sums = PlaneSums(
                bias[own].ctypes.data,
                None if slopes is None else slopes[own].ctypes.data,
                planes.ctypes.data,
                (rows + 31) * lanes,
            )
            multiply(pointer(x), rows, channels, pointer(packed), column, ctypes.byref(sums))
            got = np.moveaxis(planes[:, :rows], 0, 1).reshape(rows, columns)
            np.testing.assert_allclose(got, expected[:, own], rtol=tolerance, atol=tolerance * 10)


def stored(array: np.ndarray, number: type) -> np.ndarray:
    """Return the array as float32, or as the upper halves of its numbers (bfloat16, cut off)."""
    array = np.ascontiguousarray(array)
    return array if number is np.float32 else (array.view(np.uint32) >> 16).astype(np.uint16)


def wide(array: np.ndarray) -> np.ndarray:
    return array if array.dtype == np.float32 else (array.astype(np.uint32) << 16).view(np.float32)


@pytest.mark.parametrize(("rows", "channels", "filters"), [(1, 1, 1), (7, 24, 70), (13, 70, 24), (96, 64, 128)])
def test_pointwise_products(level: str, rows: int, channels: int, filters: int) -> None:
    addresses = table(level, "kPointwiseProducts", 5)
    check_pointwise_products(addresses, np.float32, rows, channels, filters, 1e-5)


@pytest.mark.parametrize(("rows", "channels", "filters"), [(1, 64, 64), (131, 64, 128), (530, 128, 64)])
@pytest.mark.parametrize(
    ("products", "flag"), [("kPointwiseHalfProducts", "avx512_bf16"), ("kPointwiseUnitProducts", "amx_bf16")]
)
def test_pointwise_products_of_bfloat16(
    native: None, products: str, flag: str, rows: int, channels: int, filters: int
) -> None:
    if flag not in Path("/proc/cpuinfo").read_text():
        pytest.skip(f"this processor has no {flag}")
    library = open_loaded_library()
    # oneDNN asks Linux to let this process use the matrix unit.
    if "amx" in flag and not ctypes.CFUNCTYPE(ctypes.c_bool)(("_ZN11insightface13HasMatrixUnitEv", library))():
        pytest.skip("oneDNN may not use the matrix unit here")
    addresses = list((ctypes.c_void_p * 5).in_dll(library, symbol(products)))
    check_pointwise_products(addresses, np.uint16, rows, channels, filters, 2**-7)


def test_the_best_level_is_picked(native: None) -> None:
    picked = ctypes.c_void_p.in_dll(open_loaded_library(), symbol("kRowLoops")).value
    best = ctypes.c_char.in_dll(open_loaded_library(), symbol(supported_levels()[-1], "kRowLoops"))
    assert picked == ctypes.addressof(best)


@pytest.mark.parametrize("source", sorted(build.SOURCES.rglob("*.simd.cpp")), ids=lambda source: source.name)
def test_levels_share_no_function(source: Path, native: None, tmp_path: Path) -> None:
    """A weak symbol is one that the linker merges: its AVX-512 code might run on an older processor."""
    level = list(build.LEVELS)[-1]
    options = [*build.LEVELS[level], f"-DINSIGHTFACE_LEVEL={level}", f"-I{build.SOURCES}", "-O0"]
    target = str(tmp_path / "loops.o")
    subprocess.run([locate_compiler(), *build.COMPILE_FLAGS, *options, "-c", str(source), "-o", target], check=True)
    nm = locate_program(("nm",), "nm")
    listing = subprocess.run([nm, "-C", "--defined-only", target], capture_output=True, text=True, check=True).stdout
    symbols = [line.split(maxsplit=2)[1:] for line in listing.splitlines()]
    # Unwinding tables refer to the C++ runtime through a pointer, DW.ref, which is not code.
    assert [name for kind, name in symbols if kind in "WwVvu" and not name.startswith("DW.ref.")] == []
    assert [name for kind, name in symbols if kind in "RD" and name.startswith(f"insightface::{level}::k")]
