"""Emulate CUDA's autocast and fused attention on FakeTensors, to estimate memory without a GPU."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from ..models.backbones.attention import MAX_BATCH

# of what CUDA's autocast runs in float32 and the CPU's does not, the part that networks are made of
FLOAT32 = {
    *(F.layer_norm, F.group_norm, F.softmax, F.log_softmax, F.softplus, F.cosine_similarity),
    *(torch.softmax, torch.log_softmax, Tensor.softmax, Tensor.log_softmax),
    *(torch.exp, torch.log, torch.pow, torch.rsqrt, torch.cumsum),
    *(Tensor.exp, Tensor.log, Tensor.pow, Tensor.__pow__, Tensor.rsqrt, Tensor.cumsum),
}


IS_CUDA = Tensor.is_cuda.__get__  # type: ignore[attr-defined]


class EmulateCUDA(TorchFunctionMode):
    """Run tensors of the CPU as CUDA would run its own: for FakeTensors, which hold no numbers.

    Tensors that call themselves CUDA's cannot be differentiated on a machine without a GPU.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.backward:
            with self:  # activations that it computes again are CUDA's too
                return _backward(args[0])
        if func == IS_CUDA:
            return True
        if (
            func is F.scaled_dot_product_attention
            and torch.backends.cuda.mem_efficient_sdp_enabled()
        ):
            return _attention(*args, **kwargs)
        if func in FLOAT32 and torch.is_autocast_enabled('cpu'):
            args, kwargs = tree_map(_wide, (args, kwargs))
        return func(*args, **kwargs)


def _backward(loss: Tensor) -> Any:
    """Call torch's engine itself: all functions above it leave the mode first."""
    engine = torch.autograd.Variable._execution_engine
    ends = (loss,), (torch.ones_like(loss),)
    return engine.run_backward(
        *ends, False, False, (), allow_unreachable=True, accumulate_grad=True
    )


def _wide(x: Any) -> Any:
    half = isinstance(x, Tensor) and x.dtype in (torch.float16, torch.bfloat16)
    return x.float() if half else x


def _attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **_: Any,
) -> Tensor:
    """Attend as CUDA's memory-efficient kernel, which also takes masks that learn.

    q (B, M, N, D), k and v (B, M, N', D) -> (B, M, N, D). Above `MAX_BATCH` images or heads the
    kernel does not start, and all scores are kept.
    """
    if torch.is_autocast_enabled('cpu'):
        kind = torch.get_autocast_dtype('cpu')
        q, k, v = (x.to(kind) for x in (q, k, v))
    if max(q.shape[:2]) > MAX_BATCH:
        math = torch.ops.aten._scaled_dot_product_attention_math
        plain: Tensor = math(q, k, v, attn_mask, dropout_p, is_causal, scale=scale)[0]
        return plain
    bias = None
    if attn_mask is not None:
        bias = attn_mask.to(q).expand(*q.shape[:-1], k.shape[-2])
    fused = torch.ops.aten._scaled_dot_product_efficient_attention
    out: Tensor = fused(q, k, v, bias, q.requires_grad, dropout_p, is_causal, scale=scale)[0]
    return out
