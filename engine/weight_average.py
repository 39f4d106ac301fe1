"""A moving average of the backbone's weights, which is often better than the weights of the last step.

After each update of the backbone the average moves by the share 1 - d of its distance from the weights. d is
``ema_decay``, at first less: (1 + n) / (10 + n) after n updates, as in TensorFlow's ExponentialMovingAverage, so that
the first weights are soon forgotten. BatchNorm's running statistics are averaged in the same way, as in timm's
ModelEmaV2: they are those of the weights of the same steps. Class rows have no average: verification does not use them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from backbones.execution.backbone import Backbone
from ops import flow
from ops.runtime.tensors import local_view


class WeightAverage:
    """The average of a backbone's parameters and moving statistics.

    It is the same on every rank, except that of the moving statistics, like these themselves.

    Attributes:
        decay: ``ema_decay``.
        updates: how often the average has moved.
    """

    def __init__(self, backbone: Backbone, decay: float) -> None:
        """Start with the weights of ``backbone``."""
        self.decay = decay
        self.updates = 0
        self._backbone = backbone
        self._arrays = {name: local_view(tensor).clone() for name, tensor in backbone.named_tensors().items()}

    def restart(self) -> None:
        """Start anew with the present weights."""
        self.updates = 0
        for name, array in self._arrays.items():
            array.copy_(self._live(name))

    def update(self) -> None:
        """Move towards the present weights. Those that have not changed stay bit for bit."""
        share = 1.0 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        with flow.no_grad():
            for name, array in self._arrays.items():
                array.add_((self._live(name) - array).mul_(share))

    def average_statistics(self, average: Callable[[flow.Tensor], flow.Tensor]) -> None:
        """Replace the averages of moving statistics by their means over the ranks; see the backbone's method."""
        for name, spec in self._backbone.network.parameters().items():
            if spec.auxiliary and not self._backbone.freeze_bn:
                mean = average(self._arrays[name])
                if mean is not self._arrays[name]:
                    self._arrays[name].copy_(mean)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average in the place of the backbone's weights; they return, bit for bit, at the end."""
        kept = {name: self._live(name).clone() for name in self._arrays}
        self._apply(self._arrays)
        try:
            yield
        finally:
            self._apply(kept)

    def _apply(self, arrays: Mapping[str, flow.Tensor]) -> None:
        for name, array in arrays.items():
            self._live(name).copy_(array)
        flow._oneflow_internal.eager.Sync()

    def _live(self, name: str) -> flow.Tensor:
        return local_view(getattr(self._backbone, name))

    def read_arrays(self) -> dict[str, np.ndarray]:
        """Return a copy of every averaged array by MXNet name."""
        return {name: array.numpy().copy() for name, array in self._arrays.items()}

    def load(self, arrays: Mapping[str, np.ndarray], updates: int) -> None:
        """Continue with what ``read_arrays`` returned after so many updates."""
        self.updates = updates
        for name, array in self._arrays.items():
            array.copy_(flow.from_numpy(np.ascontiguousarray(arrays[name], np.float32)).to(array.device))
        flow._oneflow_internal.eager.Sync()
