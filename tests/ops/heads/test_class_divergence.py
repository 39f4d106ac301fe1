"""The divergence from a teacher's softmax on local tensors, without a graph, against float64."""

from __future__ import annotations

import numpy as np
import pytest

from ops import flow
from ops.heads.build import build_head
from ops.heads.distillation import class_divergence
from ops.heads.layout import LOCAL
from tests.support.divergence import CLASSES, EMB_SIZE, TEACHER_SIZE, draw_inputs, expected, make_options, read_rows


@pytest.mark.parametrize(("centres", "taught"), [(1, 1), (2, 3)])
def test_a_local_head_learns_the_softmax_of_a_teacher(centres: int, taught: int) -> None:
    head = build_head(make_options({"num_subcenters": centres}))
    head.learn_from(read_rows(taught), TEACHER_SIZE, taught)
    student, teacher, labels = draw_inputs()

    def gradients(**taught: flow.Tensor) -> tuple[float, np.ndarray, np.ndarray]:
        embeddings = flow.tensor(student, requires_grad=True)
        result = head(embeddings, *head.prepare(labels), **taught)
        found = flow.autograd.grad([result.loss], [embeddings, *result.trained])
        return float(result.loss.numpy()), *(each.numpy() for each in found)

    pairs = zip(gradients(taught=flow.tensor(teacher)), gradients(), strict=True)
    value, by_embeddings, by_rows = (own - without for own, without in pairs)
    rows = head.weight.numpy().reshape(CLASSES, centres, EMB_SIZE)
    wanted, wanted_by_embeddings, wanted_by_rows = expected(rows, np.arange(CLASSES), taught)
    assert value == pytest.approx(wanted, rel=1e-4)
    for found, exact in ((by_embeddings, wanted_by_embeddings), (by_rows.reshape(rows.shape), wanted_by_rows)):
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-4 * np.abs(exact).max())


def test_a_softmax_does_not_diverge_from_itself_and_large_logits_stay_finite() -> None:
    logits = np.random.default_rng(1).normal(0, 1, (4, 1, 7)).astype(np.float32)
    for factor in (1.0, 1e4, 1e30):
        given = flow.tensor(logits * np.float32(factor), requires_grad=True)
        value = class_divergence(given, flow.tensor(given.numpy()), LOCAL)
        (gradient,) = flow.autograd.grad([value], [given])
        assert abs(float(value.numpy())) < 1e-6 and np.abs(gradient.numpy()).max() < 1e-6
        other = class_divergence(given, flow.tensor(-given.numpy()), LOCAL)
        (gradient,) = flow.autograd.grad([other], [given])
        assert 0 < float(other.numpy()) < np.inf and np.isfinite(gradient.numpy()).all()
