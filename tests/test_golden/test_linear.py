"""Linear probes of the official codes: features, loss, gradients and the layer afterwards."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmssl.checkpoint import load, read
from mmssl.engine import ScheduleParam
from mmssl.registry import MODELS

from ..helpers.configs import find
from ..helpers.configs import load as config
from ..helpers.replaying import counts, failures
from ..replay import command


def far(found, wanted):
    """Return the largest relative error."""
    found, wanted = torch.as_tensor(found, dtype=torch.double).detach(), wanted.double()
    return float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1e-12))


def classifier(short, backbone, classes, **changes):
    """Return a config, its classifier with a small network, and its optimizer's settings."""
    cfg = config(find(short))
    backbone = {**cfg.model.backbone, **backbone, 'init_cfg': None}
    head = dict(cfg.model.head, num_classes=classes)
    model = dict(cfg.model, backbone=backbone, head=head, **changes)
    settings = {k: v for k, v in cfg.optim_wrapper.optimizer.items() if k != 'type'}
    return cfg, MODELS.build(model).double(), settings


def test_moby(golden):
    case = golden('moby_linear_a')
    small = dict(
        arch=(8, (1, 2, 1, 1), (1, 2, 4, 4)), img_size=32, patch_size=2, window_size=4,
        drop_path_rate=0.0,
    )  # fmt: skip
    cfg, model, settings = classifier('moby/benchmarks/swin-tiny_8xb64', small, 10)
    load(model, case.folder / 'linear_official.pth')
    model.train()
    assert model.backbone.training, 'the official probe keeps the network in train mode'
    image, label = case.batch['image'].double(), case.batch['label']
    logits = model.logits(image)
    feature = model.backbone.last_blocks_features(image, model.blocks, model.pool)
    assert far(feature, case.expect['feat']) < 1e-9
    assert far(logits, case.expect['logits']) < 1e-9
    loss = model(image, dict(label=label), mode='loss')['loss']
    assert far(loss, case.expect['loss']) < 1e-9
    loss.backward()
    trained = {n: p for n, p in model.named_parameters() if p.grad is not None}
    assert set(trained) == {'head.fc.weight', 'head.fc.bias'}
    for kind in ('weight', 'bias'):
        assert far(trained[f'head.fc.{kind}'].grad, case.expect[f'grad.head.{kind}']) < 1e-9
    norm = torch.nn.utils.clip_grad_norm_(trained.values(), cfg.optim_wrapper.clip_grad.max_norm)
    assert far(norm, case.expect['grad_total_norm']) < 1e-9
    optimizer = torch.optim.SGD(trained.values(), **dict(settings, lr=moby_rate(cfg, case, 0)))
    stored = read(case.folder / 'linear_official.pth')['optimizer']['state']
    for i, parameter in enumerate(trained.values()):
        buffer = stored[i]['momentum_buffer'].double()
        optimizer.state[parameter]['momentum_buffer'] = buffer
    optimizer.step()
    for kind in ('weight', 'bias'):
        assert far(trained[f'head.fc.{kind}'], case.expect[f'after.head.{kind}']) < 1e-9
    buffer = optimizer.state[model.head.fc.weight]['momentum_buffer']
    assert far(buffer, case.expect['after.momentum_buffer.head.weight']) < 1e-9


@pytest.mark.parametrize(('after', 'name'), [(0, 'lr_used'), (1, 'lr_after_step')])
def test_mobys_rate(golden, after, name):
    case = golden('moby_linear_a')
    cfg = config(find('moby/benchmarks/swin-tiny_8xb64'))
    assert moby_rate(cfg, case, after) == pytest.approx(float(case.expect[name]), rel=1e-12)


def moby_rate(cfg, case, after):
    """Return the rate of the recorded step, or that of a later one, by the config's schedule."""
    c = case.case['lr_schedule']
    optimizer = torch.optim.SGD([torch.zeros(1)], c['scaled_base_lr'])
    schedule = {k: v for k, v in cfg.param_scheduler[0].items() if k != 'type'}
    schedule |= dict(warmup_start=c['scaled_warmup_lr'], final=c['scaled_min_lr'])
    schedule |= dict(warmup=c['warmup_epochs'], per_epoch=c['iters_per_epoch'], end=c['epochs'])
    scheduler = ScheduleParam(optimizer, **schedule)
    step = c['step_epoch'] * c['iters_per_epoch'] + c['step_iteration']
    return scheduler.value(step + after)


