"""Attention weights, computed from the inputs of fused attention, which does not return them."""

from collections.abc import Callable
from typing import Any

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


def inputs_of(layer: nn.Module, run: Callable[[], Any]) -> tuple[tuple, dict[str, Any]]:
    """Return the (arguments, keyword arguments) of the layer's first call in ``run()``."""
    calls: list[tuple[tuple, dict]] = []
    hook = layer.register_forward_pre_hook(
        lambda _, inputs, options: calls.append((inputs, options)), with_kwargs=True
    )
    try:
        run()
    finally:
        hook.remove()
    return calls[0]
