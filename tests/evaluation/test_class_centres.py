from __future__ import annotations

import numpy as np
import pytest

from evaluation.class_centres import describe_centres


def test_centres_along_the_axes():
    values = describe_centres(np.diag([1.0, 2.0, 3.0]).astype(np.float32))
    assert values["norm_mean"] == pytest.approx(2) and values["norm_min"] == 1 and values["norm_max"] == 3
    assert values["norm_std"] == pytest.approx(np.sqrt(2 / 3))
    for name in ("angle_mean", "nearest_mean", "nearest_min"):
        assert values[name] == pytest.approx(90)


def test_the_nearest_one_counts():
    angles = np.radians([0, 10, 40])
    values = describe_centres(np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32))
    assert values["nearest_min"] == pytest.approx(10, rel=1e-3)
    assert values["nearest_mean"] == pytest.approx((10 + 10 + 30) / 3, rel=1e-3)
    assert values["angle_mean"] == pytest.approx((10 + 40 + 30) / 3, rel=1e-3)


def test_one_centre_has_no_angles():
    assert describe_centres(np.ones((1, 4), np.float32))["norm_mean"] == 2
