"""The short form of the campaign of networks: two machines whose cable is cut for a moment while their ranks run.

What strangers say to the meeting port is in tests/launch/test_gate.py.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from tests.support.nodes import NoNamespacesError, node_folder, start_nodes
from tests.support.supervise import assert_nothing_left, rank_pids, wait_until
from tests.support.wire import wired_machines

PROGRAM = Path(__file__).resolve().parents[1] / "launch" / "rank_behaviour.py"


def test_a_short_cut_of_the_cable_does_not_end_a_run(tmp_path: Path) -> None:
    def command(own: Path) -> list[str]:
        return [sys.executable, str(PROGRAM), "stop_when_asked", str(own)]

    try:
        with wired_machines() as (machines, wire), start_nodes(tmp_path, machines, 2, command) as nodes:
            wait_until(lambda: all(len(rank_pids(node_folder(tmp_path, i))) == 2 for i in (0, 1)), 60, "start")
            passed = wire.passed
            wire.cut = True
            nodes[1].send_signal(signal.SIGINT)  # which node 0 hears of when the cable is whole again
            time.sleep(1)
            assert [node.poll() for node in nodes] in ([None, None], [None, 130])
            wire.cut = False
            said = nodes[0].stderr.readline()
            nodes[0].send_signal(signal.SIGINT)
            assert [node.wait(60) for node in nodes] == [130, 130]
            assert said == "node 1 was asked to stop; stopping after this step\n"
            assert wire.lost > 0 and wire.passed > passed
            for i in (0, 1):
                assert_nothing_left(node_folder(tmp_path, i), 2)
    except NoNamespacesError as error:
        pytest.skip(f"no network namespaces here: {error}")
