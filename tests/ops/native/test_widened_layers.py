"""Layers that multiply bfloat16 maps in float32, as on processors without bfloat16 products, against float32."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.ops.native import widened_networks
from tests.ops.native.widened_networks import IN_PIECES, SMALL

ROOT = Path(__file__).parents[3]
Outcomes = dict[str, np.ndarray]


def run_widened(file: Path) -> Outcomes:
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    command = [sys.executable, "-m", widened_networks.__name__, str(file)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=300)
    with np.load(file) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def outcomes(native: None, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_widened(tmp_path_factory.mktemp("widened") / "outcomes.npz")


def of_network(outcomes: Outcomes, name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return each part of a network's outcome: in bfloat16 and in float32."""
    parts = [key.split("|")[2] for key in outcomes if key.startswith(f"{name}|True|")]
    return {part: (outcomes[f"{name}|True|{part}"], outcomes[f"{name}|False|{part}"]) for part in parts}


@pytest.mark.parametrize("name", IN_PIECES)
def test_pieces_of_a_batch_are_the_whole_but_for_rounding(name: str, outcomes: Outcomes) -> None:
    for part, (rounded, exact) in of_network(outcomes, name).items():
        assert np.linalg.norm(rounded - exact) < 0.005 * np.linalg.norm(exact), part
        assert part == "gradient:fc1_bias" or (rounded != exact).any(), part


@pytest.mark.parametrize("name", SMALL)
def test_networks_are_float32_but_for_rounding(name: str, outcomes: Outcomes) -> None:
    for part, (rounded, exact) in of_network(outcomes, name).items():
        if part in ("embeddings", "inference"):
            assert 0 < np.linalg.norm(rounded - exact) < 0.02 * np.linalg.norm(exact), part
        elif part.startswith("gradient:") and np.abs(exact).max() > 1e-2:
            cosine = np.vdot(rounded, exact) / np.linalg.norm(rounded) / np.linalg.norm(exact)
            assert cosine > 0.98, part


def test_they_repeat_bit_for_bit(outcomes: Outcomes, tmp_path: Path) -> None:
    for key, values in run_widened(tmp_path / "again.npz").items():
        np.testing.assert_array_equal(values, outcomes[key], key)
