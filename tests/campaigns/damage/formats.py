"""Every format that the project reads: how a small valid set is written, which files are damaged, how it is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx

import sample_config
from backbones import build_network
from backbones.graph.initializer import initial_arrays
from backbones.graph.network_graph import NetworkGraph
from data.editing.drop_list import Dropped, read_drop_list, write_drop_list
from data.editing.same_people import SamePerson, read_same_people, write_same_people
from data.ijb.meta import find_meta, read_images, read_pairs, read_people
from data.image_lists.images import list_images
from data.listing.open import open_listing
from data.megaface.features import feature_path, read_feature, write_feature
from data.megaface.lists import read_image_list, read_noises
from data.pairs.lists import read_pairs as read_pair_lists
from data.sources.training_set import open_training_set
from data.verification.bin_file import write_bin
from data.verification.verification_set import load_verification_set
from engine.log import RunLog
from evaluation.embedding_store import describe, read_store, write_store
from evaluation.groups.group_file import read_groups
from evaluation.partial_embeddings import PartialEmbeddings, Piece
from evaluation.report_threshold import read_threshold
from interchange.mxnet.checkpoint import write_checkpoint
from interchange.onnx.writer import write_onnx
from interchange.open_model import open_model, read_foreign
from interchange.pytorch.state import read_state, write_torch
from settings.legacy.arcface_torch import translate_config
from snapshots.label_map import read_label_map
from snapshots.layout import HeadShard, snapshot_path
from snapshots.reader import Snapshot
from snapshots.safetensors_file import save_file
from snapshots.writer import Contents, SnapshotWriter
from tests.support import ijb_reference, torch_files
from tests.support.conversion import write_variables
from tests.support.few_layers import few_layers
from tests.support.record_sets import small_faces, write_part, write_records

_PEOPLE, _IMAGES, _SIZE = 4, 3, 24


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        write: writes a valid set into an empty folder.
        read: reads the set in the folder, all of it.
        files: patterns of the files to damage.
        every: it is damaged in every so many rounds over all formats; more than 1 where reading takes a second.
    """

    write: Callable[[Path], object]
    read: Callable[[Path], object]
    files: tuple[str, ...] = ("**/*",)
    every: int = 1


def _read_training_set(folder: Path) -> None:
    source = open_training_set(folder, image_size=_SIZE)
    numbers = np.arange(len(source))
    source.labels(numbers)
    for place in source.locate(numbers):
        source.fetch(place[None], [np.empty((_SIZE, _SIZE, 3), np.uint8)])


def _read_listing(folder: Path) -> None:
    listing = open_listing(folder)
    for found in listing.read(np.arange(len(listing))):
        _ = found
    list_images(folder)


def _write_recordio(folder: Path) -> None:
    write_records(folder, small_faces(_PEOPLE, _IMAGES, _SIZE), f"{_PEOPLE},{_SIZE},{_SIZE}")


def _write_ofrecord(folder: Path) -> None:
    write_part(folder, small_faces(_PEOPLE, _IMAGES, _SIZE))
    (folder / "dataset.json").write_text(json.dumps({"num_classes": _PEOPLE, "num_images": _PEOPLE * _IMAGES}))


def _write_bin(folder: Path) -> None:
    faces = [encoded for encoded, _ in small_faces(4, 2, _SIZE)]
    write_bin(folder / "lfw.bin", faces, [True, False, True, False])


def _write_snapshot(folder: Path) -> None:
    graph, rows = few_layers(), 7
    arrays = initial_arrays(graph, 1)
    shard = HeadShard(0, 1, 0, rows, {"fc7_weight": np.ones((rows, 3), np.float32)})
    about = {"step": 3, "position": 24, "highest_accuracy": 0.0, "config": {"network": "tiny"}}
    about["fc7"] = {"num_classes": rows, "emb_size": 3, "shards": [{"file": shard.file, "rows": [0, rows]}]}
    writer = SnapshotWriter()
    writer.start(snapshot_path(folder, 3), Contents(about, arrays, {"momentum": arrays}), shard, background=False)


def _read_snapshot(folder: Path) -> None:
    snapshot = Snapshot.open(snapshot_path(folder, 3))
    snapshot.backbone()
    snapshot.moments()
    snapshot.data()
    if snapshot.has_classes:
        snapshot.head_rows(0, 7)


