"""Changes one array after the other of a network that embeds; prints for which of them the embeddings changed."""

from __future__ import annotations

import json

from backbones import initial_arrays
from backbones.execution.backbone import Backbone
from tests.support import networks


def main() -> None:
    graph = networks.SMALL["residual"]()
    arrays = initial_arrays(graph, 1)
    backbone = Backbone(graph, arrays).eval()
    assert backbone.executor.startswith("one op")
    images = networks.images(graph, 2)
    before = backbone(images).numpy().copy()
    changed = {"unchanged": bool((backbone(images).numpy() != before).any())}
    for name in (
        "stem_weight",
        "stem_bn_moving_mean",
        "stem_bn_moving_var",
        "stem_bn_gamma",
        "stem_bn_beta",
        "fc1_bias",
    ):
        arrays[name].ravel()[0] += 0.5
        backbone.load_arrays(arrays)
        after = backbone(images).numpy().copy()
        changed[name] = bool((after != before).any())
        before = after
    print(json.dumps(changed))


if __name__ == "__main__":
    main()
