"""The commands that convert another program's model into a snapshot: their flags, their settings and their steps."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from common.errors import UserError
from common.files import check_target
from common.flag_checks import check_flags
from interchange.agreement import Reference, compare, load_images, require_agreement
from interchange.converted_snapshot import ConvertedModel, write_converted
from interchange.embedders import Embed, oneflow_embedder
from interchange.foreign_model import ForeignModel
from interchange.image_input import take_images
from interchange.matching.adapt import adapt
from interchange.matching.fixed_gammas import settle_gammas
from interchange.matching.recognise import AUTO, recognise, with_preprocessing_of
from interchange.open_model import known_settings
from settings.config_file import load_tables, merge
from settings.input_flags import add_input_flags, input_flags
from snapshots.reader import checksum

_SOURCES = ("onnx_path", "torch_path", "mxnet_load_prefix", "legacy_dir")  # what the commands read
# By the names of their moving values.
_LOSSES = {frozenset({"length_mean", "length_std"}): "adaface", frozenset({"t"}): "curricularface"}
# From a model as it was read to what computes it, as a ``Reference`` or its first fields.
Runner = Callable[[ForeignModel], Reference | tuple[str, Embed]]


def make_parser(about: str) -> argparse.ArgumentParser:
    """Return a parser with the flags common to these commands."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of_model_dir", "-of", required=True, help="snapshot to write")
    parser.add_argument("--network", default=AUTO, help="expected network; auto (default) recognises it")
    parser.add_argument("--dataset", default="", help="dataset of the next training (a name of the config)")
    parser.add_argument("--check_bin", default="", help="verification .bin with images for the check; default: noise")
    add_input_flags(parser)
    return parser


def require_free(args: argparse.Namespace) -> None:
    """Check that the snapshot does not exist yet and can be written, before anything is computed.

    Raises:
        UserError: it exists already or cannot be written, or a path is empty.
    """
    check_flags(args, *(key for key in ("of_model_dir", *_SOURCES) if key in args))
    if os.path.lexists(args.of_model_dir):
        raise UserError(f"{args.of_model_dir} exists already; remove it or choose another name")
    check_target(args.of_model_dir, "--of_model_dir")


def cut_rows(foreign: ForeignModel, classes: int) -> None:
    """Keep only the first ``classes`` class rows.

    Raises:
        UserError: the model has fewer rows.
    """
    if not foreign.head:
        raise UserError(f"--num_classes {classes}: {foreign.source} has no class rows; omit it")
    for name, array in foreign.head.items():
        if classes > len(array):
            raise UserError(f"--num_classes {classes}: {foreign.source} has only {len(array)} rows of {name}")
        foreign.head[name] = array[:classes]


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
    model = convert_model(take_images(foreign, input_flags(args)), args.network, args.dataset)
    print(f"{foreign.source} is {model.config.network}")
    for note in (*model.foreign.notes, *model.notes):
        print(f"  {note}")
    images = load_images(model.network, args.check_bin)
    reference = Reference(*run(model.foreign))
    agreement = compare(images[: reference.images], reference.embed, oneflow_embedder(model.network, model.arrays))
    require_agreement(args.of_model_dir, agreement, f"{reference.name} and OneFlow", reference.tolerance)
    source = {"format": format_name, "file": file.name, "sha256": checksum(file)}
    source |= {"color_order": model.foreign.color_order, "preprocesses": model.foreign.preprocesses}
    write_converted(Path(args.of_model_dir), model, source)
    print(f"{args.of_model_dir}: snapshot for {_describe_use(model)}")


def _describe_use(model: ConvertedModel) -> str:
    if not model.head:
        return "--pretrained: it has no class centres"
    return f"--model_load_dir and --pretrained: {len(model.head['fc7_weight'])} classes"


def convert_model(foreign: ForeignModel, wanted: str, dataset: str = "") -> ConvertedModel:
    """Recognise a foreign model and convert its arrays to our network.

    Args:
        foreign: the model.
        wanted: a network of the config, or ``auto``.
        dataset: the dataset of the config to train on later, the default one if empty.

    Raises:
        UserError: the network is unknown, or is not ``wanted``.
    """
    tables = load_tables()
    found = recognise(foreign.network, tables.network, wanted, foreign.source, hint=foreign.config)
    found = with_preprocessing_of(found, foreign.network)
    foreign = settle_gammas(foreign, found.pairs)
    adaptation = adapt(found.network, found.pairs, foreign.network, foreign.arrays, foreign.training_arrays)
    usual = _LOSSES.get(frozenset(foreign.loss_state), tables.default.loss)
    loss = "softmax" if "fc7_bias" in foreign.head else usual
    base = found.name if found.name in tables.network else tables.default.network
    config = merge(tables, base, dataset or tables.default.dataset, loss)
    if not dataset:  # a file of this project carries all settings of its training
        config = config.replaced(**known_settings(foreign.config))
    config = config.replaced(**{**found.options, "network": found.name})
    if foreign.head:
        config = config.replaced(num_classes=len(foreign.head["fc7_weight"]))
    return ConvertedModel(config, found.network, adaptation.arrays, foreign.head, adaptation.notes, foreign)
