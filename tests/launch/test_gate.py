"""Who may join a run: nodes that know its secret; nothing that others say to the meeting port matters."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from launch.connection import Connection, LostError
from launch.gate import PROTOCOL
from launch.join_token import TOKEN_VARIABLE, create_token, is_proof, new_nonce, prove, read_token
from launch.machine_link import Assignment, MachineLink
from launch.rendezvous import rendezvous
from tests.launch.test_rendezvous import settings_of
from tests.support.joining import connect, greet, hear, hear_end, say, shared
from tests.support.ranks import free_port
from tests.support.supervise import wait_until

TOKEN = "a secret of the tests"


@pytest.fixture(autouse=True)
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch.gate.GREETING_SECONDS", 0.6)
    monkeypatch.setattr("launch.rendezvous._RETRY_SECONDS", 1.5)
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)


class Meeting:
    """Node 0 of two, waiting in a thread."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        token = folder / "token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        self.settings = settings_of(folder, 0, join_token=str(token), **changes)
        self.port = self.settings["master_port"]
        self.end: MachineLink | UserError | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.end = rendezvous(self.settings, 1)
        except UserError as error:
            self.end = error

    def wait(self) -> MachineLink | UserError | None:
        self._thread.join(20)
        return self.end

    def join(self, **changes: Any) -> MachineLink:
        return rendezvous({**self.settings, "node_rank": 1, **changes}, 1)

    def assert_still_meets(self) -> None:
        """Check that node 1 joins at once, and close both ends."""
        start = time.monotonic()
        joined = self.join()
        assert time.monotonic() - start < 15
        first = self.wait()
        assert isinstance(first, MachineLink) and first.assignment.port == joined.assignment.port
        close_all(first, joined)


def close_all(*links: MachineLink) -> None:
    threads = [threading.Thread(target=link.close) for link in links]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


HELLO = {"version": PROTOCOL, "node": 1, "nonce": "0" * 64}
RUBBISH = {
    "another protocol": b"GET / HTTP/1.0\r\n\r\n",
    "random bytes": bytes(range(256)) * 40 + b"\n",
    "a line without an end": b"x" * 70_000,
    "deeply nested": b"[" * 60_000 + b"\n",
    "a large number": b"9" * 60_000 + b"\n",
    "not an object": b'[["node", 1]]\n',
    "a node that is a list": json.dumps({**HELLO, "node": [1]}).encode() + b"\n",
    "a node outside the run": json.dumps({**HELLO, "node": 2}).encode() + b"\n",
    "node 0 itself": json.dumps({**HELLO, "node": 0}).encode() + b"\n",
    "a nonce that is none": json.dumps({**HELLO, "nonce": 7}).encode() + b"\n",
    "settings without a proof": (json.dumps(HELLO) + "\n" + json.dumps({"settings": {}}) + "\n").encode(),
    "a proof that is a list": (json.dumps(HELLO) + "\n" + json.dumps({"proof": []}) + "\n").encode(),
    "a proof in other letters": (json.dumps(HELLO) + "\n" + json.dumps({"proof": "é" * 64}) + "\n").encode(),
}


def test_strangers_neither_join_nor_stop_a_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    meeting = Meeting(tmp_path)
    for what, said in RUBBISH.items():
        with connect(meeting.port) as stranger:
            stranger.sendall(said)
            answer = hear_end(stranger)
        assert b"assignment" not in answer and b"settings" not in answer, what
    assert meeting.end is None
    meeting.assert_still_meets()
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("a connection from 127.0.0.1 was dropped: ") for line in lines) == 10
    assert lines[10] == "other connections that are dropped are counted only"
    assert lines[11:] == [f"{len(RUBBISH)} connections to the port were dropped"]


def test_silent_and_slow_strangers_are_dropped_in_time(tmp_path: Path) -> None:
    meeting = Meeting(tmp_path)
    with connect(meeting.port) as silent, connect(meeting.port) as slow:
        start, dropped = time.monotonic(), False
        while not dropped:
            try:
                slow.sendall(b" ")
                time.sleep(0.05)
            except OSError:
                dropped = True
            assert time.monotonic() - start < 20
        assert hear_end(silent) == b""
    meeting.assert_still_meets()


def test_many_open_connections_leave_room_for_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch.gate.GREETING_SECONDS", 60)
    meeting = Meeting(tmp_path)
    strangers = [connect(meeting.port) for _ in range(60)]
    meeting.assert_still_meets()
    for stranger in strangers:
        stranger.close()


