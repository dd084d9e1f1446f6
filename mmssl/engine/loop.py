"""The training loop: epochs that can start in the middle."""

import gc
from pathlib import Path
from typing import Any

import torch
from mmengine.runner import EpochBasedTrainLoop

from ..core import UserError, dist, watchdog
from ..core.io import unwrap_model
from ..core.protocols import KeepsLosses, SeekableSampler
from ..registry import LOOPS
from . import garbage
from .loaders import tell_epoch
from .state import validations


@LOOPS.register_module(name=['EpochLoop', 'EpochBasedTrainLoop'])
class EpochLoop(EpochBasedTrainLoop):
    """mmengine's epoch loop that can start at any iteration without reading what is past.

    ``val_at_start`` runs the monitor once before training: the figure of the random
    initialisation, or of the weights training starts from.
    """

    def __init__(self, *args: Any, val_at_start: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.val_at_start = val_at_start
        self.best: float | None = None
        self.resumed = False  # from a training file of this run
        self.in_iteration = 0  # 1 between the update and the end of an iteration's hooks

    def seek(self, iteration: int) -> None:
        """Continue at ``iteration`` (counted over the whole run)."""
        self._iter = iteration
        self._epoch, done = divmod(iteration, len(self.dataloader))
        sampler = self.dataloader.sampler
        if isinstance(sampler, SeekableSampler):
            sampler.seek(self._epoch, done * self.dataloader.batch_size)

    def run(self) -> torch.nn.Module:
        """Train to the last epoch."""
        sampler = self.dataloader.sampler
        if not (isinstance(sampler, SeekableSampler) and sampler.exact):
            # a ResumableSampler holds the one that the config names
            kind = type(getattr(sampler, 'sampler', sampler)).__name__
            self.runner.logger.warning(
                f'train_dataloader.sampler of type {kind}: a resumed run will not meet the same '
                'images; EpochSampler, DefaultSampler and InfiniteSampler do'
            )
        if self._iter == 0:
            dist.seed_streams(self.runner.seed or 0)  # restored with the rest on resuming
        model = unwrap_model(self.runner.model)
        if isinstance(model, KeepsLosses):
            self.runner.optim_wrapper.readings['losses'] = lambda: model.logged_losses
        self.runner.call_hook('before_train')
        if self.resumed and self._iter and self._iter % len(self.dataloader) == 0:
            self._validate_again()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            if self._validation_is_due():
                self._validate()
        self.runner.call_hook('after_train')
        found: torch.nn.Module = self.runner.model
        return found

    def _validation_is_due(self) -> bool:
        """Whether the epoch that has ended is one after which the monitor looks."""
        self._decide_current_val_interval()
        last = self._epoch == self._max_epochs
        return (
            self.runner.val_loop is not None
            and self._epoch >= self.val_begin
            and (last or self._epoch % self.val_interval == 0)
        )

    def _validate(self) -> None:
        """Validate, and note that it has ended."""
        self.runner.val_loop.run()
        if dist.rank() == 0:
            folder, run = Path(self.runner.work_dir), self.runner.run_identity['id']
            validations.note(folder, run, self._iter, self.best)

    def _validate_again(self) -> None:
        """Run the validation that a resumed file waits for, if it was not run to its end."""
        if not self._validation_is_due():
            return
        folder, run = Path(self.runner.work_dir), self.runner.run_identity['id']
        ended = dist.call_on_rank_zero(lambda: validations.find(folder, run, self._iter))
        if ended is None:
            self.runner.logger.info(f'validating epoch {self._epoch} first, as that was not done')
            self._validate()
        else:
            self.best = ended.best

    def run_epoch(self) -> None:
        """Iterate over what is left of this epoch; before the first, the monitor may look."""
        if self._iter == 0 and self.val_at_start and self.runner.val_loop is not None:
            self._validate()
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        first = self._iter % len(self.dataloader)
        tell_epoch(self.dataloader.dataset, self._epoch)
        for batch_idx, batch in enumerate(self.dataloader, first):
            self.run_iter(batch_idx, batch)
            if batch_idx + 1 == len(self.dataloader) + first:
                break
        if isinstance(self.dataloader.sampler, SeekableSampler):
            self.dataloader.sampler.skip = 0
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        gc.collect()  # what `collect_after` has left

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Run one iteration with its hooks. Raises UserError for a batch of another form."""
        if not isinstance(data_batch, dict) or 'inputs' not in data_batch:
            raise UserError(
                'train_dataloader.dataset: an item must be dict(inputs=[view, view], '
                f'data_samples=dict(...)), but a batch is {_form(data_batch)}',
                key='train_dataloader.dataset',
                value=_form(data_batch),
            )
        self.runner.call_hook('before_train_iter', batch_idx=idx, data_batch=data_batch)
        watchdog.status.step = self._iter + 1
        with watchdog.collective('forward'):
            outputs = self.runner.model.train_step(data_batch, self.runner.optim_wrapper)
        outputs = self._on_host(outputs)
        self.in_iteration = 1
        self.runner.call_hook(
            'after_train_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs
        )
        self.in_iteration = 0
        self._iter += 1
        garbage.collect_after(self._iter)

    def _on_host(self, outputs: dict[str, Any]) -> dict[str, Any]:
        """Return the losses as numbers where the host has read them, with an update."""
        read = self.runner.step_status.values_read
        return dict(read[-1]['losses']) if read and 'losses' in read[-1] else outputs


def _form(batch: Any) -> str:
    """Return what a batch is, in words."""
    if isinstance(batch, dict):
        return f'a dict of {", ".join(map(repr, batch)) or "nothing"}'
    return f'a {type(batch).__name__}'
