"""A trained backbone as a function from images to embeddings, on one process or over all ranks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backbones.execution.backbone import Backbone
from common.errors import require
from interchange.image_input import InputFlags
from interchange.open_model import TrainedModel, open_model
from launch.world import World, join_world
from ops import flow
from ops.runtime.graph import Graph


class EmbedGraph(Graph):
    """Images uint8 split(0) to embeddings [B, E] float32 broadcast, in inference mode.

    With ``in_place`` the network op finds the arrays in a table, and OneFlow has no operation for each to compile. A
    graph even for this one op: while an eager operation runs, OneFlow's scheduling thread keeps a core busy.
    """

    def __init__(self, backbone: Backbone, in_place: bool) -> None:
        super().__init__()
        if in_place:
            object.__setattr__(self, "backbone", backbone)  # past OneFlow, which would make variables of its arrays
        else:
            self.backbone = backbone

    def build(self, images: flow.Tensor, *memory: flow.Tensor) -> flow.Tensor:
        """Return the embeddings on every rank; ``memory`` is the table's reference, split(0), with ``in_place``."""
        return self.backbone.forward(images, None, *memory).to_global(sbp=flow.sbp.broadcast)


class Embedder:
    """A function from RGB images, uint8 [N, 3, S, S], to embeddings, float32 [N, E].

    In a plain script, with a model of any format::

        embed = Embedder.open("demo/y1.onnx")
        embeddings = embed(images)  # images uint8 [N, 3, 112, 112]

    With several ranks every rank calls it with the same images and embeds its part of each batch. Batches are padded to
    one static shape, a multiple of the number of ranks.

    Attributes:
        batch_size: images per call, over all ranks.
    """

    def __init__(self, backbone: Backbone, world: World, batch_size: int) -> None:
        """Embed with ``backbone``, whose tensors must be global.

        ``batch_size`` counts the images of all ranks together; it is rounded up to a multiple of their number.
        """
        self._backbone = backbone
        self._world = world
        self._per_rank = -(-batch_size // world.size)
        self.batch_size = self._per_rank * world.size
        self._run: Callable[[np.ndarray], np.ndarray] | None = None

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
        return cls(backbone, world, batch_size)

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

    def _embed_batch(self, images: np.ndarray) -> np.ndarray:
        """Embed 1 to ``batch_size`` images."""
        count = len(images)
        if count < self.batch_size:
            images = np.concatenate([images, np.zeros((self.batch_size - count, *images.shape[1:]), images.dtype)])
        mine = images[self._world.rank * self._per_rank : (self._world.rank + 1) * self._per_rank]
        return self.embed_parts(np.ascontiguousarray(mine))[:count].copy()

    def embed_parts(self, mine: np.ndarray) -> np.ndarray:
        """Return the embeddings of all ranks' images, ``mine`` being this rank's equal part. A collective call."""
        training = self._backbone.training
        self._backbone.eval()
        if self._run is None:
            self._run = self._make_run()
        with flow.no_grad():
            embeddings = self._run(mine)
        self._backbone.train(training)
        return embeddings

    def _make_run(self) -> Callable[[np.ndarray], np.ndarray]:
        """Return what computes ``embed_parts``."""
        backbone, world = self._backbone, self._world
        table = backbone.refer()
        graph = EmbedGraph(backbone, in_place=table is not None)

        def run(images: np.ndarray) -> np.ndarray:
            memory = [] if table is None else [world.split(table.reference)]
            return backbone.run_graph(graph, world.split(images), *memory).to_local().numpy()

        return run


def _describe(images: object) -> str:
    """Return type and shape of what is not an array of images."""
    return f"{images.dtype} {list(images.shape)}" if isinstance(images, np.ndarray) else f"a {type(images).__name__}"