def test_a_node_with_another_secret_is_told_and_node_0_waits_on(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting = Meeting(tmp_path)
    wrong = tmp_path / "wrong"
    wrong.write_text("another secret of the tests")
    with pytest.raises(UserError, match=f"has another secret than {wrong} here; give all nodes the same --join_token"):
        meeting.join(join_token=str(wrong))
    assert meeting.end is None
    assert "it does not know the secret of this run (--join_token)" in capsys.readouterr().err
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)  # goes before a file
    close_all(meeting.join(join_token=str(wrong)), meeting.wait())


def test_what_was_heard_proves_nothing_later(tmp_path: Path) -> None:
    """A proof is bound to both random numbers, the node and the role."""
    meeting = Meeting(tmp_path)
    own = new_nonce()
    with connect(meeting.port) as first:
        say(first, version=PROTOCOL, node=1, nonce=own)
        proof = prove(TOKEN.encode(), "joining", PROTOCOL, 1, own, hear(first)["nonce"])
        say(first, proof=proof)
        theirs = hear(first)["proof"]
    for replayed in (proof, theirs):
        with connect(meeting.port) as later:
            say(later, version=PROTOCOL, node=1, nonce=own)
            hear(later)
            say(later, proof=replayed)
            assert hear(later)["code"] == "other token"
    assert not is_proof(proof, TOKEN.encode(), "first", PROTOCOL, 1, own, own)
    meeting.assert_still_meets()


def serve(answer: Callable[[socket.socket], None]) -> int:
    """Listen like node 0 and ``answer`` each connection; return the port."""
    server = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with server:
            server.settimeout(5)
            while True:
                try:
                    end = server.accept()[0]
                except OSError:
                    return
                with end:
                    answer(end)

    threading.Thread(target=run, daemon=True).start()
    return server.getsockname()[1]


def test_a_node_does_not_trust_another_at_the_port(tmp_path: Path) -> None:
    """Something else listens at node 0's address: the node sends it no settings and prints none of its words."""
    heard = []

    def pretend(end: socket.socket) -> None:
        heard.append(hear(end))
        say(end, nonce=new_nonce())
        heard.append(hear(end))
        say(end, proof=new_nonce(), refused="\x1b[31mlies")
        heard.append(hear_end(end))

    create_token(tmp_path / "token")
    for what, message in ((pretend, "refuses this node"), (lambda end: end.sendall(b"220 mail\r\n"), "closes each")):
        settings = settings_of(tmp_path, 1, master_port=serve(what), join_token=str(tmp_path / "token"))
        with pytest.raises(UserError, match=message) as raised:
            rendezvous(settings, 1)
        assert "\x1b" not in str(raised.value)
    assert [set(message) for message in heard[:2]] == [{"version", "node", "nonce"}, {"proof"}] and heard[2] == b""
    assert (tmp_path / "token").read_text().strip() not in json.dumps(heard[:2])


