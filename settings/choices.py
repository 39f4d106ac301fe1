"""Names that settings may have, listed without a framework; the tables in ops hold their implementations."""

from __future__ import annotations

# Losses without class centres. The values are those of ``loss_name``, which each loss of sample_config.py names.
TRIPLET_LOSSES = ("triplet", "atriplet")
# Losses that go by the number of images of each class.
LOSSES_BY_SIZE = ("dynamic_arcface",)
LOSSES = (
    "softmax",
    "margin_softmax",
    "arc_loss",
    "sphereface",
    "curricularface",
    "adaface",
    "magface",
    "mv_softmax",
    "circle",
    "elasticface",
    "dynamic_arcface",
    "adacos",
    "uniface",
    "intra",
    "inter",
    *TRIPLET_LOSSES,
)

# The values of ckpt: which snapshots a run keeps.
NO_SNAPSHOTS, BETTER_SNAPSHOT, ALL_SNAPSHOTS, BEST_SNAPSHOT = range(4)
