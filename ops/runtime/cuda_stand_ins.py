"""Build stand-ins for the CUDA libraries that OneFlow is linked against but does not use on a CPU.

They are generated from OneFlow's symbol table: one small library for each missing one, with its soname, its symbol
version and the functions that OneFlow imports from it. Each function exits with a message that names it; only the
version query, which OneFlow calls on every machine, returns a result.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from common.compiling import NativeUnavailableError, build_once, run_tool
from common.cuda import find_stand_in_tools
from ops.native.requirements import locate_oneflow_library

COMPILE_FLAGS = ("-shared", "-fPIC", "-O1")
SOURCE = """\
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int messages = 2;

/* OneFlow is imported with standard error redirected; a message from the import must reach the user too. */
__attribute__((constructor)) static void keep_standard_error(void) {{ messages = fcntl(2, F_DUPFD_CLOEXEC, 3); }}

static void stop(const char *function) {{
  dprintf(messages,
          "error: OneFlow called %s, but this light CPU install has only a stand-in for {soname}; "
          "run `INSIGHTFACE_CUDA=1 make setup` to install the CUDA libraries\\n",
          function);
  _exit(1);
}}

#define STAND_IN(name) void name(void) {{ stop(#name); }}
{stand_ins}
"""
# Before its first graph, OneFlow logs the version of cuDNN even without a GPU: 0.0.0.
ANSWERS = {"cudnnGetProperty": "int cudnnGetProperty(int part, int *value) { (void)part; *value = 0; return 0; }"}


def default_cache() -> Path:
    """Return the cache folder of built stand-ins, inside the running Python environment."""
    return Path(sys.prefix) / "var" / "insightface-stand-ins"


def install_stand_ins(sonames: Sequence[str]) -> Path:
    """Return the environment's folder of stand-ins for ``sonames``; build them if they are missing.

    OneFlow's own commands (``python -m oneflow.distributed.launch``) do not prepare the process. Links in the wheel's
    library folder, which its loader searches last, let them find the stand-ins too.

    Raises:
        NativeUnavailableError: the stand-ins cannot be built (see ``build_stand_ins``).
    """
    folder = build_stand_ins(sonames, default_cache())
    libraries = locate_oneflow_library("liboneflow-").parent
    try:
        for soname in sonames:
            _link(libraries / soname, folder / soname)
    except OSError as error:
        raise NativeUnavailableError(f"cannot write {libraries}: {error.strerror or error}") from error
    return folder


def build_stand_ins(sonames: Sequence[str], cache: Path) -> Path:
    """Return a folder with a stand-in for each of ``sonames``, built for the installed OneFlow.

    They are built unless ``cache`` holds them already.

    Raises:
        NativeUnavailableError: OneFlow, a C compiler or ``nm`` is missing or fails, or ``cache`` cannot be written.
    """
    oneflow = locate_oneflow_library("liboneflow-")
    # The name of a library in a wheel contains a hash of its contents.
    facts = [oneflow.name, SOURCE, *ANSWERS.values(), *COMPILE_FLAGS, *sonames]
    key = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]

    def build(tools: tuple[str, str], folder: Path) -> None:
        compiler, nm = tools
        functions = read_functions(oneflow, sonames, nm)
        for soname in sonames:
            _build(folder, soname, functions[soname], compiler)

    return build_once(key, cache, find_stand_in_tools, build)


def read_functions(library: Path, sonames: Sequence[str], nm: str) -> dict[str, list[str]]:
    """Return the functions that ``library`` imports from each of ``sonames``, whose symbol versions are their sonames.

    Raises:
        NativeUnavailableError: ``nm`` fails, or lists no function of a library.
    """
    functions: dict[str, list[str]] = {soname: [] for soname in sonames}
    listing = run_tool([nm, "--dynamic", "--undefined-only", "--with-symbol-versions", str(library)])
    for line in listing.splitlines():
        name, _, version = line.split()[-1].partition("@")
        if version in functions:
            functions[version].append(name)
    for soname, names in functions.items():
        if not names:
            raise NativeUnavailableError(f"{nm} finds no function of {soname} that {library.name} imports")
    return functions


def _build(folder: Path, soname: str, functions: Sequence[str], compiler: str) -> None:
    source, script = folder / f"{soname}.c", folder / f"{soname}.map"
    stand_ins = "\n".join(ANSWERS.get(name, f"STAND_IN({name})") for name in functions)
    source.write_text(SOURCE.format(soname=soname, stand_ins=stand_ins))
    script.write_text(f"{soname} {{ global: {'; '.join(functions)}; local: *; }};\n")
    options = [f"-Wl,-soname,{soname}", f"-Wl,--version-script={script}"]
    run_tool([compiler, *COMPILE_FLAGS, str(source), *options, "-o", str(folder / soname)])


def _link(link: Path, target: Path) -> None:
    """Make ``link`` point to ``target``, unless a file that is not a link has its name."""
    if link.resolve() == target.resolve() or (link.exists() and not link.is_symlink()):
        return
    temporary = link.with_name(f".{link.name}.tmp-{os.getpid()}")
    temporary.symlink_to(target)
    os.replace(temporary, link)
