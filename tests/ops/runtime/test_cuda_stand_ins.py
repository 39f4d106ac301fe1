"""Stand-ins made from the installed OneFlow, in an environment like this one but without the CUDA libraries."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from ctypes.util import find_library
from pathlib import Path

import pytest

from common import cuda
from common.compiling import NativeUnavailableError, locate_program
from ops.runtime import cuda_stand_ins
from ops.runtime import import_oneflow as runtime

ROOT = Path(__file__).resolve().parents[3]
SONAMES = [soname for _, soname in runtime.CUDA_LIBRARIES]
TRAINING = """
import numpy as np
from pathlib import Path
from ops import flow
rng = np.random.default_rng(0)
x, w = rng.normal(size=(2, 3, 6, 6)).astype(np.float32), rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
inputs, weight = (flow.tensor(array, requires_grad=True) for array in (x, w))
y = flow.nn.functional.conv2d(inputs, weight)
(y * y).sum().backward()
windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (3, 3), (2, 3))
expected = np.einsum("nchwij,ocij->nohw", windows, w)
assert np.allclose(y.numpy(), expected, atol=1e-4)
assert np.allclose(weight.grad.numpy(), 2 * np.einsum("nohw,nchwij->ocij", expected, windows), rtol=1e-4, atol=1e-3)
assert np.isclose((inputs.grad.numpy() * x).sum(), 2 * (expected**2).sum(), rtol=1e-4)  # y is linear in x
features = y.detach().flatten(1)
bank = flow.nn.Linear(64, 5, bias=False)
rows = bank.weight.numpy().copy()
class Step(flow.nn.Graph):
    def __init__(self):
        super().__init__()
        self.bank = bank
        self.add_optimizer(flow.optim.SGD(bank.parameters(), lr=0.5))
    def build(self, x):
        loss = self.bank(x).sum()
        loss.backward()
        return loss
assert np.isclose(Step()(features).numpy(), (features.numpy() @ rows.T).sum(), rtol=1e-4, atol=1e-3)
assert np.allclose(bank.weight.numpy(), rows - 0.5 * features.numpy().sum(0), rtol=1e-4, atol=1e-4)
"""
# Prints the folders of the CUDA libraries that the process has loaded.
LOADED = """
from pathlib import Path
mapped = {Path(line.split()[-1]) for line in open("/proc/self/maps") if "libcu" in line}
print(*sorted({path.parent.parent for path in mapped if path.name in SONAMES}))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment of links to this one's contents, without nvidia wheels and without stand-ins."""
    if find_library("cudnn_ops_infer") or find_library("cublas") == "libcublas.so.11":
        pytest.skip("this system has the CUDA libraries")
    folder = tmp_path_factory.mktemp("light") / "env"
    here, packages = Path(sys.prefix), Path(sysconfig.get_path("purelib"))
    inside = packages.relative_to(here)
    (folder / inside).mkdir(parents=True)
    for path in packages.iterdir():
        if path.name in {"oneflow", "oneflow.libs"}:  # the loader looks beside the first; the second is written to
            (folder / inside / path.name).mkdir()
            for file in path.iterdir():
                if file.name not in SONAMES:
                    (folder / inside / path.name / file.name).symlink_to(file)
        elif not path.name.startswith("nvidia"):
            (folder / inside / path.name).symlink_to(path)
    for path in (here / "lib").glob("lib*.so*"):  # oneDNN's wheel puts its library there
        (folder / "lib" / path.name).symlink_to(path)
    (folder / "include").symlink_to(here / "include")
    (folder / "var").mkdir()
    (folder / "var" / "insightface-native").symlink_to(here / "var" / "insightface-native")
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    home = Path(sys.base_prefix, "bin")
    (folder / "pyvenv.cfg").write_text(f"home = {home}\ninclude-system-site-packages = false\n")
    return folder


@pytest.fixture(autouse=True)
def machine_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cuda.SWITCH, raising=False)
    if cuda.find_nvidia_driver():
        monkeypatch.setenv(cuda.SWITCH, "0")


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cuda_stand_ins.build_stand_ins(SONAMES, tmp_path_factory.mktemp("cache"))


