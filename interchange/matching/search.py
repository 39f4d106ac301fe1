"""The distances of candidate networks from a foreign one, and the descent to the nearest candidate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from backbones import NETWORKS, build_network
from backbones.graph.network_graph import NetworkGraph
from backbones.networks.iresnet import STEMS, UNITS, UNITS_PER_STAGE
from backbones.networks.options import NetworkOptions
from backbones.networks.output_layers import OUTPUT_LAYERS
from common.errors import UserError, lookup
from interchange.matching.canonical_layers import (
    LINEAR,
    CanonicalLayer,
    canonical_layers,
    explain_difference,
    pair_layers,
)

Options = Mapping[str, Any]
Pairs = list[tuple[CanonicalLayer, CanonicalLayer]]
# Values that an option may take in addition to those of the named networks.
OPTION_VALUES: dict[str, Sequence[Any]] = {
    "num_layers": tuple(UNITS_PER_STAGE),
    "net_output": tuple(OUTPUT_LAYERS),
    "net_unit": tuple(UNITS),
    "net_input": tuple(STEMS),
    "net_se": (0, 1),
    "net_act": ("prelu", "relu"),
    "net_multiplier": (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 4.0),
    "net_blocks": ((1, 4, 6, 2), (2, 8, 16, 4), (2, 8, 12, 4)),
}
_FAR = float("inf")
_DECISIVE = ("attention", "concat")  # operators that all networks of a family have or none, whatever their options


class _WatchedOptions(NetworkOptions):
    """Options that record which of them a builder reads: with the same values of these, it builds the same network."""

    @contextmanager
    def watch(self) -> Iterator[set[str]]:
        """Yield the set of keys that are read in the block."""
        read: set[str] = set()
        vars(self)["_read"] = read
        try:
            yield read
        finally:
            del vars(self)["_read"]

    def __getattribute__(self, name: str) -> Any:
        """Return an attribute, and record its name if it is an option."""
        values = object.__getattribute__(self, "__dict__")
        if name in _DEFAULTS and "_read" in values:
            values["_read"].add(name)
        return object.__getattribute__(self, name)


_DEFAULTS = {field.name: field.default for field in fields(NetworkOptions)}


class Search:
    """Distances of candidates from one foreign network."""

    def __init__(self, foreign: NetworkGraph) -> None:
        self._foreign = foreign
        # No BatchNorm after any linear layer: they were folded in, whichever network it is.
        self._folded = not any(layer.norm for layer in canonical_layers(foreign).values())
        self._labels, self._details = self._count(foreign)
        self._dropouts = _count_dropouts(foreign)
        self._kinds = {node.op for node in foreign.nodes}
        self._families: dict[str, bool] = {}  # whether a family has the decisive operators of the foreign network
        # family -> keys that its builder reads -> their values -> distance
        self._known: dict[str, dict[tuple[str, ...], dict[tuple, float]]] = {}
        self._values = dict(OPTION_VALUES)
        attentions = [node.name for node in foreign.nodes if node.op == "attention"]
        if attentions:
            self._values |= {"num_layers": (len(attentions),), "vit_width": (foreign.shapes[attentions[0]][1],)}

    def sized(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return ``options`` with the sizes of the foreign network."""
        image = next(node.name for node in self._foreign.nodes if node.op == "input")
        sizes = {"emb_size": self._foreign.embedding_size, "image_size": self._foreign.shapes[image][1]}
        return {**options, **{key: value for key, value in sizes.items() if options.get(key) != value}}

    def may_become(self, options: Options) -> bool:
        """Tell whether other values of the options may make the foreign network of these."""
        family = options["net_name"]
        if family not in self._families:
            try:
                kinds = {node.op for node in build_network(options).nodes}
            except (UserError, ValueError):  # other values may fit together
                return True
            self._families[family] = all((op in kinds) == (op in self._kinds) for op in _DECISIVE)
        return self._families[family]

    def distance(self, options: Options) -> float:
        """Return how many layers the candidate and the foreign network do not have in common.

        A missing or additional dropout counts half, a constant to which values can be adapted very little.
        """
        known = self._known.setdefault(options["net_name"], {})
        for keys, distances in known.items():
            distance = distances.get(_values(options, keys))
            if distance is not None:
                return distance
        keys, distance = self._measure(options)
        known.setdefault(keys, {})[_values(options, keys)] = distance
        return distance

    def find(self, starts: Sequence[Options], vary: bool) -> tuple[Options, Pairs] | None:
        """Return the nearest network that is the foreign one, with their steps; None if there is none.

        Args:
            starts: candidates.
            vary: whether their options may be changed.
        """
        best, least = None, _FAR
        for start in starts:
            options = self.descend(start) if vary else start
            distance = self.distance(options)
            pairs = pair_layers(build_network(options), self._foreign) if distance < least else None
            if pairs is not None:
                best, least = (options, pairs), distance
            if not least:  # equal in everything
                break
        return best

    def explain(self, options: Options) -> str:
        """Return in words where the candidate and the foreign network first differ."""
        if self.distance(options) == _FAR:
            return "it cannot have the image and embedding sizes of the file"
        return explain_difference(build_network(options), self._foreign)

    def _measure(self, options: Options) -> tuple[tuple[str, ...], float]:
        """Return the keys of ``options`` that the builder reads, and the distance."""
        watched = _WatchedOptions.from_config(options)
        with watched.watch() as read:
            try:
                network = lookup(NETWORKS, options["net_name"], "network")(watched)
            except (UserError, ValueError):  # options that exclude each other
                network = None
        if network is None:
            return tuple(sorted(read)), _FAR
        labels, details = self._count(network)
        dropouts, constants = abs(_count_dropouts(network) - self._dropouts), _difference(details, self._details)
        return tuple(sorted(read)), _difference(labels, self._labels) + 0.5 * dropouts + constants / 1e4

    def _count(self, network: NetworkGraph) -> tuple[Counter, Counter]:
        layers = canonical_layers(network).values()
        detailed = [layer for layer in layers if not (self._folded and layer.node.op in LINEAR)]
        return Counter(layer.label for layer in layers), Counter(item for layer in detailed for item in layer.detail)

    def descend(self, options: Options) -> dict[str, Any]:
        """Change one option after the other while that brings the candidate nearer; return the options."""
        best = dict(options)
        improved = True
        while improved and self.distance(best) > 0:
            improved = False
            # With all layers right, only the output layers can still bring it nearer: by their dropout and BatchNorms.
            keys = ("net_output",) if self.distance(best) < 1 else tuple(self._values)
            for key in keys:
                nearest = min(({**best, key: value} for value in self._values[key]), key=self.distance)
                if self.distance(nearest) < self.distance(best):
                    best, improved = nearest, True
        return best


def _difference(a: Counter, b: Counter) -> int:
    return sum(((a - b) + (b - a)).values())


def _count_dropouts(network: NetworkGraph) -> int:
    return sum(node.op == "dropout" for node in network.nodes)


def _values(options: Options, keys: Sequence[str]) -> tuple:
    values = (options.get(key, _DEFAULTS[key]) for key in keys)
    return tuple(tuple(value) if isinstance(value, list) else value for value in values)