@pytest.mark.parametrize('blocks', [1, 2, 4, 6])
def test_esvit(golden, blocks):
    """Two epochs of three batches; the backbone is read from the pretraining file."""
    case = golden('esvit_linear_a')
    small = dict(arch=(8, (1, 1, 3, 2), (1, 2, 4, 8)), img_size=64, window_size=4)
    cfg, model, settings = classifier(
        'esvit/benchmarks/swin-tiny-w7_4xb256-linear', small, 7, blocks=blocks
    )
    assert cfg.model.blocks == 4
    load(model, case.folder / 'official.pth', part='backbone')
    for kind in ('weight', 'bias'):
        own = getattr(model.head.fc, kind)
        own.data.copy_(case.batch[f'linear.n{blocks}.{kind}'])
    model.train()
    images = [case.batch[f'image_{i}'].double() for i in range(3)]
    labels = [case.batch[f'label_{i}'] for i in range(3)]
    feature = model.backbone.last_blocks_features(images[0], blocks, model.pool)
    assert far(feature, case.expect[f'feat.last_blocks_{blocks}']) < 1e-9
    assert far(model.logits(images[0]), case.expect[f'logits.n{blocks}']) < 1e-9
    optimizer = torch.optim.SGD(model.head.parameters(), **dict(settings, lr=0.1 * 6 / 256))
    schedule = {k: v for k, v in cfg.param_scheduler[0].items() if k != 'type'}
    scheduler = ScheduleParam(optimizer, per_epoch=3, end=100, **schedule)
    for epoch in range(2):
        losses = []
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            scheduler.seek(3 * epoch + i)
            optimizer.zero_grad()
            loss = model(image, dict(label=label), mode='loss')['loss']
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        rate = optimizer.param_groups[0]['lr']
        assert far(rate, case.expect[f'lr.n{blocks}'][epoch]) < 1e-12
        wanted = case.expect[f'train_loss.n{blocks}.epoch{epoch}']
        assert far(torch.stack(losses).mean(), wanted) < 1e-9
    for kind in ('weight', 'bias'):
        wanted = case.expect[f'after.n{blocks}.module.linear.{kind}']
        assert far(getattr(model.head.fc, kind), wanted) < 1e-9


# the replay tool ----------------------------------------------------------------------------------
GROUPS = ('schedule', 'loss', 'accuracy', 'features', 'gradients', 'layer after the steps')
COUNTS = {'moby_linear_a': (2, 2, 2, 2, 4, 5), 'esvit_linear_a': (4, 16, 8, 12, 0, 8),
          'dino_linear_a': (3, 18, 9, 6, 0, 6)}  # fmt: skip


@pytest.mark.parametrize('name', COUNTS)
def test_the_replay_tool_takes_them(golden, name):
    assert command.kind_of(golden(name).folder) is command.Linear
    done = command.Linear(golden(name).folder, 1e-9)
    assert failures(done) == [] and done.ok and not done.skipped
    assert counts(done) == {g: n for g, n in zip(GROUPS, COUNTS[name], strict=True) if n}


def test_the_replay_tool_sees_what_is_changed(golden, tmp_path):
    case, folder = golden('moby_linear_a'), tmp_path / 'case'
    shutil.copytree(case.folder, folder)
    changed = {k: v * (1 + 1e-6) for k, v in case.expect.items()}
    more = {'loss.other': torch.zeros(2), 'inner': torch.zeros(2)}
    save_file({**load_file(folder / 'expect.safetensors'), **changed, **more},
              folder / 'expect.safetensors')  # fmt: skip
    done = command.Linear(folder, 1e-9)
    assert {line.split(': ')[0] for line in failures(done)} == {*changed, 'loss.other (not found)'}
    assert done.skipped == ['inner: no probe for this tensor']
    assert command.Linear(folder, 1e-5).ok is False
