from __future__ import annotations

import gc

import pytest

from common.imports import importing


def test_collections_are_held_back_and_then_skip_what_was_imported() -> None:
    assert gc.isenabled()
    try:
        with importing():
            assert not gc.isenabled()
            kept = [[] for _ in range(1000)]
        assert gc.isenabled()
        frozen = gc.get_freeze_count()
        assert frozen > len(kept)
    finally:
        gc.unfreeze()


def test_collections_go_on_after_a_failed_import() -> None:
    try:
        with pytest.raises(ImportError), importing():
            raise ImportError
        assert gc.isenabled()
    finally:
        gc.unfreeze()


def test_collections_that_the_caller_switched_off_stay_off() -> None:
    gc.disable()
    try:
        with importing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()
