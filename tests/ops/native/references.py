"""The ops in numpy, float64, straight from their definitions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ConvCase:
    batch: int
    channels: int
    filters: int
    size: tuple[int, int]
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    bias: bool = False

    def tensors(self, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return float32 input, filter and bias."""
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((self.batch, self.channels, *self.size))
        w = rng.standard_normal((self.filters, self.channels // self.groups, *self.kernel))
        b = rng.standard_normal(self.filters)
        return x.astype(np.float32), w.astype(np.float32), b.astype(np.float32) if self.bias else None

    def arguments(self) -> dict:
        return {"stride": self.stride, "padding": self.pad, "dilation": self.dilation, "groups": self.groups}


def _windows(case: ConvCase, padded: np.ndarray):
    """Yield kernel row, column and the view of ``padded`` that this tap meets, [N, groups, C / groups, out, out]."""
    steps = [(p - d * (k - 1) - 1) // s + 1 for p, d, k, s in _axes(case, padded)]
    for i in range(case.kernel[0]):
        for j in range(case.kernel[1]):
            top, left = i * case.dilation[0], j * case.dilation[1]
            rows = slice(top, top + (steps[0] - 1) * case.stride[0] + 1, case.stride[0])
            columns = slice(left, left + (steps[1] - 1) * case.stride[1] + 1, case.stride[1])
            view = padded[:, :, rows, columns]
            yield i, j, view.reshape(case.batch, case.groups, -1, *view.shape[2:])


def _axes(case: ConvCase, padded: np.ndarray):
    return zip(padded.shape[2:], case.dilation, case.kernel, case.stride, strict=True)


def _pad(case: ConvCase, x: np.ndarray) -> np.ndarray:
    return np.pad(x.astype(np.float64), ((0, 0), (0, 0), (case.pad[0],) * 2, (case.pad[1],) * 2))


def _grouped(case: ConvCase, w: np.ndarray) -> np.ndarray:
    return w.astype(np.float64).reshape(case.groups, case.filters // case.groups, -1, *case.kernel)


def conv(case: ConvCase, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    filters = _grouped(case, w)
    total = sum(np.einsum("ngchw,gfc->ngfhw", view, filters[..., i, j]) for i, j, view in _windows(case, _pad(case, x)))
    out = total.reshape(case.batch, case.filters, *total.shape[3:])
    return out if b is None else out + b[:, None, None]


def conv_gradients(case: ConvCase, x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradients of x and w."""
    filters = _grouped(case, w)
    padded = _pad(case, x)
    dy = dy.astype(np.float64).reshape(case.batch, case.groups, -1, *dy.shape[2:])
    dw = np.zeros_like(filters)
    for i, j, view in _windows(case, padded):
        dw[..., i, j] = np.einsum("ngchw,ngfhw->gfc", view, dy)
    spread = np.zeros_like(padded)
    # A tap's view shares memory with `spread` only while it is not reshaped: add through an index array instead.
    positions = np.arange(padded.size).reshape(padded.shape)
    for (i, j, where), _ in zip(_windows(case, positions), range(dw[0, 0, 0].size), strict=True):
        spread.reshape(-1)[where] += np.einsum("ngfhw,gfc->ngchw", dy, filters[..., i, j])
    (top, left), (height, width) = case.pad, case.size
    return spread[:, :, top : top + height, left : left + width], dw.reshape(w.shape)


def per_channel(values: np.ndarray, ndim: int) -> np.ndarray:
    return values.reshape(1, -1, *[1] * (ndim - 2))


def prelu(x: np.ndarray, slope: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, x * per_channel(slope, x.ndim).astype(np.float64))


def prelu_gradients(x: np.ndarray, slope: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradients of x and slope."""
    dx = np.where(x > 0, dy, dy * per_channel(slope, x.ndim).astype(np.float64))
    parts = np.where(x > 0, 0.0, dy.astype(np.float64) * x)
    axes = tuple(axis for axis in range(x.ndim) if axis != 1 or slope.size == 1)
    return dx, parts.sum(axes).reshape(slope.shape)


def batch_norm_gradients(
    x: np.ndarray, gamma: np.ndarray, dy: np.ndarray, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of x, gamma and beta for statistics of the batch."""
    x, dy = x.astype(np.float64), dy.astype(np.float64)
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    centred = x - x.mean(axes, keepdims=True)
    inverse = 1 / np.sqrt(x.var(axes, keepdims=True) + eps)
    normal = centred * inverse
    mean = {"axis": axes, "keepdims": True}
    dx = per_channel(gamma, x.ndim) * inverse * (dy - dy.mean(**mean) - normal * (dy * normal).mean(**mean))
    return dx, (dy * normal).sum(axes), dy.sum(axes)
