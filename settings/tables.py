"""The tables behind a run's settings: networks, datasets, losses and defaults, of config.py or of sample_config.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from easydict import EasyDict

import sample_config
from common.errors import lookup

SINGLE, NAMED = ("default", "config"), ("loss", "network", "dataset")  # later tables override earlier ones


@dataclass(frozen=True)
class FileSettings:
    """The settings of a file for one run.

    Attributes:
        values: the settings.
        notices: lines to print about older keys.
        left: values of older keys whose meaning depends on the command line, for ``settings.legacy.command``.
    """

    values: Mapping[str, Any]
    notices: tuple[str, ...] = ()
    left: Mapping[str, Any] = field(default_factory=dict)


class TablesFile(Protocol):
    """A config.py, whose ``generate_config`` makes settings of its tables."""

    def read(self, names: Mapping[str, str]) -> FileSettings:
        """Return the settings of a run of ``names``: a network, a dataset and a loss."""

    def with_dataset(self, name: str, entry: Mapping[str, Any]) -> TablesFile:
        """Return the file with another entry for a dataset."""


@dataclass(frozen=True)
class Tables:
    """The tables of a file, in the keys of sample_config.py.

    Attributes:
        path: the file.
        network: the networks by name.
        dataset: the datasets by name.
        loss: the losses by name.
        default: the defaults of a run; missing keys come from sample_config.
        config: the structure; missing keys come from sample_config.
        file: the config.py, None for sample_config.
    """

    path: Path
    network: EasyDict
    dataset: EasyDict
    loss: EasyDict
    default: EasyDict
    config: EasyDict
    file: TablesFile | None = None

    def read(self, network: str, dataset: str, loss: str) -> FileSettings:
        """Return the file's settings for a network, dataset and loss.

        Raises:
            UserError: a name is unknown, or ``generate_config`` fails.
        """
        names = {"network": network, "dataset": dataset, "loss": loss}
        for kind, name in names.items():
            lookup(getattr(self, kind), name, kind)
        if self.file is not None:
            return self.file.read(names)
        merged = {**self.default, **self.config}
        for kind in NAMED:
            merged.update(getattr(self, kind)[names[kind]])
        return FileSettings({**merged, **names})

    def with_dataset(self, name: str, entry: Mapping[str, Any] | None = None, is_default: bool = False) -> Tables:
        """Return the tables with a dataset that the command line describes.

        Args:
            name: its name.
            entry: its settings; None keeps the entry that is there, or makes an empty one.
            is_default: make it the dataset of a command line that names none.
        """
        if entry is None:
            if name in self.dataset:
                return self
            entry = {}
        dataset, file = EasyDict({**self.dataset, name: entry}), self.file and self.file.with_dataset(name, entry)
        default = EasyDict({**self.default, "dataset": name}) if is_default else self.default
        return replace(self, dataset=dataset, default=default, file=file)


def sample_tables() -> Tables:
    """Return the tables of sample_config.py."""
    return Tables(Path(sample_config.__file__), **{name: getattr(sample_config, name) for name in (*NAMED, *SINGLE)})
