"""Rank program: runs of the tiny network on files, one after the other, that may end in an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backbones import NETWORKS
from common.errors import UserError
from data.loading.batch_reader import BatchReader
from engine.train import train
from launch.rank import RankReporter
from ops import flow
from tests.support.tiny import tiny_config, tiny_network


@contextmanager
def unreadable_from(number: int, rank: int) -> Iterator[None]:
    """Let the reader of one rank fail at its batch ``number``."""
    original = BatchReader.collect

    def collect(self: BatchReader) -> list:
        bad = original(self)
        if self._collected > number >= 0 and flow.env.get_rank() == rank:
            raise UserError("part-00000 cannot be read: Input/output error")
        return bad

    BatchReader.collect = collect
    try:
        yield
    finally:
        BatchReader.collect = original


def main(runs: list[dict[str, Any]]) -> list[str]:
    """Return the error of each run on this rank, empty where there is none.

    A run is {folder, config, unreadable: [batch, rank]}.
    """
    NETWORKS["tiny"] = lambda _: tiny_network(dropout=0.4, batch_norm=True)
    errors = []
    for run in runs:
        try:
            with unreadable_from(*run.get("unreadable", (-1, 0))):
                train(tiny_config(Path(run["folder"]), net_name="tiny", **run["config"]), RankReporter())
            errors.append("")
        except UserError as error:
            errors.append(str(error))
    return errors
