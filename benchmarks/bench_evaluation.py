"""Compare the evaluation protocols with other programs: ``python benchmarks/bench_evaluation.py``.

search: 3,530 probes in a gallery of 1,000,000, the sizes of MegaFace, against the exact index of faiss (in
.venv-peers), NumPy in blocks, InsightFace's argsort of full rows, and the bare matrix product of the same shapes.

templates: pooling and pair scores of IJB-C's sizes against InsightFace's loops, the ROC curve against scikit-learn's.

verification: 12,000 images from a .bin to the report with y1, beside the speed of the network alone.

All take turns on the same data, each once per round; answers are compared.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
from dataclasses import dataclass
from typing import Any

from benchmarks import search_rows, template_rows
from benchmarks.arguments import Parser, name_list, positive_int
from benchmarks.other_load import OtherLoad, describe_load
from benchmarks.report import describe_machine, format_machine, format_table, write_json
from common.errors import UserError, run_command
from common.workers import available_cpus


@dataclass(frozen=True)
class Part:
    """The result of a part: a table, and lines below it."""

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: list[str]
    numbers: list[dict[str, Any]]


def bench_search(args: argparse.Namespace) -> Part:
    """Measure searches."""
    rows = search_rows.run(bool(args.quick), args.rounds, args.threads, args.probes, args.gallery)
    failures = [f"{row.label}: {row.failure}" for row in rows if row.failure]
    return Part(
        search_rows.HEADER, [row.cells() for row in rows], [*search_rows.NOTES, *failures], [r._asdict() for r in rows]
    )


def bench_templates(args: argparse.Namespace) -> Part:
    """Measure templates."""
    rows = template_rows.run(bool(args.quick), args.rounds)
    return Part(
        template_rows.HEADER, [row.cells() for row in rows], list(template_rows.NOTES), [r._asdict() for r in rows]
    )


def bench_verification(args: argparse.Namespace) -> Part:
    """Measure verifications."""
    from benchmarks import verification_rows  # here because it loads OneFlow

    rows = verification_rows.run(args.images // (10 if args.quick else 1), args.rounds)
    cells = [row.cells() for row in rows]
    return Part(verification_rows.HEADER, cells, list(verification_rows.NOTES), [row._asdict() for row in rows])


PARTS = {"search": bench_search, "templates": bench_templates, "verification": bench_verification}


def parse_arguments() -> argparse.Namespace:
    """Return the flags.

    Raises:
        UserError: a flag or value is unknown.
    """
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=name_list, default=list(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--quick", type=int, choices=(0, 1), default=0, help="1: smaller sets")
    parser.add_argument("--probes", type=positive_int, default=search_rows.PROBES, help="probes of a search")
    parser.add_argument("--gallery", type=positive_int, default=search_rows.GALLERY, help="gallery rows of a search")
    parser.add_argument("--images", type=positive_int, default=12_000, help="images of a verification, two a pair")
    parser.add_argument("--threads", type=positive_int, default=available_cpus(), help="threads of each contestant")
    parser.add_argument("--rounds", type=positive_int, default=3, help="turns per contestant")
    parser.add_argument("--json", default="", help="file for all numbers")
    args = parser.parse_args()
    unknown = [name for name in args.parts if name not in PARTS]
    if unknown:
        raise UserError(f"--parts: unknown name '{unknown[0]}'; known: {', '.join(PARTS)}")
    if args.probes > args.gallery // (10 if args.quick else 1):
        raise UserError(f"--probes {args.probes}: each needs an answer of its own in the gallery of {args.gallery}")
    return args


def main() -> None:
    """Measure and print the tables."""
    args = parse_arguments()
    print(format_machine(describe_machine()))
    content: dict[str, Any] = {"settings": vars(args)}
    for name in args.parts:
        load = OtherLoad()
        part = PARTS[name](args)
        share = load.share()
        print(f"\n{format_table(part.header, part.rows)}")
        for line in filter(None, [*part.notes, describe_load(share)]):
            print(line)
        content[name] = {"rows": part.numbers, "other_load": share}
    if args.json:
        write_json(args.json, content)


if __name__ == "__main__":
    run_command(main)
