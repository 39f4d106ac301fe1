"""Say what a check found: as text, as JSON, and as pictures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from common.files import atomic_file, make_directory
from common.wording import counted
from data.checking.check import CheckedSet, list_sizes
from data.checking.classes import describe_ranges
from data.checking.inspect import DAMAGED
from data.contact_sheet import Tile, write_sheet
from data.image import DecodeError, decode_any_size
from data.rejected import summarize, write_rejected

LINES = 20
"""Lines of a list on the terminal; files hold the whole list."""

_RANDOM_TILES, _OTHER_TILES = 64, 16
_SEED = 0


def describe(checked: CheckedSet) -> Iterator[str]:
    """Yield the lines for the terminal."""
    listing, facts = checked.listing, checked.inspection.facts
    people = "" if checked.classes is None else f" of {counted(len(checked.classes.labels), 'person', 'people')}"
    pairs = "" if listing.issame is None else f", {counted(len(listing.issame), 'pair')}, {listing.issame.sum()} same"
    yield f"{listing.path}: {listing.kind}, {counted(len(facts), 'image')}{people}{pairs}"
    yield from (f"  problem: {problem}" for problem in listing.problems)
    yield from (f"  note: {note}" for note in listing.notes)
    rejections = checked.rejections()
    yield f"  bad: {len(rejections)}" + (f" ({summarize(rejections)})" if rejections else "")
    yield from _listed(f"{each.file}: {each.reason}: {each.details}" for each in rejections)
    sizes = [f"{width}x{height} ({count})" for (height, width), count in list_sizes(facts)]
    yield "  sizes: " + ", ".join(sizes[:10]) + (f" and {len(sizes) - 10} other sizes" if len(sizes) > 10 else "")
    if checked.classes is not None:
        yield from _describe_classes(checked)
    yield from _describe_duplicates(checked)
    for shared in checked.shared:
        yield f"  in verification set {shared.listing.path.name} too: {len(shared.numbers)}"
        pairs_of_names = zip(shared.numbers.tolist(), shared.others.tolist(), strict=True)
        yield from _listed(f"{_label(checked, n)} = {shared.listing.describe(other)}" for n, other in pairs_of_names)


def _describe_classes(checked: CheckedSet) -> Iterator[str]:
    classes = checked.classes
    if len(classes.labels):
        yield f"  labels: {classes.labels[0]} to {classes.labels[-1]}, " + (
            f"missing: {describe_ranges(classes.gaps)}" if classes.gaps else "no gaps"
        )
        counts = classes.counts
        single = int((counts == 1).sum())
        yield (
            f"  images of a person: {counts.min()} to {counts.max()}, median {np.median(counts):g}"
            + (f"; only one of {counted(single, 'person', 'people')}" if single else "")
        )
    if classes.missing_at_end:
        yield f"  classes without an image after the last label: {describe_ranges([classes.missing_at_end])}"
    if classes.images_beyond:
        beyond = counted(classes.images_beyond, "image")
        yield f"  {beyond} with a label that is not below the set's {classes.num_classes} classes"


def _describe_duplicates(checked: CheckedSet) -> Iterator[str]:
    found = checked.duplicates
    across = found.across[found.numbers]
    pixels = int((~found.same_bytes).sum())
    if checked.classes is None:
        yield f"  images that repeat an earlier one: {len(found.numbers)}"
        equal = equal_pairs(checked)
        if equal.any():
            different = int((~checked.listing.issame[equal]).sum())
            yield f"  pairs of an image with itself: {int(equal.sum())}, of which {different} are marked as two people"
        return
    yield f"  duplicates of one person: {int((~across).sum())}; images of several people: {int(found.across.sum())}" + (
        f" ({pixels} of the later images are equal in pixels only)" if pixels else ""
    )
    order = np.argsort(~across, kind="stable")
    rows = zip(found.numbers[order].tolist(), found.firsts[order].tolist(), strict=True)
    yield from _listed(f"{_label(checked, number)} = {_label(checked, first)}" for number, first in rows)


def equal_pairs(checked: CheckedSet) -> np.ndarray:
    """Return which pairs of a verification set consist of equal images, bool [N / 2]."""
    first = np.arange(len(checked.listing))
    first[checked.duplicates.numbers] = checked.duplicates.firsts
    even = len(first) // 2 * 2
    return first[0:even:2] == first[1:even:2]


def _label(checked: CheckedSet, number: int) -> str:
    label = int(checked.inspection.facts["label"][number])
    person = f" [{checked.listing.class_name(label)}]" if label >= 0 else ""
    return checked.listing.describe(number) + person


def _listed(lines: Iterable[str]) -> Iterator[str]:
    lines = iter(lines)
    for _, line in zip(range(LINES), lines, strict=False):
        yield f"    {line}"
    more = sum(1 for _ in lines)
    if more:
        yield f"    and {more} more; --json FILE or --report DIR lists all"


def to_json(checked: CheckedSet) -> dict[str, Any]:
    """Return everything as JSON's types."""
    listing, facts, found = checked.listing, checked.inspection.facts, checked.duplicates
    result: dict[str, Any] = {
        "path": str(listing.path),
        "kind": listing.kind,
        "num_images": len(facts),
        "image_size": checked.image_size,
        "problems": listing.problems,
        "notes": listing.notes,
        "bad": [each._asdict() for each in checked.rejections()],
        "sizes": [{"height": h, "width": w, "images": count} for (h, w), count in list_sizes(facts)],
    }
    if checked.classes is not None:
        classes, counts = checked.classes, checked.classes.counts
        result |= {
            "num_people": len(classes.labels),
            "num_classes": classes.num_classes,
            "label_gaps": classes.gaps,
            "empty_classes_at_end": classes.missing_at_end,
            "images_with_label_beyond": classes.images_beyond,
            "images_of_a_person": {
                "min": int(counts.min(initial=0)),
                "median": float(np.median(counts)) if len(counts) else 0,
                "max": int(counts.max(initial=0)),
            },
        }
    result["duplicates"] = list(_duplicate_rows(checked))
    result["num_several_people"] = int(found.across.sum())
    result["in_verification_sets"] = {
        str(shared.listing.path): [
            {"file": listing.describe(n), "label": int(facts["label"][n]), "same_as": shared.listing.describe(other)}
            for n, other in zip(shared.numbers.tolist(), shared.others.tolist(), strict=True)
        ]
        for shared in checked.shared
    }
    return result


