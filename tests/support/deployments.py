"""Skips tests whose runtime is not installed."""

from __future__ import annotations

import pytest

from deploy.environment import MissingPackage
from deploy.registry import Runtime


def require_installed(*runtimes: Runtime) -> None:
    """Skip the test, with the command that installs what is missing."""
    for runtime in runtimes:
        try:
            runtime.require()
        except MissingPackage as error:
            pytest.skip(str(error))
