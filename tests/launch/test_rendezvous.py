"""Launching commands of several nodes, over the loopback address and with ranks that need no OneFlow."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from launch.join_token import read_token, token_file
from launch.rendezvous import _Patience, rendezvous
from tests.support.joining import connect, greet, hear, say, shared
from tests.support.nodes import LOOPBACK, node_folder, start_nodes
from tests.support.ranks import free_port
from tests.support.supervise import assert_nothing_left, rank_pids, wait_until

PROGRAM = Path(__file__).parent / "rank_behaviour.py"
RANKS = 2
End = tuple[int, str, str]


def run_nodes(folder: Path, behaviour: str, signals: dict[int, signal.Signals] | None = None, **options: Any) -> list:
    """Return exit code, stdout and stderr of each node; ``signals`` go to the nodes once all ranks have started."""

    def command(own: Path) -> list[str]:
        return [sys.executable, str(PROGRAM), behaviour, str(own)]

    with start_nodes(folder, LOOPBACK, RANKS, command, **options) as nodes:
        if signals:
            wait_until(lambda: all(len(rank_pids(node_folder(folder, i))) == RANKS for i in (0, 1)), 60, "start")
        for node, number in (signals or {}).items():
            nodes[node].send_signal(number)
        ends = [communicate(node) for node in nodes]
        for i in (0, 1):
            # A rank may have been stopped before it wrote its process id.
            assert_nothing_left(node_folder(folder, i), len(rank_pids(node_folder(folder, i))))
    return ends


def communicate(node: subprocess.Popen) -> End:
    out, err = node.communicate(timeout=60)
    return node.returncode, out, err


def where(folder: Path, node: int, *ranks: int) -> str:
    files = ", ".join(f"rank-{rank}.log" for rank in ranks)
    return "all ranks were stopped" + (
        f"; their full output is in {node_folder(folder, node) / 'log'}: {files}" if ranks else ""
    )


def test_ranks_are_numbered_over_all_nodes(tmp_path: Path) -> None:
    ends = run_nodes(tmp_path, "be_good")
    assert ends == [(0, "rank 0 of 4 works\n", ""), (0, "rank 2 of 4 works\n", "")]
    assert (node_folder(tmp_path, 1) / "log" / "rank-3.log").read_text() == "rank 3 of 4 works\n"


def test_nodes_of_one_address_number_their_ranks_as_one_machine(tmp_path: Path) -> None:
    def command(own: Path) -> list[str]:
        return ["sh", "-c", f'echo "$RANK $LOCAL_RANK $MASTER_ADDR $MASTER_PORT" > {own}/$RANK.env']

    with start_nodes(tmp_path, LOOPBACK, RANKS, command) as nodes:
        assert [node.wait(60) for node in nodes] == [0, 0]
    said = sorted(path.read_text().split() for path in tmp_path.rglob("*.env"))
    assert [line[:3] for line in said] == [[str(i), str(i), "127.0.0.1"] for i in range(4)]
    assert len({line[3] for line in said}) == 1


def test_a_failure_is_told_to_all_nodes(tmp_path: Path) -> None:
    (code, _, err), (other_code, _, other) = run_nodes(tmp_path, "raise_in_one")
    assert (code, other_code) == (1, 1)
    assert err.splitlines()[0] == "rank 1 of 4 failed:" and err.splitlines()[-1] == where(tmp_path, 0, 1)
    assert other.splitlines()[0] == "node 0: rank 1 of 4 failed:"
    assert "ValueError: broken on purpose" in other.splitlines() and other.splitlines()[-1] == where(tmp_path, 1)


def test_a_death_goes_before_the_aborts_that_it_causes_elsewhere(tmp_path: Path) -> None:
    (code, _, err), (other_code, _, other) = run_nodes(tmp_path, "be_killed_and_abort")
    assert (code, other_code) == (1, 1)
    assert other.splitlines()[:2] == ["rank 3 of 4 failed: it ended by signal SIGKILL", "last words"]
    assert err.splitlines()[:2] == ["node 1: rank 3 of 4 failed: it ended by signal SIGKILL", "last words"]


def test_a_silent_rank_ends_all_nodes(tmp_path: Path) -> None:
    ends = run_nodes(tmp_path, "fall_silent", rank_timeout=3)
    said = "error: rank 1 has not responded for 3 s (--rank_timeout)"
    assert [code for code, _, _ in ends] == [1, 1]
    assert [err.splitlines()[0] for _, _, err in ends] == [said, f"node 0: {said}"]


@pytest.mark.parametrize("node", [0, 1])
def test_a_lost_node_ends_the_other(tmp_path: Path, node: int) -> None:
    code, _, err = run_nodes(tmp_path, "hang", {node: signal.SIGKILL})[1 - node]
    assert code == 1
    expected = f"error: lost node {node} (127.0.0.1): its command ended or the network failed"
    assert err.splitlines() == [expected, where(tmp_path, 1 - node)]


def test_interrupt_of_one_node_is_known_to_all(tmp_path: Path) -> None:
    """The ranks themselves agree on when to stop; here each node's ranks are told by the one signal."""
    both = {0: signal.SIGINT, 1: signal.SIGINT}
    ends = run_nodes(tmp_path, "stop_when_asked", both)
    assert [code for code, _, _ in ends] == [130, 130]
    for i, (_, _, err) in enumerate(ends):
        assert err.splitlines()[0] == "stopping after this step; press Ctrl-C again to stop immediately"
        assert err.splitlines()[1:] in ([], [f"node {1 - i} was asked to stop; stopping after this step"])


