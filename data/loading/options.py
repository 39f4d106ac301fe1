"""The settings of the training batches, of a loader and of any other iterator of batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data.loading.augment import Augmentation
from data.sources.bad_images import SKIP, STOP


@dataclass(frozen=True)
class DataOptions:
    """How training batches are made from a source.

    Attributes:
        global_batch_size: images per step over all ranks.
        num_workers: worker processes on each rank; 0 decodes in the rank's process, with the same result bit for bit.
        seed: decides the image order and the augmentation.
        augmentation: random changes of the images.
        bad_images: "stop" raises an error at a bad image, "skip" takes another image in its place and keeps a list. A
            training always skips here: where it is to stop, it does so after the step, when all ranks know of it.
        sampler: "instance": each image once an epoch; "pk": images of a person one after the other; or a name in
            ``data.loading.balanced.POWERS``.
        images_per_identity: with "pk": how many.
    """

    global_batch_size: int
    num_workers: int = 0
    seed: int = 0
    augmentation: Augmentation = Augmentation()  # frozen, so one default may be shared
    bad_images: str = STOP
    sampler: str = "instance"
    images_per_identity: int = 2

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> DataOptions:
        """Return the options that the run's settings ask for."""
        return cls(
            config["train_batch_size"],
            config["num_workers"],
            config["seed"],
            Augmentation.from_config(config),
            SKIP,
            config.get("sampler", "instance"),
            config.get("images_per_identity", 2),
        )
