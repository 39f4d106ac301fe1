"""Evaluate the protocols of a run with its network, over all ranks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from common.workers import available_cpus
from engine.protocols.base import Outcome
from engine.protocols.check import open_protocols
from engine.protocols.faces import SharedFaces
from engine.protocols.groups import GroupProtocol
from engine.score_kernel import open_score_kernel
from engine.shared_search import SharedScoreKernel
from engine.verify import Verifier
from evaluation.verification import VerificationResult
from launch.rank import RankReporter
from launch.world import World
from settings.protocols import GROUPS, read_protocols


class ProtocolRunner:
    """Embeds the images of the protocols and evaluates, on all ranks.

    Attributes:
        images: the number of images that are embedded.
    """

    def __init__(self, config: Mapping[str, Any], verifier: Verifier, world: World, reporter: RankReporter) -> None:
        """Load the images into memory, each rank its part. A collective call.

        Args:
            config: the settings; ``val_protocols`` names the protocols.
            verifier: verifies the same network; its embedder is used, and its sets by groups.
            world: the ranks.
            reporter: told that this rank is alive.

        Raises:
            UserError: files are missing or damaged.
        """
        self._reporter = reporter
        self._far_targets = config["far_targets"]
        self._verifier = verifier
        pairs = {each.name: len(each.issame) for each in verifier.sets}
        self._groups = [GroupProtocol(each, pairs) for each in read_protocols(config) if each.kind == GROUPS]
        self._protocols = [
            (each, [SharedFaces(each.named, images, verifier.embedder, world) for images in each.lists])
            for each in open_protocols(config)
        ]
        for each, lists in self._protocols:
            each.check([shared.faces for shared in lists])
        self.images = sum(len(images.places) for each, _ in self._protocols for images in each.lists)
        threads = max(1, available_cpus() // world.local_size)
        self._kernel = SharedScoreKernel(world, open_score_kernel(threads)) if self._protocols else None

    def run(self, results: Sequence[VerificationResult]) -> list[Outcome]:
        """Return the outcome of each protocol, the same on every rank, with the ``seconds`` it took. A collective call.

        Args:
            results: what the verifier has just found.

        Raises:
            UserError: an embedding is not finite.
        """
        outcomes = []
        for each, lists in self._protocols:
            start = time.perf_counter()
            faces = [shared.embed(self._reporter.heartbeat) for shared in lists]
            outcome = each.evaluate(faces, self._kernel)
            outcome.numbers["seconds"] = time.perf_counter() - start
            outcomes.append(outcome)
            self._reporter.heartbeat()
        labels, rows = [each.issame for each in self._verifier.sets], self._verifier.rows
        return [*outcomes, *(each.evaluate(results, labels, rows, self._far_targets) for each in self._groups)]
