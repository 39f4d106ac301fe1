"""Rank program: how the backbone of some settings would compute."""

from __future__ import annotations

from typing import Any

from backbones import build_backbone
from launch.world import join_world


def main(config: dict[str, Any]) -> str:
    join_world("cpu")
    return build_backbone(config).executor
