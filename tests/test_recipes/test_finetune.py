"""Fine-tuning: each config is the published recipe, number by number."""

from pathlib import Path

import pytest

from mmssl.optim.param_groups import param_effects
from mmssl.results.reference import comparison_line, published_figure
from mmssl.zoo.hub import identify

from ..helpers.configs import find, load, network

S, B, L = (f'vit-{size}-p16' for size in ('small', 'base', 'large'))
# config: layer decay, depth, rate for its batch, batch, warm-up, epochs, drop path
DECAYED = {
    f'sere/benchmarks/{S}_8xb128-amp-coslr-100e': (0.65, 12, 5e-4 * 1024 / 256, 1024, 5, 100, 0.1),
    f'sere/benchmarks/{B}_8xb128-amp-coslr-100e': (0.65, 12, 5e-4 * 1024 / 256, 1024, 5, 100, 0.1),
    f'ibot/benchmarks/{S}_8xb128-amp-coslr-200e': (0.75, 12, 4e-3, 1024, 20, 200, 0.1),
    f'ibot/benchmarks/{B}_8xb128-amp-coslr-100e': (0.65, 12, 4e-3, 1024, 20, 100, 0.2),
    f'ibot/benchmarks/{L}_16xb64-amp-coslr-50e': (0.75, 24, 4e-3, 1024, 5, 50, 0.4),
    **{
        f'sere/benchmarks/{S}_8xb32-amp-coslr-100e_imagenet-s{classes}': (
            *(0.5, 12, 5e-4 * 256 / 256, 256, 5, 100, 0.1),
        )
        for classes in (50, 300, 919)
    },
}


@pytest.mark.parametrize('short', DECAYED)
def test_layers_rates_and_schedule(short):
    decay, depth, rate, batch, warmup, epochs, drop_path = DECAYED[short]
    path = find(short)
    cfg, model = load(path), network(path)
    table = param_effects(model, cfg.optim_wrapper.paramwise_cfg.rules)
    scales = {name: effects['lr_mult'] for name, effects in table.items()}
    assert scales['backbone.net.pos_embed'] == pytest.approx(decay ** (depth + 1))
    for i in range(depth):
        name = f'backbone.net.blocks.{i}.mlp.fc1.weight'
        assert scales[name] == pytest.approx(decay ** (depth - i))
    assert scales['head.fc.weight'] == 1
    plain = [name for name, effects in table.items() if effects['decay_mult'] == 0]
    assert set(plain) == {
        n
        for n, p in model.named_parameters()
        if p.ndim == 1 or n[-9:] in ('cls_token', 'pos_embed')
    }
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(rate)
    assert cfg.optim_wrapper.optimizer.weight_decay == 0.05
    assert not cfg.optim_wrapper.get('clip_grad')
    assert cfg.auto_scale_lr.base_batch_size == batch
    (schedule,) = cfg.param_scheduler
    assert (schedule.final, schedule.warmup, cfg.train_cfg.max_epochs) == (1e-6, warmup, epochs)
    assert cfg.model.backbone.drop_path_rate == drop_path
    assert cfg.default_hooks.get('ema') is None


@pytest.mark.parametrize(('classes', 'outputs'), [(50, 51), (300, 301), (919, 920)])
def test_imagenet_s_has_one_output_more_than_classes(classes, outputs):
    cfg = load(find(f'sere/benchmarks/{S}_8xb32-amp-coslr-100e_imagenet-s{classes}'))
    assert cfg.model.head.num_classes == outputs
    assert cfg.data_root == f'data/ImageNetS{classes}/'
    assert cfg.val_dataloader.batch_size == cfg.test_dataloader.batch_size == 1


@pytest.mark.parametrize(('percent', 'trunk', 'head'), [(1, 0.02, 5.0), (10, 0.01, 0.2)])
def test_swavs_two_rates(percent, trunk, head):
    path = find(f'swav/benchmarks/resnet50_8xb32-steplr-20e_in1k-{percent}percent')
    cfg, rate = load(path), load(path).optim_wrapper.optimizer.lr
    table = param_effects(network(path), cfg.optim_wrapper.paramwise_cfg.rules)
    rates = {name: rate * effects['lr_mult'] for name, effects in table.items()}
    assert len(rates) == 161
    for name, found in rates.items():
        assert found == pytest.approx(head if name.startswith('head') else trunk)
    (schedule,) = cfg.param_scheduler
    assert (schedule.shape, list(schedule.milestones), schedule.gamma) == ('step', [12, 16], 0.2)
    assert cfg.train_dataloader.dataset.subset == f'{percent}percent.txt'
    assert (cfg.model.frozen, cfg.optim_wrapper.optimizer.weight_decay) == (False, 0)
    assert cfg.sync_bn == 'torch'


@pytest.mark.parametrize('percent', [1, 10])
def test_ibots_few_labels(percent):
    """The projector's first layer and all else learn alike; only vectors do not decay."""
    path = find(f'ibot/benchmarks/{S}_8xb128-amp-coslr-1000e_in1k-{percent}percent')
    cfg, model = load(path), network(path)
    assert {n: tuple(p.shape) for n, p in model.head.named_parameters()} == {
        'first.weight': (2048, 384),
        'first.bias': (2048,),
        'fc.weight': (1000, 2048),
        'fc.bias': (1000,),
    }
    table = param_effects(model, cfg.optim_wrapper.paramwise_cfg.rules)
    sizes = dict(model.named_parameters())
    assert {effects['lr_mult'] for effects in table.values()} == {1.0}
    spared = {name for name, effects in table.items() if effects['decay_mult'] == 0}
    assert spared == {name for name, tensor in sizes.items() if tensor.ndim == 1}
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(5e-6 * 1024 / 512)
    assert cfg.train_dataloader.dataset.subset == f'{percent}percent.txt'
    assert cfg.protocol == f'{percent}% labels'


SWAV = 'swav_resnet50_3rdparty_64xb64-amp-mcrop-coslr-800e_in1k-224px-96px'
SERE = f'sere_{S}_3rdparty_8xb128-amp-mcrop-coslr-100e_in1k'
IMAGENET = dict(images=50_000, classes=1000)
PUBLISHED = {
    (SWAV, '1% labels'): (53.9, IMAGENET, 12_811),
    (SWAV, '10% labels'): (70.2, IMAGENET, 128_116),
    (SERE, 'ImageNet-S919 segmentation'): (41.0, dict(images=12_419, classes=920), 9_190),
    (SERE, 'fine-tuning'): (81.5, IMAGENET, 1_281_167),
}


@pytest.mark.parametrize(('model', 'protocol'), PUBLISHED)
def test_a_figure_is_compared_on_the_set_it_was_measured_on(model, protocol):
    value, test, count = PUBLISHED[model, protocol]
    found = published_figure(identify(model), protocol, Path('other.py'), {})
    assert found.value == value
    metric = dict(last=value + 1, best=value + 1)
    (told,) = comparison_line(found, metric, dict(test=test, train=dict(images=count)))
    assert f'published {value} %, difference +1.00' in told
    (told,) = comparison_line(found, metric, dict(test=test, train=dict(images=count - 1)))
    assert 'not comparable' in told


@pytest.mark.parametrize('protocol', ['ImageNet-S50 segmentation', '1% labels'])
def test_figures_of_other_tasks_are_not_taken(protocol):
    assert published_figure(identify(SERE), protocol, Path('other.py'), {}) is None
