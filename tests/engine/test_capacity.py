from __future__ import annotations

import pytest

from backbones import build_network
from backbones.graph.flops import count_parameters
from benchmarks.heads import communicated_bytes
from engine.capacity import RunPlan, plan_run, wire_bytes
from engine.memory import estimate_memory
from settings.complete import complete_config
from settings.config import Config
from settings.train_command import resolve_train_config


def settings(ranks: int, *flags: str) -> Config:
    words = ["--network", "y1", "--num_classes", "100000", "--train_batch_size", "64", "--use_synthetic_data", "1"]
    return complete_config(resolve_train_config([*words, *flags]), ranks, "cpu")


def plan(ranks: int, memory: float, *flags: str) -> RunPlan:
    config = settings(ranks, *flags)
    return plan_run(config, build_network(config), ranks, int(memory))


def needed(ranks: int, *flags: str) -> int:
    config = settings(ranks, *flags)
    return estimate_memory(config, build_network(config), ranks).rank


def test_a_single_rank_receives_nothing():
    config = settings(1)
    assert wire_bytes(config, build_network(config), 1).total == 0


def test_the_backbone_is_summed_in_a_ring_once_for_each_piece():
    for ranks, pieces in ((2, 1), (4, 2)):
        config = settings(ranks, "--gradient_accumulation", str(pieces))
        network = build_network(config)
        expected = 2 * (ranks - 1) / ranks * 4 * count_parameters(network) * pieces
        assert wire_bytes(config, network, ranks).backbone == pytest.approx(expected, rel=0.02)  # without statistics
    config = settings(2, "--freeze_backbone_steps", "9", "--pretrained", "x")
    assert wire_bytes(config, build_network(config), 2).backbone == 0


@pytest.mark.parametrize("ranks", [2, 4])
def test_partial_fc_receives_what_the_benchmark_of_the_head_says(ranks: int):
    config = settings(ranks, "--partial_fc", "1")
    wire = wire_bytes(config, build_network(config), ranks)
    assert (wire.rows, wire.embeddings + wire.small) == (0, communicated_bytes(ranks, 64, config.emb_size))
    assert wire.seconds(8) == pytest.approx(wire.total / 1e9)


def test_only_the_replicated_head_sums_class_rows():
    config = settings(4, "--model_parallel", "0")
    wire = wire_bytes(config, build_network(config), 4)
    assert (wire.rows, wire.embeddings) == (int(1.5 * 100_000 * config.emb_size * 4), 0)


def test_the_largest_batch_fits_and_the_next_does_not():
    memory = needed(2, "--train_batch_size", "50")
    found = plan(2, memory)
    assert found.largest_batch == 50 and not found.fits
    assert needed(2, "--train_batch_size", "52") > memory
    assert "--train_batch_size 50" in found.advice


def test_the_smallest_number_of_ranks_keeps_the_images_of_a_rank():
    flags = ("--partial_fc", "1", "--sample_ratio", "0.01", "--num_classes", "4000000")
    memory = needed(3, "--train_batch_size", "48", *flags)
    found = plan(1, memory, "--train_batch_size", "16", *flags)
    assert found.smallest_ranks == 3 and "or 3 ranks" in found.advice
    assert found.ratios[0.01] == found.estimate.rank < found.ratios[0.1] < found.ratios[1.0]


def test_advice_names_what_would_fit():
    memory = needed(1, "--partial_fc", "1", "--sample_ratio", "0.1", "--num_classes", "2000000")
    found = plan(1, memory, "--num_classes", "2000000")
    assert "--partial_fc 1 --sample_ratio 0.1" in found.advice and "--fc7_dtype" not in found.advice
    assert plan(1, 1e6).advice == "it does not fit, and no single change makes it fit"
    assert plan(1, 1e12).advice.startswith("it fits; the largest batch that does is ")
