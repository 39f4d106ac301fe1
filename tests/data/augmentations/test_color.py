from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import mxnet as mx
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from data.augmentations.color import ColorJitter, Photometric

LUMA = np.array([0.299, 0.587, 0.114])
ORDERS = list(permutations(("brightness", "contrast", "saturation")))
IMAGE = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8) // np.array([1, 2, 3], np.uint8)


def adjust(pixels: np.ndarray, kind: str, factor: float) -> np.ndarray:
    """The definitions, in float64."""
    if kind == "brightness":
        away_from = np.zeros(3)
    elif kind == "contrast":
        away_from = (pixels @ LUMA).mean()
    else:
        away_from = (pixels @ LUMA)[..., None]
    return factor * pixels + (1 - factor) * away_from


def jitter(image: np.ndarray, draw: Sequence[float], between: bool) -> np.ndarray:
    """The three in the drawn order; ``between`` rounds and clips after each."""
    pixels = image.astype(np.float64)
    for kind in ORDERS[int(draw[3])]:
        pixels = adjust(pixels, kind, draw[("brightness", "contrast", "saturation").index(kind)])
        if between:
            pixels = np.clip(np.rint(pixels), 0, 255)
    return np.clip(pixels, 0, 255)


@pytest.mark.parametrize("order", range(6))
def test_little_changes_follow_the_definitions(order: int) -> None:
    for factors in ([1.1, 0.9, 0.88], [0.88, 1.12, 1.12], [1.12, 1.12, 0.9]):
        changed = ColorJitter.apply(IMAGE, [*factors, order])
        np.testing.assert_allclose(changed, jitter(IMAGE, [*factors, order], between=False), atol=1)


def test_little_changes_are_mxnets(monkeypatch: pytest.MonkeyPatch) -> None:
    factors = [1.1, 0.9, 1.12]
    augmenters = [mx.image.BrightnessJitterAug, mx.image.ContrastJitterAug, mx.image.SaturationJitterAug]
    pixels = mx.nd.array(IMAGE)
    for augmenter, factor in zip(augmenters, factors, strict=True):
        monkeypatch.setattr("random.uniform", lambda *_, chosen=factor: chosen - 1)
        pixels = augmenter(0.125)(pixels)
    expected = np.clip(pixels.asnumpy(), 0, 255)
    np.testing.assert_allclose(ColorJitter.apply(IMAGE, [*factors, 0]), expected, atol=1)


@pytest.mark.parametrize("order", range(6))
def test_strong_changes_follow_the_definitions(order: int) -> None:
    for factors in ([1.5, 0.5, 1.4], [0.5, 1.5, 0.6], [1.5, 1.5, 1.5]):
        changed = Photometric.apply(IMAGE, [*factors, order])
        # Each step may round to the other side, and the next ones enlarge that: 1 + 1.5 + 1.5 ** 2.
        np.testing.assert_allclose(changed, jitter(IMAGE, [*factors, order], between=True), atol=4.75)


def test_strong_changes_are_pillows() -> None:
    """What torchvision does to the images of PIL that AdaFace reads; PIL cuts off where we round."""
    factors = [1.4, 0.6, 1.3]
    picture = Image.fromarray(IMAGE)
    for enhancer, factor in zip(
        (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), factors, strict=True
    ):
        picture = enhancer(picture).enhance(factor)
    np.testing.assert_allclose(Photometric.apply(IMAGE, [*factors, 0]), np.asarray(picture).astype(float), atol=4)


@pytest.mark.parametrize(("family", "strength"), [(ColorJitter(), 0.125), (Photometric(1), 0.5)])
def test_draws_fill_their_ranges_and_are_independent(family: ColorJitter | Photometric, strength: float) -> None:
    draws = family.draw(1, 0, np.arange(20000))
    assert draws.dtype == np.float32 and draws.shape == (20000, 4)
    np.testing.assert_allclose(draws[:, :3].min(axis=0), 1 - strength, atol=0.001)
    np.testing.assert_allclose(draws[:, :3].max(axis=0), 1 + strength, atol=0.001)
    orders, counts = np.unique(draws[:, 3], return_counts=True)
    assert orders.tolist() == [0, 1, 2, 3, 4, 5] and abs(counts / 20000 - 1 / 6).max() < 0.011
    assert np.abs(np.corrcoef(draws.T) - np.eye(4)).max() < 0.03


def test_the_probability_of_strong_changes() -> None:
    draws = Photometric(0.25).draw(1, 0, np.arange(20000))
    assert abs((draws[:, 3] >= 0).mean() - 0.25) < 0.013  # 4 standard deviations
    assert Photometric.apply(IMAGE, [1.5, 1.5, 1.5, -1]) is IMAGE


@pytest.mark.parametrize("family", [ColorJitter, Photometric])
def test_type_and_original_stay(family: type) -> None:
    before = IMAGE.copy()
    changed = family.apply(IMAGE, [1.5, 1.5, 1.5, 0])
    assert changed.dtype == np.uint8 and changed.shape == IMAGE.shape and changed.max() == 255
    np.testing.assert_array_equal(IMAGE, before)
    np.testing.assert_array_equal(family.apply(IMAGE, [1, 1, 1, 3]), IMAGE)
