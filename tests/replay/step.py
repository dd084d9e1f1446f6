"""One training step from an official checkpoint, with the engine's own parts."""

import re
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from mmssl.checkpoint import load, read
from mmssl.checkpoint.optimizer_state import load_optimizer
from mmssl.core import Progress, UserError
from mmssl.engine import MethodHook, ParamGroupConstructor, ScheduleParam
from mmssl.registry import MODELS

from . import cases, evaluation, probes, settings
from .names import OfficialNames, optimizer_entries
from .precision import PRECISIONS, Precision
from .recorder import Recorder, kept


class Step:
    """A replayed step: what it was given and what it left behind, by our names, on the CPU."""

    def __init__(
        self,
        folder: Path,
        block: dict[str, Any],
        batch: dict[str, Tensor],
        device: str = 'cpu',
        precision: Precision = PRECISIONS['float64'],
    ) -> None:
        self.block, self.device, self.precision = block, device, precision
        self.place: dict[str, Any] = dict(device=device, dtype=precision.dtype)
        path = str(folder / 'official.pth')
        self.model = MODELS.build(cases.model(block)).to(**self.place).train()
        self.report = load(self.model, path, layout=block['method'], verbose=False)
        self._check_whole()
        self.content = read(path)
        self.name_of = OfficialNames(self.content, path, block['method'], self.model.state_dict())
        count = len(block['views']['sizes'])
        self.views = [batch[f'view_{i}'].to(**self.place) for i in range(count)]
        self.batch = batch
        self.found = self._eval_features()
        self.progress = Progress(
            block['clock']['step'],
            block['clock']['epochs'] * block['clock']['steps_per_epoch'],
            block['clock']['steps_per_epoch'],
        )
        if 'queue' in batch:
            self.model.head.memory.bank.copy_(batch['queue'])
        self._engine()
        self._run()

    def _check_whole(self) -> None:
        """Refuse a file that is not exactly the model of the block."""
        given = ['head.memory.bank']  # SwAV's queue comes with the batch
        left = [key for key in self.report.missing if key not in given]
        left += self.report.unexpected + self.report.mismatched
        if left:
            raise UserError(
                f'{self.report.path}: not the model of the replay block, {len(left)} tensors do '
                f'not fit: {", ".join(left[:5])}'
            )

    def _eval_features(self) -> dict[str, Tensor]:
        found = {}
        self.model.eval()
        with torch.no_grad(), self._autocast():
            for i, view in enumerate(self.views):
                found[f'eval.backbone.view_{i}'] = self.model.student.backbone.encode(view).pooled
            found |= evaluation.features(self.model, self.batch, self.views[-1])
        self.model.train()
        result: dict[str, Tensor] = kept(found)
        return result

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision.autocast)

    def _engine(self) -> None:
        wrapper, rules = settings.optimizer(self.block)
        self.wrapper = ParamGroupConstructor(wrapper, dict(rules=rules))(self.model)
        if self.precision.autocast:  # the wrapper's own is CUDA's alone
            self.wrapper.optim_context = lambda _: self._autocast()
        if self.block['optimizer']['state'] != 'fresh':
            load_optimizer(self.wrapper.optimizer, self.model, self.content, self.name_of.layout)
        self.schedulers = []
        for cfg in settings.schedules(self.block):
            cfg = {k: v for k, v in cfg.items() if k != 'type'}
            scheduler = ScheduleParam(
                self.wrapper,
                per_epoch=self.progress.per_epoch,
                end=self.block['clock']['epochs'],
                **cfg,
            )
            scheduler.seek(self.progress.step)
            self.schedulers.append(scheduler)

    def _run(self) -> None:
        recorder = Recorder()
        probes.watch(self.model, recorder)
        self.grads: dict[str, Tensor] = {}
        self.clipped: dict[str, Tensor] = {}
        self._watch_gradients(recorder)
        # MoBY counts its momentum steps apart from its iterations
        runner: Any = SimpleNamespace(
            iter=self.block['clock'].get('momentum_step', self.progress.step),
            max_iters=self.block['clock'].get('momentum_total', self.progress.total),
            train_dataloader=range(self.progress.per_epoch),
            optim_wrapper=self.wrapper,
            model=self.model,
        )
        self.wrapper.initialize_count_status(self.model, 0, self.progress.total)
        hook, data = MethodHook(), self._data()
        hook.before_train_iter(runner, 0, data)
        self.used = self._used()
        losses = self.model.train_step(data, self.wrapper)
        hook.after_train_iter(runner, 0, data, losses)
        recorder.close()
        self.found['loss'] = kept(losses['loss'])
        self.found |= probes.PROBES[self.block['method']](
            self.model, recorder.calls, recorder.inputs
        )
        self.after = kept_state(self.model)
        entries = optimizer_entries(self.model, self.wrapper.optimizer)
        self.moments = {f'{key}.{name}': value for name, key, value in entries}
        self.rescaled = self._rescaled(recorder.calls['rescale'])
        for scheduler in self.schedulers:
            scheduler.step()
        self.used['lr_next'] = self.wrapper.optimizer.param_groups[0]['lr']

    def _rescaled(self, calls: list[list[Tensor]]) -> dict[str, Tensor]:
        """Directions of LARS or LARC by name."""
        groups = self.wrapper.optimizer.param_groups
        names = [n for g in groups for n in g['names'] if n in self.moved]
        # one call for each group, or for each tensor
        return dict(zip(names, chain(*calls), strict=True)) if calls else {}

    def _used(self) -> dict[str, float]:
        """Values of the schedules at this step."""
        groups = self.wrapper.optimizer.param_groups
        used = {
            name: schedule.value_at(*self.model.progress)
            for name, schedule in self.model.schedules().items()
        }
        used['lr'] = groups[0]['lr']
        used['weight_decay'] = max(group['weight_decay'] for group in groups)
        return used

    def _data(self) -> dict[str, Any]:
        samples: dict[str, Any] = {}
        boxes = [self.batch[f'box_{i}'] for i in range(len(self.views)) if f'box_{i}' in self.batch]
        if boxes:
            samples['box'] = torch.stack(boxes, 1)  # (B, V, 5)
        masks = sorted(key for key in self.batch if re.fullmatch(r'mask_\d+', key))
        if masks:
            samples['mask'] = torch.stack([self.batch[key].bool() for key in masks], 1)
        for name in ('idx_shuffle',):
            if name in self.batch:
                samples[name] = self.batch[name]
        return dict(inputs=self.views, data_samples=samples)

    def _frozen_groups(self) -> list[dict[str, Any]]:
        step, per_epoch = self.progress.step, self.progress.per_epoch
        return [
            g
            for g in self.wrapper.optimizer.param_groups
            if step < max(g['frozen_iters'], g['frozen_epochs'] * per_epoch)
        ]

    def _watch_gradients(self, recorder: Recorder) -> None:
        original = self.wrapper._clip

        def clip(*gradients_and_norms: Any) -> None:
            self.grads = gradients(self.model)
            original(*gradients_and_norms)
            self.clipped = gradients(self.model)
            frozen = {n for g in self._frozen_groups() for n in g['names']}
            self.moved = set(self.clipped) - frozen

        self.wrapper._clip = clip
        if hasattr(self.wrapper.optimizer, 'rescale'):
            recorder.function(self.wrapper.optimizer, 'rescale', 'rescale')


def gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    """Copy all gradients by name, to the CPU."""
    return {n: kept(p.grad) for n, p in model.named_parameters() if p.grad is not None}


def kept_state(model: torch.nn.Module) -> dict[str, Tensor]:
    """Copy the state dict to the CPU."""
    return {name: kept(value) for name, value in model.state_dict().items()}
