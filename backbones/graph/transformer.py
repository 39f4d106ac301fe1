"""The operators of transformers in a network description: tokens instead of maps.

Tokens have the shape (T, C). The operators of networks without tokens are in ``backbones.graph.network_graph``.
"""

from __future__ import annotations

from backbones.graph.network_graph import NetworkGraph
from backbones.graph.nodes import ParameterSpec


class TransformerGraph(NetworkGraph):
    """A network description with the operators of transformers."""

    def tokens(self, x: str, name: str) -> str:
        """Add the view of a map (C, H, W) as tokens (H * W, C), row by row."""
        channels, height, width = self.shapes[x]
        return self._append("tokens", name, (x,), (height * width, channels))

    def position(self, x: str, name: str) -> str:
        """Add a learned vector per token, ``{name}_weight`` (T, C), to the tokens."""
        spec = ParameterSpec(self.shapes[x], "weight", rule=self._rules["position"])
        self._declare(f"{name}_weight", spec)
        return self._append("position", name, (x,), self.shapes[x], {"weight": f"{name}_weight"})

    def layer_norm(self, x: str, name: str, eps: float) -> str:
        """Add a normalisation of each token, with ``{name}_gamma`` and ``{name}_beta`` (C,)."""
        width = (self.shapes[x][-1],)
        arrays = self._declare_all(name, {"gamma": width, "beta": width})
        return self._append("layer_norm", name, (x,), self.shapes[x], arrays, eps=eps)

    def attention(self, qkv: str, name: str, heads: int, mask: str | None = None) -> str:
        """Add softmax attention on tokens of query, key and value side by side: (T, 3 * C) -> (T, C).

        ``mask`` is a ``token_mask``; no token attends to masked tokens.
        """
        tokens, width = self.shapes[qkv]
        if width % (3 * heads):
            raise ValueError(f"{name}: {width} columns do not divide into query, key and value of {heads} heads")
        inputs = (qkv,) if mask is None else (qkv, mask)
        return self._append("attention", name, inputs, (tokens, width // 3), heads=heads)

    def drop_path(self, x: str, name: str, p: float) -> str:
        """Add a dropout of whole images: training zeroes a share ``p`` and scales the rest by 1 / (1 - p)."""
        return self._append("drop_path", name, (x,), self.shapes[x], p=p)

    def token_mask(self, x: str, name: str, p: float) -> str:
        """Add a random choice of tokens of ``x`` to mask in training, the same number in each image: (T,)."""
        return self._append("token_mask", name, (x,), self.shapes[x][:1], p=p)

    def fill_masked(self, x: str, mask: str, name: str) -> str:
        """Replace masked tokens by a learned one, ``{name}_weight`` (1, C)."""
        spec = ParameterSpec((1, self.shapes[x][-1]), "weight", rule=self._rules["position"])
        self._declare(f"{name}_weight", spec)
        return self._append("fill_masked", name, (x, mask), self.shapes[x], {"weight": f"{name}_weight"})
