"""What the commands that make snapshots of other programs' models have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from common.errors import UserError
from interchange.foreign_model import ForeignModel
from interchange.matching.recognise import AUTO
from snapshots.reader import checksum
from tools.model_convert.check import Embed, compare, load_images, oneflow_embedder, require_agreement
from tools.model_convert.converted_model import ConvertedModel, convert_model, write_converted

# Of a model as it was read: a name for what runs it, and what embeds images so.
Runner = Callable[[ForeignModel], tuple[str, Embed]]


def make_parser(about: str) -> argparse.ArgumentParser:
    """Return a parser with the flags that all of these commands have."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of_model_dir", "-of", required=True, help="the snapshot to write")
    parser.add_argument("--network", default=AUTO, help="what it must be; auto (default) finds out")
    parser.add_argument("--dataset", default="", help="what it is to be trained on next (a name of the config)")
    parser.add_argument("--check_bin", default="", help="verification .bin whose images the check takes, else noise")
    return parser


def require_free(args: argparse.Namespace) -> None:
    """Check that the snapshot is not there yet, before anything is computed.

    Raises:
        UserError: it is.
    """
    if Path(args.of_model_dir).exists():
        raise UserError(f"{args.of_model_dir} exists already; remove it or choose another name")


def make_snapshot(args: argparse.Namespace, foreign: ForeignModel, run: Runner, format_name: str, file: Path) -> None:
    """Recognise the model, compare both sides, write the snapshot.

    Args:
        args: the common flags.
        foreign: the model as it was read.
        run: makes the other side of the comparison.
        format_name: what the manifest says of the format.
        file: what the manifest says of the source, with its checksum.

    Raises:
        UserError: the network is unknown, the two sides differ, or the snapshot cannot be written.
    """
    model = convert_model(foreign, args.network, args.dataset)
    print(f"{foreign.source} is {model.config.network}")
    for note in model.notes:
        print(f"  {note}")
    images = load_images(model.network, args.check_bin)
    name, theirs = run(foreign)
    agreement = compare(images, theirs, oneflow_embedder(model.network, model.arrays))
    require_agreement(args.of_model_dir, agreement, f"{name} and OneFlow")
    source = {"format": format_name, "file": file.name, "sha256": checksum(file)}
    write_converted(Path(args.of_model_dir), model, source)
    print(f"{args.of_model_dir}: snapshot for {_describe_use(model)}")


def _describe_use(model: ConvertedModel) -> str:
    if not model.head:
        return "--pretrained: the class centres are not in it"
    return f"--model_load_dir and --pretrained: {len(model.head['fc7_weight'])} classes"
