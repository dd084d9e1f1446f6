"""Batch size of each process when their number changes, and the learning rate for a batch."""

from typing import TYPE_CHECKING, Any

from torch import nn

from ..core import UserError, dist
from ..core.io import unwrap_model

if TYPE_CHECKING:
    from .runner import Runner


def keep_global_batch(runner: 'Runner') -> int:
    """Share a resumed file's global batch among the processes of now; return the config's share.

    Only when ``batch_size`` is what it was: then the number of processes is what has changed,
    as when a machine joins or leaves. Raises UserError when they do not divide the batch, or
    leave one image to a batch norm.
    """
    loop, loader = runner._train_loop, runner._train_dataloader
    if isinstance(loop, dict) and loop.get('dataloader'):
        loader = loop['dataloader']
    configured: int = loader['batch_size']
    if runner._resumed is None or runner._is_official:
        return configured
    progress, world = runner._content['progress'], dist.world_size()
    before, batch = progress['processes'], progress['batch']
    if before == world or configured != progress['batch_size']:
        return configured
    if batch % world:
        raise UserError(
            f'{runner._resumed}: its batch of {batch} images cannot be shared by {world} '
            'processes; start a number of processes that divides it',
            key='batch',
            value=batch,
        )
    share = batch // world
    if share == 1 and (norm := _needs_two(runner)):
        fitting = [n for n in range(1, world) if batch % n == 0]
        raise UserError(
            f'{runner._resumed}: its batch of {batch} images leaves {world} processes one image '
            f"each, of which batch norm ('{norm}') has no statistics; start "
            f'{" or ".join(map(str, fitting))}, or synchronise batch norms '
            '(--cfg-options sync_bn=torch)',
            key='batch',
            value=batch,
        )
    loader['batch_size'] = share
    runner.logger.warning(
        f'{world} processes instead of {before}: each takes {share} images instead '
        f'of {batch // before}, the batch of all stays {batch}'
    )
    return configured


def _needs_two(runner: 'Runner') -> str:
    """Return the name of a batch norm over vectors of this process alone, '' without one.

    Maps have many positions, so one image gives them statistics.
    """
    modules = unwrap_model(runner.model).named_modules()
    return next((name for name, module in modules if isinstance(module, nn.BatchNorm1d)), '')


def scale_learning_rate(runner: 'Runner', optim_wrapper: Any, settings: dict[str, Any]) -> float:
    """Scale the base rate to the batch that runs when asked; return the factor.

    Raises UserError without a batch that the config's rate is for.
    """
    if not settings.get('enable', False):
        return 1.0
    base = settings.get('base_batch_size')
    if not base:
        raise UserError(
            '--auto-scale-lr needs auto_scale_lr.base_batch_size in the config',
            key='auto_scale_lr.base_batch_size',
        )
    counts = optim_wrapper._accumulative_counts
    real = runner.train_dataloader.batch_size * runner.world_size * counts
    ratio: float = real / base
    defaults = optim_wrapper.optimizer.defaults
    before = defaults['lr']
    defaults['lr'] = before * ratio
    for group in optim_wrapper.optimizer.param_groups:
        group['lr'] *= ratio
    runner.logger.info(
        f'learning rate scaled from {before:g} (batch {base}) to {defaults["lr"]:g} (batch {real})'
    )
    return ratio
