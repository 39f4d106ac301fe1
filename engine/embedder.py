"""A trained backbone as a function from images to embeddings, on one process or over all ranks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from backbones.execution.backbone import Backbone
from common.errors import require
from interchange.image_input import InputFlags
from interchange.open_model import TrainedModel, open_model
from launch.world import World, join_world
from ops import flow
from ops.runtime.graph import Graph

_GROWTH = 4  # from one size of padded batches to the next


class EmbedGraph(Graph):
    """Images uint8 split(0) to embeddings [B, E] float32 broadcast, in inference mode, node by node."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def build(self, images: flow.Tensor) -> flow.Tensor:
        """Return the embeddings on every rank."""
        return self.backbone(images).to_global(sbp=flow.sbp.broadcast)


class Embedder:
    """A function from RGB images, uint8 [N, 3, S, S], to embeddings, float32 [N, E].

    In a plain script, with a model of any format::

        embed = Embedder.open("demo/y1.onnx")
        embeddings = embed(images)  # images uint8 [N, 3, 112, 112]

    With several ranks every rank calls it with the same images and embeds its part of each batch. Batches are padded:
    on the CPU a rank embeds 1, 4, 16, ... images or its whole part, as each size takes some preparation and memory.

    Attributes:
        batch_size: images per call, over all ranks.
    """

    def __init__(self, backbone: Backbone, world: World, batch_size: int, is_constant: bool = False) -> None:
        """Embed with ``backbone``, whose tensors must be global, and never change if it ``is_constant``.

        ``batch_size`` counts the images of all ranks together; it is rounded up to a multiple of their number.
        """
        self._backbone = backbone
        self._world = world
        self._per_rank = -(-batch_size // world.size)
        self.batch_size = self._per_rank * world.size
        self._is_constant = is_constant
        self._graph: EmbedGraph | None = None

    @property
    def image_size(self) -> int:
        """Height and width of the images that the network takes."""
        network = self._backbone.network
        return network.shapes[network.nodes[0].name][1]

    @classmethod
    def open(cls, path: str, batch_size: int = 64, device: str = "cpu", flags: InputFlags | None = None) -> Embedder:
        """Open a trained model.

        Args:
            path: a snapshot's folder, FILE.onnx, PREFIX,EPOCH of an MXNet checkpoint, or a PyTorch FILE.pth.
            batch_size: images that are computed at once.
            device: ``cpu`` or ``cuda``.
            flags: how a model of another program takes its images, as far as its file does not say.

        Raises:
            UserError: the model cannot be read.
        """
        return cls.of(open_model(path, flags), batch_size, device)

    @classmethod
    def of(cls, model: TrainedModel, batch_size: int = 64, device: str = "cpu") -> Embedder:
        """Embed with a model that is open already."""
        world = join_world(device)
        backbone = Backbone(model.network, model.arrays).to_global(world.placement, flow.sbp.broadcast)
        return cls(backbone, world, batch_size, is_constant=True)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Embed any number of images. A collective call.

        Raises:
            UserError: the images are not uint8 [N, 3, S, S] of the network's size.
        """
        network = self._backbone.network
        shape = network.shapes[network.nodes[0].name]
        sizes = ", ".join(map(str, shape))
        require(
            isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.shape[1:] == shape,
            f"{_describe(images)} cannot be embedded; the network takes an array of uint8 [N, {sizes}]",
        )
        if not len(images):
            return np.zeros((0, network.embedding_size), np.float32)
        batches = range(0, len(images), self.batch_size)
        return np.concatenate([self._embed_batch(images[first : first + self.batch_size]) for first in batches])

    @cached_property
    def _direct(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """What embeds this rank's images without OneFlow; None where that is not available."""
        return self._backbone.direct_inference(self._is_constant)

    def _embed_batch(self, images: np.ndarray) -> np.ndarray:
        """Embed 1 to ``batch_size`` images."""
        count = len(images)
        part = self._padded(-(-count // self._world.size))
        if count < part * self._world.size:
            padding = np.zeros((part * self._world.size - count, *images.shape[1:]), images.dtype)
            images = np.concatenate([images, padding])
        return self.embed_parts(images[self._world.rank * part : (self._world.rank + 1) * part])[:count]

    def _padded(self, count: int) -> int:
        """Return how many images a rank embeds instead of ``count``."""
        if self._direct is None:
            return self._per_rank
        size = 1
        while size < count:
            size *= _GROWTH
        return min(size, self._per_rank)

    def embed_parts(self, mine: np.ndarray) -> np.ndarray:
        """Return the embeddings of all ranks' images, ``mine`` being this rank's equal part. A collective call."""
        if self._direct is not None:
            return self._world.gather(self._direct(mine))
        training = self._backbone.training
        self._backbone.eval()
        self._graph = self._graph or EmbedGraph(self._backbone)
        with flow.no_grad():
            images = self._world.split(np.ascontiguousarray(mine))
            embeddings = self._backbone.run_graph(self._graph, images).to_local().numpy().copy()
        self._backbone.train(training)
        return embeddings


def _describe(images: object) -> str:
    """Return type and shape of what is not an array of images."""
    return f"{images.dtype} {list(images.shape)}" if isinstance(images, np.ndarray) else f"a {type(images).__name__}"
