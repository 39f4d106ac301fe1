"""Free memory within the limits of control groups, whose files are written here as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.free_memory import free_memory, processes_killed_for_memory

OF_MACHINE = 1000 * 1024
V1, V2 = "cgroup cgroup rw,memory", "cgroup2 cgroup2 rw"


class Machine:
    """A folder in place of /proc, and one with the files of groups."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.groups = folder / "proc", folder / "groups"
        (self.proc / "self").mkdir(parents=True)
        (self.proc / "meminfo").write_text("MemTotal:       2000 kB\nMemAvailable:   1000 kB\n")

    def mount(self, kind: str, membership: str, root: str = "/") -> None:
        (self.proc / "self/cgroup").write_text(f"3:cpuset:/elsewhere\n{membership}\n")
        lines = ["31 23 0:28 / /sys rw,relatime - tmpfs tmpfs rw", f"32 31 0:29 {root} {self.groups} rw - {kind}"]
        (self.proc / "self/mountinfo").write_text("\n".join(lines) + "\n")

    def group(self, path: str, **files: object) -> None:
        folder = self.groups / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / f"memory.{name}").write_text(f"{text}\n")

    def free(self) -> int:
        return free_memory(self.proc)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_groups_the_machine_s_memory_is_free(machine: Machine) -> None:
    assert machine.free() == OF_MACHINE


def test_the_narrowest_limit_around_a_process_counts_without_the_cache_of_files(machine: Machine) -> None:
    machine.mount(V2, "0::/a/b")
    machine.group("", current=3)  # the root has no limit
    machine.group("a/b", max="max", current=5000)
    assert machine.free() == OF_MACHINE
    machine.group("a", max=8000, current=6000)
    assert machine.free() == 2000
    machine.group("a", stat="anon 5000\ninactive_file 700\nactive_file 300")
    assert machine.free() == 2700
    machine.group("a/b", max=5500)
    assert machine.free() == 500
    machine.group("a/b", max=4000)
    assert machine.free() == 0


def test_limits_of_version_1_count(machine: Machine) -> None:
    machine.mount(V1, "4:blkio,memory:/job")
    machine.group("job", limit_in_bytes=9223372036854771712, usage_in_bytes=100)
    assert machine.free() == OF_MACHINE
    machine.group("job", limit_in_bytes=9000, stat="inactive_file 0\ntotal_inactive_file 60")
    assert machine.free() == 8960
    machine.group("", limit_in_bytes=1000, usage_in_bytes=800)
    assert machine.free() == 200


def test_in_a_container_the_mount_is_its_own_group(machine: Machine) -> None:
    machine.mount(V1, "4:memory:/docker/123", root="/docker/123")
    machine.group("", limit_in_bytes=700, usage_in_bytes=100)
    assert machine.free() == 600
    machine.mount(V1, "4:memory:/docker/123/own", root="/docker/123")
    machine.group("own", limit_in_bytes=300, usage_in_bytes=100)
    assert machine.free() == 200
    machine.mount(V1, "4:memory:/../other", root="/docker/123")  # it has left its namespace
    assert machine.free() == 600


def test_processes_killed_for_memory_are_counted(machine: Machine) -> None:
    assert processes_killed_for_memory(machine.proc) == 0
    (machine.proc / "vmstat").write_text("pgfault 4\noom_kill 17\noom_kill_other 1\n")
    assert processes_killed_for_memory(machine.proc) == 17
