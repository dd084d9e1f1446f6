"""Parameters in shares: FSDP2 for networks that do not fit one GPU with their optimizer."""

import re
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method
from torch.distributed.fsdp import fully_shard as cut
from torch.distributed.tensor import DTensor, distribute_tensor

from ..core import UserError, dist
from ..core.watch import meeting

BLOCKS = r'.*\.blocks\.\d+'


def fully_shard(model: nn.Module, blocks: str = BLOCKS) -> nn.Module:
    """Share out every module whose name matches ``blocks``, every neck, and the rest as one.

    The teacher is cut as the student is, so that it follows without any exchange. Raises
    UserError when nothing matches.
    """
    device = next(model.parameters()).device.type
    mesh = init_device_mesh(device, (dist.world_size(),))
    whole_name = re.compile(rf'({blocks})|(student|teacher)\.neck\.\w+')
    found = [m for n, m in model.named_modules() if whole_name.fullmatch(n)]
    if not any(re.fullmatch(blocks, n) for n, _ in model.named_modules()):
        raise UserError(
            f"model_wrapper_cfg: no module's name matches blocks='{blocks}'; FullyShard is for "
            'networks of many equal blocks (ViT, Swin), others fit with DDP: leave it out'
        )
    for module in found:
        if any(True for _ in module.parameters()):
            cut(module, mesh=mesh)
    # else the rest stays whole after an evaluation, and the teacher would move a copy
    cut(model, mesh=mesh, reshard_after_forward=True)
    if hasattr(model, 'encode'):
        register_fsdp_forward_method(model, 'encode')
    return model


class WholeHook(Hook):
    """Make the shares whole while evaluating, where ranks have unequal numbers of batches."""

    priority = 'VERY_HIGH'

    def before_val_epoch(self, runner: Any) -> None:
        """Gather every part once; it stays."""
        for part in _parts(runner.model):
            part.set_reshard_after_forward(False, recurse=False)
            part.unshard()

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Give the rest of every part back."""
        for part in _parts(runner.model):
            part.set_reshard_after_forward(True, recurse=False)
            part.reshard()


def _parts(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, FSDPModule)]


@torch.no_grad()
def whole(value: Tensor) -> Tensor:
    """Return the full tensor of a share; all ranks call it. Others pass, detached."""
    if not isinstance(value, DTensor):
        return value.detach()
    with meeting('gather of shares'):
        return value.full_tensor().detach()


@torch.no_grad()
def spread(value: Tensor, like: Any) -> Tensor:
    """Return this rank's share of a full tensor when ``like`` is in shares, else the tensor."""
    if not isinstance(like, DTensor) or isinstance(value, DTensor):
        return value
    value = value.to(like.device)
    with meeting('scatter of shares'):
        return distribute_tensor(value, like.device_mesh, like.placements)


def local(value: Tensor) -> Tensor:
    """Return the part of a tensor that lies on this rank, sharing its memory."""
    return value.to_local() if isinstance(value, DTensor) else value
