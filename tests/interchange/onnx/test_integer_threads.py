"""Integer models run with one thread where onnxruntime's several ones compute wrong products."""

from __future__ import annotations

import pytest

from interchange import embedders


@pytest.mark.parametrize(
    ("model", "flags", "threads"),
    [
        (b"...ConvInteger...", {"avx512f", "amx_int8"}, 1),
        (b"...QuantizeLinear...", {"amx_int8"}, 1),
        (b"...ConvInteger...", {"avx512f"}, 0),
        (b"...Conv...", {"amx_int8"}, 0),
    ],
)
def test_integer_models_on_a_matrix_unit_have_one_thread(
    monkeypatch: pytest.MonkeyPatch, model: bytes, flags: set[str], threads: int
) -> None:
    monkeypatch.setattr(embedders, "processor_flags", lambda: flags)
    assert embedders.integer_threads(model) == threads