def start(python: Path, code: str, **variables: str) -> subprocess.Popen[str]:
    env = os.environ | variables
    code = f"SONAMES = {SONAMES}\n{code}"
    return subprocess.Popen(
        [python, "-c", code], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def built(environment: Path) -> list[Path]:
    return sorted((environment / "var" / "insightface-stand-ins").glob("*/*.so*[0-9]"))


def test_processes_that_start_together_build_once_and_compute(environment):
    """Real OneFlow with the stand-ins: a convolution, its gradients and a training graph, in two processes."""
    python = environment / "bin" / "python"
    cache = environment / "var" / "insightface-stand-ins"
    compiler = locate_program(("gcc", "cc", "clang"), "C compiler")
    tools, log = environment / "tools", environment / "log"
    tools.mkdir()
    (tools / "gcc").write_text(f'#!/bin/sh\necho call >> {log}\nexec {compiler} "$@"\n')
    (tools / "gcc").chmod(0o755)
    processes = [start(python, TRAINING + LOADED, PATH=f"{tools}:{os.environ['PATH']}") for _ in range(2)]
    assert [finish(process) for process in processes] == [(0, f"{cache}\n", "")] * 2
    assert len(log.read_text().splitlines()) == len(SONAMES)
    assert sorted(path.name for path in built(environment)) == sorted(SONAMES)
    assert sum(path.stat().st_size for path in built(environment)) < 1_000_000
    # Built ones need no compiler.
    assert finish(start(python, TRAINING + LOADED, PATH=str(tools / "none"))) == (0, f"{cache}\n", "")


def test_oneflow_s_own_commands_find_them(environment):
    python = environment / "bin" / "python"
    cache = environment / "var" / "insightface-stand-ins"
    assert finish(start(python, "from ops import flow"))[0] == 0
    assert finish(start(python, f"import oneflow\n{LOADED}"))[:2] == (0, f"{cache}\n")


def test_links_follow_the_cache_and_spare_files(tmp_path):
    (tmp_path / "old").touch()
    (tmp_path / "new").touch()
    (tmp_path / "file").write_text("foreign")
    for target in ("old", "new", "new"):
        cuda_stand_ins._link(tmp_path / "link", tmp_path / target)
        assert (tmp_path / "link").readlink() == tmp_path / target
    cuda_stand_ins._link(tmp_path / "file", tmp_path / "new")
    assert (tmp_path / "file").read_text() == "foreign"
    assert len(list(tmp_path.iterdir())) == 4


def test_every_function_that_oneflow_asks_for_is_there(stand_ins):
    nm = locate_program(("nm",), "nm")
    names = cuda_stand_ins.read_functions(cuda_stand_ins.locate_oneflow_library("liboneflow-"), SONAMES, nm)
    assert sum(map(len, names.values())) == 90
    for soname in SONAMES:
        listing = subprocess.run(
            [nm, "--dynamic", "--defined-only", str(stand_ins / soname)], capture_output=True, text=True, check=True
        ).stdout
        functions = {line.split()[-1] for line in listing.splitlines() if " T " in line}
        assert functions == {f"{name}@@{soname}" for name in names[soname]}


@pytest.mark.parametrize(
    ("soname", "function"), [("libcudnn_ops_infer.so.8", "cudnnCreate"), ("libcublas.so.11", "cublasCreate_v2")]
)
def test_a_call_ends_the_process_with_one_line(stand_ins, soname, function):
    code = (
        "import ctypes, os\n"
        f"library = ctypes.CDLL({str(stand_ins / soname)!r})\n"
        "os.dup2(os.open(os.devnull, os.O_WRONLY), 2)\n"  # as during the import of OneFlow
        f"library.{function}(None)\n"
        "print('alive')\n"
    )
    message = (
        f"error: OneFlow called {function}, but this light CPU install has only a stand-in for {soname}; "
        "run `INSIGHTFACE_CUDA=1 make setup` to install the CUDA libraries\n"
    )
    assert finish(start(Path(sys.executable), code)) == (1, "", message)


def test_the_version_is_nought(stand_ins):
    """OneFlow asks for it before the first graph, on a CPU too."""
    code = (
        "import ctypes\n"
        f"library = ctypes.CDLL({str(stand_ins / 'libcudnn_ops_infer.so.8')!r})\n"
        "value = ctypes.c_int(7)\n"
        "print(library.cudnnGetProperty(0, ctypes.byref(value)), value.value)\n"
    )
    assert finish(start(Path(sys.executable), code)) == (0, "0 0\n", "")


def test_with_a_driver_they_are_refused(environment, tmp_path):
    """A library of the driver's name, anywhere the loader looks, is enough."""
    compiler = locate_program(("gcc", "cc", "clang"), "C compiler")
    subprocess.run([compiler, "-shared", "-x", "c", os.devnull, "-o", str(tmp_path / cuda.DRIVER_LIBRARY)], check=True)
    variables = {"LD_LIBRARY_PATH": str(tmp_path), cuda.SWITCH: ""}
    python = environment / "bin" / "python"
    code, out, err = finish(start(python, "from ops import flow", **variables))
    assert (code, out) == (1, "")
    assert "UserError: OneFlow needs libcublasLt.so.11: the system has none and the nvidia-cublas-cu11 wheel is" in err
    assert "run `make setup` and use .venv/bin/python; NVIDIA driver found (" in err.splitlines()[-1]
    assert err.endswith("), so a stand-in is used only with INSIGHTFACE_CUDA=0\n")
    variables[cuda.SWITCH] = "0"
    assert finish(start(python, "from ops import flow", **variables)) == (0, "", "")


def test_when_cuda_was_asked_for_they_are_refused(environment):
    code, _, err = finish(start(environment / "bin" / "python", "from ops import flow", INSIGHTFACE_CUDA="1"))
    assert code == 1
    assert "; INSIGHTFACE_CUDA=1, so a stand-in is used only with" in err.splitlines()[-1]


def test_the_wheels_come_first(monkeypatch, tmp_path):
    library = tmp_path / "nvidia" / "cudnn" / "lib" / "libcudnn_ops_infer.so.8"
    library.parent.mkdir(parents=True)
    library.touch()
    monkeypatch.setattr(runtime.sys, "path", [str(tmp_path)])
    assert runtime._locate_library("cudnn", library.name) == library


def test_without_a_compiler_one_line_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(cuda_stand_ins, "default_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(runtime.sys, "path", [path for path in sys.path if not Path(path, "nvidia").exists()])
    monkeypatch.setattr(cuda_stand_ins, "locate_oneflow_library", lambda prefix: tmp_path / "liboneflow.so")
    with pytest.raises(runtime.UserError, match=r"a stand-in cannot be built: no C compiler \(gcc\) in PATH"):
        runtime._locate_library("cudnn", "libcudnn_ops_infer.so.8")
    assert not (tmp_path / "cache").exists()


def test_a_library_oneflow_does_not_ask_for_is_named(tmp_path):
    with pytest.raises(NativeUnavailableError, match=r"nm finds no function of libother.so.1 that liboneflow-"):
        cuda_stand_ins.build_stand_ins(["libcublas.so.11", "libother.so.1"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_an_unwritable_cache_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NativeUnavailableError, match="cannot write .*file"):
        cuda_stand_ins.build_stand_ins(SONAMES, tmp_path / "file" / "cache")
