from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sample_config
from backbones import build_network
from backbones.execution.compiled import CompiledNetwork
from backbones.graph.masks import masks_by_node
from common.errors import UserError
from launch.devices import choose_device, is_rank
from launch.supervisor import Supervisor
from ops.native import native_calls
from settings.precision import check_bfloat16, check_bfloat16_device
from tests.support.supervise import assert_nothing_left, rank_pids, start_supervisor, wait_until

PROGRAM = Path(__file__).parent / "rank_behaviour.py"


def command(behaviour: str, folder: Path) -> list[str]:
    return [sys.executable, str(PROGRAM), behaviour, str(folder)]


def supervise(folder: Path, behaviour: str, **options: object) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr; checks that no process is left and that all ended quickly."""
    start = time.monotonic()
    with start_supervisor(folder, 2, command(behaviour, folder), **options) as process:
        out, err = process.communicate(timeout=60)
        assert_nothing_left(folder, 2)
    assert time.monotonic() - start < 20
    return process.returncode, out, err


def test_success_is_exit_code_0_and_the_first_rank_speaks(tmp_path: Path) -> None:
    code, out, err = supervise(tmp_path, "be_good")
    assert (code, out, err) == (0, "rank 0 of 2 works\n", "")
    for rank in (0, 1):
        assert (tmp_path / "log" / f"rank-{rank}.log").read_text() == f"rank {rank} of 2 works\n"


def test_a_console_that_is_closed_does_not_stop_the_run(tmp_path: Path) -> None:
    with start_supervisor(tmp_path, 2, command("print_twice", tmp_path)) as process:
        assert process.stdout.readline() == "rank 0 begins\n"
        process.stdout.close()
        (tmp_path / "closed").touch()
        assert process.wait(20) == 0
        process.stdout = None  # nothing is left to read
        assert process.stderr.read() == ""
    assert (tmp_path / "log" / "rank-0.log").read_text() == "rank 0 begins\nrank 0 ends\n"


def test_success_does_not_wait_for_the_lingering_ranks(tmp_path: Path) -> None:
    with start_supervisor(tmp_path, 2, command("be_good", tmp_path)) as process:
        wait_until(lambda: len(rank_pids(tmp_path)) == 2, 20, "start")
        start = time.monotonic()
        assert process.wait(60) == 0
        assert time.monotonic() - start < 20


def test_death_after_the_work_is_done_is_no_failure(tmp_path: Path) -> None:
    code, _, err = supervise(tmp_path, "die_after_the_end")
    assert (code, err) == (0, "")


def test_exception_of_one_rank_is_printed_and_ends_all(tmp_path: Path) -> None:
    code, _, err = supervise(tmp_path, "raise_in_one")
    lines = err.splitlines()
    assert code == 1
    assert lines[0] == "rank 1 of 2 failed:"
    assert lines[1].startswith("Traceback") and "ValueError: broken on purpose" in lines
    assert lines[-1] == f"all ranks were stopped; their full output is in {tmp_path / 'log'}: rank-1.log"


def test_the_reason_goes_before_its_consequences(tmp_path: Path) -> None:
    code, _, err = supervise(tmp_path, "raise_then_abort")
    assert code == 1
    assert err.startswith("rank 1 of 2 failed:") and "the real reason" in err and "SIGABRT" not in err


def test_user_error_of_a_rank_is_one_line(tmp_path: Path) -> None:
    code, _, err = supervise(tmp_path, "raise_user_error")
    assert code == 1
    assert err.splitlines()[0] == "error: part-00000: record at byte 7 is bad; convert it again"
    assert "Traceback" not in err and len(err.splitlines()) == 2
    assert err.splitlines()[1].endswith("log: rank-1.log")
    assert (tmp_path / "log" / "rank-1.log").read_text() == err.splitlines()[0] + "\n"


def test_memory_that_ran_out_is_one_line_and_the_log_says_where(tmp_path: Path) -> None:
    code, _, err = supervise(tmp_path, "run_out_of_memory")
    assert code == 1 and err.startswith("error: memory ran out; ") and "Traceback" not in err
    assert "in run_out_of_memory" in (tmp_path / "log" / "rank-1.log").read_text()


def test_killed_rank_is_named_with_its_last_words(tmp_path: Path) -> None:
    code, _, err = supervise(tmp_path, "be_killed")
    assert code == 1
    assert err.splitlines()[:2] == ["rank 1 of 2 failed: it ended by signal SIGKILL", "last words"]


def test_silent_rank_is_found(tmp_path: Path) -> None:
    code, _, err = supervise(tmp_path, "fall_silent", rank_timeout=2)
    assert code == 1
    assert err.splitlines()[0] == "error: rank 1 has not responded for 2 s (--rank_timeout)"


def test_a_silent_rank_of_several_machines_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = {"num_nodes": 2, "node_rank": 0, "node_ips": ["a", "b"], "master_port": 1, "rank_timeout": 600}
    supervisor = Supervisor(config, 1, tmp_path)
    for silence in (1, 44, 50, 60, 100, 2, 60, 140, 160):  # it responds once, after 100 s
        supervisor._name_silence(3, silence)
    said = [line.split(";")[0] for line in capsys.readouterr().err.splitlines()]
    assert said == [f"rank 3 has not responded for {silence} s" for silence in (50, 100, 160)]


def interrupt(process: subprocess.Popen, folder: Path) -> None:
    wait_until(lambda: len(rank_pids(folder)) == 2, 20, "start")
    process.send_signal(signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_first_interrupt_lets_the_ranks_end_their_work(tmp_path: Path, number: signal.Signals) -> None:
    with start_supervisor(tmp_path, 2, command("stop_when_asked", tmp_path)) as process:
        wait_until(lambda: len(rank_pids(tmp_path)) == 2, 20, "start")
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert_nothing_left(tmp_path, 2)
    assert process.returncode == 130
    assert err == "stopping after this step; press Ctrl-C again to stop immediately\n"
    assert sorted(path.name for path in tmp_path.glob("stopped-*")) == ["stopped-0", "stopped-1"]


def test_a_signal_to_one_rank_stops_all_and_is_no_success(tmp_path: Path) -> None:
    with start_supervisor(tmp_path, 2, command("stop_together", tmp_path)) as process:
        wait_until(lambda: len(rank_pids(tmp_path)) == 2, 20, "start")
        os.kill(rank_pids(tmp_path)[1], signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert_nothing_left(tmp_path, 2)
    assert (process.returncode, err) == (130, "")


def test_ranks_that_stop_at_once_unwind(tmp_path: Path) -> None:
    with start_supervisor(tmp_path, 2, command("stop_at_once", tmp_path)) as process:
        wait_until(lambda: len(list(tmp_path.glob("working-*"))) == 2, 20, "start")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert_nothing_left(tmp_path, 2)
    assert process.returncode == 130 and "Traceback" not in err and "failed" not in err
    assert list(tmp_path.glob("unwound-*"))  # at least the rank that ended first; the others are ended then


def test_ranks_that_should_stop_at_once_and_do_not_are_ended(tmp_path: Path) -> None:
    with start_supervisor(tmp_path, 2, command("never_stop", tmp_path), at_once=0.5) as process:
        interrupt(process, tmp_path)
        _, err = process.communicate(timeout=20)
        assert_nothing_left(tmp_path, 2)
    assert (process.returncode, err) == (130, "stopping\n")


def test_a_signal_is_only_counted_until_the_supervisor_comes_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The handler may interrupt a print, or ``subprocess`` while it holds the lock of a rank's end."""
    config = {"num_nodes": 1, "node_rank": 0, "node_ips": ["a"], "master_port": 1, "rank_timeout": 600}
    supervisor = Supervisor(config, 1, tmp_path)
    supervisor._ranks.append(None)  # so that whatever is done with it fails
    for _ in range(2):
        supervisor._on_signal(signal.SIGINT, None)
    assert capsys.readouterr().err == "" and supervisor._stops == 2


