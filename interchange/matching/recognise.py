"""Recognises which of our networks a foreign one is: builds candidates from options and compares their structure.

No family has special rules. The search starts from every named network and changes one option at a time to the value
that brings the candidate nearest, until no change brings it nearer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np

from backbones import build_network
from backbones.graph.network_graph import NetworkGraph
from backbones.networks.iresnet import STEMS, UNITS, UNITS_PER_STAGE
from backbones.networks.options import NetworkOptions
from backbones.networks.output_layers import OUTPUT_LAYERS
from common.errors import UserError, lookup
from interchange.matching.canonical_layers import LINEAR, CanonicalLayer, canonical_layers, pair_layers

AUTO = "auto"
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
_DEEPEST = 1000  # layers or blocks that a file's own settings may ask for
_LONGEST_NAME = 100
_FAR = float("inf")
Options = Mapping[str, Any]
Pairs = list[tuple[CanonicalLayer, CanonicalLayer]]


@dataclass(frozen=True)
class Recognition:
    """One of our networks: its name (a generated one for other options), options, description, and paired layers."""

    name: str
    options: Options
    network: NetworkGraph
    pairs: Pairs


def recognise(
    foreign: NetworkGraph,
    networks: Mapping[str, Options],
    wanted: str,
    source: str,
    hint: Mapping[str, Any] | None = None,
) -> Recognition:
    """Return which network ``foreign`` is.

    Args:
        foreign: the description read from a file.
        networks: the named networks' options, as in sample_config.
        wanted: one of their names, or ``auto``.
        source: the file, for messages.
        hint: settings stored in the file, which are tried first.

    Raises:
        UserError: it is not one of ours, or not the one wanted; the message names the nearest and the first difference.
    """
    hinted = _try_hint(hint or {}, foreign)
    if hinted is not None and wanted in (AUTO, hinted.name):
        return hinted
    if wanted != AUTO:
        lookup(networks, wanted, "network")
    search = _Search(foreign)
    starts = {name: search.sized(dict(networks[name])) for name in (networks if wanted == AUTO else [wanted])}
    order = sorted(starts, key=lambda name: search.distance(starts[name]))
    for names in _group_starts(order, starts, search):
        found = search.find([starts[name] for name in names], vary=wanted == AUTO)
        if found is not None:
            options, pairs = found
            return Recognition(_describe_options(options, starts), options, build_network(options), pairs)
    if wanted != AUTO:
        raise UserError(f"{source} is not {wanted}: {search.explain(starts[wanted])}")
    best = search.descend(starts[order[0]])
    raise UserError(f"{source} is not a network known here; the nearest is {order[0]}: {search.explain(best)}")


def _group_starts(order: Sequence[str], starts: Mapping[str, Options], search: _Search) -> tuple[list[str], list[str]]:
    """Return the starts to search first, the nearest of each family, and those to search next, without distant ones.

    ``order`` holds the names of all ``starts`` by distance.
    """
    least = search.distance(starts[order[0]])
    near = [name for name in order if search.distance(starts[name]) <= 4 * least + 2]
    nearest = {starts[name]["net_name"]: name for name in reversed(near)}
    return [name for name in near if name in nearest.values()], [name for name in near if name not in nearest.values()]


def with_preprocessing_of(found: Recognition, foreign: NetworkGraph) -> Recognition:
    """Return the network with the mean and scale of ``foreign`` if it subtracts another mean.

    Another scale alone goes into the weights of the first layer (``adapt``); another mean cannot, because of padding.
    """
    ours, theirs = (_preprocessing(network) for network in (found.network, foreign))
    if not (ours and theirs) or np.float32(ours["mean"]) == np.float32(theirs["mean"]):
        return found
    options = {**found.options, "input_mean": float(theirs["mean"]), "input_scale": float(theirs["scale"])}
    network = build_network(options)
    return replace(found, options=options, network=network, pairs=pair_layers(network, foreign))


def _preprocessing(network: NetworkGraph) -> Mapping[str, Any] | None:
    return next((node.attrs for node in network.nodes if node.op == "scale_shift"), None)


def _try_hint(hint: Mapping[str, Any], foreign: NetworkGraph) -> Recognition | None:
    options = {field.name: hint[field.name] for field in fields(NetworkOptions) if field.name in hint}
    depths = (options.get("num_layers"), *_as_sequence(options.get("net_blocks")))
    name = hint.get("network", "")
    if any(isinstance(depth, int) and depth > _DEEPEST for depth in depths):
        return None
    if not isinstance(name, str) or len(name) > _LONGEST_NAME or not name.isprintable():
        return None
    try:
        network = build_network(options)
    except (UserError, ValueError, TypeError, ArithmeticError):  # another program's settings, or damaged ones
        return None
    pairs = pair_layers(network, foreign)
    return None if pairs is None else Recognition(name, options, network, pairs)


def _as_sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()


def name_options(options: Options, networks: Mapping[str, Options]) -> str:
    """Return the name of the network with these options; see ``_describe_options``."""
    sizes = {key: options[key] for key in ("emb_size", "image_size") if key in options}
    usual = {field.name: field.default for field in fields(NetworkOptions) if field.name in options}
    return _describe_options(options, {name: {**usual, **known, **sizes} for name, known in networks.items()})


def _describe_options(options: Options, starts: Mapping[str, Options]) -> str:
    """Return the name of the network with these options; with others, the nearest name followed by what differs."""
    changes = {
        name: {key: value for key, value in options.items() if known.get(key) != value}
        for name, known in starts.items()
        if known["net_name"] == options["net_name"] and not set(known) - set(options)
    }
    name = min(changes, key=lambda name: len(changes[name]))
    return "-".join([name, *(f"{key}{_format_value(value)}" for key, value in sorted(changes[name].items()))])


def _format_value(value: Any) -> str:
    return "_".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


class _Search:
    """Distances of candidates from one foreign network."""

    def __init__(self, foreign: NetworkGraph) -> None:
        self._foreign = foreign
        # No BatchNorm after any linear layer: they were folded in, whichever network it is.
        self._folded = not any(layer.norm for layer in canonical_layers(foreign).values())
        self._labels, self._details = self._count(foreign)
        self._dropouts = _count_dropouts(foreign)
        self._known: dict[tuple, float] = {}
        self._values = dict(OPTION_VALUES)
        attentions = [node.name for node in foreign.nodes if node.op == "attention"]
        if attentions:
            self._values |= {"num_layers": (len(attentions),), "vit_width": (foreign.shapes[attentions[0]][1],)}

    def sized(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return ``options`` with the sizes of the foreign network."""
        image = next(node.name for node in self._foreign.nodes if node.op == "input")
        sizes = {"emb_size": self._foreign.embedding_size, "image_size": self._foreign.shapes[image][1]}
        return {**options, **{key: value for key, value in sizes.items() if options.get(key) != value}}

    def distance(self, options: Options) -> float:
        """Return how many layers the candidate and the foreign network do not have in common.

        A missing or additional dropout counts half, a constant to which values can be adapted very little.
        """
        key = tuple(sorted((name, _format_value(value)) for name, value in options.items()))
        if key not in self._known:
            self._known[key] = self._measure(options)
        return self._known[key]

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

    def _measure(self, options: Options) -> float:
        try:
            network = build_network(options)
        except (UserError, ValueError):  # options that exclude each other
            return _FAR
        labels, details = self._count(network)
        constants = _difference(details, self._details) / 1e4
        return _difference(labels, self._labels) + 0.5 * abs(_count_dropouts(network) - self._dropouts) + constants

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


