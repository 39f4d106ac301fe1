"""Batches of triplets, chosen bag by bag by the network that they are to train."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from backbones.execution.backbone import Backbone
from data.augment import Augmentation, unchanged
from data.batch_reader import BatchReader
from data.batches import Batch, Batches
from data.source import ImageSource
from data.triplets import TripletBags, select_triplets
from engine.saving import average_statistics
from engine.train_graph import Embedder
from launch.world import World

_BATCHES_AT_LEAST = 2  # from one choice, as in triplet_image_iter.py: bags are added until there are as many
_FRUITLESS_BAGS = 10


class TripletBatches(Batches):
    """Batches with triplet after triplet.

    A bag is one for all ranks: each embeds its part, the first one chooses for all, a step takes the next triplets and
    rank r of R the r-th of R equal parts of them. So the ranks do not change what is trained on but for rounding. All
    ranks call everything together.

    It ends when the network leaves so few triplets that a whole round of bags (or 10, if that is more) does not fill a
    batch. ``wait_seconds`` includes the choosing.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        source: ImageSource,
        world: World,
        backbone: Backbone,
        augmentation: Augmentation,
        *,
        start_step: int = 0,
        start_position: int = 0,
        state: Mapping[str, np.ndarray] | None = None,
        say: Callable[[str], None] = lambda _: None,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the live network.

        Args:
            config: settings of the run.
            source: where the images come from.
            world: this rank's view of all ranks.
            backbone: global tensors already.
            augmentation: what is done to the images that are trained on, drawn anew for each step. Bags get none.
            start_step: number of the first batch.
            start_position: images that the run has taken before it.
            state: of ``read_state``, to go on with.
            say: takes lines for the log.
            beat: takes signs of life.

        Raises:
            UserError: no bag can be filled; from ``next``, a bad record or a worker that was killed.
        """
        self._source = source
        self._world = world
        self._backbone = backbone
        self._augmentation = augmentation
        self._seed = config["seed"]
        self._alpha, self._max_ap = config["triplet_alpha"], config["triplet_max_ap"]
        self._size = config["train_batch_size"]
        self._own = self._size // world.size
        self._step, self._position = start_step, start_position
        self._say, self._beat = say, beat
        self._bags = TripletBags.from_config(config, source)
        self._embed = Embedder(backbone, world, self._size)
        state = state or {"next_bag": np.zeros(1, np.int64), "triplets": np.zeros((0, 3), np.int64)}
        self._next_bag = int(state["next_bag"][0])
        self._left = state["triplets"]  # image numbers of the triplets that no batch has had yet
        self._asked: deque[Batch] = deque()
        super().__init__(BatchReader(source, augmentation, self._own, config["num_workers"]))

    def _next_batch(self) -> Batch:
        if 3 * len(self._left) < self._size:
            self._left = self._choose()
            if 3 * len(self._left) < self._size:
                raise StopIteration
        self._ask()
        batch = self._asked.popleft()
        self._reader.collect()
        self._step, self._position = self._step + 1, self._position + self._size
        self._left = self._left[self._size // 3 :]
        return batch

    def read_state(self) -> dict[str, np.ndarray]:
        """Return what a resumed run needs besides the weights: the bag to come, and the triplets still to be used."""
        return {"next_bag": np.array([self._next_bag], np.int64), "triplets": np.ascontiguousarray(self._left)}

    def _choose(self) -> np.ndarray:
        """Return the triplets of the next bags, image numbers int64 [T, 3]. A collective call."""
        average_statistics(self._backbone, self._world)
        found: list[np.ndarray] = []
        wanted, bags = _BATCHES_AT_LEAST * self._size // 3, max(_FRUITLESS_BAGS, self._bags.per_round)
        while sum(map(len, found)) < wanted and len(found) < bags:
            number, images = self._next_bag, self._bags.images(self._next_bag)
            self._next_bag += 1
            embeddings, rows = self._embed_bag(images), np.zeros((0, 3), np.int64)
            if self._world.rank == 0:  # on machines of another kind rounding might choose otherwise
                labels, draws = self._source.labels(images), self._bags.generator(number)
                rows = select_triplets(embeddings, labels, self._alpha, self._max_ap, draws)
            rows = self._world.share(rows)
            found.append(images[rows])
            self._say(f"bag {number}: eval {len(images)} images..  found triplets {len(rows)}")
        return np.concatenate(found)

    def _embed_bag(self, images: np.ndarray) -> np.ndarray:
        """Return the embeddings of ``images``, float32 [N, E], on every rank. A collective call."""
        filled = np.resize(images, -(-len(images) // self._size) * self._size)
        own = filled.reshape(-1, self._world.size, self._own)[:, self._world.rank]
        embeddings, waiting, rest = [], deque(), iter(own)
        for _ in own:
            while self._reader.free_slots > 0 and (part := next(rest, None)) is not None:
                waiting.append(self._reader.request(self._source.locate(part), unchanged(len(part))))
            self._reader.collect()
            embeddings.append(self._embed.embed_parts(waiting.popleft()))
            self._beat()
        return np.concatenate(embeddings)[: len(images)]

    def _ask(self) -> None:
        """Ask for the images of as many of the next batches as there is room for."""
        while self._reader.free_slots > 0:
            ahead = len(self._asked)
            triplets = self._left.reshape(-1)[ahead * self._size : (ahead + 1) * self._size]
            if len(triplets) < self._size:
                return
            first = self._world.rank * self._own
            images = triplets[first : first + self._own]
            step, position = self._step + ahead, self._position + ahead * self._size
            draws = self._augmentation.draw(self._seed, step, images)
            memory = self._reader.request(self._source.locate(images), draws)
            epoch = position // len(self._source)
            self._asked.append(Batch(step, epoch, position + first, memory, self._source.labels(images)))
