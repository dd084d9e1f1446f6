"""MoCo v3's configs against the numbers of the official CONFIG.md and of OpenMMLab's configs."""

import pytest
import torch
from torch import nn

from mmssl.apis import load_config
from mmssl.optim.param_groups import param_effects
from mmssl.registry import MODELS, PARAM_SCHEDULERS

from ..helpers.configs import find, load, network
from ..helpers.refusals import refuses

MOCOV3 = 'mocov3/mocov3_'
RESNET, VIT = ('LARS', 1.0, 0.2, 10), ('AdamW', 0.2, 0.08, 40)
RECIPES = {
    'resnet50_8xb512-amp-coslr-100e': (*RESNET, 100, 9.6, 1e-6, 0.99, 68_012_160, 35_058_752),
    'resnet50_8xb512-amp-coslr-300e': (*RESNET, 300, 4.8, 1e-6, 0.99, 68_012_160, 35_058_752),
    'resnet50_8xb512-amp-coslr-800e': (*RESNET, 800, 4.8, 1.5e-6, 0.996, 68_012_160, 35_058_752),
    'resnet50_8xb512-amp-coslr-1000e': (*RESNET, 1000, 4.8, 1.5e-6, 0.996, 68_012_160, 35_058_752),
    'vit-small-p16_16xb256-amp-coslr-300e': (*VIT, 300, 2.4e-3, 0.1, 0.99, 84_266_752, 42_815_104),
    'vit-small-p16_8xb128-amp-coslr-300e': (*VIT, 300, 6e-4, 0.1, 0.99, 84_266_752, 42_815_104),
    'vit-conv-small-p16_16xb256-amp-coslr-300e': (
        *VIT,
        300,
        2.4e-3,
        0.1,
        0.99,
        82_170_208,
        42_062_128,
    ),
    'vit-conv-base-p16_16xb256-amp-coslr-300e': (
        *VIT,
        300,
        2.4e-3,
        0.1,
        0.99,
        208_480_960,
        105_141_856,
    ),
    'vit-base-p16_16xb256-amp-coslr-300e': (*VIT, 300, 2.4e-3, 0.1, 0.99, 215_678_464, 108_150_016),
    'vit-large-p16_64xb64-amp-coslr-300e': (*VIT, 300, 2.4e-3, 0.1, 0.99, 652_781_568, 326_454_272),
}


@pytest.mark.parametrize('short', RECIPES)
def test_mocov3_pretraining(short):
    kind, temperature, crop, warmup, epochs, lr, decay, momentum, total, trained = RECIPES[short]
    path = find(f'{MOCOV3}{short}_')
    cfg, model = load(path), network(path)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == (kind, lr, decay)
    assert cfg.auto_scale_lr.base_batch_size == (1024 if '8xb128' in short else 4096)
    assert cfg.train_cfg.max_epochs == epochs
    assert cfg.optim_wrapper.amp == 'float16' and cfg.sync_bn
    assert cfg.optim_wrapper.get('clip_grad') == (dict(max_norm=5.0) if 'large' in short else None)
    assert (model.head.temperature, model.head.weight) == (temperature, 2 * temperature)
    assert (model.momentum.start, model.momentum.final) == (momentum, 1.0)
    assert sum(p.numel() for p in model.parameters()) == total
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trained
    one, two = cfg.train_dataloader.dataset.pipeline[1].views
    for view, blur, solarize in ((one, 1.0, None), (two, 0.1, 0.2)):
        assert (view.scale, view.jitter) == ((crop, 1.0), (0.4, 0.4, 0.2, 0.1))
        assert (view.blur, view.get('solarize')) == (blur, solarize)
    lr_schedule = schedule(cfg, per_epoch=4)
    assert lr_schedule(0) == 0.0 and lr_schedule(2) == pytest.approx(lr * 0.5 / warmup)
    assert lr_schedule(warmup * 4) == lr
    middle = (warmup + epochs) / 2
    assert lr_schedule(round(middle * 4)) == pytest.approx(lr / 2)
    assert lr_schedule(epochs * 4) == pytest.approx(0, abs=1e-12)


