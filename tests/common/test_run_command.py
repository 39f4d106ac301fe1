from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from common.errors import run_command
from tests.support.commands import ROOT

WRITING = """
import sys, time
from common.errors import run_command
from common.files import atomic_directory, atomic_file
def main():
    with atomic_directory("folder") as folder, atomic_file("file") as file:
        (folder / "half").write_text("x")
        print("writing", flush=True)
        time.sleep(30)
run_command(main)
"""


@pytest.fixture(autouse=True)
def ctrl_c_of_the_tests() -> Iterator[None]:
    """Commands that run within this process change what Ctrl-C does."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def start(program: str, folder: Path, arguments: Sequence[str] = (), **options: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.parametrize(
    ("number", "line"),
    [(signal.SIGINT, "interrupted\n"), (signal.SIGTERM, "ended by SIGTERM\n"), (signal.SIGHUP, "ended by SIGHUP\n")],
)
def test_a_command_that_is_stopped_leaves_nothing_behind(tmp_path: Path, number: int, line: str) -> None:
    process = start(WRITING, tmp_path)
    assert process.stdout.readline() == "writing\n"
    process.send_signal(number)
    assert process.communicate(timeout=20)[1] == line
    assert process.returncode == 128 + number
    assert os.listdir(tmp_path) == []


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    program = "from common.errors import run_command\nimport signal, os\n"
    program += "run_command(lambda: os.kill(os.getpid(), signal.SIGHUP) or print('alive'))"
    process = start(program, tmp_path, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert process.communicate(timeout=20) == ("alive\n", "") and process.returncode == 0


LOST = """
import os, signal, sys, time
from common.errors import run_command
from common.files import atomic_file
class Session:
    def __del__(self):
        os.kill(os.getpid(), int(sys.argv[1]))
def ends():
    try:
        yield
    finally:
        os.kill(os.getpid(), int(sys.argv[1]))
def main():
    with atomic_file("file"):
        if sys.argv[2] == "destructor":
            Session()
        else:
            next(ends())
        time.sleep(30)
        print("to the end")
run_command(main)
"""


@pytest.mark.parametrize("place", ["destructor", "generator"])
@pytest.mark.parametrize(("number", "line"), [(signal.SIGINT, "interrupted\n"), (signal.SIGTERM, "ended by SIGTERM\n")])
def test_a_signal_that_python_drops_in_a_destructor_ends_the_command(
    tmp_path: Path, number: int, line: str, place: str
) -> None:
    process = start(LOST, tmp_path, arguments=[str(int(number)), place])
    output, errors = process.communicate(timeout=20)
    assert errors == line and "to the end" not in output and process.returncode == 128 + number
    assert os.listdir(tmp_path) == []


CHANGED = """
import os, signal, sys
from common.errors import run_command
def main():
    try:
        os.kill(os.getpid(), int(sys.argv[1]))
        print("too far")
    except BaseException as error:  # what import_array of NumPy's C interface does
        sys.excepthook(type(error), error, error.__traceback__)
        raise ImportError("numpy._core.multiarray failed to import") from None
run_command(main)
"""


@pytest.mark.parametrize(("number", "line"), [(signal.SIGINT, "interrupted\n"), (signal.SIGTERM, "ended by SIGTERM\n")])
def test_a_signal_of_which_a_library_makes_an_error_ends_the_command(tmp_path: Path, number: int, line: str) -> None:
    process = start(CHANGED, tmp_path, arguments=[str(int(number))])
    assert process.communicate(timeout=20) == ("", line) and process.returncode == 128 + number


def test_the_alarm_of_another_program_still_rings(tmp_path: Path) -> None:
    program = """
import signal, time
from common.errors import run_command
signal.signal(signal.SIGALRM, lambda *_: print("it rings", flush=True))
signal.setitimer(signal.ITIMER_REAL, 0.3)
try:
    run_command(lambda: print("done", flush=True))
except SystemExit:
    time.sleep(1)
"""
    process = start(program, tmp_path)
    assert process.communicate(timeout=20) == ("done\nit rings\n", "") and process.returncode == 0


def test_it_ends_a_rank_that_stops_at_once(tmp_path: Path) -> None:
    program = """
import os, signal, time
from launch.rank import run_as_rank
class Session:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
def work(*_):
    Session()
    time.sleep(30)
run_as_rank(work, {"native_ops": True}, stops_at_once=True)
"""
    process = start(program, tmp_path)
    assert process.communicate(timeout=20) == ("", "") and process.returncode == 130


def test_ctrl_c_after_the_work_is_no_traceback_of_a_destructor(tmp_path: Path) -> None:
    program = """
import os, signal
from common.errors import run_command
class Session:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        print("still here")
session = Session()
run_command(lambda: print("done"))
"""
    process = start(program, tmp_path)
    assert process.communicate(timeout=20) == ("done\n", "") and process.returncode == -signal.SIGINT


def test_a_reader_that_ends_early_is_not_an_error_of_the_program(tmp_path: Path) -> None:
    program = (
        "from common.errors import run_command\nrun_command(lambda: [print('x' * 1000) for _ in range(1000)] and 0)"
    )
    process = start(program, tmp_path)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait(20) == 1


def test_a_file_that_the_system_refuses_is_one_line(tmp_path: Path) -> None:
    process = start("from common.errors import run_command\nrun_command(lambda: open('folder/file'))", tmp_path)
    line = "error: folder/file: No such file or directory; check the path and its permissions\n"
    assert process.communicate(timeout=20)[1] == line and process.returncode == 1


def test_a_name_that_the_terminal_cannot_show_is_printed_with_escapes(tmp_path: Path) -> None:
    program = "from common.errors import run_command\nrun_command(lambda: print('\\udcc0\\u738b'))"
    process = start(program, tmp_path)
    assert process.communicate(timeout=20) == ("\\udcc0\u738b\n", "") and process.returncode == 0


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        (MemoryError(), "error: memory ran out; "),
        (RuntimeError("std::bad_alloc"), "error: memory ran out; "),
        (ImportError("libx.so: failed to map segment from shared object"), "error: memory ran out; "),
        (RuntimeError("can't start new thread"), "error: no thread can be started; "),
        (RuntimeError("can't allocate lock"), "error: no thread can be started; "),
        (OSError(24, "Too many open files"), "error: Too many open files; raise the limit on open files (ulimit -n)"),
        (OSError(28, "No space left", "a/b"), "error: a/b: No space left; make room on the disk"),
        (OSError(36, "File name too long", "\x1b" + "a" * 3000), "error: \\x1baaa"),
    ],
)
def test_what_ran_out_is_one_line(raised: Exception, line: str, capsys: pytest.CaptureFixture) -> None:
    def main() -> NoReturn:
        raise raised

    with pytest.raises(SystemExit) as end:
        run_command(main)
    err = capsys.readouterr().err
    assert end.value.code == 1 and err.startswith(line) and len(err.splitlines()) == 1


def test_an_error_of_the_program_keeps_its_traceback() -> None:
    def main() -> NoReturn:
        raise RuntimeError("a mistake")

    with pytest.raises(RuntimeError, match="a mistake"):
        run_command(main)