def _duplicate_rows(checked: CheckedSet) -> Iterator[dict[str, Any]]:
    labels, found, listing = checked.inspection.facts["label"], checked.duplicates, checked.listing
    rows = zip(found.numbers.tolist(), found.firsts.tolist(), found.same_bytes.tolist(), strict=True)
    for number, first, same_bytes in rows:
        yield {
            "file": listing.describe(number),
            "label": int(labels[number]),
            "same_as": listing.describe(first),
            "label_of_same": int(labels[first]),
            "same_bytes": same_bytes,
        }


def write_json(path: str | Path, checked: CheckedSet) -> None:
    """Write ``to_json``.

    Raises:
        UserError: the file cannot be written.
    """
    with atomic_file(path) as handle:
        handle.write(json.dumps(to_json(checked), indent=1).encode() + b"\n")


def write_report(folder: Path, checked: CheckedSet) -> None:
    """Write the folder: ``check.json``, ``bad.csv``, ``duplicates.csv``, ``images_per_person.png`` and ``sheet.jpg``.

    Raises:
        UserError: the folder cannot be written.
    """
    from data.checking.histogram import draw_images_per_person  # here because it loads matplotlib

    make_directory(folder, "--report")
    write_json(folder / "check.json", checked)
    write_rejected(folder / "bad.csv", checked.rejections())
    _write_rows(folder / "duplicates.csv", _duplicate_rows(checked))
    write_sheet(folder / "sheet.jpg", _sections(checked))
    if checked.classes is not None and len(checked.classes.counts):
        with atomic_file(folder / "images_per_person.png") as handle:
            draw_images_per_person(handle, checked.classes.counts, checked.listing.path.name)


def _write_rows(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    columns = ("file", "label", "same_as", "label_of_same", "same_bytes")
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_file(path) as handle:
        handle.write(text.getvalue().encode("utf-8", "surrogateescape"))


def _sections(checked: CheckedSet) -> list[tuple[str, list[Tile]]]:
    facts, found = checked.inspection.facts, checked.duplicates
    decoded = np.flatnonzero(facts["height"])
    generator = np.random.Generator(np.random.Philox(_SEED))
    drawn = np.sort(generator.choice(decoded, min(_RANDOM_TILES, len(decoded)), replace=False))
    sections = [(f"{len(drawn)} random images", _tiles(checked, drawn))]
    for title, numbers in (
        ("JPEGs that are decoded only in part", np.flatnonzero(facts["fault"] == DAMAGED)),
        ("wrong size", np.flatnonzero(checked.has_wrong_size)),
        ("equal images of one person", _pairs(found, ~found.across[found.numbers])),
        ("equal images of several people", _pairs(found, found.across[found.numbers])),
        *((f"also in {each.listing.path.name}", each.numbers) for each in checked.shared),
    ):
        if len(numbers):
            shown = numbers[:_OTHER_TILES]
            sections.append((f"{title} (the first {len(shown)})", _tiles(checked, shown)))
    return sections


def _pairs(found: Any, wanted: np.ndarray) -> np.ndarray:
    """Return the wanted images that repeat another, each after that."""
    return np.stack([found.firsts[wanted], found.numbers[wanted]], axis=1).reshape(-1)


def _tiles(checked: CheckedSet, numbers: np.ndarray) -> list[Tile]:
    return [
        tile_of(found.encoded, _caption(checked, number))
        for number, found in zip(numbers.tolist(), checked.listing.read(numbers), strict=True)
    ]


def _caption(checked: CheckedSet, number: int) -> str:
    label = int(checked.inspection.facts["label"][number])
    place = checked.listing.caption(number)
    return f"{checked.listing.class_name(label)}\n{place}" if label >= 0 else place


def tile_of(encoded: bytes, caption: str) -> Tile:
    """Return a tile of an encoded image; without a picture if it cannot be decoded."""
    try:
        return Tile(decode_any_size(encoded)[0], caption)
    except DecodeError:
        return Tile(None, caption)
