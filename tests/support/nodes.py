"""Several machines inside one: network namespaces joined by a cable, or the loopback address twice."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.ranks import free_port
from tests.support.supervise import start_supervisor


@dataclass(frozen=True)
class Machine:
    """An address, and the command prefix that runs a command there."""

    address: str
    prefix: tuple[str, ...] = ()


LOOPBACK = (Machine("127.0.0.1"), Machine("127.0.0.1"))


class NoNamespacesError(Exception):
    """Network namespaces cannot be created here."""


def run_ip(*words: str) -> None:
    try:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=60)
    except FileNotFoundError as error:
        raise NoNamespacesError("there is no ip command (iproute2)") from error
    except subprocess.CalledProcessError as error:
        raise NoNamespacesError(f"ip {' '.join(words)}: {error.stderr.strip() or error}") from error


@contextlib.contextmanager
def two_machines() -> Iterator[tuple[Machine, Machine]]:
    """Two network namespaces, each with one end of a cable and no way out.

    Raises:
        NoNamespacesError: a permission or program is missing; the message says which.
    """
    names = [f"insightface-{os.getpid()}-{i}" for i in range(2)]
    addresses = [f"10.213.77.{i + 1}" for i in range(2)]
    try:
        for name in names:
            run_ip("netns", "add", name)
        run_ip("link", "add", "cable", "netns", names[0], "type", "veth", "peer", "name", "cable", "netns", names[1])
        for name, address in zip(names, addresses, strict=True):
            run_ip("-n", name, "addr", "add", f"{address}/24", "dev", "cable")
            for device in ("lo", "cable"):
                run_ip("-n", name, "link", "set", device, "up")
        yield tuple(Machine(a, ("ip", "netns", "exec", n)) for a, n in zip(addresses, names, strict=True))
    finally:
        for name in names:
            with contextlib.suppress(NoNamespacesError):
                run_ip("netns", "delete", name)


def node_folder(folder: Path, node: int) -> Path:
    """Return the folder of the log and of the rank pids of node ``node`` of ``start_nodes``."""
    return folder / f"node-{node}"


@contextlib.contextmanager
def start_nodes(
    folder: Path,
    machines: tuple[Machine, ...],
    ranks: int,
    command: Callable[[Path], list[str]],
    rank_timeout: float = 200,
    changes: dict[int, dict[str, object]] | None = None,
) -> Iterator[list[subprocess.Popen]]:
    """Supervise ``command(node folder)`` on ``ranks`` ranks of each machine; ``changes`` are settings of one node."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        processes = []
        for node, machine in enumerate(machines):
            own = node_folder(folder, node)
            own.mkdir(parents=True)
            settings = {
                "num_nodes": len(machines),
                "node_rank": node,
                "node_ips": [each.address for each in machines],
                "master_port": port,
                "join_token": str(folder / "join_token"),
                **(changes or {}).get(node, {}),
            }
            processes.append(
                stack.enter_context(
                    start_supervisor(own, ranks, command(own), rank_timeout, machine.prefix, **settings)
                )
            )
        yield processes