def test_second_interrupt_of_one_node_ends_the_other(tmp_path: Path) -> None:
    def command(own: Path) -> list[str]:
        return [sys.executable, str(PROGRAM), "never_stop", str(own)]

    with start_nodes(tmp_path, LOOPBACK, RANKS, command) as nodes:
        wait_until(lambda: all(len(rank_pids(node_folder(tmp_path, i))) == RANKS for i in (0, 1)), 60, "start")
        nodes[1].send_signal(signal.SIGINT)
        assert nodes[0].stderr.readline() == "node 1 was asked to stop; stopping after this step\n"
        nodes[1].send_signal(signal.SIGINT)
        assert communicate(nodes[0])[::2] == (130, "node 1 was interrupted\n")
        assert communicate(nodes[1])[0] == 130


def test_other_settings_are_named_by_both_nodes(tmp_path: Path) -> None:
    ends = run_nodes(tmp_path, "be_good", changes={0: {"lr": 0.1}, 1: {"lr": 0.2, "models_root": "/mnt/models"}})
    said = "error: node 1 has lr=0.2, node 0 lr=0.1; give all nodes the same settings\n"
    assert ends == [(1, "", said), (1, "", said)]
    assert not list(tmp_path.rglob("rank-*"))


def test_two_nodes_of_one_number(tmp_path: Path) -> None:
    changes = {0: {"num_nodes": 3}, 1: {"num_nodes": 3}, 2: {"node_rank": 1}}
    machines = (*LOOPBACK, LOOPBACK[0])
    with start_nodes(tmp_path, machines, 1, lambda _: ["true"], changes=changes, rank_timeout=3) as nodes:
        ends = [communicate(node) for node in nodes]
    assert sorted(code for code, _, _ in ends) == [1, 1, 1]
    refused = [err for _, _, err in ends[1:] if "node 1 is connected already" in err]
    assert len(refused) == 1 and "give each machine a different --node_rank" in refused[0]
    for _, _, err in (ends[0], next(end for end in ends[1:] if end[2] not in refused)):
        assert "timed out waiting for node 2 to connect" in err


@pytest.mark.parametrize("node", [0, 1])
def test_waiting_for_a_node_times_out(tmp_path: Path, node: int) -> None:
    with pytest.raises(UserError, match=r"timed out waiting for node . .*\(--rank_timeout\)"):
        rendezvous(settings_of(tmp_path, node, rank_timeout=0.2), 1)


def test_a_long_wait_is_said_again(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    for name in ("_NOTICE_SECONDS", "_REPEAT_SECONDS"):
        monkeypatch.setattr(f"launch.rendezvous.{name}", 0.1)
    patience = _Patience(0.5)
    with pytest.raises(UserError, match="timed out waiting for node 1 "):
        while True:
            patience.check("node 1")
            time.sleep(0.01)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "waiting for node 1" and len(lines) > 1
    assert set(lines[1:]) == {"waiting for node 1 (0 s so far, 0.5 s at most)"}


def settings_of(folder: Path, node: int, **changes: Any) -> dict[str, Any]:
    base = {"num_nodes": 2, "node_rank": node, "node_ips": ["127.0.0.1"] * 2, "master_port": free_port()}
    return {**base, "rank_timeout": 20, "join_token": "", "models_root": str(folder / "models"), **changes}


def test_node_0_needs_its_address_and_port(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"node 0 cannot listen at 192\.0\.2\.77:"):
        rendezvous(settings_of(tmp_path, 0, node_ips=["192.0.2.77", "192.0.2.78"]), 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"node 0 cannot listen at 127.0.0.1:{port}"):
            rendezvous(settings_of(tmp_path, 0, master_port=port), 1)


def test_machines_must_hold_as_many_nodes_each(tmp_path: Path) -> None:
    """OneFlow takes an address for a machine; these three nodes would be two machines of 2 and 1 ranks."""
    sources = ["127.0.0.1", "127.0.0.1", "127.0.0.2"]
    settings = settings_of(tmp_path, 0, num_nodes=3, node_ips=sources)
    answers = []

    def come() -> None:
        ends = [connect(settings["master_port"], source=source) for source in sources[1:]]
        token = read_token(token_file(settings))
        for node, end in enumerate(ends, start=1):
            assert "proof" in greet(end, node, token)
            say(end, settings=shared(settings))
        for end in ends:
            with end:
                answers.append(hear(end))

    guests = threading.Thread(target=come)
    guests.start()
    with pytest.raises(UserError, match=r"connected from 127\.0\.0\.1, 127\.0\.0\.1, 127\.0\.0\.2: every machine must"):
        rendezvous(settings, 1)
    guests.join()
    assert len(answers) == 2 and all("refused" in answer for answer in answers)
