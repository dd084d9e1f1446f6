"""Runner for mmdet and mmseg models: safe checkpoint loading, and training without GPUs."""

from typing import Any

import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import Runner as Base
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..checkpoint import local_path, read
from ..checkpoint.matching import match_state, shape_difference
from ..core import UserError
from ..engine.state import work_dir_files
from .checked_loading import checked


class Runner(Base):
    """Runs any model of mmdet or mmseg, on any number of processes, with or without GPUs."""

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        """Wrap as mmengine does; without GPUs leave out device ids and torch's SyncBN."""
        if torch.cuda.is_available():
            found: nn.Module = super().wrap_model(model_wrapper_cfg, model)
            return found
        if any(isinstance(module, nn.SyncBatchNorm) for module in model.modules()):
            model = revert_sync_batchnorm(model)
            self.logger.warning('no GPU: every process has its own batch norms (SyncBN is BN)')
        if self.distributed:
            unused = self.cfg.get('find_unused_parameters', False)
            wanted = dict(broadcast_buffers=False, find_unused_parameters=unused)
            model_wrapper_cfg = wanted | (model_wrapper_cfg or {}) | dict(device_ids=None)
        found = super().wrap_model(model_wrapper_cfg, model)
        return found

    def build_dataloader(
        self, dataloader: DataLoader[Any] | dict[str, Any], *args: Any, **kwargs: Any
    ) -> DataLoader[Any]:
        """Build as mmengine does; what its pipelines load is checked, and named in errors."""
        if isinstance(dataloader, dict):
            dataloader = checked(dataloader, self.cfg.model)
        found: DataLoader[Any] = super().build_dataloader(dataloader, *args, **kwargs)
        return found

    def load_or_resume(self) -> None:
        """Load as mmengine does; then, with everything built, delete an overwritten run's files."""
        super().load_or_resume()
        if self._train_loop is not None and self.cfg.get('overwrite'):
            work_dir_files.clear(self.work_dir)

    def load_checkpoint(self, filename: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Fill the model from a detector's or segmentor's file; heads may be others to train.

        The other arguments are mmengine's and have no meaning here. Raises UserError for the
        file of another model.
        """
        path = str(local_path(filename))
        content = {'meta': {}, **read(path)}
        if self._train_loop is not None and self._resume:
            self._check_whole_run(content, path)
        self.call_hook('after_load_checkpoint', checkpoint=content)
        whole = self._train_loop is None or self._resume
        model: Any = self.model
        while hasattr(model, 'module'):  # wrappers of processes, and of several views
            model = model.module
        self.logger.info(load_matching(model, content.get('state_dict', content), path, whole))
        self._has_loaded = True
        content['meta'].pop('config', None)  # mmengine would run this text as a program
        known = content.get('message_hub')
        known = known.get('runtime_info') if isinstance(known, dict) else None
        plain = {k: v for k, v in (known or {}).items() if isinstance(v, (int, float, str))}
        content['message_hub'] = dict(log_scalars={}, runtime_info=plain, resumed_keys={})
        return content

    def _check_whole_run(self, content: dict[str, Any], path: str) -> None:
        """Refuse to resume from a file that lacks what mmengine would silently begin anew."""
        wanted = {'optimizer': self.optim_wrapper, 'param_schedulers': self.param_schedulers}
        lost = [key for key, part in wanted.items() if part and not content.get(key)]
        if lost:
            raise UserError(
                f'{path}: holds no {" and no ".join(lost)}, so a run cannot go on from it: begin a '
                f'new one from its weights by --cfg-options load_from={path}, and set '
                'default_hooks.checkpoint.save_optimizer=True',
                key='file',
                value=path,
            )


def load_matching(model: nn.Module, state: dict[str, Tensor], path: str, whole: bool) -> str:
    """Load the tensors (any shapes) that fit by name and shape; return a line for the log.

    Raises UserError when a tensor of the backbone (``whole``: of the model) would stay as it is.
    """
    target = model.state_dict()
    match = match_state(target, state, shape_difference)
    fits = match.matched
    new = [*match.missing, *match.mismatched]  # what is computed may be missing
    if lost := [name for name in new if whole or name.startswith('backbone.')]:
        raise UserError(
            f'{path}: is not of this model: {len(lost)} of its {len(target)} tensors are not in '
            f'it ({lost[0]}, ...); give a file that tools/train.py wrote for this config, or to '
            'start from a pretraining file use --cfg-options pretrained=FILE',
            key='file',
            value=path,
        )
    model.load_state_dict({name: state[name] for name in fits}, strict=False)
    text = f'loaded {path}: {len(fits)} of {len(target)} tensors'
    return f'{text}, the others stay new ({new[0]}, ...)' if new else text
