"""How far a student is from its teacher, as a loss: in embeddings, and in the softmax over the classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ops import flow
from ops.heads.layout import HeadLayout
from ops.heads.normalize import normalize
from ops.rows.referenced import ReferencedRows


def teacher_distance(student: flow.Tensor, teacher: flow.Tensor) -> flow.Tensor:
    """Return what a student that follows a teacher makes small, a scalar; the directions of embeddings alone count.

    With embeddings of one length it is the mean of 1 - cos(student, teacher) over the images: the squared distance of
    unit vectors, halved (after ShrinkTeaNet, Duong et al., arXiv:1905.10620, which squares it). With embeddings of
    different lengths, which cannot be compared, it is the mean square over all pairs of different images of
    cos(student i, student j) - cos(teacher i, teacher j): the structure of the batch, which is what verification
    compares (Correlation Congruence, Peng et al., arXiv:1904.01802, with the inner product of unit vectors as the
    kernel). Neither has a parameter, so that the student is the network that it would be without a teacher.

    Args:
        student: float32 [B, E], split(0) where it is global.
        teacher: float32 [B, F], like it; a constant.
    """
    student, teacher = normalize(student), normalize(teacher.detach())
    count, length = student.shape
    if length == teacher.shape[1]:
        return _everywhere(1.0 - (student * teacher).sum(dim=1).mean())
    difference = _cosines(student) - _cosines(teacher)  # 0 of an image with itself
    return _everywhere(difference.square().sum() / max(1, count * (count - 1)))


@dataclass(frozen=True)
class TaughtClasses:
    """A teacher's view of a step, inside a graph; constants.

    Attributes:
        embeddings: of the images, float32 [B, F], split(0).
        rows: unit class rows of the classes of the step, in the order of the student's, as ``MarginSoftmax`` takes
            those: float32 [shards * rows * centres, F], or a reference to rows outside the graph.
        centres: rows per class, consecutive, of which the nearest counts.
    """

    embeddings: flow.Tensor
    rows: flow.Tensor | ReferencedRows
    centres: int = 1

    def cosines(self, layout: HeadLayout, rows: int) -> flow.Tensor:
        """Return the cosines with all classes, float32 [B, shards, rows]; of padding rows any number."""
        embeddings = layout.to_every_rank(normalize(self.embeddings.detach()))
        if isinstance(self.rows, ReferencedRows):
            found = self.rows.multiply(embeddings, 0.0)
        else:
            found = flow.matmul(embeddings, self.rows, transpose_b=True)
        if self.centres > 1:
            found = found.reshape(found.shape[0], layout.shards * rows, self.centres).amax(dim=2)
        return found.reshape(found.shape[0], layout.shards, rows)


def class_divergence(
    student: flow.Tensor,
    teacher: flow.Tensor,
    layout: HeadLayout,
    factor: float = 1.0,
    padding: flow.Tensor | None = None,
) -> flow.Tensor:
    """Return the mean over the images of the Kullback-Leibler divergence of two softmaxes over the classes, a scalar.

    It is sum p * log(p / q), with the teacher's p and the student's q (Hinton et al., arXiv:1503.02531). Its gradient
    by the student's logits is (q - p) / B, which the forward pass leaves in one array of their size. OneFlow keeps an
    array for each operation, so there are few of them. Only values of size [B, shards] and [B] cross ranks.

    Args:
        student: cosines, float32 [B, shards, rows], laid out as ``layout`` says.
        teacher: like it; a constant.
        layout: how they lie over the ranks.
        factor: of both, to make logits.
        padding: added to both before, as in ``MarginSoftmax.forward``.
    """
    constant = teacher.detach()

    class Divergences(flow.autograd.Function):
        @staticmethod
        def forward(ctx: Any, student: flow.Tensor) -> flow.Tensor:
            wanted, of_teacher, teacher_sum = _softmax(constant, layout, factor, padding)
            found, of_student, student_sum = _softmax(student, layout, factor, padding)
            ctx.save_for_backward(found - wanted)
            between = layout.to_every_rank((wanted * (of_teacher - of_student)).sum(dim=2)).sum(dim=1)
            return between - flow.log(teacher_sum) + flow.log(student_sum)

        @staticmethod
        def backward(ctx: Any, gradients: flow.Tensor) -> flow.Tensor:
            (difference,) = ctx.saved_tensors
            return difference * (gradients * factor).reshape(-1, 1, 1)

    return Divergences.apply(student).mean()


def _softmax(
    cosines: flow.Tensor, layout: HeadLayout, factor: float, padding: flow.Tensor | None
) -> tuple[flow.Tensor, flow.Tensor, flow.Tensor]:
    """Return the softmax over the last two axes of [B, shards, rows], its logits, and the sum of their exponentials.

    The largest logit of an image is 0; the sum is float32 [B].
    """
    if padding is not None:
        cosines = cosines + padding
    largest = layout.to_every_rank(cosines.amax(dim=2)).amax(dim=1).reshape(-1, 1, 1)
    logits = (cosines - largest) * factor
    powers = flow.exp(logits)
    total = layout.to_every_rank(powers.sum(dim=2)).sum(dim=1)
    return powers / total.reshape(-1, 1, 1), logits, total


def _cosines(units: flow.Tensor) -> flow.Tensor:
    """Return the products of the rows [B, E] with all rows, [B, B], laid out like the rows."""
    # Transposed by an op of its own, so that no op takes the rows in two layouts.
    return flow.matmul(units, _everywhere(units).transpose(0, 1))


def _everywhere(tensor: flow.Tensor) -> flow.Tensor:
    """Return the tensor complete on each rank."""
    return tensor.to_global(sbp=flow.sbp.broadcast) if tensor.is_global else tensor
