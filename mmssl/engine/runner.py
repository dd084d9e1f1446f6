"""mmengine's runner, with safe files, any device, and errors a user can act on."""

import os
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_distributed
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.runner import Runner as Base
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.utils.data import DataLoader

from ..checkpoint import load
from ..core import UserError, dist
from ..core.errors import NoData
from ..core.launch import init_distributed
from ..core.sync_bn import convert_sync_bn
from ..registry import RUNNERS
from . import console, files, loaders, state
from .batch import keep_batch, scale_rate
from .clock import ClockHook, bare
from .compile import compile_runner
from .faults import explained
from .shard import WholeHook, fully_shard
from .signals import listening
from .workers import workers_named


@RUNNERS.register_module()
class Runner(Base):
    """The runner of all our tools.

    Own are: starting processes without GPUs and wrapping for them, loaders that seed samples by
    (seed, epoch, index), rate scaling that prints both values, checkpoints of tensors and plain
    data. The screen shows progress, the log file all else.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with explained():
            super().__init__(*args, **kwargs)
        console.speak(self._levels)

    def train(self) -> nn.Module:
        """Train; a signal saves and ends, errors of machine and loader become advice."""
        # outermost, or a launcher's SIGTERM would cut the advice off
        with listening(self), explained(self), workers_named(self):
            self.batch_size = keep_batch(self)
            if self._sharded:
                self.register_hook(WholeHook())
            return super().train()

    def val(self) -> dict:
        """Run the monitor alone; errors become advice."""
        with explained(self), workers_named(self):
            return super().val()

    def test(self) -> dict[str, float]:
        """Evaluate; errors become advice."""
        with explained(self), workers_named(self):
            return super().test()

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build mmengine's logger, its screen quiet until the runner is ready."""
        logger = super().build_logger(*args, **kwargs)
        self._levels = console.quieten(logger)
        return logger

    def register_default_hooks(self, hooks: dict | None = None) -> None:
        """Add the hook that every method needs to those of the config."""
        super().register_default_hooks(hooks)
        self.register_hook(ClockHook())

    def setup_env(self, env_cfg: dict) -> None:
        """Join the process group before mmengine would, which needs a GPU for it.

        Raises UserError when the work dir holds another run's training files.
        """
        if self.distributed and not is_distributed():
            init_distributed(self.launcher, **env_cfg.get('dist_cfg', {}))
        if self._train_loop is not None:
            resume, overwrite = bool(self.cfg.get('resume')), bool(self.cfg.get('overwrite'))
            files.check_work_dir(self.work_dir, resume, overwrite)
        super().setup_env(env_cfg)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Move to the device; synchronise batch norms and wrap when there are ranks."""
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        model = model.to(device)
        if not self.distributed:
            return model
        if self.cfg.get('sync_bn'):
            model = convert_sync_bn(model, device)
        kind = (model_wrapper_cfg or {}).get('type')
        if kind == 'FullyShard' and self._train_loop is not None:
            return self._shard(model, model_wrapper_cfg or {})
        if not any(p.requires_grad for p in model.parameters()):
            return model
        return MMDistributedDataParallel(
            model,
            device_ids=[int(os.environ['LOCAL_RANK'])] if device == 'cuda' else None,
            broadcast_buffers=False,
            find_unused_parameters=self.cfg.get('find_unused_parameters', False),
        )

    def _shard(self, model: nn.Module, cfg: dict) -> nn.Module:
        """Cut into shares a model that has its weights: files are read into whole tensors."""
        if self.cfg.get('continue_epoch'):
            raise UserError('continue_epoch and FullyShard do not go together; use DDP for it')
        self.model = model
        self._hooks: list[Any] = []
        if self._resumed is None:
            self._init_model_weights()
            if self._load_from:
                self.load_checkpoint(self._load_from)
        return fully_shard(model, **{k: v for k, v in cfg.items() if k != 'type'})

    @property
    def _sharded(self) -> bool:
        return isinstance(self.model, FSDPModule)

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """Build a loader whose samples draw from (seed, epoch, index)."""
        if isinstance(dataloader, DataLoader):
            return dataloader
        return loaders.build(dataloader, Base.build_dataloader, seed, diff_rank_seed)

    def build_val_loop(self, loop: Any) -> Any:
        """Build the monitor; without labels or a validation folder it turns itself off."""
        try:
            return super().build_val_loop(loop)
        except NoData as error:
            if not (isinstance(loop, dict) and loop.get('type') == 'KNNLoop'):
                raise
            self.logger.warning(f'kNN monitor off: {error}')
            return None

    def scale_lr(self, optim_wrapper: Any, auto_scale_lr: dict | None = None) -> None:
        """Scale the base rate to the real batch when asked, printing both values."""
        self.lr_ratio = scale_rate(self, optim_wrapper, auto_scale_lr or {})

    def _build_param_scheduler(self, scheduler: Any, optim_wrapper: Any) -> list[_ParamScheduler]:
        """Tell our curves the length of an epoch and the ratio that scaled the rate."""
        configs = scheduler if isinstance(scheduler, (list, tuple)) else [scheduler]
        ready = [
            dict(c, ratio=self.lr_ratio, per_epoch=len(self.train_dataloader))
            if isinstance(c, dict) and c.get('type', '').endswith('CurveScheduler')
            else c
            for c in configs
        ]
        return super()._build_param_scheduler(ready, optim_wrapper)

    _maybe_compile = compile_runner  # mmengine's compiles the step
    _has_loaded: bool
    _started = False

    # files ----------------------------------------------------------------------------------
    def _init_model_weights(self) -> None:
        """Start from ``init_cfg``; a resumed file, or ``load_from`` for an empty path, has more."""
        self._started = True
        if self._resumed is not None or self._sharded:
            return
        for module in bare(self.model).modules() if self._load_from else ():
            cfg = getattr(module, 'init_cfg', None)
            if isinstance(cfg, dict) and cfg.get('checkpoint') == '':
                module.init_cfg = None
        super()._init_model_weights()

    @cached_property
    def _resumed(self) -> Path | None:
        """The training file to continue, if there is one; the first rank chooses."""
        if not self._resume:
            return None
        if self._load_from:
            return Path(self._load_from)
        found = files.newest(Path(self.work_dir), self.logger) if dist.rank() == 0 else None
        return dist.object_from_rank_zero(found)

    @cached_property
    def _content(self) -> dict[str, Any]:
        """What is in the file to continue."""
        return files.open_training(str(self._resumed))

    def load_or_resume(self) -> None:
        """Resume this run's newest whole file or the named one, or start from ``load_from``."""
        if self._has_loaded:
            return
        self._has_loaded = True
        if not self._started:  # mmengine forgets it where nothing is trained
            self._init_model_weights()
        if self._resume:
            if self._resumed is None:
                self.logger.info(f'nothing to resume in {self.work_dir}: starting anew')
            else:
                self.resume(str(self._resumed))
        elif self._load_from and not self._sharded:
            self.load_checkpoint(self._load_from)
        if self._train_loop is not None and self.cfg.get('overwrite'):
            files.clear(self.work_dir)  # all is built by now, and read
        if self._continues and self.iter == 0:
            raise UserError('continue_epoch: add load_from=PATH, a file of earlier epochs')

    def resume(self, filename: str, **_: Any) -> None:
        """Continue exactly where one of our own training files stands."""
        content = self._content if self._resumed else files.open_training(filename)
        self.call_hook('after_load_checkpoint', checkpoint=content)
        try:
            state.restore(self, content)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise UserError(
                f'{filename}: calls itself a training file, but does not fit this run ({error})'
            ) from None
        self.__dict__.pop('_content', None)
        self.logger.info(f'resumed {filename} at epoch {self.epoch}, iteration {self.iter}')

    def load_checkpoint(self, filename: str, **_: Any) -> Any:
        """Fill the model from a file of any known layout."""
        report = load(
            bare(self.model),
            filename,
            part=self.cfg.get('load_part', 'all'),
            side=self.cfg.get('side', 'export'),
        )
        if report.side == 'both from one':
            bare(self.model).sync_teacher()
        # hooks that follow the weights, such as mmengine's EMAHook, start from them
        weights = dict(state_dict=bare(self.model).state_dict())
        self.call_hook('after_load_checkpoint', checkpoint=weights)
        if self._continues:
            self._continue(report)
        return report

    @property
    def _continues(self) -> bool:
        return bool(self.cfg.get('continue_epoch')) and self._train_loop is not None

    def _continue(self, report: Any) -> None:
        """Go on at the file's epoch with a fresh optimizer (EsViT: view task, then regions)."""
        if report.epoch is None:
            raise UserError(f'{report.path}: tells no epoch; leave out continue_epoch')
        if report.epoch >= self.max_epochs:
            raise UserError(
                f'{report.path}: has {report.epoch} epochs behind it, and training ends at '
                f'train_cfg.max_epochs={self.max_epochs}; take an earlier file'
            )
        self.train_loop.seek(report.epoch * len(self.train_dataloader))
        dist.seed_streams(self.seed or 0)  # as the loop does at iteration 0
        for scheduler in self.param_schedulers or []:
            scheduler.seek(self.iter)
        self.logger.info(f'continuing {report.path} at epoch {report.epoch}')

    def save_checkpoint(self, out_dir: str, filename: str, **_: Any) -> None:
        """Write the whole state of training to ``out_dir/filename``, or leave no trace."""
        content = state.collect(self)  # every rank takes part
        self.call_hook('before_save_checkpoint', checkpoint=content)
        files.write_together(content, Path(out_dir) / filename)
