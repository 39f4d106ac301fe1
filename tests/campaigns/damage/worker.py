"""Read damaged sets in a given folder, one for each line of standard input; print what happened as a line of JSON.

A process of its own, with little free memory, so that a reader may crash or hang without ending the campaign.
"""

from __future__ import annotations

import json
import resource
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType

import numpy as np

from common.errors import UserError
from tests.campaigns.damage.formats import FORMATS, Format
from tests.campaigns.damage.mutations import damage

SPARE = 1 << 30  # bytes of address space beyond what the readers need for valid files
SECONDS = 5  # of processor time, which other processes do not affect
_LONGEST = 4100  # characters of one message
_OF_LIBRARIES = ("MemoryError", "bad_alloc", "Unable to allocate", "Traceback")


def choose_file(rng: np.random.Generator, folder: Path, patterns: tuple[str, ...]) -> Path:
    """Return one of the files that may be damaged."""
    files = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
    return files[int(rng.integers(len(files)))]


def judge(form: Format, folder: Path, names: list[str]) -> tuple[str, str]:
    """Return ``read``, ``refused`` or ``fault``, and the message."""
    try:
        form.read(folder)
    except UserError as error:
        text = str(error)
        lines = text.splitlines()
        if any(len(line) > _LONGEST or any(word in line for word in _OF_LIBRARIES) for line in lines) or not lines:
            return "fault", f"not a clear line: {text[:500]}"
        if not any(name in text for name in names):
            return "fault", f"does not name the file: {text[:500]}"
        return "refused", text
    except BaseException:
        return "fault", traceback.format_exc()[-1500:]
    return "read", ""


def judge_in_time(form: Format, folder: Path, names: list[str]) -> tuple[str, str]:
    """Return what ``judge`` does; a fault where it takes more than ``SECONDS``, if SIGPROF calls ``out_of_time``."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        return judge(form, folder, names)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def try_case(name: str, seed: int, whole: Path, folder: Path) -> dict[str, object]:
    """Damage a copy of a valid set and read it."""
    form, rng = FORMATS[name], np.random.default_rng([seed, sum(name.encode())])
    shutil.copytree(whole, folder)
    path = choose_file(rng, folder, form.files)
    how, content = damage(rng, path.read_bytes())
    path.write_bytes(content)
    start = time.perf_counter()
    # A message may name the file, its folder, or the set, which the reader was given.
    kind, text = judge_in_time(form, folder, [path.name, path.stem, str(folder)])
    shutil.rmtree(folder)
    case = {"format": name, "seed": seed, "file": path.name, "how": how, "kind": kind, "text": text}
    return {**case, "seconds": round(time.perf_counter() - start, 3)}


def limit_memory() -> None:
    """Leave ``SPARE`` bytes of address space; set anew for each case, as threads of earlier ones leave some behind."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + SPARE, resource.RLIM_INFINITY))


def out_of_time(number: int, frame: FrameType | None) -> None:
    """Handle SIGPROF."""
    raise TimeoutError(f"not done in {SECONDS} s")


def main() -> None:
    """Serve until standard input ends."""
    signal.signal(signal.SIGPROF, out_of_time)
    place = Path(sys.argv[1])
    wholes = {}
    for number, (name, form) in enumerate(FORMATS.items()):
        wholes[name] = place / f"whole{number}"
        wholes[name].mkdir()
        form.write(wholes[name])
        form.read(wholes[name])  # a valid set must be read; and what readers import is there before the limit
    print("ready", flush=True)
    for line in sys.stdin:
        name, seed = json.loads(line)
        limit_memory()
        print(json.dumps(try_case(name, seed, wholes[name], place / "case")), flush=True)


if __name__ == "__main__":
    main()
