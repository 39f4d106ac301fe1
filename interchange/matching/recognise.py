"""Recognises which of our networks a foreign one is: builds candidates from options and compares their structure.

No family has special rules. The search starts from every named network and changes one option at a time to the value
that brings the candidate nearest, until no change brings it nearer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np

from backbones import build_network
from backbones.graph.network_graph import NetworkGraph
from backbones.networks.options import NetworkOptions
from common.errors import UserError, lookup
from interchange.matching.canonical_layers import pair_layers
from interchange.matching.search import OPTION_VALUES, Options, Pairs, Search

AUTO = "auto"
_DEEPEST = 1000  # layers or blocks that a file's own settings may ask for
_LONGEST_NAME = 100


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
    search = Search(foreign)
    starts = {name: search.sized(dict(networks[name])) for name in (networks if wanted == AUTO else [wanted])}
    order = sorted(starts, key=lambda name: search.distance(starts[name]))
    groups = _group_starts(order, starts, search)
    for names in groups:
        found = search.find([starts[name] for name in names], vary=wanted == AUTO)
        if found is not None:
            options, pairs = found
            return Recognition(_describe_options(options, starts), options, build_network(options), pairs)
    if wanted != AUTO:
        raise UserError(f"{source} is not {wanted}: {search.explain(starts[wanted])}")
    first, _ = groups
    best = min((search.descend(starts[name]) for name in first or order[:1]), key=search.distance)
    nearest = _describe_options(best, starts)
    raise UserError(f"{source} is not a network known here; the nearest is {nearest}: {search.explain(best)}")


def _group_starts(order: Sequence[str], starts: Mapping[str, Options], search: Search) -> tuple[list[str], list[str]]:
    """Return the starts to search first, the nearest of each family, and those to search next, without hopeless ones.

    ``order`` holds the names of all ``starts`` by distance.
    """
    least = search.distance(starts[order[0]])
    near = [name for name in order if search.distance(starts[name]) <= 4 * least + 2]
    near = [name for name in near if search.may_become(starts[name])]
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
