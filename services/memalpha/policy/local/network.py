"""One pass of a decoder over tokens: the library's own layers, with this module's attention between them.

The library's forward pass copies every key and value for each head that shares it, builds a mask of all
pairs of tokens, and asks its configuration in each layer; with a small model on a CPU that is most of the
time. Here a prompt needs no mask, as its rows begin at place 0 and what is padded stands behind them, and a
step folds the heads that share keys into one. What comes out is the library's, but for rounding; the parity
tests hold it to that, for each family of `ARCHITECTURES`.
"""

from __future__ import annotations

from typing import Any, Protocol

from memalpha.policy.local.libraries import torch


class Attention(Protocol):
    """What the tokens of a pass look at."""

    def __call__(self, layer: int, queries: Any, keys: Any, values: Any, scale: float, /) -> Any:
        """Called by each layer, in order; returns (rows, heads, new, size).

        Args:
            layer: counts from 0.
            queries: (rows, heads, new, size), positions worked in.
            keys: of the new tokens (rows, fewer heads, new, size), likewise.
            values: likewise, without positions.
            scale: what products of queries and keys are multiplied with.
        """
        ...


def states(network: Any, ids: Any, positions: Any, attention: Attention) -> Any:
    """Last hidden states (rows, tokens, size) of ids (rows, tokens) at positions (rows, tokens)."""
    base = network.base_model
    hidden = base.embed_tokens(ids)
    cosines, sines = (table.unsqueeze(2) for table in base.rotary_emb(hidden, positions))
    for number, layer in enumerate(base.layers):
        seen = _attended(layer.self_attn, layer.input_layernorm(hidden), cosines, sines, attention, number)
        hidden = hidden + seen
        hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return base.norm(hidden)


def causal(_layer: int, queries: Any, keys: Any, values: Any, scale: float) -> Any:
    """Each token sees those before it in its row, and itself; see `Attention`."""
    shared = queries.shape[1] // keys.shape[1]
    # Of the GPU's kernels none takes shared heads in single precision but one that writes all products out.
    if shared > 1 and queries.is_cuda and queries.dtype == torch.float32:
        keys, values = keys.repeat_interleave(shared, 1), values.repeat_interleave(shared, 1)
    attend = torch.nn.functional.scaled_dot_product_attention
    return attend(queries, keys, values, is_causal=True, scale=scale, enable_gqa=queries.shape != keys.shape)


def masked(queries: Any, keys: Any, values: Any, mask: Any, scale: float) -> Any:
    """What one new token a row sees of all keys, where a mask (rows, 1, 1, keys) is not minus infinity."""
    # Heads that share keys are as good as tokens that do.
    folded = queries.reshape(queries.shape[0], keys.shape[1], -1, queries.shape[3])
    attend = torch.nn.functional.scaled_dot_product_attention
    return attend(folded, keys, values, attn_mask=mask, scale=scale).reshape(queries.shape)


def _attended(module: Any, hidden: Any, cosines: Any, sines: Any, attention: Attention, layer: int) -> Any:
    rows, tokens, _ = hidden.shape
    shape = (rows, tokens, -1, module.head_dim)
    queries, keys = module.q_proj(hidden).view(shape), module.k_proj(hidden).view(shape)
    if hasattr(module, "q_norm"):
        queries, keys = module.q_norm(queries), module.k_norm(keys)
    turned = _turned(torch.cat([queries, keys], dim=2), cosines, sines).transpose(1, 2)
    queries, keys = turned.split([queries.shape[2], keys.shape[2]], dim=1)
    values = module.v_proj(hidden).view(shape).transpose(1, 2)
    seen = attention(layer, queries, keys, values, module.scaling)
    return module.o_proj(seen.transpose(1, 2).reshape(rows, tokens, -1))


def _turned(heads: Any, cosines: Any, sines: Any) -> Any:
    """Rotary positions (Su et al., arXiv 2104.09864, equation 34); pairs are halves, as in the library."""
    first, second = heads.chunk(2, dim=-1)
    return heads * cosines + torch.cat([-second, first], dim=-1) * sines