def explain_difference(network: NetworkGraph, foreign: NetworkGraph) -> str:
    """Return in words where ``network`` and the network of a file first differ."""
    ours, theirs = (list(canonical_layers(each).values()) for each in (network, foreign))
    for a, b in zip(ours, theirs, strict=False):
        if a.label != b.label:
            return f"where it has {_describe(a)}, the file has {_describe(b)}, its '{b.node.name}'"
    if len(ours) == len(theirs):
        return "the layers are the same, but their connections differ"
    return f"it has {len(ours)} layers, the file {len(theirs)}"


def option_variants(networks: Mapping[str, Options], keys: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the options of every named network, then those with each combination of values of ``keys``."""
    yield from map(dict, networks.values())
    seen = set()
    for options in networks.values():
        choices = [OPTION_VALUES[key] if key in options or key == "net_output" else ((),) for key in keys]
        for values in product(*choices):
            changes = {key: value for key, value in zip(keys, values, strict=True) if value != ()}
            variant = {**options, **changes}
            mark = tuple(sorted((key, _format_value(value)) for key, value in variant.items()))
            if mark not in seen:
                seen.add(mark)
                yield variant


def _difference(a: Counter, b: Counter) -> int:
    return sum(((a - b) + (b - a)).values())


def _count_dropouts(network: NetworkGraph) -> int:
    return sum(node.op == "dropout" for node in network.nodes)


def _describe(layer: CanonicalLayer) -> str:
    op, constants, shape = layer.label
    settings = "".join(f" {key}={value}" for key, value in constants)
    return f"{op}{settings} giving {'x'.join(map(str, shape))}"
