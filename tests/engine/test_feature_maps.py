from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backbones import build_network
from benchmarks.network import network_config
from engine.feature_maps import Numbers, block_bytes, inference_bytes
from ops import KERNELS
from ops.native.loader import loaded_library_path
from tests.engine import planned_memory
from tests.engine.planned_memory import BATCH, plan_inference, plan_training

ROOT = Path(__file__).parents[2]
TRAINED = ("y1", "r18", "r50", "r100")
EMBEDDING = ("y1", "mbf", "m05", "r50")


@pytest.fixture(autouse=True)
def _native() -> None:
    """Every test here needs the kernels."""
    if loaded_library_path() is None:
        pytest.skip(str(KERNELS))


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("name", TRAINED)
def test_the_estimate_is_near_what_the_op_plans(name: str, bfloat16: bool, recompute: bool):
    check_training(name, Numbers.of(bfloat16), recompute, plan_training(name, bfloat16, recompute))


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("name", EMBEDDING)
def test_the_estimate_of_inference_is_near_what_the_op_takes(name: str, bfloat16: bool):
    check_inference(name, Numbers.of(bfloat16), plan_inference(name, bfloat16))


def test_the_estimate_is_near_where_bfloat16_is_multiplied_in_float32():
    command = [sys.executable, "-m", planned_memory.__name__, ",".join(TRAINED), ",".join(EMBEDDING)]
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    planned = json.loads(done.stdout.splitlines()[-1])
    for name in TRAINED:
        for recompute in (False, True):
            check_training(name, Numbers.WIDENED, recompute, planned["steps"][f"{name} {recompute}"])
    for name in EMBEDDING:
        check_inference(name, Numbers.WIDENED, planned["inference"][name])


def check_training(name: str, numbers: Numbers, recompute: bool, planned: dict[str, int]) -> None:
    """Compare the estimate of a step with the bytes ``planned``, by where the gradients are."""
    network = build_network(network_config(name))
    for gradients, expected in planned.items():
        estimated = block_bytes(network, BATCH, numbers, recompute, gradients)
        assert estimated == pytest.approx(expected, rel=0.15), (name, recompute, gradients)


def check_inference(name: str, numbers: Numbers, planned: int) -> None:
    network = build_network(network_config(name))
    assert inference_bytes(network, BATCH, numbers) == pytest.approx(planned, rel=0.2), name
