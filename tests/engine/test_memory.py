from __future__ import annotations

import pytest

from backbones import build_network
from backbones.graph.flops import count_parameters
from common.errors import UserError
from engine import memory
from engine.memory import MemoryEstimate, check_memory, estimate_memory, has_room

CONFIG = {
    "num_classes": 1001,
    "emb_size": 64,
    "train_batch_size": 8,
    "model_parallel": True,
    "partial_fc": False,
    "sample_ratio": 0.1,
    "use_bf16": False,
    "num_subcenters": 1,
    "device": "cuda",
    "native_ops": True,
    "fc7_storage": "memory",
    "fc7_dtype": "float32",
    "optimizer": "sgd",
    "gradient_accumulation": 1,
    "loss_name": "margin_softmax",
    "sync_bn": False,
}
NETWORK = {"net_name": "fresnet", "num_layers": 18, "emb_size": 64}


def estimate(ranks: int = 1, **changes: object) -> MemoryEstimate:
    return estimate_memory({**CONFIG, **changes}, build_network(NETWORK), ranks)


def test_class_rows_are_shared_by_the_ranks_of_a_split_head_only():
    assert estimate().fc7 == estimate().momentum == 1001 * 64 * 4
    assert estimate(2).fc7 == 501 * 64 * 4
    assert estimate(2, model_parallel=False).fc7 == 1001 * 64 * 4
    assert estimate(2, num_subcenters=3).fc7 == 501 * 3 * 64 * 4


def test_partial_fc_takes_less_in_a_step():
    whole, part = estimate(), estimate(partial_fc=True)
    assert part.fc7 == whole.fc7
    assert part.logits == pytest.approx(whole.logits * 101 / 1001)
    assert part.rows_in_step < whole.rows_in_step / 2


def test_a_triplet_loss_has_no_class_rows():
    without = estimate(loss_name="triplet")
    assert (without.fc7, without.momentum, without.rows_in_step, without.logits) == (0, 0, 0, 0)
    assert without.backbone == estimate().backbone


def test_rows_that_are_compared_with_each_other_are_not_in_place():
    assert estimate(device="cpu", loss_name="inter").rows_in_step == estimate().rows_in_step


@pytest.mark.parametrize("partial_fc", [False, True])
def test_rows_in_place_have_a_gradient_only(partial_fc: bool):
    rows = 101 if partial_fc else 1001
    assert estimate(partial_fc=partial_fc, device="cpu").rows_in_step == rows * 64 * 4
    assert estimate(partial_fc=partial_fc, device="cpu", native_ops=False).rows_in_step > 2 * rows * 64 * 4
    assert estimate(device="cpu", model_parallel=False).rows_in_step > 2 * 1001 * 64 * 4


def test_bfloat16_rows_take_half_and_stay_in_place():
    narrow, wide = (estimate(device="cpu", fc7_dtype=dtype) for dtype in ("bf16", "float32"))
    assert narrow.fc7 == narrow.momentum == 1001 * 64 * 2
    assert wide.snapshot - narrow.snapshot == 2 * 1001 * 64 * 2
    assert narrow.rows_in_step == wide.rows_in_step == 1001 * 64 * 4
    replicated = [estimate(ranks, device="cpu", fc7_dtype="bf16", model_parallel=False) for ranks in (1, 2)]
    assert [each.rows_in_step for each in replicated] == [1001 * 64 * 4, 3 * 1001 * 64 * 4]


def test_mapped_files_take_no_memory():
    memory, mapped = (estimate(partial_fc=True, fc7_storage=storage) for storage in ("memory", "mmap"))
    bank = 1001 * 64 * 4
    assert memory.rank - mapped.rank == memory.needed - mapped.needed == mapped.in_files == 2 * bank
    assert "in mapped files" in mapped.describe() and "files" not in memory.describe()


def test_the_backbone_counts_with_momentum_and_gradient():
    parameters = count_parameters(build_network(NETWORK))
    assert 3.5 * 4 * parameters * 0.99 < estimate().backbone < 3.5 * 4 * parameters * 1.02  # half of them in updates
    assert estimate(use_bf16=True).activations * 2 == estimate().activations
    assert estimate(2).activations * 2 == estimate().activations
    assert 2 * 4 * parameters < estimate().snapshot - 2 * estimate().fc7 < 2.02 * 4 * parameters


def test_what_cannot_fit_is_an_error_and_what_may_not_a_warning():
    whole = estimate()
    assert check_memory(whole, 2, 2 * whole.rank) == ""
    assert check_memory(whole, 2, 2 * whole.rank - 1).startswith("warning: 2 rank(s) here")
    assert check_memory(whole, 2, 2 * whole.certain).startswith("warning")
    with pytest.raises(UserError, match=r"^2 rank\(s\) here need about .* of which feature maps are"):
        check_memory(whole, 2, 2 * whole.certain - 1)
    with pytest.raises(UserError, match=r"2 rank\(s\) here, 0.00 GB are free"):
        check_memory(whole, 2, 1000)


def test_adamw_keeps_two_moments_and_pieces_are_smaller():
    sgd, adamw, pieces = estimate(), estimate(optimizer="adamw"), estimate(gradient_accumulation=4)
    parameters = 4 * count_parameters(build_network(NETWORK))
    assert (adamw.fc7, adamw.momentum) == (sgd.fc7, 2 * sgd.momentum)
    assert adamw.backbone - sgd.backbone == pieces.backbone - sgd.backbone == pytest.approx(parameters, rel=0.01)
    assert adamw.snapshot - sgd.snapshot == pytest.approx(sgd.fc7 + parameters, rel=0.01)
    assert pieces.activations * 4 == sgd.activations and pieces.logits * 4 == sgd.logits


def test_room_for_a_copy_is_half_of_what_is_free(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 1000)
    assert has_room(250, 2) and not has_room(251, 2)


def test_gradients_take_memory_unless_the_backward_pass_uses_them_up():
    one, two = estimate(device="cpu", train_batch_size=8), estimate(2, device="cpu", train_batch_size=16)
    gradients = 4 * count_parameters(build_network(NETWORK))
    assert 0.3 * gradients < two.activations - one.activations < gradients
    assert two.backbone == one.backbone and two.process > one.process
    for needs_all in ({"clip_gradient": 1.0}, {"fp16_scale": 8.0}, {"fp16_scale_window": 9}, {"optimizer": "adamw"}):
        assert estimate(device="cpu", train_batch_size=8, **needs_all).activations == two.activations


def test_a_backbone_that_is_never_trained_has_no_gradients_and_keeps_no_maps():
    steps = {"train_unit": "batch", "train_iter": 10, "max_steps": 0, "end_epoch": 0, "iter_num_in_snapshot": 1}
    plan = {**steps, "validation_interval": 1, "warmup_steps": 0, "warmup_epochs": 0, "total_img_num": 80}
    run = {"device": "cpu", "train_batch_size": 64}
    at_first, always = (estimate(freeze_backbone_steps=frozen, **run, **plan) for frozen in (9, 10))
    assert at_first.activations == estimate(**run).activations > 1.1 * always.activations


def test_layers_without_kernels_are_kept_whole():
    whole = estimate(device="cpu")
    assert estimate(device="cpu", native_ops=False).activations == estimate().activations
    assert estimate(2, device="cpu", sync_bn=True).activations == estimate(2).activations
    assert whole.activations < estimate().activations + 4 * count_parameters(build_network(NETWORK))
