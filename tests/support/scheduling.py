"""Which tests run in one process when pytest-xdist spreads them over several."""

from __future__ import annotations

from typing_extensions import override
from xdist.scheduler import LoadFileScheduling


class FileScheduling(LoadFileScheduling):
    """Keeps the tests of a file together, which share its fixtures, and all tests of several ranks.

    Several ranks occupy the cores; they would wait for each other if two such tests ran at a time.
    """

    @override
    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "tests/multirank" if file.startswith("tests/multirank/") else file
