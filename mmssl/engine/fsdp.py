"""FullyShard (FSDP2): parameters in shards, for networks that do not fit one GPU."""

import re
from typing import TYPE_CHECKING, Any

import torch
from mmengine.hooks import Hook
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    register_fsdp_forward_method,
)
from torch.distributed.fsdp import fully_shard as torch_fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from ..core import UserError, dist
from ..core.watchdog import collective
from ..registry import MODEL_WRAPPERS

if TYPE_CHECKING:
    from .runner import Runner

# blocks of ViT and Swin, of ResNet and ViL, of CvT: modules that are called by their forward
BLOCKS = r'.*\.(blocks|layer\d+|stage\d+\.1\.layers\.\d+)\.\d+'


@MODEL_WRAPPERS.register_module()
class FullyShard:
    """Wrapper of a config's ``model_wrapper_cfg``: `fully_shard` with these ``blocks``.

    Where the config trains with ``optim_wrapper.amp='bfloat16'`` on GPUs, blocks are gathered in
    bfloat16, which halves what is sent.
    """

    def __init__(self, blocks: str = BLOCKS) -> None:
        self.blocks = blocks

    def __call__(self, model: nn.Module, amp: torch.dtype | None = None) -> nn.Module:
        """Return the sharded model; ``amp`` is the type that autocast computes in."""
        return fully_shard(model, self.blocks, amp)


def fully_shard(
    model: nn.Module, blocks: str = BLOCKS, amp: torch.dtype | None = None
) -> nn.Module:
    """Shard every module whose name matches ``blocks``, every neck, and the rest as one.

    The teacher is sharded as the student is, so that it follows without communication. With
    ``amp`` bfloat16 the blocks compute under autocast on parameters of that type; gradients are
    summed in float32. Raises UserError when no name matches.
    """
    device = next(model.parameters()).device.type
    mesh = init_device_mesh(device, (dist.world_size(),))
    sharded_name = re.compile(rf'({blocks})|(student|teacher)\.neck\.\w+')
    found = [m for n, m in model.named_modules() if sharded_name.fullmatch(n)]
    if not any(re.fullmatch(blocks, n) for n, _ in model.named_modules()):
        raise UserError(
            f"model_wrapper_cfg: no module's name matches blocks='{blocks}'; FullyShard is for "
            'networks of many blocks, others fit with DDP: leave it out',
            key='model_wrapper_cfg.blocks',
            value=blocks,
        )
    # float16 has a loss scale, and autocast the inputs in hand: they stay as they are
    kind = amp if amp is torch.bfloat16 else None
    policy = MixedPrecisionPolicy(
        param_dtype=kind, reduce_dtype=torch.float32 if kind else None, cast_forward_inputs=False
    )
    for module in found:
        if any(True for _ in module.parameters()):
            torch_fully_shard(module, mesh=mesh, mp_policy=policy)
    # else the rest stays whole after an evaluation, and the teacher would move a copy
    torch_fully_shard(model, mesh=mesh, reshard_after_forward=True)
    register_fsdp_forward_method(model, 'encode')
    return model


class UnshardHook(Hook):
    """Keep full parameters while evaluating, where ranks have unequal numbers of batches."""

    priority = 'VERY_HIGH'

    def before_val_epoch(self, runner: 'Runner') -> None:
        """Gather every part once; it stays."""
        for part in _parts(runner.model):
            part.set_reshard_after_forward(False, recurse=False)
            part.unshard()

    def after_val_epoch(self, runner: 'Runner', metrics: dict[str, float] | None = None) -> None:
        """Give the rest of every part back."""
        for part in _parts(runner.model):
            part.set_reshard_after_forward(True, recurse=False)
            part.reshard()


def _parts(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, FSDPModule)]


@torch.no_grad()
def full_tensor(value: Tensor) -> Tensor:
    """Return the full tensor (any shape) of a shard, detached; all ranks call it. Others pass."""
    if not isinstance(value, DTensor):
        return value.detach()
    with collective('gather of shards'):
        return value.full_tensor().detach()


@torch.no_grad()
def scatter_state(value: Tensor, like: Any) -> Tensor:
    """Return this rank's shard of a full tensor (any shape) when ``like`` is sharded, else it."""
    if not isinstance(like, DTensor) or isinstance(value, DTensor):
        return value
    value = value.to(like.device)
    with collective('scatter of shards'):
        return distribute_tensor(value, like.device_mesh, like.placements)


def gathered_on_host(value: Tensor) -> Tensor:
    """Return the full tensor (any shape) on the CPU of the first rank; all ranks call it.

    Of a shard the others get nothing: one copy is written, and one fits in memory.
    """
    if not isinstance(value, DTensor):
        return value.detach().cpu()
    whole = full_tensor(value)
    return whole.cpu() if dist.rank() == 0 else whole.new_empty(0, device='cpu')
