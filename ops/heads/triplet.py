"""Triplet losses on embeddings of unit length, without class centres.

They are ``triplet`` and ``atriplet`` of InsightFace's train.py. FaceNet (Schroff et al., arXiv:1503.03832) compares
squared distances, the angular form compares angles.
"""

from __future__ import annotations

from typing_extensions import override

from common.errors import lookup
from ops import flow
from ops.heads.base import Head, HeadResult
from ops.heads.loss_state import LossState
from ops.heads.normalize import normalize
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

    def __init__(self, distance: str, alpha: float, placement: flow.placement | None) -> None:
        """Take the name of a distance in ``DISTANCES`` and the margin; ``placement`` None is one process."""
        super().__init__()
        self.loss = LossState({}, placement)
        self._name = distance
        self._distance = lookup(DISTANCES, distance, "loss_name")
        self._alpha = alpha

    @override
    def describe(self) -> str:
        return f"{self._name}: no fc7, alpha {self._alpha:g}"

    @override
    def forward(self, embeddings: flow.Tensor, labels: flow.Tensor) -> HeadResult:
        """Return the mean loss, which is also the logged one, and the images of triplets with the nearer positive.

        Args:
            embeddings: float32 [3 * T, E], split(0) between triplets.
            labels: unused: the batch is made of triplets already.
        """
        triplets = normalize(embeddings).reshape(-1, 3, embeddings.shape[1])
        anchor, positive, negative = (triplets[:, i] for i in range(3))
        near, far = self._distance(anchor, positive), self._distance(anchor, negative)
        loss = flow.relu(near - far + self._alpha).mean()
        correct = (far.detach() > near.detach()).to(flow.float32).sum() * 3.0
        return HeadResult(loss, correct, loss, [])
