"""Random changes of training images that depend only on (seed, epoch, image), not on ranks, workers or read order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.augmentations.color import ColorJitter, Photometric
from data.augmentations.crop import Crop
from data.augmentations.cutoff import Cutoff
from data.augmentations.exposure import Exposure
from data.augmentations.family import Family
from data.augmentations.geometry import Geometry
from data.augmentations.jpeg import Compression
from data.augmentations.low_resolution import LowResolution
from data.augmentations.warp import Warp

Change = Callable[[np.ndarray, Sequence[float]], np.ndarray]


def unchanged(count: int) -> np.ndarray:
    """Return empty draws, float32 [count, 0]: the images stay unchanged."""
    return np.zeros((count, 0), np.float32)


@dataclass(frozen=True)
class Augmentation:
    """Random changes of the training images, drawn for each image and epoch and applied in the order of the attributes.

    The changes of InsightFace (mirror, color, cutoff) and those of AdaFace (crop, low_res, photometric) keep the order
    of the original programs.

    Attributes:
        mirror: mirror left to right with probability one half.
        shift: move by up to this many pixels in each direction, edges repeated.
        zoom: enlarge or shrink about the centre by up to this share (0.1: 0.9 to 1.1 times).
        rotation: turn by up to this many degrees.
        stretch: widen or narrow against the height by up to this share.
        contrast: move pixels away from the image's mean, or towards it, by up to this share.
        brightness: make all pixels brighter or darker by up to this share of the image's mean.
        crop: probability of blackening all but a rectangle.
        low_res: probability of a loss of resolution.
        photometric: probability of strong changes of brightness, contrast and saturation.
        color: 1 changes brightness, contrast and saturation slightly, 2 also compresses half of the images first.
        cutoff: side in pixels of the grey square that covers part of half of the images; 0 turns it off.
    """

    mirror: bool = True
    shift: float = 0.0
    zoom: float = 0.0
    rotation: float = 0.0
    stretch: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    crop: float = 0.0
    low_res: float = 0.0
    photometric: float = 0.0
    color: int = 0
    cutoff: int = 0

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Augmentation:
        """Return the augmentation of a run; the keys are those of InsightFace and of AdaFace."""
        return cls(
            mirror=config["data_rand_mirror"],
            shift=config["data_shift"],
            zoom=config["data_zoom"],
            rotation=config["data_rotation"],
            stretch=config["data_stretch"],
            contrast=config["data_contrast"],
            brightness=config["data_brightness"],
            crop=config["crop_augmentation_prob"],
            low_res=config["low_res_augmentation_prob"],
            photometric=config["photometric_augmentation_prob"],
            color=config["data_color"],
            cutoff=config["data_cutoff"],
        )

    def families(self) -> list[Family]:
        """Return the changes that are turned on, in order of application. Geometry always comes first."""
        families: list[Family] = [Geometry(self.mirror, self.shift, self.zoom)]
        if self.rotation or self.stretch:
            families.append(Warp(self.rotation, self.stretch))
        if self.contrast or self.brightness:
            families.append(Exposure(self.contrast, self.brightness))
        if self.crop:
            families.append(Crop(self.crop))
        if self.low_res:
            families.append(LowResolution(self.low_res))
        if self.photometric:
            families.append(Photometric(self.photometric))
        if self.color > 1:
            families.append(Compression())
        if self.color:
            families.append(ColorJitter())
        if self.cutoff:
            families.append(Cutoff(self.cutoff))
        return families

    @property
    def columns(self) -> int:
        """Random numbers drawn per image."""
        return sum(family.columns for family in self.families())

    def draw(self, seed: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Draw the random numbers of all families, side by side: float32 [B, columns].

        Args:
            seed: seed of the run.
            epochs: epoch of each image, a scalar or [B].
            indices: number of each image in the dataset, [B].
        """
        draws = [family.draw(seed, epochs, indices) for family in self.families()]
        return np.concatenate(draws, axis=1) if len(draws) > 1 else draws[0]

    def make_change(self) -> Change:
        """Return a function that applies one row of ``draw`` (as a list) to an image, uint8 [S, S, 3].

        The function returns the image itself, changed in place, or a new array.
        """
        families = self.families()
        if len(families) == 1:
            return Geometry.apply
        stops = np.cumsum([family.columns for family in families]).tolist()
        steps = [(f.apply, slice(stop - f.columns, stop)) for f, stop in zip(families, stops, strict=True)]

        def change(image: np.ndarray, draw: Sequence[float]) -> np.ndarray:
            for apply, own in steps:
                image = apply(image, draw[own])
            return image

        return change
