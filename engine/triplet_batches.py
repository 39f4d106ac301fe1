"""Batches of triplets, chosen bag by bag by the network that is being trained."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from typing_extensions import override

from common.errors import UserError
from data.loading.augment import unchanged
from data.loading.batch_reader import BatchReader
from data.loading.batches import Batch, Batches
from data.loading.options import DataOptions
from data.loading.triplets import TripletBags, select_triplets
from data.sources.bad_images import bad_images_error
from data.sources.base import ImageSource
from engine.embedder import Embedder
from engine.log import RunLog
from engine.news import PeerFailedError
from engine.schedule import Progress
from engine.step import TrainStep
from launch.rank import RankReporter

_MIN_BATCHES = 2  # per choice, as in triplet_image_iter.py: more bags are taken until the triplets fill them
_FRUITLESS_BAGS = 10
_GOOD, _BAD, _FAILED = range(3)  # of an image of a bag


class TripletBatches(Batches):
    """Batches of triplets (anchor, positive, negative), one after the other.

    All ranks share one bag: each embeds its part, the first rank chooses the triplets for all, and a step takes the
    next ones, of which rank r of R gets the r-th of R equal parts. So the number of ranks changes the training only by
    rounding. Every call is collective.

    The iterator ends when the network leaves so few triplets that a whole round of bags (or 10, if that is more) does
    not fill a batch. ``wait_seconds`` includes choosing the triplets. Bad images are left out of their bags.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        source: ImageSource,
        train_step: TrainStep,
        start: Progress,
        log: RunLog,
        reporter: RankReporter,
    ) -> None:
        """Choose by the live network.

        Args:
            config: settings of the run.
            source: where the images come from.
            train_step: holds the network, whose tensors are global.
            start: the run's progress, with the data that ``read_state`` returned there.
            log: gets a line for each bag.
            reporter: gets a heartbeat after each batch that is embedded.

        Raises:
            UserError: no bag can be filled; from ``next``, images cannot be read or a worker was killed.
            PeerFailedError: from ``next``, another rank met such an error in a bag.
        """
        options = DataOptions.from_config(config)
        self._source = source
        self._world, self._backbone = train_step.world, train_step.backbone
        self._augmentation, self._seed = options.augmentation, options.seed
        self._alpha, self._max_ap = config["triplet_alpha"], config["triplet_max_ap"]
        self._size = options.global_batch_size
        self._own = self._size // self._world.size
        self._step, self._position = start.step, start.position
        self._log, self._reporter = log, reporter
        self._bags = TripletBags.from_config(config, source)
        self._embed = Embedder(self._backbone, self._world, self._size)
        state = start.data or {"next_bag": np.zeros(1, np.int64), "triplets": np.zeros((0, 3), np.int64)}
        self._next_bag = int(state["next_bag"][0])
        self._unused = state["triplets"]  # image numbers of the triplets not yet used
        self._requested: deque[Batch] = deque()
        super().__init__(BatchReader(source, options.augmentation, self._own, options.num_workers))

    @override
    def _next_batch(self) -> Batch:
        if 3 * len(self._unused) < self._size:
            self._unused = self._choose()
            if 3 * len(self._unused) < self._size:
                raise StopIteration
        self._request()
        batch = self._requested.popleft()
        bad = self._reader.collect()
        if bad:  # good when its bag was embedded
            raise bad_images_error([rejection for _, rejection in bad])
        self._step, self._position = self._step + 1, self._position + self._size
        self._unused = self._unused[self._size // 3 :]
        return batch

    @override
    def read_state(self) -> dict[str, np.ndarray]:
        """Return what a resumed run needs besides the weights: the next bag's number, and the triplets not yet used."""
        return {"next_bag": np.array([self._next_bag], np.int64), "triplets": np.ascontiguousarray(self._unused)}

    def _choose(self) -> np.ndarray:
        """Return the triplets of the next bags, image numbers int64 [T, 3]. A collective call."""
        self._backbone.average_statistics(self._world.average)
        found: list[np.ndarray] = []
        wanted, bags = _MIN_BATCHES * self._size // 3, max(_FRUITLESS_BAGS, self._bags.per_round)
        while sum(map(len, found)) < wanted and len(found) < bags:
            number, images = self._next_bag, self._bags.images(self._next_bag)
            self._next_bag += 1
            embeddings, good = self._embed_bag(images)
            images, embeddings, rows = images[good], embeddings[good], np.zeros((0, 3), np.int64)
            if self._world.rank == 0:  # on another kind of processor, rounding might select other triplets
                labels, draws = self._source.labels(images), self._bags.generator(number)
                rows = select_triplets(embeddings, labels, self._alpha, self._max_ap, draws)
            rows = self._world.share(rows)
            found.append(images[rows])
            self._log.say(f"bag {number}: eval {len(images)} images..  found triplets {len(rows)}")
        return np.concatenate(found)

    def _embed_bag(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the embeddings of ``images``, float32 [N, E], and which are good, bool [N], on every rank. Collective.

        A rank that fails embeds to the end of the bag, so that the others do not wait for it.
        """
        filled = np.resize(images, -(-len(images) // self._size) * self._size)
        own = filled.reshape(-1, self._world.size, self._own)[:, self._world.rank]
        embeddings, waiting, rest = [], deque(), iter(own)
        states, failure = np.full(own.shape, _GOOD, np.uint8), None
        for i in range(len(own)):
            while self._reader.free_slots > 0 and (part := next(rest, None)) is not None:
                waiting.append(self._reader.request(self._source.locate(part), unchanged(len(part))))
            first = (i * self._world.size + self._world.rank) * self._own  # images from len(images) on are repeated
            error = self._collect_part(states[i], len(images) - first)
            failure = failure or error
            embeddings.append(self._embed.embed_parts(waiting.popleft()))
            self._reporter.heartbeat()
        states = self._world.gather(states).reshape(self._world.size, *own.shape)
        if (states == _FAILED).any():
            raise failure or PeerFailedError
        states = states.swapaxes(0, 1).reshape(-1)
        return np.concatenate(embeddings)[: len(images)], states[: len(images)] == _GOOD

    def _collect_part(self, states: np.ndarray, count: int) -> Exception | None:
        """Wait for a part of a bag and note the state of each image; return the error if it must end the training.

        Bad images among the first ``count`` are listed.
        """
        try:
            bad = self._reader.collect()
        except (UserError, RuntimeError) as error:
            states[:] = _FAILED
            return error
        for place, rejection in bad:
            states[place] = _BAD
            self._rejected += [rejection] if place < count else []
        return None

    def _request(self) -> None:
        """Request the images of as many of the next batches as there is room for."""
        while self._reader.free_slots > 0:
            ahead = len(self._requested)
            triplets = self._unused.reshape(-1)[ahead * self._size : (ahead + 1) * self._size]
            if len(triplets) < self._size:
                return
            first = self._world.rank * self._own
            images = triplets[first : first + self._own]
            step, position = self._step + ahead, self._position + ahead * self._size
            draws = self._augmentation.draw(self._seed, step, images)
            memory = self._reader.request(self._source.locate(images), draws)
            epoch = position // len(self._source)
            labels = self._source.labels(images)
            self._requested.append(Batch(step, epoch, position + first, memory, labels, images))
