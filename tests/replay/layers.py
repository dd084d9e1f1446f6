"""The steps of recorded linear probes: a layer on a network, with the engine's own parts."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmssl.checkpoint import load, read
from mmssl.engine import ParamGroupConstructor, ScheduleParam
from mmssl.evaluation.knn import accuracy
from mmssl.registry import MODELS

from . import cases
from .recorder import Recorder
from .step import gradients

# a case's words for its network -> those of a replay block
WORDS = dict(
    type='family',
    backbone='family',
    img_size='image_size',
    train_image_size='image_size',
    layer_norm_eps='norm_eps',
)
Batch = tuple[Tensor, Tensor]  # image (B, 3, H, W), label (B,)


class Probe:
    """A layer on a recorded network, its optimizer and schedule."""

    def __init__(
        self,
        model: dict[str, Any],
        file: Path,
        wrapper: dict[str, Any],
        schedule: dict[str, Any],
        device: str,
    ) -> None:
        self.place: dict[str, Any] = dict(device=device, dtype=torch.float64)
        built = MODELS.build(dict(model, type='Classifier', frozen=True))
        self.model = built.to(**self.place).train()
        load(
            self.model,
            file,
            part='all' if model.get('backbone_train_mode') else 'backbone',
            verbose=False,
        )
        self.layer = self.model.head.fc
        self.wrapper = ParamGroupConstructor(dict(wrapper, type='OptimWrapper'))(self.model)
        self.wrapper.initialize_count_status(self.model, 0, 1)
        self.scheduler = ScheduleParam(self.wrapper, 'lr', **schedule)
        self.grads: dict[str, Tensor] = {}
        self.seen = Recorder()
        self.seen.module(self.model.head, 'head')
        clip = self.wrapper._clip

        def watched_clip(*gradients_and_norms: Any) -> None:
            self.grads = gradients(self.model)
            clip(*gradients_and_norms)

        self.wrapper._clip = watched_clip

    @property
    def rate(self) -> Tensor:
        """The learning rate at this step."""
        return torch.tensor(self.wrapper.optimizer.param_groups[0]['lr'], dtype=torch.float64)

    def step(self, at: int, batch: Batch) -> Tensor:
        """Take step ``at`` of the run; return its loss."""
        self.scheduler.seek(at)
        data = dict(inputs=batch[0].to(**self.place), data_samples=dict(label=batch[1]))
        found: Tensor = self.model.train_step(data, self.wrapper)['loss'].detach()
        return found

    @torch.no_grad()
    def judge(self, batches: list[Batch]) -> Tensor:
        """Return the means over batches of loss, top-1 and top-5: (3,)."""
        self.model.eval()
        rows = []
        for image, label in batches:
            logits = self.model.logits(image.to(**self.place))
            label = label.to(logits.device)
            loss = self.model.head.loss(logits, label)
            rows.append([loss, accuracy(logits, label), accuracy(logits, label, 5)])
        self.model.train()
        return torch.tensor(rows, dtype=torch.float64).mean(0)


def network(said: dict[str, Any]) -> dict[str, Any]:
    """Config of the backbone that a case describes."""
    block = {'positions': 'learned', **{WORDS.get(k, k): v for k, v in said.items()}}
    return dict(cases.backbone({'backbone': block}), drop_path_rate=said.get('drop_path', 0.0))


def moby(
    folder: Path, case: dict[str, Any], batch: dict[str, Tensor], device: str = 'cpu'
) -> dict[str, Tensor]:
    """Take the recorded step of MoBY's probe, with plain and with smoothed labels."""
    c, found = case['lr_schedule'], {}
    for mark, smoothing in (('_plain_ce', 0.0), ('', case['loss']['smoothing'])):
        probe = _of_moby(folder / 'linear_official.pth', case, smoothing, device)
        at = c['step_epoch'] * c['iters_per_epoch'] + c['step_iteration']
        found[f'loss{mark}'] = probe.step(at, (batch['image'], batch['label']))
        for kind in ('weight', 'bias'):
            found[f'grad{mark}.head.{kind}'] = probe.grads[f'head.fc.{kind}']
            found[f'after{mark}.head.{kind}'] = getattr(probe.layer, kind).detach()
    buffer = probe.wrapper.optimizer.state[probe.layer.weight]['momentum_buffer']
    found['after.momentum_buffer.head.weight'] = buffer
    found['grad_total_norm'] = torch.stack([g.norm() for g in probe.grads.values()]).norm()
    found['feat'], found['logits'] = probe.seen.inputs['head'][0][0], probe.seen.calls['head'][0]
    for top in (1, 5):
        percent = accuracy(found['logits'], batch['label'], top)
        found[f'acc{top}'] = torch.tensor(percent, dtype=torch.float64)
    found['lr_used'] = probe.rate
    probe.scheduler.step()
    found['lr_after_step'] = probe.rate
    return found


