"""How far the embeddings of a student are from those of its teacher, as a loss."""

from __future__ import annotations

from ops import flow
from ops.heads.margin_softmax import normalize


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


def _cosines(units: flow.Tensor) -> flow.Tensor:
    """Return the products of the rows [B, E] with all rows, [B, B], laid out like the rows."""
    # Transposed by an op of its own, so that no op takes the rows in two layouts.
    return flow.matmul(units, _everywhere(units).transpose(0, 1))


def _everywhere(tensor: flow.Tensor) -> flow.Tensor:
    """Return the tensor complete on each rank."""
    return tensor.to_global(sbp=flow.sbp.broadcast) if tensor.is_global else tensor
