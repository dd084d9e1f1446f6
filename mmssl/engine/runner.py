"""Runner: mmengine's, with safe files, any device, and errors that a user can act on."""

import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.dist import is_distributed
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import MMDistributedDataParallel
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.runner import Runner as Base
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.utils.data import DataLoader

from ..checkpoint import load
from ..checkpoint.reader.read_file import read_outline
from ..core import UserError, dist
from ..core.cores import share_cores
from ..core.deterministic import set_blas_workspaces
from ..core.device import check_driver, model_device
from ..core.errors import NoData
from ..core.io import unwrap_model
from ..core.launch import init_distributed
from ..core.precision import read_dtype
from ..core.protocols import OptionalLoop, StreamedData
from ..core.sync_bn import convert_sync_bn, read_sync_bn, sync_group
from ..registry import LOOPS, MODEL_WRAPPERS, RUNNERS
from . import console, loaders
from .batch_size import keep_global_batch, scale_learning_rate
from .compile import compile_runner
from .error_advice import advise_on_errors
from .fsdp import FullyShard, UnshardHook
from .garbage import collected_by_hand
from .hooks.checkpoint_hook import CheckpointHook
from .hooks.method_hook import MethodHook
from .hooks.non_finite_hook import NonFiniteHook
from .hooks.progress_bar_hook import ProgressBarHook
from .hooks.stream_hook import StreamHook
from .loaders import end_workers
from .optim.wrapper import OptimWrapper, active_amp
from .rank_check import check_same, data_of, settings_of
from .scalar_history import keep_histories
from .signals import catch_signals, interruptible
from .state import training_state, work_dir_files
from .state.official_state import restore_official, seek
from .state.training_fit import check_fit
from .step_status import StepStatus
from .worker_errors import name_dead_workers

MMENGINE_HOOKS = {
    *('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint'),
}


