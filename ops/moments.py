"""The moments that each optimiser keeps per parameter, by their names in snapshots. Does not import OneFlow."""

from __future__ import annotations

MOMENTS = {"sgd": ("momentum",), "adamw": ("momentum", "variance")}