def schedule(cfg, per_epoch):
    """Return the learning rate by iteration."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], cfg.optim_wrapper.optimizer.lr)
    scheduler = dict(cfg.param_scheduler[0], optimizer=optimizer)
    built = PARAM_SCHEDULERS.build(
        dict(scheduler, per_epoch=per_epoch, end=cfg.train_cfg.max_epochs)
    )
    return built.value


def test_lars_leaves_norms_and_biases_alone():
    path = find(f'{MOCOV3}resnet50_8xb512-amp-coslr-100e')
    model = network(path)
    table = param_effects(model, load(path).optim_wrapper.paramwise_cfg.rules)
    shapes = {n: p.ndim for n, p in model.named_parameters()}
    for parameter, effects in table.items():
        assert (effects['adapt'], effects['decay_mult']) == (
            (shapes[parameter] > 1),
            shapes[parameter] > 1,
        )
    assert (
        torch.count_nonzero(MODELS.build(load(path).model.backbone).net.layer1[0].bn3.weight) == 0
    )


def test_mocov3_vits_have_a_fixed_stem_and_twelve_or_sixteen_heads():
    for short, heads in (('small-p16_16', 12), ('base-p16_16', 12), ('large', 16)):
        model = network(find(f'{MOCOV3}vit-{short}'))
        net = model.backbone.net
        assert net.blocks[0].attn.num_heads == heads
        assert not net.patch_embed.proj.weight.requires_grad and not net.pos_embed.requires_grad
        assert net.cls_token.requires_grad


BENCHMARKS = {
    'resnet50_8xb128-linear-coslr-90e': ('SGD', 0.4, 90, 1024, 25_557_032, 2_049_000),
    'vit-small-p16_8xb128-linear-coslr-90e': ('SGD', 12.0, 90, 1024, 22_050_664, 385_000),
    'vit-base-p16_8xb128-linear-coslr-90e': ('SGD', 12.0, 90, 1024, 86_567_656, 769_000),
    'vit-base-p16_8xb64-coslr-150e': ('AdamW', 5e-4, 150, 512, 86_567_656, 86_567_656),
    'vit-large-p16_8xb64-coslr-100e': ('AdamW', 5e-4, 100, 512, 304_326_632, 304_326_632),
}


@pytest.mark.parametrize('short', BENCHMARKS)
def test_mocov3_benchmarks(short):
    kind, lr, epochs, batch, total, trained = BENCHMARKS[short]
    path = find(f'mocov3/benchmarks/{short}_')
    cfg, model = load(path), network(path)
    assert (cfg.optim_wrapper.optimizer.type, cfg.optim_wrapper.optimizer.lr) == (kind, lr)
    assert (cfg.train_cfg.max_epochs, cfg.auto_scale_lr.base_batch_size) == (epochs, batch)
    assert sum(p.numel() for p in model.parameters()) == total
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trained
    lr_schedule = schedule(cfg, per_epoch=4)
    if 'linear' in short:  # once per epoch, no warm-up
        assert [lr_schedule(i) for i in range(5)] == [lr] * 4 + [lr_schedule(4)]
        assert lr_schedule(45 * 4) == pytest.approx(lr / 2)
    else:
        assert lr_schedule(0) == 5e-7 and lr_schedule(20) == lr
        assert lr_schedule(epochs * 4) == pytest.approx(1e-5)
    with refuses('model.backbone.init_cfg.checkpoint', ''):
        model.init_weights()


def test_a_benchmark_takes_its_weights_from_the_command_line():
    option = 'model.backbone.init_cfg.checkpoint'
    path = find('mocov3/benchmarks/resnet50_8xb128')
    assert load_config(path, {option: 'some.pth'}).model.backbone.init_cfg.checkpoint == 'some.pth'
