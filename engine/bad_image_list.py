"""The bad images that a training left out: counted in its log, and listed in ``rejected.csv`` of its folder."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from common.errors import UserError
from data.rejected import REJECTED_FILE, Rejection, summarize, write_rejected
from engine.log import RunLog


class BadImageList:
    """Counts the bad images of all ranks, and keeps the list of the different ones; the first rank writes it.

    Attributes:
        count: how often a bad image was left out since this process started.
    """

    def __init__(self, directory: Path, log: RunLog, is_resumed: bool) -> None:
        """Write below ``directory``; a resumed run adds to the list that is there."""
        self.count = 0
        self._said = 0
        self._path = directory / REJECTED_FILE
        self._log = log
        self._known = _read(self._path) if log.is_active and is_resumed else {}
        self._can_write = log.is_active

    def add(self, rejected: Sequence[Rejection]) -> None:
        """Take in images that were left out, and write the list if it has become longer."""
        self.count += len(rejected)
        before = len(self._known)
        self._known |= {rejection.file: rejection for rejection in rejected}
        if len(self._known) > before and self._can_write:
            try:
                write_rejected(self._path, self._known.values())
            except (UserError, OSError) as error:
                self._can_write = False
                self._log.say(f"{error}; the training continues without it")

    def say_count(self) -> None:
        """Log the count if it has changed since it was last logged."""
        if self.count > self._said:
            self._said = self.count
            different = list(self._known.values())
            self._log.say(
                f"bad images so far: {self.count}, of {len(different)} different records ({summarize(different)}), "
                f"listed in {self._path}"
            )


def _read(path: Path) -> dict[str, Rejection]:
    """Return the list by file; empty if there is none."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = [Rejection(*row) for row in csv.reader(file) if len(row) == len(Rejection._fields)]
    except (OSError, csv.Error):
        return {}
    return {row.file: row for row in rows[1:]}
