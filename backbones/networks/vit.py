"""Vision transformers of InsightFace's PyTorch trainer (vit_t, vit_s, vit_b, vit_l).

Dosovitskiy et al., 2021, in the form of arcface_torch's backbones/vit.py: patches of 9 pixels, no class token, an
embedding from all tokens. The names are MXNet-like: ``block0_attn_qkv_weight`` for ``blocks.0.attn.qkv.weight``.
"""

from __future__ import annotations

from backbones.graph.transformer import TransformerGraph
from backbones.networks.layers import TORCH_SCALE, add_image_input
from backbones.networks.options import NetworkOptions
from common.errors import UserError

PATCH = 9
HEADS = 8
MLP_RATIO = 4
LAYER_NORM_EPS = 1e-5
BN_EPS = 2e-5
RULES = {"conv": "torch_uniform", "fully_connected": "truncated_normal", "position": "truncated_normal"}


def _add_block(graph: TransformerGraph, x: str, name: str, drop: float, mask: str | None) -> str:
    """Attention and a two-layer perceptron on each token, each after a LayerNorm and added to its input."""
    width = graph.shapes[x][-1]
    y = graph.layer_norm(x, f"{name}_norm1", LAYER_NORM_EPS)
    y = graph.fully_connected(y, f"{name}_attn_qkv", 3 * width, bias=False)
    y = graph.attention(y, f"{name}_attn", HEADS, mask)
    y = graph.fully_connected(y, f"{name}_attn_proj", width)
    x = graph.add(graph.drop_path(y, f"{name}_drop1", drop) if drop else y, x, f"{name}_plus1")
    y = graph.layer_norm(x, f"{name}_norm2", LAYER_NORM_EPS)
    y = graph.fully_connected(y, f"{name}_mlp_fc1", MLP_RATIO * width)
    y = graph.activation(y, f"{name}_mlp_act", "relu6")
    y = graph.fully_connected(y, f"{name}_mlp_fc2", width)
    return graph.add(graph.drop_path(y, f"{name}_drop2", drop) if drop else y, x, f"{name}_plus2")


def build_vit(options: NetworkOptions) -> TransformerGraph:
    """Build ``num_layers`` blocks of ``vit_width`` channels.

    In training, each block is skipped for a share of the images, which grows to ``vit_drop_path`` in the last block,
    and ``vit_mask_ratio`` of an image's patches are masked in all blocks.

    Raises:
        UserError: ``num_layers`` is missing, or the width does not divide into heads.
    """
    depth, width = options.num_layers, options.vit_width
    if not isinstance(depth, int) or depth < 1:
        raise UserError(f"num_layers={depth!r} is not a positive whole number")
    if width % HEADS:
        raise UserError(f"vit_width={width} must be a multiple of {HEADS}, the number of heads")
    graph = TransformerGraph(RULES)
    x = add_image_input(graph, options, TORCH_SCALE)
    x = graph.conv(x, "patch_embed", width, kernel=PATCH, stride=PATCH, bias=True)
    x = graph.position(graph.tokens(x, "patch_tokens"), "pos_embed")
    mask = graph.token_mask(x, "token_mask", options.vit_mask_ratio) if options.vit_mask_ratio else None
    for index in range(depth):
        drop = options.vit_drop_path * index / max(depth - 1, 1)
        x = _add_block(graph, x, f"block{index}", drop, mask)
    x = graph.layer_norm(x, "norm", LAYER_NORM_EPS)
    if mask is not None:
        x = graph.fill_masked(x, mask, "mask_token")
    x = graph.fully_connected(graph.flatten(x, "flatten0"), "pre_fc0", width, bias=False)
    x = graph.batch_norm(x, "pre_fc0_bn", BN_EPS, options.bn_mom)
    x = graph.fully_connected(x, "pre_fc1", options.emb_size, bias=False)
    graph.batch_norm(x, "fc1", BN_EPS, options.bn_mom)
    return graph
