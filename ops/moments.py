"""What each optimiser keeps of every parameter, by the names that snapshots use. Free of OneFlow."""

from __future__ import annotations

MOMENTS = {"sgd": ("momentum",), "adamw": ("momentum", "variance")}
