from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.bench_head import ratios, row_types, whole_numbers
from benchmarks.heads import CONTESTANTS, communicated_bytes, fit_memory, make_rows, needed_bytes
from benchmarks.peers.head_job import embeddings_of, labels_of
from benchmarks.rounds import Measured

ROOT = Path(__file__).parents[2]


def test_numbers_are_read_with_their_units():
    assert whole_numbers("10k,1M,7") == [10_000, 1_000_000, 7]
    assert ratios("1,0.1") == [1.0, 0.1]
    assert row_types("bf16,float32") == ["bf16", "float32"]
    for read, text in (
        (row_types, "bf16,half"),
        (whole_numbers, "0"),
        (whole_numbers, "x"),
        (ratios, "0"),
        (ratios, "1.5"),
    ):
        with pytest.raises((ValueError, argparse.ArgumentTypeError)):
            read(text)


def test_a_rank_alone_receives_nothing():
    assert communicated_bytes(1, 64, 512) == 0
    assert communicated_bytes(2, 64, 512) == 2 * 32 * 512 * 4 + 32 * 4 + 64 * 4 + 4 * 64 * 4


def test_ranks_share_one_batch():
    whole, half = ({"size": 6, "emb_size": 4, "num_classes": 50, "ranks": ranks} for ranks in (1, 2))
    np.testing.assert_array_equal(
        embeddings_of(whole, 0), np.concatenate([embeddings_of(half, rank) for rank in (0, 1)])
    )
    np.testing.assert_array_equal(labels_of(whole, 0, 3), np.concatenate([labels_of(half, r, 3) for r in (0, 1)]))
    assert (labels_of(whole, 0, 3) != labels_of(whole, 0, 4)).any()


def test_rows_compare_with_us_and_with_the_limit():
    ours, peer, limit = CONTESTANTS
    rows = make_rows(
        [
            Measured(ours, "ours", [0.2, 0.1, 0.3], [5.0]),
            Measured(peer, "peer", [0.4]),
            Measured(limit, "limit", failure="no"),
        ]
    )
    assert [row.name for row in rows] == ["ours", "torch"]
    assert rows[0].ratio is None and rows[1].ratio == pytest.approx(2)
    assert rows[0].to_limit is None and rows[0].loss == 5.0 and rows[1].loss is None


def test_who_does_not_fit_the_memory_stays_away():
    job = {"num_classes": 1000, "emb_size": 10, "sample_ratio": 0.5, "storage": "memory", "row_dtype": "float32"}
    assert needed_bytes(job) == 100_000 and needed_bytes({**job, "row_dtype": "bf16"}) == 60_000
    assert fit_memory(CONTESTANTS, job, 10**9 + 200_000) == (list(CONTESTANTS), []) and job["storage"] == "memory"
    taking_part, remarks = fit_memory(CONTESTANTS, job, 10**9 + 100_000)
    assert [contestant.name for contestant in taking_part] == ["ours"] and job["storage"] == "mmap"
    assert [remark.split(":")[0] for remark in remarks] == ["ours in mapped files", "not measured", "not measured"]
    whole = {**job, "sample_ratio": 1, "storage": "memory"}
    assert fit_memory(CONTESTANTS, whole, 10**9 + 100_000)[0] == [] and whole["storage"] == "memory"


@pytest.mark.slow
def test_every_form_is_measured_on_one_rank_and_on_two(tmp_path):
    flags = "--row_dtype float32,bf16 --fixed_sample 50 --contestants ours,limit "
    flags += "--classes 500 --ratios 1,0.1 --ranks 1,2 --emb_size 16 --batch 8 --rounds 1 --seconds 0.1"
    command = [sys.executable, "benchmarks/bench_head.py", *flags.split()]
    file = tmp_path / "head.json"
    subprocess.run([*command, "--json", str(file)], cwd=ROOT, check=True, timeout=280, stdout=subprocess.DEVNULL)
    written = json.loads(file.read_text())
    assert [len(table["steps"]) for table in written["fixed"]] == [1, 1, 1, 1]
    tables = [table for table in written["tables"] if table["row_dtype"] == "float32"]
    narrow = [table for table in written["tables"] if table["row_dtype"] == "bf16"]
    for some, names in ((tables, ["ours", "limit"]), (narrow, ["ours"])):
        assert [(t["ranks"], t["sample_ratio"]) for t in some] == [(1, 1.0), (1, 0.1), (2, 1.0), (2, 0.1)]
        for table in some:
            assert table["absent"] == [] and [row["name"] for row in table["rows"]] == names
    assert tables[0]["rows"][0]["loss"] == pytest.approx(narrow[0]["rows"][0]["loss"], rel=1e-2)
    assert tables[0]["rows"][0]["loss"] == pytest.approx(tables[2]["rows"][0]["loss"], rel=1e-4)
