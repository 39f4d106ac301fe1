"""The numbers that a loss carries from step to step, the same on every rank: moving values, and trained ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ops import flow
from ops.runtime.tensors import local_view


class LossState(flow.nn.Module):
    """A module with moving values.

    Attributes:
        new_state: the moving values after the step that was last computed, by name. A training graph returns them, and
            its caller hands them to ``set_state``. Empty for losses without moving values.
    """

    def __init__(
        self,
        first_state: Mapping[str, float],
        placement: flow.placement | None,
        first_trained: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Start with the given values, as global tensors of ``placement`` or, without it, local ones.

        Those of ``first_trained`` are parameters of this module.
        """
        super().__init__()
        self.new_state: dict[str, flow.Tensor] = {}
        self._state_names, self._trained_names = tuple(first_state), tuple(first_trained)

        def place(first: float) -> flow.Tensor:
            value = flow.tensor([first], dtype=flow.float32)
            return value if placement is None else value.to_global(placement, flow.sbp.broadcast)

        for name, first in first_state.items():
            self.register_buffer(f"_state_{name}", place(first))
        for name, first in first_trained.items():
            self.register_parameter(name, flow.nn.Parameter(place(first)))

    def trained_numbers(self) -> dict[str, flow.Tensor]:
        """Return the trained numbers by name, float32 [1] each."""
        return {name: getattr(self, name) for name in self._trained_names}

    def old_state(self) -> dict[str, flow.Tensor]:
        """Return the values before this step, float32 [1] each."""
        return {name: getattr(self, f"_state_{name}") for name in self._state_names}

    def set_state(self, values: Sequence[flow.Tensor]) -> None:
        """Set the state of the next step to ``values``, broadcast, in the order of ``new_state``."""
        for name, value in zip(self._state_names, values, strict=True):
            self._local_state(name).copy_(local_view(value))

    def read_state(self) -> dict[str, float]:
        """Return the moving values; they are the same on every rank."""
        return {name: float(self._local_state(name).numpy()[0]) for name in self._state_names}

    def load_state(self, values: Mapping[str, float]) -> None:
        """Restore the result of ``read_state``; values of another loss are ignored, so that this loss starts anew."""
        if values.keys() == set(self._state_names):
            for name, value in values.items():
                self._local_state(name).fill_(value)

    def _local_state(self, name: str) -> flow.Tensor:
        return local_view(getattr(self, f"_state_{name}"))
