"""What a run takes over from the trained network of ``--pretrained``, in any format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from backbones import build_network
from backbones.graph.arrays import fit_arrays
from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError, shorten
from common.wording import counted
from interchange.foreign_model import ForeignModel
from interchange.image_input import InputFlags, require_same_images
from interchange.matching.adapt import adapt
from interchange.matching.canonical_layers import explain_difference, pair_layers
from interchange.matching.fixed_gammas import settle_gammas
from interchange.open_model import read_foreign, require_no_flags
from snapshots.reader import Snapshot

_NAMED = 8  # arrays that a message names
_ROWS_LEFT = (
    "its class rows are not taken; tools/model_convert makes a snapshot with them, for --model_load_dir, or for "
    "--pretrained with --label_map"
)


@dataclass(frozen=True)
class Pretrained:
    """The arrays that a run takes over.

    Attributes:
        name: the model.
        arrays: by MXNet name; all of the network's unless some start anew.
        anew: names of the network's arrays that start anew, in its order; only with ``partial_load``.
        unused: names of the model's arrays that the network does not have; only with ``partial_load``.
        notes: what was assumed about a file of another program.
    """

    name: str
    arrays: Mapping[str, np.ndarray]
    anew: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return in a few words what is taken over, and what starts anew."""
        if not self.anew:
            text = f"{counted(len(self.arrays), 'array')} of the backbone"
        else:
            total = len(self.arrays) + len(self.anew)
            text = f"{len(self.arrays)} of {counted(total, 'array')} of the backbone; {len(self.anew)} start anew: "
            text += ", ".join(shorten(self.anew, "arrays", 2 * _NAMED))
        if self.unused:
            text += f"; {len(self.unused)} of the file are not used: "
            text += ", ".join(shorten(self.unused, "arrays", _NAMED))
        return text


def read_pretrained(name: str, network: NetworkGraph, config: Mapping[str, Any] | None = None) -> Pretrained:
    """Return what a run of ``network`` takes over from a model.

    Args:
        name: the model, in any format.
        network: the network of the run.
        config: the run's settings, which describe ``network``. With ``partial_load`` the layers that do not fit start
            anew, if at least half of the model's arrays fit. By default all must.

    Raises:
        UserError: the model cannot be read, or does not fit; the message names the arrays and what can be done.
    """
    config = config or {}
    flags = InputFlags.of(config)
    foreign = read_foreign(name, flags)
    notes: tuple[str, ...] = ()
    snapshot = None
    if foreign is None:
        require_no_flags(name, InputFlags(flags.color_order))
        snapshot = Snapshot.open(name)
        arrays, of = snapshot.backbone(), f" (network {snapshot.about['config']['network']})"
    else:
        arrays, of = _translate(foreign, name, network, config), ""
        notes = (*foreign.notes, _ROWS_LEFT) if foreign.head else foreign.notes
    fit = fit_arrays(network, arrays)
    found = "; ".join(shorten(fit.problems, "arrays", _NAMED))
    kept, anew = len(fit.kept), len(fit.anew)
    if fit.problems and 2 * kept < len(arrays):  # a few arrays of one shape and name make no trained network
        share = f"{kept} of its {len(arrays)} arrays fit this run's {kept + anew}"
        raise UserError(f"{name}{of} is of another network: {share}; {found}")
    if snapshot is not None:
        require_same_images(name, snapshot.about, network)
    if not fit.problems:
        return Pretrained(name, arrays, notes=notes)
    if not config.get("partial_load"):
        then = f"keeps {counted(kept, 'array')}" + (f", and {anew} start anew" if anew else "")
        raise UserError(f"{name}{of} does not fit: {found}. --partial_load 1 {then}")
    return Pretrained(name, fit.kept, fit.anew, fit.unused, notes)


def _translate(
    foreign: ForeignModel, name: str, network: NetworkGraph, config: Mapping[str, Any]
) -> Mapping[str, np.ndarray]:
    """Return the arrays of a foreign model by our names: those of ``network``, or of one with the model's sizes."""
    pairs = pair_layers(network, foreign.network)
    if pairs is None and config:
        network = _with_sizes_of(foreign.network, config) or network
        pairs = pair_layers(network, foreign.network)
    if pairs is None:
        raise UserError(f"{name} is of another network: {explain_difference(network, foreign.network)}")
    foreign = settle_gammas(foreign, pairs)
    try:
        return adapt(network, pairs, foreign.network, foreign.arrays, foreign.training_arrays).arrays
    except UserError as error:
        raise UserError(f"{name} does not fit: {error}") from error


def _with_sizes_of(foreign: NetworkGraph, config: Mapping[str, Any]) -> NetworkGraph | None:
    """Return the network of ``config`` with the image and embedding sizes of ``foreign``; None if it has no such."""
    size = next(foreign.shapes[node.name][1] for node in foreign.nodes if node.op == "input")
    try:
        return build_network({**config, "image_size": size, "emb_size": foreign.embedding_size})
    except (UserError, ValueError):
        return None
