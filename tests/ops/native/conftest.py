from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest

from ops import flow  # noqa: F401  (the kernels are loaded into it)
from ops.native import load_native_kernels, native_calls
from ops.native.loader import SWITCH


@pytest.fixture(scope="session")
def native() -> None:
    """The kernels, in this process; skips where they are switched off or there is no compiler to build them."""
    status = load_native_kernels()
    if "oneDNN" not in status:
        if os.environ.get(SWITCH) == "0" or shutil.which("g++") is None:
            pytest.skip(status)
        pytest.fail(status)


@pytest.fixture
def expect_calls(native) -> Callable[..., None]:
    """A check that the named ops were computed by the kernels, and how often, since the test began."""
    before = native_calls()

    def check(**expected: int) -> None:
        after = native_calls()
        assert {op: after[op] - before[op] for op in expected} == expected

    return check