def _write_photos(folder: Path) -> None:
    for number, (encoded, label) in enumerate(small_faces(2, 2, _SIZE)):
        (folder / str(label)).mkdir(exist_ok=True)
        (folder / str(label) / f"{number}.jpg").write_bytes(encoded)
        picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
        cv2.imwrite(str(folder / str(label) / f"{number}.png"), picture)


def _write_pairs(folder: Path) -> None:
    encoded, _ = small_faces(1, 1, _SIZE)[0]
    for person, number in (("Ann", 1), ("Ann", 2), ("Ben", 1)):
        (folder / person).mkdir(exist_ok=True)
        (folder / person / f"{person}_{number:04d}.jpg").write_bytes(encoded)
    (folder / "pairs.txt").write_text("1 1\nAnn\t1\t2\nAnn\t1\tBen\t1\n")


def _write_report(folder: Path) -> None:
    threshold = {"mirrored": True, "cosine": 0.3, "far_target": 1e-3, "cosine_interval": [0.2, 0.4]}
    chosen = {"thresholds": [threshold], "threshold": 1.2, "pairs": 6000}
    (folder / "report.json").write_text(json.dumps({"sets": {"lfw": chosen}, "about": {"checksum": "0"}}))


def _write_store(folder: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    about = describe({"model": "m", "model_sha256": "0", "emb_size": 4}, {"source": "s"}, {}, False, "float32")
    write_store(folder / "faces.npz", [rows], np.ones(6), "abcdef", about, np.arange(6), np.ones(3, bool))


def _write_ijb(folder: Path) -> None:
    ijb_reference.make_set(2, 6).write(folder)


def _read_ijb(folder: Path) -> None:
    files = find_meta(folder)
    images = read_images(files)
    read_pairs(files, images)
    for path in (*files.galleries.values(), files.probes):
        read_people(path, images)


def _write_editing(folder: Path) -> None:
    _write_recordio(folder)
    write_drop_list(folder / "drop.csv", open_listing(folder), [Dropped(1, 0, 80.0), Dropped(4, 1, 75.5)])
    write_same_people(folder / "same.csv", [SamePerson(1, 1, "Ann", 2, 2, "Ben", 0.9)])


def _read_editing(folder: Path) -> None:
    listing = open_listing(folder)
    read_drop_list(folder / "drop.csv", listing, np.repeat(np.arange(_PEOPLE), _IMAGES))
    read_same_people(folder / "same.csv", [_PEOPLE, _PEOPLE])


def _write_lists(folder: Path) -> None:
    texts = {
        "groups.txt": "0 first\n1 second # remark\n",
        "map.txt": "# old new\n0 1\n1 0\n",
        "faces.lst": "P_1/P_1_1.png\nP_2/P_2_1.png\n",
        "noises.txt": "# noisy\nP_2_1.png\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    np.save(folder / "map.npy", np.array([[0, 1], [1, 0]], np.int32))


def _read_lists(folder: Path) -> None:
    readers: dict[str, Callable[[Path], object]] = {
        "groups.txt": read_groups,
        "map.txt": read_label_map,
        "map.npy": read_label_map,
        "faces.lst": lambda path: read_image_list(path, 2, "--list"),
        "noises.txt": lambda path: read_noises(path, 1, "--noises"),
    }
    for name, read in readers.items():
        read(folder / name)


def _write_torch(folder: Path, legacy: bool = False) -> None:
    torch_files.save(folder / "model.pth", initial_arrays(few_layers(), 1), legacy)


def _mobilefacenet() -> NetworkGraph:
    """A network that is known, for files that are read by the names of its arrays."""
    return build_network({**sample_config.config, **sample_config.network.y1, "emb_size": 8, "image_size": 112})


def _write_torch_network(folder: Path) -> None:
    write_torch(folder / "model.pth", _mobilefacenet(), initial_arrays(_mobilefacenet(), 1))


def _write_torch_config(folder: Path) -> None:
    lines = ["from easydict import EasyDict as edict", "config = edict()", "config.margin_list = (1.0, 0.5, 0.0)"]
    lines += ["config.network = 'r50'", "config.sample_rate = 0.1", "config.batch_size = 128", "config.lr = 0.1"]
    lines += ["config.rec = '/train_tmp/ms1mv3'", "config.num_epoch = 20", "config.val_targets = ['lfw', 'cfp_fp']"]
    (folder / "ms1mv3.py").write_text("\n".join(lines) + "\n")


def _write_features(folder: Path) -> None:
    path = feature_path(folder, "a/b.png", "r50")
    path.parent.mkdir(parents=True)
    write_feature(path, np.arange(16, dtype=np.float32))


def _write_log(folder: Path) -> None:
    _write_steps(RunLog(folder, True, 0))
    for path in folder.glob("events*"):
        path.unlink()


def _write_steps(log: RunLog) -> None:
    for step in range(1, 6):
        log.record(step, "train", {"loss": 1.5 / step, "lr": 0.1})
    log.write("a line")
    log.close()


def _read_log(folder: Path) -> None:
    _write_steps(RunLog(folder, True, 3))  # as a resumed run


_ABOUT = {"model": "m", "mirrored": False}


def _write_pieces(folder: Path) -> None:
    partial, rows = PartialEmbeddings(folder / "a.npz", _ABOUT), np.ones((3, 4), np.float32)
    partial.add(Piece(0, 3, np.arange(3), rows, rows[:, 0]))
    partial.add(Piece(3, 6, np.arange(3, 5), rows[:2], rows[:2, 0], [(5, "damaged", "details")]))


def _read_pieces(folder: Path) -> None:
    partial = PartialEmbeddings(folder / "a.npz", _ABOUT)
    list(partial.missing(9, 2))
    partial.drop_rejected()


def _model(name: str) -> Callable[[Path], object]:
    return lambda folder: open_model(str(folder / name))


FORMATS = {
    "recordio for training": Format(_write_recordio, _read_training_set),
    "recordio listed": Format(_write_recordio, _read_listing),
    "OFRecord for training": Format(_write_ofrecord, _read_training_set),
    "OFRecord listed": Format(_write_ofrecord, _read_listing),
    "verification .bin": Format(_write_bin, lambda folder: load_verification_set(folder, "lfw", _SIZE)),
    "photos in folders": Format(_write_photos, _read_listing),
    "snapshot": Format(_write_snapshot, _read_snapshot),
    "MXNet checkpoint": Format(
        lambda folder: write_checkpoint(folder / "model", 0, few_layers(), initial_arrays(few_layers(), 1)),
        lambda folder: read_foreign(f"{folder / 'model'},0"),
    ),
    "ONNX": Format(
        lambda folder: onnx.save(write_onnx(few_layers(), initial_arrays(few_layers(), 1), {}), folder / "model.onnx"),
        lambda folder: read_foreign(str(folder / "model.onnx")),
    ),
    "safetensors": Format(
        lambda folder: save_file(initial_arrays(few_layers(), 1), folder / "model.safetensors"),
        lambda folder: read_state(folder / "model.safetensors"),
    ),
    "PyTorch archive": Format(_write_torch, lambda folder: read_state(folder / "model.pth")),
    "PyTorch before 1.6": Format(
        lambda folder: _write_torch(folder, legacy=True), lambda folder: read_state(folder / "model.pth")
    ),
    "PyTorch network": Format(_write_torch_network, _model("model.pth")),
    "folder of the older port": Format(
        lambda folder: write_variables(folder / "model", _mobilefacenet(), initial_arrays(_mobilefacenet(), 1)),
        _model("model"),
        every=6,
    ),
    "embeddings": Format(_write_store, lambda folder: read_store(folder / "faces.npz")),
    "MegaFace features": Format(_write_features, lambda folder: read_feature(feature_path(folder, "a/b.png", "r50"))),
    "IJB meta files": Format(_write_ijb, _read_ijb),
    "pairs.txt": Format(_write_pairs, lambda folder: read_pair_lists(folder / "pairs.txt", folder), ("pairs.txt",)),
    "drop and same_people lists": Format(_write_editing, _read_editing, ("*.csv",)),
    "text lists and label maps": Format(_write_lists, _read_lists),
    "embeddings on their way": Format(_write_pieces, _read_pieces),
    "logs on resume": Format(_write_log, _read_log, ("metrics.jsonl",)),
    "report.json": Format(_write_report, lambda folder: read_threshold(folder, mirrored=True)),
    "config of arcface_torch": Format(_write_torch_config, lambda folder: translate_config(folder / "ms1mv3.py")),
}
