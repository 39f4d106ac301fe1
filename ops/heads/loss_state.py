"""What a loss keeps from step to step: a few numbers, the same on every rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ops import flow


class MovingState(flow.nn.Module):
    """A module with moving values.

    Attributes:
        new_state: the moving values after the step that was last computed, by name; whoever compiles a graph returns
            them from it and hands them to ``set_state``. Empty for losses without any.
    """

    def __init__(self, first_state: Mapping[str, float], placement: flow.placement) -> None:
        """Begin with the values of ``first_state``."""
        super().__init__()
        self.new_state: dict[str, flow.Tensor] = {}
        self._state_names = tuple(first_state)
        for name, first in first_state.items():
            value = flow.tensor([first], dtype=flow.float32)
            self.register_buffer(f"_state_{name}", value.to_global(placement, flow.sbp.broadcast))

    def old_state(self) -> dict[str, flow.Tensor]:
        """Return the values before this step, global float32 [1] each; inside a graph."""
        return {name: getattr(self, f"_state_{name}") for name in self._state_names}

    def set_state(self, values: Sequence[flow.Tensor]) -> None:
        """Make ``values``, in the order of ``new_state`` and broadcast, the state that the next step starts from."""
        for name, value in zip(self._state_names, values, strict=True):
            self._own_state(name).copy_(value.to_local() if value.is_global else value)

    def read_state(self) -> dict[str, float]:
        """Return the moving values; they are the same on every rank."""
        return {name: float(self._own_state(name).numpy()[0]) for name in self._state_names}

    def load_state(self, values: Mapping[str, float]) -> None:
        """Go on from what ``read_state`` returned; of another loss nothing is taken, and this one starts afresh."""
        if values.keys() == set(self._state_names):
            for name, value in values.items():
                self._own_state(name).fill_(value)

    def _own_state(self, name: str) -> flow.Tensor:
        return getattr(self, f"_state_{name}").to_local().detach()
