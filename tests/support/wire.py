"""A cable between two machines (network namespaces) that can be cut, lose packets and delay them.

The machines' ends are TUN devices; packets pass through a thread of this process. So it needs no traffic control
(netem) in the kernel, and losses repeat by their seed.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import os
import select
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tests.support.nodes import Machine, NoNamespacesError, run_ip

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # from linux/if_tun.h
_LONGEST_PACKET = 1 << 16


@dataclass
class Wire:
    """The state of the cable, which may be changed at any time.

    Attributes:
        cut: whether nothing passes.
        loss: share of packets that are lost.
        delay: seconds that a packet takes in each direction.
        passed: packets that went through.
        lost: packets that did not.
    """

    cut: bool = False
    loss: float = 0.0
    delay: float = 0.0
    passed: int = 0
    lost: int = 0
    _rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))
    _late: list[tuple[float, int, int, bytes]] = field(default_factory=list)

    def run(self, ends: tuple[int, int], stop: threading.Event) -> None:
        """Carry packets between the descriptors of two TUN devices until ``stop`` is set."""
        other = {ends[0]: ends[1], ends[1]: ends[0]}
        number = 0
        while not stop.is_set():
            wait = min(0.05, max(0.0, self._late[0][0] - time.monotonic())) if self._late else 0.05
            for end in select.select(ends, [], [], wait)[0]:
                packet = os.read(end, _LONGEST_PACKET)
                if self.cut or (self.loss and self._rng.random() < self.loss):
                    self.lost += 1
                    continue
                number += 1
                heapq.heappush(self._late, (time.monotonic() + self.delay, number, other[end], packet))
            while self._late and self._late[0][0] <= time.monotonic():
                _, _, end, packet = heapq.heappop(self._late)
                with contextlib.suppress(OSError):  # the device is down
                    os.write(end, packet)
                    self.passed += 1


def _open_tun(name: str) -> int:
    try:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    except OSError as error:
        raise NoNamespacesError(f"a TUN device cannot be made ({error.strerror})") from error
    return descriptor


@contextlib.contextmanager
def wired_machines() -> Iterator[tuple[tuple[Machine, Machine], Wire]]:
    """Two network namespaces with a ``Wire`` between them and no way out.

    Raises:
        NoNamespacesError: a permission or program is missing; the message says which.
    """
    names = [f"insightface-w{os.getpid()}-{i}" for i in range(2)]
    addresses = [f"10.213.78.{i + 1}" for i in range(2)]
    wire, stop, ends = Wire(), threading.Event(), []
    carrier = None
    try:
        for i, (name, address) in enumerate(zip(names, addresses, strict=True)):
            run_ip("netns", "add", name)
            device = f"wire{os.getpid() % 10**6}-{i}"
            ends.append(_open_tun(device))
            run_ip("link", "set", device, "netns", name)
            run_ip("-n", name, "addr", "add", address, "peer", addresses[1 - i], "dev", device)
            for each in ("lo", device):
                run_ip("-n", name, "link", "set", each, "up")
        carrier = threading.Thread(target=wire.run, args=(tuple(ends), stop), daemon=True)
        carrier.start()
        yield tuple(Machine(a, ("ip", "netns", "exec", n)) for a, n in zip(addresses, names, strict=True)), wire
    finally:
        stop.set()
        if carrier is not None:
            carrier.join()
        for end in ends:
            os.close(end)
        for name in names:
            with contextlib.suppress(NoNamespacesError):
                run_ip("netns", "delete", name)
