"""Triplet losses on embeddings of unit length, without class centres.

They are ``triplet`` and ``atriplet`` of InsightFace's train.py. FaceNet (Schroff et al., arXiv:1503.03832) compares
squared distances, the angular form compares angles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.errors import lookup
from ops import flow
from ops.heads.base import Head
from ops.heads.loss_state import MovingState
from ops.heads.margin_softmax import normalize
from ops.losses.margin import COSINE_LIMIT


def _squared_distance(first: flow.Tensor, second: flow.Tensor) -> flow.Tensor:
    return (first - second).square().sum(dim=1)


def _angle(first: flow.Tensor, second: flow.Tensor) -> flow.Tensor:
    return flow.acos((first * second).sum(dim=1).clamp(-COSINE_LIMIT, COSINE_LIMIT))


DISTANCES = {"triplet": _squared_distance, "atriplet": _angle}


class TripletHead(Head):
    """The mean of max(0, d(anchor, positive) - d(anchor, negative) + alpha) over triplets.

    A batch is triplet after triplet, each an anchor, a positive and a negative. Works inside nn.Graph on global
    tensors, of which only scalars cross ranks.
    """

    def __init__(self, distance: str, alpha: float, placement: flow.placement) -> None:
        """``distance`` is a name in ``DISTANCES``."""
        super().__init__()
        self.loss = MovingState({}, placement)
        self._name = distance
        self._distance = lookup(DISTANCES, distance, "loss_name")
        self._alpha = alpha

    def describe(self) -> str:
        """See ``Head``."""
        return f"{self._name}: no fc7, alpha {self._alpha:g}"

    def forward(self, embeddings: flow.Tensor, labels: flow.Tensor) -> tuple[flow.Tensor, flow.Tensor, flow.Tensor]:
        """Return the mean loss, the images of triplets whose negative is farther than the positive, and the loss again.

        Args:
            embeddings: float32 [3 * T, E], split(0) between triplets.
            labels: not looked at: what is a triplet was decided before.
        """
        triplets = normalize(embeddings).reshape(-1, 3, embeddings.shape[1])
        anchor, positive, negative = (triplets[:, i] for i in range(3))
        near, far = self._distance(anchor, positive), self._distance(anchor, negative)
        loss = flow.relu(near - far + self._alpha).mean()
        correct = (far.detach() > near.detach()).to(flow.float32).sum() * 3.0
        return loss, correct, loss


def build_triplet_head(config: Mapping[str, Any], placement: flow.placement) -> TripletHead:
    """Return the head that ``config`` asks for by ``loss_name``."""
    return TripletHead(config["loss_name"], config["triplet_alpha"], placement)
