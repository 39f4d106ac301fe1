"""The configuration keys that describe a network, read once from a config."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from backbones.graph.nodes import ACTIVATION_TYPES
from common.errors import UserError

T = TypeVar("T")
_SHARES = ("densenet_dropout", "vit_drop_path", "vit_mask_ratio")


@dataclass(frozen=True)
class NetworkOptions:
    """The options of the network builders; the defaults are those of InsightFace's MXNet training.

    ``bn_mom`` is MXNet's momentum (the share of the old statistics). Images become ``(x - input_mean) * input_scale``,
    with the scale of the family if ``input_scale`` is 0. A family ignores the keys of other families.
    """

    net_name: str
    num_layers: int | None = None
    emb_size: int = 512
    net_output: str = "E"
    net_unit: int = 3
    net_input: int = 1
    net_se: int = 0
    net_act: str = "prelu"
    net_blocks: tuple[int, ...] = (1, 4, 6, 2)
    net_multiplier: float = 1.0
    densenet_dropout: float = 0.0
    vit_width: int = 256
    vit_drop_path: float = 0.0
    vit_mask_ratio: float = 0.0
    bn_mom: float = 0.9
    image_size: int = 112
    input_mean: float = 127.5
    input_scale: float = 0.0

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> NetworkOptions:
        """Read the known keys of ``config``; a missing key has its default.

        Raises:
            UserError: ``net_name`` is missing, or a size, factor or share is out of its range.
        """
        if "net_name" not in config:
            raise UserError("the config has no 'net_name'; it names the network, for example net_name='fresnet'")
        known = {key.name: config[key.name] for key in fields(cls) if key.name in config}
        if "net_blocks" in known:
            known["net_blocks"] = tuple(known["net_blocks"])
        options = cls(**known)
        for key in ("emb_size", "image_size", "vit_width"):
            size = getattr(options, key)
            if not isinstance(size, int) or size < 1:
                raise UserError(f"{key}={size!r} is not a positive whole number")
        activations = ("prelu", *ACTIVATION_TYPES)
        if options.net_act not in activations:
            raise UserError(f"unknown activation '{options.net_act}' of net_act; known: {', '.join(activations)}")
        if not (_is_finite(options.net_multiplier) and options.net_multiplier > 0):
            raise UserError(f"net_multiplier={options.net_multiplier!r} is not positive; 1 is the plain network")
        mean, scale = options.input_mean, options.input_scale
        if not (_is_finite(mean) and _is_finite(scale) and scale >= 0):
            raise UserError(
                f"input_mean={mean!r} and input_scale={scale!r} must be numbers, and the scale not negative"
            )
        for key in _SHARES:
            if not (_is_finite(getattr(options, key)) and 0 <= getattr(options, key) < 1):
                raise UserError(f"{key}={getattr(options, key)!r} must be a share, at least 0 and below 1")
        return options

    def widen(self, filters: int) -> int:
        """Return ``filters`` times ``net_multiplier``, rounded down.

        Raises:
            UserError: the result is 0.
        """
        widened = int(filters * self.net_multiplier)
        if widened < 1:
            raise UserError(f"net_multiplier={self.net_multiplier} leaves none of {filters} filters; take a larger one")
        return widened


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def choose(table: Mapping[Any, T], key: str, value: Any, network: str) -> T:
    """Return ``table[value]``, the entry of config ``key`` = ``value`` for ``network``.

    Raises:
        UserError: the value has no entry; the message lists the values that have one.
    """
    if value not in table:
        supported = ", ".join(str(known) for known in table)
        raise UserError(f"{key}={value} is not supported for {network}; supported: {supported}")
    return table[value]