def test_hangup_is_ignored_under_nohup(tmp_path: Path) -> None:
    with start_supervisor(tmp_path, 2, command("stop_together", tmp_path), prefix=["nohup"]) as process:
        wait_until(lambda: len(rank_pids(tmp_path)) == 2, 20, "start")
        process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert process.poll() is None and not list(tmp_path.glob("stopped-*"))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert_nothing_left(tmp_path, 2)
    assert process.returncode == 130


def test_second_interrupt_ends_at_once_with_all_children(tmp_path: Path) -> None:
    with start_supervisor(tmp_path, 2, command("never_stop", tmp_path)) as process:
        interrupt(process, tmp_path)
        assert process.stderr.readline() == "stopping after this step; press Ctrl-C again to stop immediately\n"
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert_nothing_left(tmp_path, 2)
    assert (process.returncode, err) == (130, "")


def test_interrupt_while_the_ranks_start_is_no_failure(tmp_path: Path) -> None:
    with start_supervisor(tmp_path, 2, command("start_slowly", tmp_path)) as process:
        interrupt(process, tmp_path)
        _, err = process.communicate(timeout=60)
        assert_nothing_left(tmp_path, 2)
    assert process.returncode == 130 and "failed" not in err


@pytest.mark.parametrize("behaviour", ["never_stop", "hang"])
def test_ranks_end_with_a_killed_supervisor(tmp_path: Path, behaviour: str) -> None:
    with start_supervisor(tmp_path, 2, command(behaviour, tmp_path)) as process:
        wait_until(lambda: len(rank_pids(tmp_path)) == 2, 20, "start")
        pids = rank_pids(tmp_path)
        process.kill()
        process.wait()
        wait_until(lambda: not any(is_alive(pid) for pid in pids), 5, "end of the ranks")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_is_rank_reads_the_launcher_s_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert not is_rank()
    for value, expected in (("-1", False), ("0", True), ("3", True)):
        monkeypatch.setenv("RANK", value)
        assert is_rank() == expected


