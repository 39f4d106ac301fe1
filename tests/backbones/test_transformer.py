"""The operators of transformers against numpy in float64, and training of a small one."""

from __future__ import annotations

import numpy as np
import pytest

from backbones import build_network
from backbones.execution.backbone import Backbone
from ops import flow

CONFIG = {"net_name": "vit", "num_layers": 2, "vit_width": 16, "emb_size": 6, "image_size": 30}
TRAINING = CONFIG | {"vit_drop_path": 0.5, "vit_mask_ratio": 0.25}
HEADS = 8


def normalise(x: np.ndarray, axis: int, eps: float) -> np.ndarray:
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + eps)


def reference(p: dict[str, np.ndarray], images: np.ndarray, keep: np.ndarray | None) -> np.ndarray:
    """The network in numpy; with ``keep`` [N, 9 + 4 path choices] in training, masked tokens being taken out."""
    count, training = len(images), keep is not None
    patches = ((images - 127.5) / 127.5)[:, :, :27, :27].reshape(count, 3, 3, 9, 3, 9).transpose(0, 2, 4, 1, 3, 5)
    weight = p["patch_embed_weight"].reshape(16, -1)
    x = patches.reshape(count, 9, -1) @ weight.T + p["patch_embed_bias"] + p["pos_embed_weight"]
    seen = keep[:, :9].astype(bool) if training else np.ones((count, 9), bool)
    paths = keep[:, 9:] / np.repeat([1, 0.5], 2)[None, -keep[:, 9:].shape[1] :] if training else None
    out = np.empty_like(x)
    for n in range(count):
        y = x[n, seen[n]]
        for block in range(2):
            name = f"block{block}"
            # The share that is left out grows from nothing in the first block.
            kept = paths[n] if training and block == 1 else (1.0, 1.0)
            z = normalise(y, -1, 1e-5) * p[f"{name}_norm1_gamma"] + p[f"{name}_norm1_beta"]
            q, k, v = np.split(z @ p[f"{name}_attn_qkv_weight"].T, 3, axis=1)
            heads = []
            for h in range(HEADS):
                part = slice(2 * h, 2 * h + 2)
                logits = q[:, part] @ k[:, part].T / np.sqrt(2)
                weights = np.exp(logits - logits.max(1, keepdims=True))
                heads.append(weights / weights.sum(1, keepdims=True) @ v[:, part])
            z = np.concatenate(heads, axis=1) @ p[f"{name}_attn_proj_weight"].T + p[f"{name}_attn_proj_bias"]
            y = y + z * kept[0]
            z = normalise(y, -1, 1e-5) * p[f"{name}_norm2_gamma"] + p[f"{name}_norm2_beta"]
            z = np.clip(z @ p[f"{name}_mlp_fc1_weight"].T + p[f"{name}_mlp_fc1_bias"], 0, 6)
            y = y + (z @ p[f"{name}_mlp_fc2_weight"].T + p[f"{name}_mlp_fc2_bias"]) * kept[1]
        y = normalise(y, -1, 1e-5) * p["norm_gamma"] + p["norm_beta"]
        out[n] = p["mask_token_weight"] if training else 0
        out[n, seen[n]] = y
    y = out.reshape(count, -1) @ p["pre_fc0_weight"].T
    for name, weight in (("pre_fc0_bn", "pre_fc1_weight"), ("fc1", None)):
        if training:
            y = normalise(y, 0, 2e-5)
        else:
            y = (y - p[f"{name}_moving_mean"]) / np.sqrt(p[f"{name}_moving_var"] + 2e-5)
        y = y * p[f"{name}_gamma"] + p[f"{name}_beta"]
        y = y @ p[weight].T if weight else y
    return y


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (5, 3, 30, 30)).astype(np.float32)


def test_inference_equals_numpy(images, random_arrays):
    graph = build_network(CONFIG)
    arrays = random_arrays(graph, 2)
    expected = reference({k: v.astype(np.float64) for k, v in arrays.items()}, images, None)
    actual = Backbone(graph, arrays).eval()(flow.tensor(images)).numpy()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def draw_keep() -> np.ndarray:
    """Seven of nine tokens, at other places in each image, and both choices of the second block."""
    keep = np.ones((5, 11), np.uint8)
    for n in range(5):
        keep[n, [n, (2 * n + 5) % 9]] = 0
        keep[n, 9:] = [n % 2, n > 2]
    return keep


def test_training_equals_numpy_and_its_finite_differences(images, random_arrays):
    graph = build_network(TRAINING)
    arrays, keep = random_arrays(graph, 2), draw_keep()
    backbone = Backbone(graph, arrays).train()
    assert backbone.dropout_width == 11
    weight = np.random.default_rng(4).normal(size=(5, 6))
    exact = {key: value.astype(np.float64) for key, value in arrays.items()}
    expected = reference(exact, images, keep)
    actual = backbone(flow.tensor(images), flow.tensor(keep))
    np.testing.assert_allclose(actual.numpy(), expected, rtol=0, atol=1e-3 * np.abs(expected).max())
    (actual * flow.tensor(weight.astype(np.float32))).sum().backward()
    rng = np.random.default_rng(5)
    for name, parameter in backbone.named_parameters():
        direction = rng.normal(size=arrays[name].shape)
        direction /= np.linalg.norm(direction)
        high, low = (
            (reference(exact | {name: exact[name] + step * direction}, images, keep) * weight).sum()
            for step in (1e-6, -1e-6)
        )
        gradient = parameter.grad.numpy()
        derivative = (high - low) / 2e-6
        assert abs((gradient * direction).sum() - derivative) < 2e-3 * np.linalg.norm(gradient) + 2e-3, name
