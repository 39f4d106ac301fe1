"""Locates what the kernels are built from: OneFlow's and oneDNN's headers and libraries, and a C++ compiler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from common.compiling import NativeUnavailableError, locate_program

# The kernels are compiled against OneFlow's C++ interface, which differs between versions.
ONEFLOW_VERSION = "0.9.0"
ONEFLOW_LIBRARIES = ("liboneflow-", "libof_protoobj-", "libprotobuf-")
ONEDNN_PACKAGE = "onednn-cpu-gomp"
ONEDNN_HEADERS_PACKAGE = "onednn-devel-cpu-gomp"
COMPILERS = ("g++", "c++")


@dataclass(frozen=True)
class OneFlowFiles:
    """OneFlow's headers and the libraries the kernels are linked against."""

    version: str
    include: Path
    libraries: tuple[Path, ...]


@dataclass(frozen=True)
class OneDnnFiles:
    """oneDNN's headers and library."""

    version: str
    include: Path
    library: Path


def locate_oneflow() -> OneFlowFiles:
    """Return the files of the installed OneFlow wheel.

    Raises:
        NativeUnavailableError: another version is installed, or the wheel is not laid out as expected.
    """
    wheel = _distribution("oneflow")
    if wheel.version.split("+")[0] != ONEFLOW_VERSION:
        raise NativeUnavailableError(f"they are written for OneFlow {ONEFLOW_VERSION}, found {wheel.version}")
    include = Path(wheel.locate_file("oneflow/include")).resolve()
    libraries = tuple(locate_oneflow_library(prefix) for prefix in ONEFLOW_LIBRARIES)
    if not (include / "oneflow/core/framework/framework.h").is_file():
        raise NativeUnavailableError(f"OneFlow's headers are not in {include}")
    return OneFlowFiles(wheel.version, include, libraries)


def locate_oneflow_library(prefix: str) -> Path:
    """Return the one library of the installed OneFlow wheel whose file name begins with ``prefix``.

    Raises:
        NativeUnavailableError: OneFlow is not installed, or its wheel is not laid out as expected.
    """
    folder = Path(_distribution("oneflow").locate_file("oneflow.libs")).resolve()
    found = sorted(folder.glob(f"{prefix}*"))
    if len(found) != 1:
        raise NativeUnavailableError(f"expected one {prefix}*.so in {folder}, found {len(found)}")
    return found[0]


def locate_onednn() -> OneDnnFiles:
    """Return the files of the installed oneDNN wheels, which install them outside site-packages.

    Raises:
        NativeUnavailableError: one of the two wheels is not installed, or their versions differ.
    """
    library, headers = _distribution(ONEDNN_PACKAGE), _distribution(ONEDNN_HEADERS_PACKAGE)
    if library.version != headers.version:
        raise NativeUnavailableError(
            f"{ONEDNN_PACKAGE} {library.version} and {ONEDNN_HEADERS_PACKAGE} {headers.version} must have one version"
        )
    header = _wheel_file(headers, ("oneapi", "dnnl", "dnnl.hpp"))
    return OneDnnFiles(library.version, header.parents[2], _wheel_file(library, ("libdnnl.so.3",)))


def locate_compiler() -> str:
    """Return the path of a C++ compiler.

    Raises:
        NativeUnavailableError: no C++ compiler is in PATH.
    """
    return locate_program(COMPILERS, "C++ compiler (g++)")


def _distribution(name: str) -> metadata.Distribution:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        raise NativeUnavailableError(f"the {name} wheel is not installed") from None


def _wheel_file(wheel: metadata.Distribution, ending: Sequence[str]) -> Path:
    for file in wheel.files or ():
        if file.parts[-len(ending) :] == tuple(ending):
            path = Path(wheel.locate_file(file)).resolve()
            if path.is_file():
                return path
    raise NativeUnavailableError(f"{'/'.join(ending)} of the {wheel.metadata['Name']} wheel is missing")
