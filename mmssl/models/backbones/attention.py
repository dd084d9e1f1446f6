"""Attention weights, computed from the inputs of fused attention, which does not return them."""

from collections.abc import Callable
from typing import Any

import torch
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from torch import Tensor, nn

MAX_BATCH = 65_535  # of CUDA's fused kernels, and so many heads


def weights(q: Tensor, k: Tensor, scale: float | None = None, bias: Tensor | None = None) -> Tensor:
    """Return softmax(scale q k^T + bias) of q (..., n, c), k (..., m, c) -> (..., n, m).

    ``scale`` is c^-0.5 where it is None.
    """
    scores = (q * (q.shape[-1] ** -0.5 if scale is None else scale)) @ k.transpose(-2, -1)
    return (scores if bias is None else scores + bias).softmax(-1)


def plain(layer: Any, x: Tensor) -> Tensor:
    """Return the weights (B, heads, N, N) of timm's `Attention` for x (B, N, C)."""
    b, n, _ = x.shape
    q, k, _ = layer.qkv(x).view(b, n, 3, layer.num_heads, -1).permute(2, 0, 3, 1, 4)
    return weights(layer.q_norm(q), layer.k_norm(k))


def of_eva(
    layer: Any,
    x: Tensor,
    rope: Tensor | None = None,
    attn_mask: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """Return the weights (B, heads, N, N) of timm's `EvaAttention` for x (B, N, C).

    ``rope`` (N - g, 2 c) holds sines and cosines of all but the first g tokens.
    """
    b, n, _ = x.shape
    if layer.qkv is None:
        q, k = (proj(x).view(b, n, -1, layer.head_dim) for proj in (layer.q_proj, layer.k_proj))
    else:
        qkv = layer.qkv(x)
        if getattr(layer, 'q_bias', None) is not None:
            qkv = qkv + torch.cat([layer.q_bias, layer.k_bias, layer.v_bias])
        q, k, _ = qkv.view(b, n, 3, layer.num_heads, -1).unbind(2)
    q, k = layer.q_norm(q.transpose(1, 2)), layer.k_norm(k.transpose(1, 2))  # (B, heads, N, c)
    k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)  # queries may share keys
    if rope is not None:
        g, half = layer.num_prefix_tokens, layer.rotate_half
        q, k = (
            torch.cat([t[:, :, :g], apply_rot_embed_cat(t[:, :, g:], rope, half=half)], 2)
            for t in (q, k)
        )
    return weights(q, k, layer.scale, attn_mask)


def inputs_of(layer: nn.Module, run: Callable[[], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the (arguments, keyword arguments) of the layer's first call in ``run()``."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    hook = layer.register_forward_pre_hook(
        lambda _, inputs, options: calls.append((inputs, options)), with_kwargs=True
    )
    try:
        run()
    finally:
        hook.remove()
    return calls[0]
