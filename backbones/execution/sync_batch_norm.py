"""BatchNorm over the batch of all ranks; OneFlow 0.9 supports it only on GPUs and outside graphs.

It is written with plain ops on global tensors and works on any device: each rank sums over its own images, and the
sums, a few numbers per channel, are reduced over the ranks. The variance is computed around the mean of all ranks.
"""

from __future__ import annotations

from typing import Any

from ops import flow


def batch_moments(x: flow.Tensor) -> tuple[flow.Tensor, flow.Tensor]:
    """Return mean and biased variance [C], broadcast, of the global ``x`` [N, C, ...], split(0)."""
    count = _count(x)
    mean = _sum(x) / count
    return mean, _sum((x - _like(mean, x)).square()) / count


class _Normalization(flow.autograd.Function):
    """``(x - mean) * rate * gamma + beta``, with the mean and the rate (1 / deviation) of x itself."""

    @staticmethod
    def forward(
        ctx: Any, x: flow.Tensor, gamma: flow.Tensor, beta: flow.Tensor, mean: flow.Tensor, rate: flow.Tensor
    ) -> flow.Tensor:
        ctx.save_for_backward(x, gamma, mean, rate)
        return (x - _like(mean, x)) * _like(rate * gamma, x) + _like(beta, x)

    @staticmethod
    def backward(ctx: Any, gradient: flow.Tensor) -> tuple[flow.Tensor | None, ...]:
        x, gamma, mean, rate = ctx.saved_tensors
        normal = (x - _like(mean, x)) * _like(rate, x)
        beta_gradient, gamma_gradient = _sum(gradient), _sum(gradient * normal)
        count = _count(x)
        inner = gradient - _like(beta_gradient / count, x) - normal * _like(gamma_gradient / count, x)
        return inner * _like(rate * gamma, x), gamma_gradient, beta_gradient, None, None


def normalize(
    x: flow.Tensor, gamma: flow.Tensor, beta: flow.Tensor, eps: float
) -> tuple[flow.Tensor, flow.Tensor, flow.Tensor]:
    """Return the normalized ``x``, the batch's mean, and its unbiased variance for the moving statistics.

    Gradients of ``x``, ``gamma`` and ``beta`` [C], broadcast, are exact: they include those through mean and variance.
    """
    mean, variance = batch_moments(x.detach())
    y = _Normalization.apply(x, gamma, beta, mean, (variance + eps).rsqrt())
    count = _count(x)
    return y, mean, variance * (count / max(count - 1, 1))


def _count(x: flow.Tensor) -> int:
    """Return the number of values per channel over all ranks."""
    return x.numel() // x.shape[1]


def _sum(x: flow.Tensor) -> flow.Tensor:
    """Return the sum per channel over all ranks, from partial sums, which round less than one long sum."""
    for axis in range(x.ndim - 1, 1, -1):
        x = x.sum(dim=axis)
    return x.sum(dim=0).to_global(sbp=flow.sbp.broadcast)


def _like(values: flow.Tensor, x: flow.Tensor) -> flow.Tensor:
    return values.reshape(1, -1, *[1] * (x.ndim - 2))
