"""Which of timm's vision transformers our `VisionTransformer` is, and with which settings."""

from typing import Any

from timm.layers import GluMlp, Mlp, PatchEmbed, SwiGLU
from timm.layers.pos_embed_sincos import RotaryEmbeddingDinoV3
from timm.models.eva import Eva, EvaAttention, EvaBlock
from timm.models.vision_transformer import Attention, Block
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import nn

from .architecture import ANTIALIASED

PLAIN_EPS = 1e-6


def vit_settings(net: nn.Module) -> dict[str, Any] | None:
    """Return the settings of our `VisionTransformer` that equals a network of timm, or None.

    Features are the class token, also where timm's name pools the mean (its DINOv3). ``img_size``
    is left to the caller.
    """
    common = _is_common(net)
    if common and type(net) is TimmViT:
        return _of_vit(net)
    if common and type(net) is Eva:
        return _of_dinov3(net)
    return None


def _is_common(net: Any) -> bool:
    """Whether a network begins and ends as ours."""
    return bool(
        isinstance(net, (TimmViT, Eva))
        and type(net.patch_embed) is PatchEmbed
        and isinstance(net.norm_pre, nn.Identity)
        and isinstance(net.fc_norm, nn.Identity)
        and isinstance(net.norm, nn.LayerNorm)
        and net.cls_token is not None
        and net.attn_pool is None
    )


def _settings(net: Any, qkv_bias: bool) -> dict[str, Any]:
    """Return what the networks of both classes say alike."""
    block = net.blocks[0]
    hidden = block.mlp.fc2.in_features
    settings: dict[str, Any] = dict(
        type='VisionTransformer',
        arch=(net.embed_dim, len(net.blocks), block.attn.num_heads),
        patch_size=net.patch_embed.patch_size[0],
        mlp_ratio=hidden / net.embed_dim,
    )
    if not isinstance(block.mlp, Mlp):
        settings['mlp'] = 'swiglu'
    if net.reg_token is not None:
        settings['registers'] = net.reg_token.shape[1]
    if not qkv_bias:
        settings['qkv_bias'] = False
    if net.norm.eps != PLAIN_EPS:
        settings['norm_eps'] = net.norm.eps
    return settings


def _of_vit(net: Any) -> dict[str, Any] | None:
    block: Any = net.blocks[0]
    packed = isinstance(block.mlp, GluMlp) and isinstance(block.mlp.act, nn.SiLU)
    plain = isinstance(block.mlp, Mlp) and isinstance(block.mlp.act, nn.GELU)
    if not (
        type(block) is Block
        and type(block.attn) is Attention
        and (plain or (packed and not block.mlp.gate_last))
        and isinstance(block.mlp.norm, nn.Identity)
        and isinstance(block.attn.q_norm, nn.Identity)
        and isinstance(block.attn.norm, nn.Identity)
        and net.global_pool == 'token'
        and net.pos_embed is not None
        and net.pos_embed.shape[1] in (net.patch_embed.num_patches + i for i in (0, 1))
    ):
        return None
    settings = _settings(net, block.attn.qkv.bias is not None)
    if not isinstance(block.ls1, nn.Identity):
        settings['layer_scale'] = block.ls1.init_values
    if 'registers' in settings:
        settings |= ANTIALIASED
    return settings


def _of_dinov3(net: Any) -> dict[str, Any] | None:
    block, rope = net.blocks[0], net.rope
    gelu = isinstance(block.mlp, Mlp) and isinstance(block.mlp.act, nn.GELU)
    if not (
        type(block) is EvaBlock
        and type(block.attn) is EvaAttention
        and block.attn.qkv is not None
        and (gelu or type(block.mlp) is SwiGLU)
        and all(isinstance(part.norm, nn.Identity) for part in (block.mlp, block.attn))
        and isinstance(block.attn.q_norm, nn.Identity)
        and getattr(block.attn, 'gate', None) is None  # timm has it from 1.0.28 on
        and block.gamma_1 is not None
        and block.gamma_2 is not None
        and net.pos_embed is None
        and type(rope) is RotaryEmbeddingDinoV3
        and (rope.rotate_half, rope.grid_offset, rope.grid_indexing) == (True, 0.0, 'ij')
        and rope.normalize_coords == 'separate'
        and rope.temperature is not None
    ):
        return None
    bias = block.attn.q_bias is not None
    settings = _settings(net, bias)
    settings |= dict(positions='rotary', rope_base=rope.temperature, layer_scale=block.init_values)
    if bias:
        settings['key_bias'] = False
    return settings
