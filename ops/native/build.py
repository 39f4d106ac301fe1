"""Compiles the C++ kernels into a cache inside the Python environment, once for all processes."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common.compiling import build_once, run_tool
from ops.native.requirements import OneDnnFiles, OneFlowFiles, locate_compiler

SOURCES = Path(__file__).parent / "src"
LIBRARY_NAME = "libinsightface_kernels.so"

COMPILE_FLAGS = (
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-fopenmp",
    # Lets loops with conditions and square roots become vector code; results stay those of IEEE arithmetic.
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wall",
    "-Wextra",
    # How OneFlow's wheel was compiled, and what its headers need to compile without the rest of its sources.
    "-D_GLIBCXX_USE_CXX11_ABI=0",
    "-DHALF_ENABLE_CPP11_USER_LITERALS=0",
    "-DHALF_ENABLE_F16C_INTRINSICS=0",
    "-DOF_CPU_THREADING_RUNTIME=0",
    "-DGOOGLE_GLOG_DLL_DECL=",
    "-DNDEBUG",
)
# The instruction sets that files named *.simd.cpp are compiled for, one after the other (see base/instruction_sets.h).
LEVELS: dict[str, tuple[str, ...]] = {"baseline": ()}
if platform.machine() == "x86_64":
    LEVELS["avx2"] = ("-mavx2", "-mfma")
    LEVELS["avx512"] = (*LEVELS["avx2"], *(f"-mavx512{part}" for part in ("f", "bw", "cd", "dq", "vl")))


def default_cache() -> Path:
    """Return the folder inside the running Python environment that keeps built kernels."""
    return Path(sys.prefix) / "var" / "insightface-native"


def build_library(oneflow: OneFlowFiles, onednn: OneDnnFiles, cache: Path) -> Path:
    """Return the library for these OneFlow and oneDNN files, built unless ``cache`` holds it already.

    Raises:
        NativeUnavailableError: no compiler is in PATH, the compilation failed, or ``cache`` cannot be written.
    """

    def build(compiler: str, folder: Path) -> None:
        print("building the CPU kernels, once for this environment (about a minute) ...", file=sys.stderr)
        _build(compiler, oneflow, onednn, folder / LIBRARY_NAME)

    return build_once(_key(oneflow, onednn), cache, locate_compiler, build) / LIBRARY_NAME


def _source_files() -> list[Path]:
    return sorted(path for path in SOURCES.rglob("*") if path.suffix in {".cpp", ".h", ".map"})


def _key(oneflow: OneFlowFiles, onednn: OneDnnFiles) -> str:
    """Hash everything that the library depends on except the compiler: a built library needs no compiler."""
    digest = hashlib.sha256()
    facts = [
        oneflow.version,
        *(path.name for path in oneflow.libraries),
        onednn.version,
        *COMPILE_FLAGS,
        *map(str, LEVELS.values()),
    ]
    digest.update("\n".join(facts).encode())
    for path in _source_files():
        digest.update(f"\n{path.relative_to(SOURCES)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _build(compiler: str, oneflow: OneFlowFiles, onednn: OneDnnFiles, library: Path) -> None:
    headers = [
        f"-I{SOURCES}",
        "-isystem",
        str(onednn.include),
        # After the system's own: the wheel's include folder carries stray copies of system headers.
        "-idirafter",
        str(oneflow.include),
        "-idirafter",
        str(oneflow.include / "glog-build"),
    ]
    with tempfile.TemporaryDirectory(dir=library.parent, prefix="build-") as folder:
        compilations = object_files(Path(folder))
        commands = [
            [compiler, *COMPILE_FLAGS, *flags, *headers, "-c", str(source), "-o", str(target)]
            for target, (source, flags) in compilations.items()
        ]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            list(pool.map(run_tool, commands))
        libraries = [str(path) for path in (onednn.library, *oneflow.libraries)]
        options = ["-Wl,--allow-shlib-undefined", f"-Wl,--version-script={SOURCES / 'exports.map'}"]
        run_tool([compiler, "-shared", "-fopenmp", *map(str, compilations), *libraries, *options, "-o", str(library)])


def object_files(folder: Path) -> dict[Path, tuple[Path, tuple[str, ...]]]:
    """Return the object files to compile in ``folder``: each one's source, and flags beside ``COMPILE_FLAGS``.

    An object is named after the whole path of its source, as two folders may hold files of the same name.
    """
    objects: dict[Path, tuple[Path, tuple[str, ...]]] = {}
    for source in _source_files():
        name = source.relative_to(SOURCES).as_posix().replace("/", "-")
        if name.endswith(".simd.cpp"):
            for level, flags in LEVELS.items():
                objects[folder / f"{name}.{level}.o"] = (source, (*flags, f"-DINSIGHTFACE_LEVEL={level}"))
        elif source.suffix == ".cpp":
            objects[folder / f"{name}.o"] = (source, ())
    return objects
