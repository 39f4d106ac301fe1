from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backbones.graph.network_graph import NetworkGraph


def pytest_configure() -> None:
    """Restore the default handler of Ctrl-C, which shells disable for background jobs (``pytest &``)."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Replace the scheduler of ``--dist loadfile``."""
    from tests.support.scheduling import FileScheduling

    return FileScheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture
def random_arrays() -> Callable[[NetworkGraph, int], dict[str, np.ndarray]]:
    """Weights, slopes and statistics like those of a trained network: no ones, zeros or vanishing signal."""

    def make(graph: NetworkGraph, seed: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        draw = {
            "weight": lambda shape: rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape),
            "bias": lambda shape: rng.normal(0, 0.1, shape),
            "gamma": lambda shape: rng.uniform(0.5, 1.0, shape),
            "beta": lambda shape: rng.normal(0, 0.1, shape),
            "prelu_gamma": lambda shape: rng.uniform(0.1, 0.4, shape),
            "moving_mean": lambda shape: rng.normal(0, 0.1, shape),
            "moving_var": lambda shape: rng.uniform(0.5, 1.5, shape),
        }
        arrays = {name: draw[spec.kind](spec.shape).astype(np.float32) for name, spec in graph.parameters().items()}
        if "bn_data_moving_var" in arrays:  # of pixels, 0..255: with a variance of 1 the layers after it would saturate
            arrays["bn_data_moving_mean"] = 127.5 + 10 * arrays["bn_data_moving_mean"]
            arrays["bn_data_moving_var"] = 4000 * arrays["bn_data_moving_var"]
        return arrays

    return make


@pytest.fixture
def two_gpus(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose nvidia-smi lists two GPUs."""
    folder: Path = tmp_path_factory.mktemp("bin")
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: 1)'\necho 'GPU 1: A (UUID: 2)'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