@RUNNERS.register_module()
class Runner(Base):
    """The runner of all our tools.

    Own are: starting processes without GPUs and wrapping for them, loaders that seed samples by
    (seed, epoch, index), rate scaling that prints both values, checkpoints of tensors and plain
    data. The screen shows progress, the log file all else.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.step_status = StepStatus()
        # a resumed run keeps its own
        self.run_identity: dict[str, Any] = dict(id=uuid.uuid4().hex, started=time.time())
        with advise_on_errors():
            # positional in mmengine's signature: after the model
            work_dir_files.make(kwargs['work_dir'] if 'work_dir' in kwargs else args[1])
            super().__init__(*args, **kwargs)
        console.unmute_screen(self._levels)

    def train(self) -> nn.Module:
        """Train; a signal saves and ends, errors of machine and loader become advice."""
        # outermost, or a launcher's SIGTERM would cut the advice off
        with (
            catch_signals(self),
            advise_on_errors(self),
            name_dead_workers(self),
            work_dir_files.locked(self.work_dir),
            self._ending_workers(),
            self._bar_on_terminal(),
            collected_by_hand(),
        ):
            self.batch_size = keep_global_batch(self)
            if not any(isinstance(hook, CheckpointHook) for hook in self.hooks):
                self.logger.warning('default_hooks.checkpoint is off: nothing of this run is saved')
            if self._sharded:
                self.register_hook(UnshardHook())
            data = self.train_dataloader.dataset
            if isinstance(data, StreamedData) and data.reads_stream:
                self.register_hook(StreamHook())
            found: nn.Module = super().train()
            return found

    def val(self) -> dict[str, Any]:
        """Run the monitor alone; errors become advice."""
        with self._evaluating():
            found: dict[str, Any] = super().val()
            return found

    def test(self) -> dict[str, float]:
        """Evaluate; errors become advice."""
        with self._evaluating():
            found: dict[str, float] = super().test()
            return found

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        with (
            interruptible(),
            advise_on_errors(self),
            name_dead_workers(self),
            self._ending_workers(),
        ):
            yield

    @contextmanager
    def _ending_workers(self) -> Iterator[None]:
        """End the loaders' processes with the block, also by an error: they would outlive it."""
        try:
            yield
        finally:
            for loop in (self._train_loop, self._val_loop, self._test_loop):
                for loader in (getattr(loop, 'dataloader', None), getattr(loop, 'bank', None)):
                    end_workers(loader)

    @contextmanager
    def _bar_on_terminal(self) -> Iterator[None]:
        """Show the steps of each epoch as a bar, if somebody looks on."""
        hook = ProgressBarHook()
        if sys.stdout.isatty() and dist.rank() == 0:
            self.register_hook(hook)
        try:
            yield
        finally:
            hook.close()

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build mmengine's logger, its screen quiet until the runner is ready."""
        logger = super().build_logger(*args, **kwargs)
        self._levels = console.mute_screen(logger)
        return logger

    def build_message_hub(self, *args: Any, **kwargs: Any) -> MessageHub:
        """Build mmengine's message hub, whose scalars cost the same at every step."""
        return keep_histories(super().build_message_hub(*args, **kwargs))

    def register_default_hooks(self, hooks: dict[str, Any] | None = None) -> None:
        """Add to the config's hooks what every training needs, if it is not among them."""
        # mmengine removes only hooks of its own by None
        kept = {k: v for k, v in (hooks or {}).items() if v is not None or k in MMENGINE_HOOKS}
        super().register_default_hooks(kept)
        self.register_hook(MethodHook())
        if not any(isinstance(hook, NonFiniteHook) for hook in self.hooks):
            self.register_hook(NonFiniteHook())  # else updates would be dropped without a word

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Join the process group before mmengine would, which needs a GPU for it.

        Raises UserError when the ranks differ in settings or versions, when the work dir holds
        another run's training files, and when a deterministic run cannot be.
        """
        if not self.distributed:
            check_driver()  # of many processes `init_distributed` asks, and one says
        if self.cfg.get('randomness', {}).get('deterministic'):
            set_blas_workspaces()
            env_cfg = {**env_cfg, 'cudnn_benchmark': False}  # mmengine would warn of it
        if self.distributed and not is_distributed():
            init_distributed(self.launcher, **env_cfg.get('dist_cfg', {}))
        share_cores()
        if dist.world_size() > 1:
            check_same(settings_of(self.cfg))
        if self._train_loop is not None:
            resume, overwrite = bool(self.cfg.get('resume')), bool(self.cfg.get('overwrite'))
            work_dir_files.check_work_dir(self.work_dir, resume, overwrite)
        super().setup_env(env_cfg)

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        """Move to the device; synchronise batch norms and wrap when there are ranks."""
        synchronised, group_size = read_sync_bn(self.cfg.get('sync_bn'))
        device = model_device()
        model = model.to(device, read_dtype(self.cfg.get('dtype'), self._amp))
        if not self.distributed:
            return model
        if synchronised:
            model = convert_sync_bn(model, device.type, sync_group(group_size))
        if model_wrapper_cfg and self._train_loop is not None:
            wrapper = MODEL_WRAPPERS.build(model_wrapper_cfg)
            if isinstance(wrapper, FullyShard):
                return self._shard(model, wrapper)
        if not any(p.requires_grad for p in model.parameters()):
            return model
        found: nn.Module = MMDistributedDataParallel(
            model,
            device_ids=[device] if device.type == 'cuda' else None,
            broadcast_buffers=False,
            find_unused_parameters=self.cfg.get('find_unused_parameters', False),
        )
        return found

    def _shard(self, model: nn.Module, wrapper: FullyShard) -> nn.Module:
        """Shard a model that has its weights already: files are read into full tensors."""
        if self.cfg.get('continue_epoch'):
            raise UserError(
                'continue_epoch and FullyShard do not go together; use DDP for it',
                key='continue_epoch',
                value=True,
            )
        self.model = model
        self._hooks: list[Any] = []
        if self._resumed is None:
            self._init_model_weights()
            if self._load_from:
                self.load_checkpoint(self._load_from)
        return wrapper(model, amp=active_amp(self._amp))

    @property
    def _amp(self) -> str | None:
        wrapper = self.cfg.get('optim_wrapper')
        amp: str | None = wrapper.get('amp') if isinstance(wrapper, dict) else None
        return amp

    @property
    def _sharded(self) -> bool:
        return isinstance(self.model, FSDPModule)

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader[Any] | dict[str, Any],
        seed: int | None = None,
        diff_rank_seed: bool = False,
    ) -> DataLoader[Any]:
        """Build a loader whose samples draw from (seed, epoch, index)."""
        if isinstance(dataloader, DataLoader):
            return dataloader
        return loaders.build(dataloader, Base.build_dataloader, seed, diff_rank_seed)

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Build the optimizer wrapper, which writes into this runner's step status.

        Raises UserError for a wrapper of another library.
        """
        built = super().build_optim_wrapper(optim_wrapper)
        if not isinstance(built, OptimWrapper):
            raise UserError(
                f"optim_wrapper.type='{type(built).__name__}': methods need type='OptimWrapper', "
                "whose amp='float16' or 'bfloat16' is mixed precision",
                key='optim_wrapper.type',
                value=type(built).__name__,
            )
        built.status = self.step_status
        return built

    def build_train_loop(self, loop: Any) -> Any:
        """Build the loop and its data. Raises UserError where the ranks have other data."""
        built = super().build_train_loop(loop)
        if dist.world_size() > 1:
            check_same(data_of(built.dataloader, 'train_dataloader'))
        return built

    def build_val_loop(self, loop: Any) -> Any:
        """Build the monitor; without labels or a validation folder it turns itself off.

        Without labels the loop takes its place that needs none.

        Raises UserError where the ranks do not have the same images.
        """
        built = self._val_loop_or_none(loop)
        if dist.world_size() > 1:
            check_same(data_of(built.dataloader if built else None, 'val_dataloader'))
        return built

    def _val_loop_or_none(self, loop: Any) -> Any:
        try:
            return super().build_val_loop(loop)
        except NoData as error:
            kind = LOOPS.get(loop['type']) if isinstance(loop, dict) and 'type' in loop else None
            if not isinstance(kind, OptionalLoop):
                raise
            self.logger.warning(f'{kind.off_without_data}: {error}')
            if error.key != 'labels':
                return None
            return super().build_val_loop(dict(type=kind.instead))

    def scale_lr(self, optim_wrapper: Any, auto_scale_lr: dict[str, Any] | None = None) -> None:
        """Scale the base rate to the real batch when asked, printing both values."""
        self.lr_ratio = scale_learning_rate(self, optim_wrapper, auto_scale_lr or {})

    def _build_param_scheduler(self, scheduler: Any, optim_wrapper: Any) -> list[_ParamScheduler]:
        """Tell our schedules the length of an epoch and the ratio that scaled the rate."""
        configs = scheduler if isinstance(scheduler, (list, tuple)) else [scheduler]
        ready = [
            dict(c, ratio=self.lr_ratio, per_epoch=len(self.train_dataloader))
            if isinstance(c, dict) and c.get('type', '').endswith('ScheduleParam')
            else c
            for c in configs
        ]
        found: list[_ParamScheduler] = super()._build_param_scheduler(ready, optim_wrapper)
        return found

    _maybe_compile = compile_runner  # mmengine's compiles the step
    _has_loaded: bool
    _started = False

    # files ----------------------------------------------------------------------------------
    def _init_model_weights(self) -> None:
        """Start from ``init_cfg``; a resumed file, or ``load_from`` for an empty path, has more."""
        self._started = True
        if self._resumed is not None or self._sharded:
            return
        for module in unwrap_model(self.model).modules() if self._load_from else ():
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
        return dist.call_on_rank_zero(
            lambda: work_dir_files.newest(Path(self.work_dir), self.logger)
        )

    @cached_property
    def _is_official(self) -> bool:
        """Whether the file to continue was named and is not ours."""
        if not (self._resume and self._load_from):
            return False
        return 'format' not in read_outline(str(self._load_from))

    @cached_property
    def _content(self) -> dict[str, Any]:
        """What is in the file to continue."""
        return work_dir_files.open_training(str(self._resumed))

    def load_or_resume(self) -> None:
        """Resume this run's newest whole file or the named one, or start from ``load_from``.

        Raises UserError for a file that is not there or does not fit.
        """
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
            work_dir_files.clear(self.work_dir)  # all is built by now, and read
        if self._continues and self.iter == 0:
            raise UserError(
                'continue_epoch: add load_from=PATH, a file of earlier epochs', key='load_from'
            )

    def resume(self, filename: str, **_: Any) -> None:
        """Continue exactly where a training file of ours stands, or where an official one does.

        Raises UserError for a file that does not fit this run.
        """
        if self._is_official:
            return restore_official(self, filename)
        content = self._content if self._resumed else work_dir_files.open_training(filename)
        check_fit(self, content, filename)
        self.call_hook('after_load_checkpoint', checkpoint=content)
        try:
            training_state.restore(self, content)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise UserError(
                f'{filename}: calls itself a training file, but does not fit this run ({error})',
                key='file',
                value=filename,
            ) from None
        self.__dict__.pop('_content', None)
        self.logger.info(f'resumed {filename} at epoch {self.epoch}, iteration {self.iter}')
        if self.iter >= self.max_iters:
            self.logger.info(
                f'all {self.max_epochs} epochs are trained: nothing is left to do; for more raise '
                'train_cfg.max_epochs'
            )

    def load_checkpoint(self, filename: str, **_: Any) -> Any:
        """Fill the model from a file of any known layout."""
        report = load(
            unwrap_model(self.model),
            filename,
            part=self.cfg.get('load_part', 'all'),
            branch=self.cfg.get('branch', 'export'),
        )
        if report.branch == 'both from one':
            unwrap_model(self.model).sync_teacher()
        # hooks that follow the weights, such as mmengine's EMAHook, start from them
        weights = dict(state_dict=unwrap_model(self.model).state_dict())
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
            raise UserError(
                f'{report.path}: tells no epoch; leave out continue_epoch',
                key='file',
                value=report.path,
            )
        seek(self, report.path, report.epoch, 'continue_epoch')
        dist.seed_streams(self.seed or 0)  # as the loop does at iteration 0
        self.logger.info(f'continuing {report.path} at epoch {report.epoch}')

    def save_checkpoint(self, out_dir: str, filename: str, **_: Any) -> None:
        """Write the whole state of training to ``out_dir/filename``, or leave no trace."""
        content = training_state.collect(self)  # every rank takes part
        self.call_hook('before_save_checkpoint', checkpoint=content)
        work_dir_files.write_together(content, Path(out_dir) / filename)