def test_another_version_is_told_on_both_sides(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    meeting = Meeting(tmp_path)
    with connect(meeting.port) as older:
        say(older, node=1, settings={})  # as a node said before there were secrets
        assert hear(older)["refused"].startswith("node 0 runs another version of this program")
    assert "it runs another version of this program" in capsys.readouterr().err

    def newer(end: socket.socket) -> None:
        hear(end)
        say(end, code="other version", refused="words of a later version")

    settings = {**meeting.settings, "node_rank": 1, "master_port": serve(newer)}
    with pytest.raises(UserError, match=r"node 0 at .* runs another version of this program; install the same"):
        rendezvous(settings, 1)
    meeting.assert_still_meets()


def test_other_source_on_one_machine_is_an_error_of_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = Meeting(tmp_path)
    with connect(meeting.port) as end:
        greet(end, 1, TOKEN.encode())
        say(end, settings={**shared(meeting.settings), "source of this program": "0123456789ab", "OneFlow": "0.8.0"})
        told = hear(end)["refused"]
    said = meeting.wait()
    assert isinstance(said, UserError) and str(said) == told
    assert "node 1 has source of this program='0123456789ab', OneFlow='0.8.0', node 0 source of" in told


def test_a_node_that_ends_before_the_start_may_come_again(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    meeting = Meeting(tmp_path, num_nodes=3, node_ips=["127.0.0.1"] * 3)
    with connect(meeting.port) as end:
        greet(end, 1, TOKEN.encode())
        say(end, settings=shared(meeting.settings))
        assert hear(end)["waiting"] == [2]
    links: list[MachineLink] = []
    threads = [
        threading.Thread(target=lambda node=node: links.append(meeting.join(node_rank=node)), daemon=True)
        for node in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(links) == 2 and isinstance(meeting.wait(), MachineLink)
    assert "node 1 has ended before the start; waiting for it" in capsys.readouterr().err
    close_all(meeting.wait(), *links)


def test_node_0_writes_the_secret_where_all_machines_see_it(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, 0)
    links: list[MachineLink] = []
    first = threading.Thread(target=lambda: links.append(rendezvous(settings, 1)), daemon=True)
    first.start()
    links.append(rendezvous({**settings, "node_rank": 1}, 1))
    first.join(20)
    close_all(*links)
    file = tmp_path / "models" / "join_token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and len(read_token(file)) == 64
    before = file.read_bytes()
    create_token(file)
    assert file.read_bytes() == before


def test_secrets_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    meeting = Meeting(tmp_path)
    with pytest.raises(UserError, match=r"absent with the secret of the run is not here; copy it from node 0"):
        meeting.join(join_token=str(tmp_path / "absent"))
    assert not (tmp_path / "absent").exists()
    meeting.assert_still_meets()
    short = tmp_path / "short"
    short.write_text("0123456789\n")
    short.chmod(0o644)
    with pytest.raises(UserError, match=r"--join_token .*short: the secret has 10 characters, 16 to 4096 were exp"):
        read_token(short)
    with pytest.raises(UserError, match=r"--join_token .* cannot be read \(Is a directory\)"):
        read_token(tmp_path)
    capsys.readouterr()
    short.write_text("0123456789abcdef")
    assert read_token(short) == b"0123456789abcdef"
    assert capsys.readouterr().err.startswith(f"note: {short}, the secret of the run, is not yours alone; chmod 600")
    with pytest.raises(UserError, match="short cannot be created .* choose another --join_token"):
        create_token(short / "below")


def test_a_secret_in_the_environment_stays_out_of_the_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from launch.supervisor import Supervisor

    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    config = settings_of(tmp_path, 0, num_nodes=1)
    assert Supervisor(config, 1, tmp_path / "log").run(["sh", "-c", f"env > {tmp_path}/environment"]) == 0
    assert "RANK=0" in (tmp_path / "environment").read_text()
    assert TOKEN_VARIABLE not in (tmp_path / "environment").read_text() and os.environ[TOKEN_VARIABLE] == TOKEN


def pair() -> tuple[Connection, Connection]:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        near = socket.create_connection(server.getsockname())
        return Connection(near, 1 << 20), Connection(server.accept()[0], 1 << 20)


def test_silence_is_said_and_ends(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("launch.machine_link.NOTICE_SECONDS", 0.3)
    ends = pair()
    first, second = (MachineLink(i, Assignment(0), {1 - i: ends[i]}, patience=3) for i in (0, 1))
    assert first.receive() == second.receive() == []
    time.sleep(0.5)
    assert first.receive() == []  # node 1 has beaten, once
    time.sleep(0.5)
    assert first.receive() == []
    said = capsys.readouterr().err
    assert said.startswith("no sign of node 1 for ") and said.endswith(" s; the run ends after 3 s without one\n")
    second.send("hello")
    wait_until(lambda: first.receive() == [{"node": 1, "kind": "hello"}], 5, "message")
    assert capsys.readouterr().err.startswith("node 1 is back after ")
    start, received = time.monotonic(), []
    while not received:
        received = first.receive()
        time.sleep(0.01)
    assert time.monotonic() - start > 2.5
    assert [{**received[0], "silent": 3}] == [{"node": 1, "kind": "lost", "silent": 3}] and received[0]["silent"] >= 3
    close_all(first, second)


def test_a_connection_that_is_closed_is_lost_at_once() -> None:
    near, far = pair()
    link = MachineLink(0, Assignment(0), {1: near})
    far.drop()
    wait_until(lambda: link.receive() == [{"node": 1, "kind": "lost", "silent": 0}], 5, "end")
    with pytest.raises(LostError):
        pair()[0].wait(time.monotonic() + 0.05)
