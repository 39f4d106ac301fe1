"""The contestants of the backbone benchmark: program, environment and options of each."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.worker import ROOT, Worker, WorkerError
from common.errors import UserError

PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
PASSES = ("forward", "train")
# Inference folds the weights into the compiled code, which needs this variable; training ignores it.
COMPILER = {"TORCHINDUCTOR_FREEZING": "1"}
# A plain update with momentum, large enough that wrong gradients show in the losses of the first steps.
UPDATE = {"lr": 0.001, "momentum": 0.9, "weight_decay": 0.0005}


@dataclass(frozen=True)
class Contestant:
    """One way to run a network.

    Attributes:
        name: its name on the command line; of several contestants with one name, the table shows the fastest.
        program: module of the worker.
        precision: float32 or bfloat16; ratios and limits compare within one precision.
        python: the interpreter of its environment.
        passes: the passes it supports.
        options: additional entries of its job.
        environment: additions to the environment.
    """

    name: str
    program: str
    precision: str
    python: Path = Path(sys.executable)
    passes: tuple[str, ...] = PASSES
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def about(self) -> str:
        """The options that distinguish it from others with the same program."""
        return ", ".join([self.precision, *(str(v) for k, v in self.options.items() if k in ("layout", "kernels"))])

    def start(self, job: Mapping[str, Any], log: Path) -> Worker:
        """Start the worker on ``job`` (see ``make_job``) and wait until it is ready.

        Raises:
            WorkerError: the contestant cannot run here.
        """
        if not self.python.is_file():
            raise WorkerError(f"{self.python.relative_to(ROOT)} is missing; run bash benchmarks/setup_peers.sh")
        threads = {"OMP_NUM_THREADS": str(job["threads"])}
        command = [str(self.python), "-m", f"benchmarks.peers.{self.program}"]
        return Worker(
            command, {**threads, **self.environment}, {**job, "precision": self.precision, **self.options}, log
        )


def _ours(name: str, precision: str, kernels: str) -> Contestant:
    environment = {"INSIGHTFACE_NATIVE": "0"} if kernels == "stock" else {}
    return Contestant(name, "ours_worker", precision, options={"kernels": kernels}, environment=environment)


def _torch(name: str, precision: str) -> list[Contestant]:
    return [
        Contestant(name, "torch_worker", precision, PEERS_PYTHON, options={"layout": layout, "compiled": False})
        for layout in ("default", "channels_last")
    ]


def _compiled(name: str, precision: str) -> Contestant:
    # The compiler chooses the memory format of the convolutions itself; this is the one that it chooses on a CPU.
    options = {"layout": "channels_last", "compiled": True}
    return Contestant(name, "torch_worker", precision, PEERS_PYTHON, options=options, environment=COMPILER)


def _openvino(name: str, precision: str) -> Contestant:
    return Contestant(name, "openvino_worker", precision, PEERS_PYTHON, passes=("forward",))


OURS = (_ours("f32", "float32", "native"), _ours("bf16", "bfloat16", "native"), _ours("stock", "float32", "stock"))
# In bench_memory.py alone: it trades speed for memory.
RECOMPUTING = (
    _ours("recompute", "float32", "native, recomputing"),
    _ours("recompute_bf16", "bfloat16", "native, recomputing"),
)
PEERS = (
    *_torch("torch", "float32"),
    *_torch("torch_bf16", "bfloat16"),
    _compiled("torch_compile", "float32"),
    _compiled("torch_compile_bf16", "bfloat16"),
    Contestant("mxnet", "mxnet_worker", "float32"),
    Contestant("onnxruntime", "onnxruntime_worker", "float32", passes=("forward",)),
    _openvino("openvino", "float32"),
    _openvino("openvino_bf16", "bfloat16"),
)
LIMITS = tuple(Contestant("limit", "limit_worker", precision) for precision in ("float32", "bfloat16"))


def names(table: Sequence[Contestant]) -> list[str]:
    """Return the distinct names in ``table``, in its order."""
    return list(dict.fromkeys(contestant.name for contestant in table))


def choose(table: Sequence[Contestant], chosen: Sequence[str], flag: str) -> list[Contestant]:
    """Return the contestants whose names are in ``chosen``, in the order of ``table``.

    Raises:
        UserError: a name is unknown; the message lists the known names.
    """
    for name in chosen:
        if name not in names(table):
            raise UserError(f"{flag}: unknown name '{name}'; known: {', '.join(names(table))}")
    return [contestant for contestant in table if contestant.name in chosen]


def make_job(
    config: Mapping[str, Any], paths: Mapping[str, str], kind: str, batch: int, threads: int
) -> dict[str, Any]:
    """Return the job of all workers of one table: network, initial weights, batch, pass, update."""
    return {"config": dict(config), **paths, "pass": kind, "size": batch, "threads": threads, **UPDATE}
