"""How the kernels come to be: built once, by one process, or left out with one clear line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.native import build, load_native_kernels
from ops.native.requirements import NativeUnavailableError, locate_compiler, locate_onednn, locate_oneflow

ROOT = Path(__file__).resolve().parents[3]
# The kernels are not loaded by the import of ops, so that the script tests its own call.
SCRIPT = """
import os, sys
from pathlib import Path
switch = os.environ.get("INSIGHTFACE_NATIVE", "1")
os.environ["INSIGHTFACE_NATIVE"] = "0"
from ops import flow
os.environ["INSIGHTFACE_NATIVE"] = switch
from ops.native import load_native_kernels, native_calls
print(load_native_kernels(Path(sys.argv[1])))
flow._C.prelu(flow.ones(2, 3), flow.ones(3)).numpy()
print(native_calls().get("prelu"))
"""


def start(cache: Path, **env: str) -> subprocess.Popen:
    command = [sys.executable, "-c", SCRIPT, str(cache)]
    env = os.environ | {"PYTHONPATH": str(ROOT)} | env
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> tuple[list[str], str]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out.splitlines(), err


def test_the_switch_leaves_oneflows_kernels(tmp_path):
    (status, calls), _ = finish(start(tmp_path, INSIGHTFACE_NATIVE="0"))
    assert status == "CPU kernels: OneFlow's own (INSIGHTFACE_NATIVE=0)"
    assert calls == "None"
    assert list(tmp_path.iterdir()) == []


def test_without_a_compiler_one_line_says_so(native, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NativeUnavailableError, match=r"no C\+\+ compiler \(g\+\+\) in PATH"):
        build.build_library(locate_oneflow(), locate_onednn(), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    (status, _), err = finish(start(tmp_path / "cache"))
    assert status.endswith("the faster ones are not available: no C++ compiler (g++) in PATH")
    assert "Traceback" not in err


def test_a_failed_compilation_names_the_first_error(native, tmp_path, monkeypatch):
    sources = tmp_path / "src"
    sources.mkdir()
    (sources / "broken.cpp").write_text("int broken() { return missing; }\n")
    (sources / "exports.map").write_text("{ global: *; };\n")
    monkeypatch.setattr(build, "SOURCES", sources)
    with pytest.raises(NativeUnavailableError, match="failed: .*missing"):
        build.build_library(locate_oneflow(), locate_onednn(), tmp_path / "cache")
    left = [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert left == ["lock"]


def test_an_unwritable_cache_is_named(native, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NativeUnavailableError, match="cannot write .*file"):
        build.build_library(locate_oneflow(), locate_onednn(), tmp_path / "file" / "cache")


def test_the_key_follows_the_sources(native, tmp_path, monkeypatch):
    oneflow, onednn = locate_oneflow(), locate_onednn()
    before = build._key(oneflow, onednn)
    (tmp_path / "other.cpp").write_text("int other;\n")
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    assert build._key(oneflow, onednn) != before


def test_files_of_one_name_have_an_object_each(tmp_path, monkeypatch):
    for path in ("layer.cpp", "a/layer.cpp", "b/layer.cpp", "b/rows.simd.cpp"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    sources = [source for source, _ in build.object_files(Path("objects")).values()]
    assert len(sources) == 3 + len(build.LEVELS)  # a dict: no two of one name


def test_processes_that_start_together_build_once(native, tmp_path, monkeypatch):
    """A compiler that counts its calls stands in for the real one and hands out a library built before."""
    oneflow, onednn = locate_oneflow(), locate_onednn()
    built = build.build_library(oneflow, onednn, build.default_cache())
    tools, log = tmp_path / "bin", tmp_path / "log"
    tools.mkdir()
    compiler = tools / "g++"
    compiler.write_text(
        "#!/bin/sh\n"
        f'for last; do :; done\necho "$last" >> {log}\nsleep 0.2\n'
        f'case "$last" in *.so) cp {built} "$last";; *) : > "$last";; esac\n'
    )
    compiler.chmod(0o755)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    assert locate_compiler() != str(compiler)
    processes = [start(tmp_path / "cache", PATH=path) for _ in range(2)]
    for process in processes:
        (status, calls), _ = finish(process)
        assert status == f"CPU kernels: oneDNN {onednn.version}"
        assert int(calls) == 1
    outputs = log.read_text().split()
    assert sum(name.endswith(".so") for name in outputs) == 1
    assert len(outputs) == len(set(outputs))
    assert sorted(p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()) == sorted([built.name, "lock"])


def test_a_second_call_loads_no_second_copy(native, tmp_path):
    before = load_native_kernels()
    assert load_native_kernels(tmp_path) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_two_processes_build_from_nothing(native, tmp_path):
    processes = [start(tmp_path) for _ in range(2)]
    for process in processes:
        (status, calls), _ = finish(process)
        assert "oneDNN" in status
        assert int(calls) == 1
    assert len(list(tmp_path.rglob("*.so"))) == 1


@pytest.mark.slow
def test_our_own_code_compiles_without_warnings(native, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "COMPILE_FLAGS", (*build.COMPILE_FLAGS, "-Werror"))
    assert build.build_library(locate_oneflow(), locate_onednn(), tmp_path).is_file()
