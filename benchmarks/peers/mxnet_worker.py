"""MXNet on the CPU with its own operators and Module, as in InsightFace's train.py; float32."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np

from benchmarks.peers.protocol import Contestant, serve

Symbol = mx.sym.Symbol


def _conv(name: str, attrs: dict[str, Any], x: Symbol) -> Symbol:
    return mx.sym.Convolution(
        x,
        num_filter=attrs["filters"],
        kernel=(attrs["kernel"],) * 2,
        stride=(attrs["stride"],) * 2,
        pad=(attrs["pad"],) * 2,
        num_group=attrs["groups"],
        no_bias=not attrs["bias"],
        name=name,
    )


def _batch_norm(name: str, attrs: dict[str, Any], x: Symbol) -> Symbol:
    return mx.sym.BatchNorm(x, eps=attrs["eps"], momentum=attrs["momentum"], fix_gamma=attrs["fix_gamma"], name=name)


# From a node's name, constants and inputs to a symbol.
OPERATORS: dict[str, Callable[..., Symbol]] = {
    "input": lambda name, attrs: mx.sym.Variable(name),
    "scale_shift": lambda name, attrs, x: (x - attrs["mean"]) * attrs["scale"],
    "conv": _conv,
    "batch_norm": _batch_norm,
    "prelu": lambda name, attrs, x: mx.sym.LeakyReLU(x, act_type="prelu", name=name),
    "activation": lambda name, attrs, x: mx.sym.Activation(x, act_type=attrs["kind"], name=name),
    "add": lambda name, attrs, a, b: a + b,
    "flatten": lambda name, attrs, x: mx.sym.Flatten(x, name=name),
    "fully_connected": lambda name, attrs, x: mx.sym.FullyConnected(x, num_hidden=attrs["units"], name=name),
}


def build_symbol(description: dict[str, Any]) -> Symbol:
    """Return the embedding of a described network (see ``benchmarks.network.describe_network``)."""
    values: dict[str, Symbol] = {}
    for node in description["nodes"]:
        inputs = (values[x] for x in node["inputs"])
        values[node["name"]] = OPERATORS[node["op"]](node["name"], node["attrs"], *inputs)
    return values[description["output"]]


class MXNetContestant(Contestant):
    """A bound module and one batch in MXNet's memory."""

    def __init__(self, job: dict[str, Any]) -> None:
        description = json.loads(Path(job["graph"]).read_text())
        with np.load(job["batch"]) as batch:
            images, targets = mx.nd.array(batch["images"]), mx.nd.array(batch["targets"])
        symbol = build_symbol(description)
        training = job["pass"] == "train"
        names = ["target"] if training else []
        if training:
            difference = symbol - mx.sym.Variable("target")
            symbol = mx.sym.MakeLoss(mx.sym.sum(mx.sym.square(difference)) / len(images))
        self.module = mx.mod.Module(symbol, ["data"], names, context=mx.cpu())
        labels = [("target", targets.shape)] if training else None
        self.module.bind([("data", images.shape)], labels, for_training=training)
        with np.load(job["arrays"]) as arrays:
            values = {name: mx.nd.array(arrays[name]) for name in arrays.files}
        auxiliary = {name for name, spec in description["parameters"].items() if spec["auxiliary"]}
        self.module.set_params(
            {name: value for name, value in values.items() if name not in auxiliary},
            {name: value for name, value in values.items() if name in auxiliary},
        )
        self.batch = mx.io.DataBatch([images], [targets] if training else None)
        self.label = f"MXNet {mx.__version__}"


class Forward(MXNetContestant):
    """Embeddings in inference mode."""

    def step(self) -> list[float]:
        """Return the embeddings."""
        self.module.forward(self.batch, is_train=False)
        return self.module.get_outputs()[0].asnumpy().ravel().tolist()


class Train(MXNetContestant):
    """Forward, backward and MXNet's SGD, whose weight decay excludes biases and betas by name."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(job)
        settings = {"learning_rate": job["lr"], "momentum": job["momentum"], "wd": job["weight_decay"]}
        self.module.init_optimizer(None, "sgd", {**settings, "rescale_grad": 1.0})

    def step(self) -> list[float]:
        """Return the loss."""
        self.module.forward_backward(self.batch)
        self.module.update()
        loss = self.module.get_outputs()[0].asscalar()
        mx.nd.waitall()
        return [float(loss)]


PASSES = {"forward": Forward, "train": Train}

if __name__ == "__main__":
    serve(lambda job: PASSES[job["pass"]](job))
