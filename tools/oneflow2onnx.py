"""Export a snapshot's backbone to ONNX: ``python tools/oneflow2onnx.py --model_load_dir DIR --onnx_path FILE``.

The model takes ``data`` [N, 3, 112, 112] float32, RGB 0..255, any N, and gives the embedding ``fc1`` [N, E];
preprocessing is inside, opset 17. It is run with onnxruntime beside OneFlow, and kept only if both agree.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backbones import build_backbone, build_graph
from common.errors import UserError, run_command
from common.files import atomic_file
from engine.snapshot import Snapshot
from tools.model_convert.onnx_writer import write_onnx

TOLERANCE = 1e-4
CHECK_BATCHES = (1, 7)


def describe(snapshot: Snapshot) -> dict[str, str]:
    """Return the metadata that the model carries."""
    about = snapshot.about
    return {
        "network": about["config"]["network"],
        "loss": about["config"]["loss"],
        "dataset": about["config"]["dataset"],
        "step": str(about["step"]),
        "preprocessing": "inside the model: (x - {mean}) * {scale}".format(**about["preprocessing"]),
        "input": "RGB, 0..255",
        "source_sha256": about["files"]["backbone.safetensors"]["sha256"],
    }


def compare(model: bytes, snapshot: Snapshot) -> tuple[float, float]:
    """Return the largest difference to OneFlow, relative to the largest embedding value, and the smallest cosine."""
    import onnxruntime

    from ops import flow

    backbone = build_backbone(snapshot.about["config"]).eval()
    backbone.load_arrays(snapshot.backbone())
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    size = snapshot.about["input"]["height"]
    random = np.random.default_rng(0)
    difference, cosine = 0.0, 1.0
    for batch in CHECK_BATCHES:
        images = random.integers(0, 256, (batch, 3, size, size)).astype(np.float32)
        with flow.no_grad():
            ours = backbone(flow.tensor(images)).numpy()
        (theirs,) = session.run(["fc1"], {"data": images})
        difference = max(difference, float(np.abs(ours - theirs).max() / np.abs(ours).max()))
        norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        cosine = min(cosine, float((np.sum(ours * theirs, axis=1) / norms).min()))
    return difference, cosine


def main() -> None:
    """Parse the command line, export, compare, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_load_dir", required=True, help="the snapshot")
    parser.add_argument("--onnx_path", required=True, help="the file to write")
    args = parser.parse_args()

    snapshot = Snapshot.open(args.model_load_dir)
    graph = build_graph(snapshot.about["config"])
    model = write_onnx(graph, snapshot.backbone(), describe(snapshot)).SerializeToString()
    difference, cosine = compare(model, snapshot)
    print(f"largest relative difference {difference:.2e}, smallest cosine {cosine:.7f} (OneFlow and onnxruntime)")
    if not difference <= TOLERANCE:
        raise UserError(f"{args.onnx_path} is not written: it would differ from OneFlow by more than {TOLERANCE:g}")
    with atomic_file(args.onnx_path) as file:
        file.write(model)
    print(
        f"{args.onnx_path}: {len(model) / 1e6:.1f} MB, input data [N, 3, S, S], output fc1 [N, {graph.embedding_size}]"
    )


if __name__ == "__main__":
    run_command(main)
