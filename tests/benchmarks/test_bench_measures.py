from __future__ import annotations

import os

import pytest

from benchmarks.measures import consensus_index, images_per_second, relative_difference, speed_range
from benchmarks.other_load import busy_seconds, describe_load


def test_speed_is_that_of_the_median_step():
    assert images_per_second(16, [1.0, 100.0, 2.0]) == 8.0
    assert images_per_second(16, [1.0, 3.0]) == 8.0


def test_range_holds_the_middle_half_from_slow_to_fast():
    assert speed_range(12, [1.0, 2.0, 3.0, 4.0, 5.0]) == (3.0, 6.0)


def test_difference_is_relative_to_the_reference():
    assert relative_difference([3.0, 5.0], [3.0, 4.0]) == pytest.approx(0.2)


@pytest.mark.parametrize("results", [[1.0], [1.0, float("nan")], [float("inf"), 1.0]])
def test_results_that_cannot_be_compared_differ_infinitely(results):
    assert relative_difference(results, [1.0, 1.0]) == float("inf")


def test_consensus_is_with_the_majority():
    assert consensus_index([[9.0, 9.0], [1.0, 2.0], [float("nan"), 0.0], [1.0, 2.001]]) in (1, 3)


def test_busy_seconds_leave_idle_and_iowait_out():
    ticks = os.sysconf("SC_CLK_TCK")
    stat = "cpu  " + " ".join(str(n * ticks) for n in (1, 2, 4, 1000, 500, 8, 16, 32, 64, 0)) + "\ncpu0 1 2 3\n"
    assert busy_seconds(stat) == 1 + 2 + 4 + 8 + 16 + 32


def test_a_quiet_machine_is_not_worth_a_line():
    assert describe_load(0.01) == ""
    assert "used 40% of the machine" in describe_load(0.4)
