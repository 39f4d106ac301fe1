from __future__ import annotations

from typing import Any

import pytest

from benchmarks import verification_rows
from tests.support.tiny import IMAGE_SIZE, tiny_network


def test_the_whole_verification_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification_rows, "build_network", lambda _: tiny_network())
    monkeypatch.setattr(verification_rows, "merge", lambda *_: {"image_size": IMAGE_SIZE})
    seen: dict[str, Any] = {}

    def write(folder: Any, results: Any, *_: Any) -> None:
        seen["pairs"], seen["writes"] = results[0].pairs, seen.get("writes", 0) + 1

    monkeypatch.setattr(verification_rows, "write_model_report", write)
    monkeypatch.setattr(verification_rows, "available_cpus", lambda: 1)
    monkeypatch.setattr(verification_rows, "write_converted", lambda *_: None)  # it would verify a known network
    monkeypatch.setattr(verification_rows, "_run_command", lambda *_: (2.0, 3.0))
    alone, whole, started = verification_rows.run(140, 2)
    assert seen == {"pairs": 70, "writes": 2}
    assert (alone.label, alone.ratio, whole.label) == ("the network alone", 1.0, "to the report")
    assert whole.speed == pytest.approx(280 / whole.seconds)  # no image is there twice
    assert whole.ratio == pytest.approx(alone.seconds / whole.seconds)
    assert whole.processor_ratio == pytest.approx(alone.processor / whole.processor) and alone.processor_ratio == 1
    assert len(whole.cells()) == len(verification_rows.HEADER)
    assert started.seconds == whole.seconds + 2 and started.processor == whole.processor + 3
