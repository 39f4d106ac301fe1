"""How the campaign of a long run judges its samples."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.campaigns.soak import Sample, judge, table

STEPS = 1000
FLAT = [Sample(step, step * 0.1, 300_000_000, 40, 30, step * 0.02) for step in range(0, STEPS + 1, 20)]


def test_what_stays_is_no_fault() -> None:
    # Wide while everything is built up, which does not count.
    assert judge([replace(FLAT[0], memory=10**9), *FLAT[1:]], STEPS) == []
    assert len(table(FLAT, STEPS).splitlines()) == 12


@pytest.mark.parametrize(
    ("grown", "fault"),
    [
        (lambda s: replace(s, memory=s.memory + s.step * 10_000), "memory grew from 301"),
        (lambda s: replace(s, files=s.files + s.step // 200), "files grew from 40 to 4"),
        (lambda s: replace(s, threads=s.threads + s.step // 200), "threads grew from 30 to 3"),
        (lambda s: replace(s, processor=s.processor * (1 + s.step / 2000)), "processor time of a step grew from 2"),
    ],
)
def test_what_grows_is_a_fault(grown: object, fault: str) -> None:
    (found,) = judge([grown(sample) for sample in FLAT], STEPS)
    assert found.startswith(fault)


def test_too_few_samples_are_a_fault() -> None:
    assert len(judge(FLAT[:5], STEPS)) == 1
