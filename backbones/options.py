"""The configuration keys that describe a network, read once from a config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from common.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class NetworkOptions:
    """What the network builders need to know; the defaults are those of InsightFace's MXNet training.

    ``bn_mom`` is MXNet's momentum (share of the old statistics). Keys that a family does not know are not read by it.
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
    bn_mom: float = 0.9
    image_size: int = 112

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> NetworkOptions:
        """Take the known keys of ``config``; a missing key means its default.

        Raises:
            UserError: ``net_name`` is missing, or a size is not a positive whole number.
        """
        if "net_name" not in config:
            raise UserError("the config has no 'net_name'; it names the network, for example net_name='fresnet'")
        known = {key.name: config[key.name] for key in fields(cls) if key.name in config}
        if "net_blocks" in known:
            known["net_blocks"] = tuple(known["net_blocks"])
        options = cls(**known)
        for key in ("emb_size", "image_size"):
            size = getattr(options, key)
            if not isinstance(size, int) or size < 1:
                raise UserError(f"{key}={size!r} is not a positive whole number")
        return options


def choose(table: Mapping[Any, T], key: str, value: Any, network: str) -> T:
    """Return ``table[value]``, the meaning of config ``key`` = ``value`` for ``network``.

    Raises:
        UserError: the value has no entry; the message lists those that have one.
    """
    if value not in table:
        supported = ", ".join(str(known) for known in table)
        raise UserError(f"{key}={value} is not supported for {network}; supported: {supported}")
    return table[value]