def _of_moby(file: Path, case: dict[str, Any], smoothing: float, device: str) -> Probe:
    """Return the probe of a file, with its momenta."""
    c, o = case['lr_schedule'], case['optimizer']
    names = ('momentum', 'dampening', 'nesterov', 'weight_decay')
    wrapper = dict(
        optimizer=dict(type='SGD', lr=c['scaled_base_lr'], **{name: o[name] for name in names}),
        clip_grad=dict(max_norm=o['clip_grad_global_norm']) if o['clip_grad_global_norm'] else None,
    )
    schedule = dict(
        final=c['scaled_min_lr'],
        warmup=c['warmup_epochs'],
        warmup_start=c['scaled_warmup_lr'],
        after_warmup=False,
        lag=1,
        per_epoch=c['iters_per_epoch'],
        end=c['epochs'],
    )
    head = dict(type='LinearHead', num_classes=case['head']['out_features'])
    head['label_smoothing'] = smoothing
    probe = Probe(
        dict(backbone=network(case['backbone']), head=head, backbone_train_mode=True),
        file,
        wrapper,
        schedule,
        device,
    )
    for place, entries in read(file)['optimizer']['state'].items():
        parameter = (probe.layer.weight, probe.layer.bias)[place]
        state = {'momentum_buffer': entries['momentum_buffer'].to(parameter)}
        probe.wrapper.optimizer.state[parameter] = state
    return probe


def esvit(
    folder: Path, case: dict[str, Any], batch: dict[str, Tensor], device: str = 'cpu'
) -> dict[str, Tensor]:
    """Train EsViT's probe for some epochs, for each number of blocks."""
    count = sum(name.startswith('image_') for name in batch)
    batches = [(batch[f'image_{i}'], batch[f'label_{i}']) for i in range(count)]
    # the recipe is told in words: lr_arg=0.1, batch=6, 2 epochs are run, ...
    said = {key: float(value) for key, value in re.findall(r'(\w+)=([\d.]+)', case['linear'])}
    (epochs,) = map(int, re.findall(r'(\d+) epochs are run', case['linear']))
    optimizer = dict(type='SGD', lr=said['lr_arg'] * said['batch'] / 256, momentum=0.9)
    schedule = dict(final=0.0, hold_epochs=True, per_epoch=count, end=int(said['epochs']))
    found: dict[str, Tensor] = {}
    for n in case['n_values']:
        head = dict(type='LinearHead', num_classes=int(said['num_labels']))
        model = dict(backbone=network(case['architecture']), head=head, blocks=n)
        probe = Probe(model, folder / 'official.pth', dict(optimizer=optimizer), schedule, device)
        for kind in ('weight', 'bias'):
            getattr(probe.layer, kind).data.copy_(batch[f'linear.n{n}.{kind}'])
        found[f'val_before.n{n}'] = probe.judge(batches)
        found[f'logits.n{n}'] = probe.seen.calls['head'][0]
        rates = []
        for epoch in range(epochs):
            losses = [probe.step(count * epoch + i, one) for i, one in enumerate(batches)]
            found[f'train_loss.n{n}.epoch{epoch}'] = torch.stack(losses).mean()
            rates.append(probe.rate)
        found[f'lr.n{n}'] = torch.stack(rates)
        found[f'val_after.n{n}'] = probe.judge(batches)
        for kind in ('weight', 'bias'):
            found[f'after.n{n}.module.linear.{kind}'] = getattr(probe.layer, kind).detach()
    net, image = probe.model.backbone, batches[0][0].to(**probe.place)
    found['feat.knn'] = net.encode(image).pooled.detach()
    for n in range(1, net.stage_ends[-1] + 2):
        found[f'feat.last_blocks_{n}'] = net.last_blocks_features(image, n).detach()
    return found


# a DINO case's name of features -> blocks and pool of a classifier
DINO_FEATURES = {
    'n1': dict(blocks=1, pool='cls'),
    'n2': dict(blocks=2, pool='cls'),
    'n1_avgpool': dict(blocks=1, pool='interleaved'),
}


def dino(
    folder: Path, case: dict[str, Any], batch: dict[str, Tensor], device: str = 'cpu'
) -> dict[str, Tensor]:
    """Train DINO's probe on each of its features."""
    count = sum(name.startswith('image_') for name in batch)
    batches = [(batch[f'image_{i}'], batch[f'label_{i}']) for i in range(count)]
    rate = case['lr_arg'] * len(batches[0][0]) / 256
    optimizer = dict(type='SGD', lr=rate, momentum=0.9)
    schedule = dict(final=0.0, hold_epochs=True, per_epoch=count, end=case['epochs'])
    found: dict[str, Tensor] = {}
    for name, feature in DINO_FEATURES.items():
        start = {kind: batch[f'linear.{name}.{kind}'] for kind in ('weight', 'bias')}
        head = dict(type='LinearHead', num_classes=len(start['bias']))
        model = dict(backbone=network(case['architecture']), head=head, **feature)
        probe = Probe(model, folder / 'official.pth', dict(optimizer=optimizer), schedule, device)
        for kind, value in start.items():
            getattr(probe.layer, kind).data.copy_(value)
        probe.judge(batches[:1])
        found[f'feat.{name}'] = probe.seen.inputs['head'][0][0]
        found[f'logits.{name}'] = probe.seen.calls['head'][0]
        rates = []
        for epoch in range(case['epochs']):
            losses = [probe.step(count * epoch + i, one) for i, one in enumerate(batches)]
            found[f'train_loss.{name}.epoch{epoch}'] = torch.stack(losses).mean()
            rates.append(probe.rate)
            found[f'val.{name}.epoch{epoch}'] = probe.judge(batches)
        found[f'lr.{name}'] = torch.stack(rates)
        for kind in ('weight', 'bias'):
            found[f'after.{name}.module.linear.{kind}'] = getattr(probe.layer, kind).detach()
    return found
