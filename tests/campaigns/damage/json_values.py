"""Replace each value of every JSON text by values of all types: ``python -m tests.campaigns.damage.json_values``.

The chance that random damage hits one value of a manifest with one type is small; here nothing is left to it. Prints
a table and every fault, and ends with code 1 if there is one.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from common.errors import run_command
from common.json_text import parse_json
from tests.campaigns.damage.formats import FORMATS, Format
from tests.campaigns.damage.mutations import VALUES
from tests.campaigns.damage.worker import judge_in_time, limit_memory, out_of_time

_ALIKE = 3  # places with the same keys that are tried, such as the elements of a list
_ABSENT = object()

Place = tuple[Any, ...]


def split(content: bytes) -> tuple[bytes, Any, bytes] | None:
    """Return what is before the JSON text of a file, the JSON, and what is behind; None if there is no such text.

    The text is the whole file, its first line, or the header of a safetensors file.
    """
    header = int.from_bytes(content[:8], "little")
    pieces = ((0, len(content)), (0, content.find(b"\n")), (8, 8 + header))
    for start, stop in pieces:
        if start < stop <= len(content):
            try:
                tree = parse_json(content[start:stop])
            except ValueError:
                continue
            return content[:start], tree, content[stop:]
    return None


def places(tree: Any, place: Place = ()) -> Iterator[Place]:
    """Yield the keys to every value of ``tree``, beginning with the whole."""
    yield place
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield from places(tree[key], (*place, key))


def choose(all_places: Sequence[Place]) -> Iterator[Place]:
    """Yield the first few of the places that differ only by numbers or, far from the root, by what is in between."""
    counts: Counter[Place] = Counter()
    for place in all_places:
        kind = tuple("#" if isinstance(key, int) else key for key in place)
        kind = kind if len(kind) < 4 else (len(kind), kind[0], kind[-1])
        counts[kind] += 1
        if counts[kind] <= _ALIKE:
            yield place


def replace(tree: Any, place: Place, value: Any) -> Any:
    """Return ``tree`` with another value at a place, or none."""
    if not place:
        return value
    tree = copy.deepcopy(tree)
    owner = tree
    for key in place[:-1]:
        owner = owner[key]
    if value is _ABSENT:
        del owner[place[-1]]
    else:
        owner[place[-1]] = value
    return tree


def try_file(form: Format, whole: Path, path: Path, folder: Path) -> Iterator[tuple[Place, Any, str, str]]:
    """Yield place, value, outcome and message for each changed copy of the JSON in ``path``, a file of ``whole``."""
    found = split(path.read_bytes())
    if found is None:
        return
    before, tree, behind = found
    for place in choose(list(places(tree))):
        for value in (*VALUES, *([_ABSENT] if place else [])):
            text = json.dumps(replace(tree, place, value)).encode()
            if before:
                before = len(text).to_bytes(8, "little")
            shutil.copytree(whole, folder)
            changed = folder / path.relative_to(whole)
            changed.write_bytes(before + text + behind)
            limit_memory()
            outcome, message = judge_in_time(form, folder, [changed.name, changed.stem, str(folder)])
            shutil.rmtree(folder)
            yield place, "nothing" if value is _ABSENT else value, outcome, message


def main() -> int:
    """Try all files of the formats."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--format", action="append", choices=list(FORMATS), help="only this; may be repeated")
    names = parser.parse_args().format or list(FORMATS)
    signal.signal(signal.SIGPROF, out_of_time)
    lines, total, faults = ["| format | file | read | refused | faults |", "|---|---|---|---|---|"], 0, 0
    with tempfile.TemporaryDirectory() as temporary:
        for number, name in enumerate(names):
            form, whole, case = FORMATS[name], Path(temporary) / f"whole{number}", Path(temporary) / "case"
            whole.mkdir()
            form.write(whole)
            form.read(whole)
            for path in sorted({path for pattern in form.files for path in whole.glob(pattern) if path.is_file()}):
                counts: Counter[str] = Counter()
                for place, value, outcome, message in try_file(form, whole, path, case):
                    counts[outcome] += 1
                    if outcome == "fault":
                        print(f"fault: {name}, {path.name}, {place} is {value!r}\n{message}", flush=True)
                total, faults = total + counts.total(), faults + counts["fault"]
                if counts:
                    row = (name, path.name, counts["read"], counts["refused"], counts["fault"])
                    lines.append(f"| {' | '.join(map(str, row))} |")
    print("\n".join(lines))
    print(f"\n{total} files, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    run_command(main)
