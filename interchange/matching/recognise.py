"""Which of our networks a foreign one is: candidates are built from options and compared by structure.

No family has rules of its own here. The search starts from every named network and changes one option at a time to the
value that brings the candidate nearest, until nothing brings it nearer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

from backbones import build_network
from backbones.graph.network_graph import NetworkGraph
from backbones.networks.iresnet import STEMS, UNITS, UNITS_PER_STAGE
from backbones.networks.options import NetworkOptions
from backbones.networks.output_layers import OUTPUT_LAYERS
from common.errors import UserError, lookup
from interchange.matching.steps import LINEAR, Step, find_steps, pair_steps

AUTO = "auto"
# Values that an option may take besides those of the named networks.
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
_FAR = float("inf")
Options = Mapping[str, Any]
Pairs = list[tuple[Step, Step]]


@dataclass(frozen=True)
class Recognition:
    """A network of ours: name (made up where it has none), options, description, its steps with the foreign ones."""

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
        wanted: a name of them, or ``auto``.
        source: the file, for messages.
        hint: settings that the file carries; what they say is tried first.

    Raises:
        UserError: it is none of ours, or not the one wanted; the message names the nearest and where they differ.
    """
    hinted = _follow(hint or {}, foreign)
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
            return Recognition(_name(options, starts), options, build_network(options), pairs)
    if wanted != AUTO:
        raise UserError(f"{source} is not {wanted}: {search.explain(starts[wanted])}")
    best = search.descend(starts[order[0]])
    raise UserError(f"{source} is no network known here; the nearest is {order[0]}: {search.explain(best)}")


def _group_starts(order: Sequence[str], starts: Mapping[str, Options], search: _Search) -> tuple[list[str], list[str]]:
    """Return from which starts, given by distance, to search first: the nearest of each family; and then, the others.

    Those far off are left out.
    """
    least = search.distance(starts[order[0]])
    near = [name for name in order if search.distance(starts[name]) <= 4 * least + 2]
    nearest = {starts[name]["net_name"]: name for name in reversed(near)}
    return [name for name in near if name in nearest.values()], [name for name in near if name not in nearest.values()]


def _follow(hint: Mapping[str, Any], foreign: NetworkGraph) -> Recognition | None:
    options = {field.name: hint[field.name] for field in fields(NetworkOptions) if field.name in hint}
    depths = (options.get("num_layers"), *_listed(options.get("net_blocks")))
    if any(isinstance(depth, int) and depth > _DEEPEST for depth in depths):
        return None
    try:
        network = build_network(options)
    except (UserError, ValueError, TypeError, ArithmeticError):  # another program's settings, or damaged ones
        return None
    pairs = pair_steps(network, foreign)
    return None if pairs is None else Recognition(str(hint.get("network", "")), options, network, pairs)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()


def _name(options: Options, starts: Mapping[str, Options]) -> str:
    """Return the name of the network with these options, or one made of the name with the fewest other options."""
    changes = {
        name: {key: value for key, value in options.items() if known.get(key) != value}
        for name, known in starts.items()
        if known["net_name"] == options["net_name"] and not set(known) - set(options)
    }
    name = min(changes, key=lambda name: len(changes[name]))
    return "-".join([name, *(f"{key}{_text(value)}" for key, value in sorted(changes[name].items()))])


def _text(value: Any) -> str:
    return "_".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


class _Search:
    """Distances of candidates from one foreign network."""

    def __init__(self, foreign: NetworkGraph) -> None:
        self._foreign = foreign
        # Where nothing is normalised after a linear layer, its BatchNorm was folded in, whichever network it is.
        self._folded = not any(step.norm for step in find_steps(foreign).values())
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
        """Return how many steps the candidate has more or less.

        A dropout too many or too few counts half, a constant that values can be adapted to very little.
        """
        key = tuple(sorted((name, _text(value)) for name, value in options.items()))
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
            pairs = pair_steps(build_network(options), self._foreign) if distance < least else None
            if pairs is not None:
                best, least = (options, pairs), distance
            if not least:  # equal in everything
                break
        return best

    def explain(self, options: Options) -> str:
        """Say where the candidate and the foreign network first differ."""
        if self.distance(options) == _FAR:
            return "that cannot have the file's sizes of image and embedding"
        return explain_difference(build_network(options), self._foreign)

    def _measure(self, options: Options) -> float:
        try:
            network = build_network(options)
        except (UserError, ValueError):  # options that do not go together
            return _FAR
        labels, details = self._count(network)
        constants = _difference(details, self._details) / 1e4
        return _difference(labels, self._labels) + 0.5 * abs(_count_dropouts(network) - self._dropouts) + constants

    def _count(self, network: NetworkGraph) -> tuple[Counter, Counter]:
        steps = find_steps(network).values()
        told = [step for step in steps if not (self._folded and step.node.op in LINEAR)]
        return Counter(step.label for step in steps), Counter(item for step in told for item in step.detail)

    def descend(self, options: Options) -> dict[str, Any]:
        """Return the options that no change of one of them brings nearer, changed one after the other."""
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
    """Say where ``network`` and the one of a file first differ."""
    ours, theirs = (list(find_steps(each).values()) for each in (network, foreign))
    for a, b in zip(ours, theirs, strict=False):
        if a.label != b.label:
            return f"where that has {_describe(a)}, the file has {_describe(b)}, its '{b.node.name}'"
    if len(ours) == len(theirs):
        return "the layers are the same, but they are connected in another way"
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
            mark = tuple(sorted((key, _text(value)) for key, value in variant.items()))
            if mark not in seen:
                seen.add(mark)
                yield variant


def _difference(a: Counter, b: Counter) -> int:
    return sum(((a - b) + (b - a)).values())


def _count_dropouts(network: NetworkGraph) -> int:
    return sum(node.op == "dropout" for node in network.nodes)


def _describe(step: Step) -> str:
    op, constants, shape = step.label
    settings = "".join(f" {key}={value}" for key, value in constants)
    return f"{op}{settings} giving {'x'.join(map(str, shape))}"