def choose(device: str, count: int, native_ops: bool = True, use_bf16: bool = False) -> tuple[str, int]:
    settings = {"device": device, "device_num_per_node": count, "native_ops": native_ops, "use_bf16": use_bf16}
    device, ranks = choose_device(settings)
    check_bfloat16_device(settings, device)
    return device, ranks


@pytest.mark.usefixtures("two_gpus")
def test_choose_device_with_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose("auto", 0) == ("cuda", 2)
    assert choose("auto", 1) == ("cuda", 1)
    assert choose("cpu", 0) == ("cpu", 1)
    assert choose("cuda", 0) == ("cuda", 2)
    with pytest.raises(UserError, match="--device cpu needs none"):
        choose("auto", 3)
    with pytest.raises(UserError, match=r"3 rank\(s\) per node asked for, 2 GPU\(s\) visible"):
        choose("cuda", 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert choose("auto", 0) == ("cuda", 1)


@pytest.mark.usefixtures("two_gpus")
def test_bfloat16_is_for_the_kernels_of_the_cpu() -> None:
    assert choose("cpu", 0, use_bf16=True) == ("cpu", 1)
    with pytest.raises(UserError, match="GPUs were chosen; add --device cpu"):
        choose("auto", 0, use_bf16=True)
    with pytest.raises(UserError, match="that --native_ops 0 switches off"):
        choose("cpu", 0, native_ops=False, use_bf16=True)


@pytest.mark.parametrize(
    "name",
    [
        "r18",
        "y1",
        "m05",
        "mnas025",
        "d169",
        "vargfacenet",
        "mbf",
        "vit_t",
        "r50 se",
        "r50 relu6",
        "r50 sigmoid",
        "r50 GAP",
    ],
)
def test_bfloat16_is_refused_before_any_rank_starts_for_networks_without_kernels(name: str) -> None:
    base, *change = name.split()
    options = {"se": {"net_se": 1}, "GAP": {"net_output": "GAP"}}
    network = build_network(
        {**sample_config.network[base], **(options.get(change[0], {"net_act": change[0]}) if change else {})}
    )
    config = {"use_bf16": True, "network": name}
    check_bfloat16({**config, "use_bf16": False}, network)
    if not native_calls():
        pytest.skip("the CPU kernels, which know their layers, are not loaded here")
    if CompiledNetwork(network, masks_by_node(network), bfloat16=True).ops.refusal() is None:
        check_bfloat16(config, network)
    else:
        with pytest.raises(UserError, match=f"--use_bf16 1 is not for network {name}: the CPU kernels for it lack"):
            check_bfloat16(config, network)


def test_choose_device_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert choose("auto", 0) == ("cpu", 1)
    assert choose("auto", 4) == ("cpu", 4)
    with pytest.raises(UserError, match=r"1 rank\(s\) per node asked for, 0 GPU\(s\) visible"):
        choose("cuda", 0)
