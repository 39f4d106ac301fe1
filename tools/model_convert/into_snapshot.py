"""Shared by the commands that convert other programs' models into snapshots."""

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

# From a model as it was read to the name of the program that runs it, and its embedder.
Runner = Callable[[ForeignModel], tuple[str, Embed]]


def make_parser(about: str) -> argparse.ArgumentParser:
    """Return a parser with the flags common to these commands."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of_model_dir", "-of", required=True, help="snapshot to write")
    parser.add_argument("--network", default=AUTO, help="expected network; auto (default) recognises it")
    parser.add_argument("--dataset", default="", help="dataset of the next training (a name of the config)")
    parser.add_argument("--check_bin", default="", help="verification .bin with images for the check; default: noise")
    return parser


def require_free(args: argparse.Namespace) -> None:
    """Check that the snapshot does not exist yet, before anything is computed.

    Raises:
        UserError: the snapshot exists already.
    """
    if Path(args.of_model_dir).exists():
        raise UserError(f"{args.of_model_dir} exists already; remove it or choose another name")


def make_snapshot(args: argparse.Namespace, foreign: ForeignModel, run: Runner, format_name: str, file: Path) -> None:
    """Recognise the model, compare both sides, write the snapshot.

    Args:
        args: the common flags.
        foreign: the model as it was read.
        run: returns the name and the embedder of the other side of the comparison.
        format_name: format of the source, for the manifest.
        file: file of the source, whose name and checksum go into the manifest.

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
        return "--pretrained: it has no class centres"
    return f"--model_load_dir and --pretrained: {len(model.head['fc7_weight'])} classes"
