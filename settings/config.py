"""The resolved settings of a run: one read-only mapping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from typing_extensions import override


class Config(Mapping[str, Any]):
    """Settings by key, as items and as attributes: ``config["lr"]`` is ``config.lr``. It is read-only.

    To change settings, make a new object with ``replaced``. The values are numbers, strings, booleans and lists of
    these, so that ``dict(config)`` can be written as JSON. Each package reads its part into a dataclass
    (``NetworkOptions``, ``LaunchOptions``, ``DataOptions`` and so on) with ``from_config``.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Take a copy of ``values``."""
        object.__setattr__(self, "_values", dict(values))

    def replaced(self, **changes: Any) -> Config:
        """Return these settings with ``changes``."""
        return Config({**self._values, **changes})

    @override
    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    @override
    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__") or key == "_values":  # copy and pickle look these up before the values exist
            raise AttributeError(key)
        try:
            return self._values[key]
        except KeyError:
            raise AttributeError(f"there is no setting '{key}'") from None

    @override
    def __setattr__(self, key: str, value: Any) -> None:
        raise AttributeError(f"settings are read-only; make new ones: config.replaced({key}={value!r})")

    @override
    def __delattr__(self, key: str) -> None:
        raise AttributeError(f"settings are read-only; '{key}' cannot be deleted")

    @override
    def __repr__(self) -> str:
        return f"Config({self._values!r})"

    @override
    def __reduce__(self) -> tuple[type[Config], tuple[dict[str, Any]]]:
        return Config, (self._values,)
