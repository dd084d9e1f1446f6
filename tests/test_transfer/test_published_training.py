"""The published detectors and segmentors: rates, decays, schedules and data are the cards'."""

import re

import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, TRANSFORMS, DefaultScope
from torch import nn

from ..helpers.cards import CARDS, COCO, each, each_of_ade20k, each_of_coco, library, load, network

pytestmark = pytest.mark.transfer
SIZES = list(range(480, 801, 32))


# training -----------------------------------------------------------------------------------------
def wanted(name: str, parameter: str, ndim: int) -> tuple[float, float]:
    """Return the rate and decay that the card gives a parameter."""
    card = CARDS[name]
    if 'swin' in name:
        spared = ('absolute_pos_embed', 'relative_position_bias_table', 'norm')
        return card.lr, 0.0 if any(word in parameter for word in spared) else card.decay
    if card.rate is None:
        return card.lr, card.decay
    depth = 13
    if block := re.match(r'backbone\.net\.blocks\.(\d+)\.', parameter):
        depth = int(block[1]) + 1
    elif parameter.split('.')[2] in ('cls_token', 'pos_embed', 'patch_embed'):
        depth = 0
    return card.lr * card.rate ** (13 - depth), 0.0 if ndim == 1 else card.decay


@each
def test_each_parameter_has_its_rate_and_decay(name):
    card, settings = CARDS[name], load(name).optim_wrapper.copy()
    assert settings.type == ('AmpOptimWrapper' if card.amp else 'OptimWrapper')
    assert settings.get('clip_grad') is None
    model = network(name)
    with DefaultScope.overwrite_default_scope(library(name)):
        wrapper = build_optim_wrapper(model, dict(settings, type='OptimWrapper'))
    names = {id(p): n for n, p in model.named_parameters()}
    found = {
        names[id(p)]: (group['lr'], group['weight_decay'])
        for group in wrapper.optimizer.param_groups
        for p in group['params'] if p.requires_grad
    }  # fmt: skip
    trained = {n: p.ndim for n, p in model.named_parameters() if p.requires_grad}
    assert found == {n: pytest.approx(wanted(name, n, ndim)) for n, ndim in trained.items()}
    kind = torch.optim.SGD if '_r50-' in name else torch.optim.AdamW
    assert type(wrapper.optimizer) is kind
    group = wrapper.optimizer.param_groups[0]
    assert group.get('momentum', 0.9) == 0.9 and group.get('betas', (0.9, 0.999)) == (0.9, 0.999)


@each_of_coco
def test_the_rate_of_detectors_falls_in_steps(name):
    cfg, card = load(name), CARDS[name]
    assert cfg.train_cfg.max_epochs == card.length
    assert cfg.train_dataloader.batch_size == card.per_gpu
    assert cfg.auto_scale_lr.base_batch_size == card.per_gpu * card.gpus
    warmup, steps = cfg.param_scheduler
    assert (warmup.type, warmup.start_factor, warmup.end) == ('LinearLR', 0.001, 500)
    assert not warmup.by_epoch
    assert (steps.type, tuple(steps.milestones), steps.gamma) == ('MultiStepLR', card.steps, 0.1)
    assert steps.by_epoch and steps.end == card.length


@each_of_ade20k
def test_the_rate_of_segmentors_falls_on_a_line_that_counts_the_warmup_in(name):
    cfg, card = load(name), CARDS[name]
    assert (cfg.train_cfg.max_iters, cfg.train_dataloader.batch_size) == (160000, card.per_gpu)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 1.0)
    schedulers = [PARAM_SCHEDULERS.build(dict(s, optimizer=optimizer)) for s in cfg.param_scheduler]
    for step in range(1700):
        # OpenMMLab's warm-up arrives one iteration early
        warm = min(1.0, 1e-6 + (1 - 1e-6) * step / 1499)
        assert optimizer.param_groups[0]['lr'] == pytest.approx(warm * (1 - step / 160000))
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    assert cfg.param_scheduler[1].end == 160000 and cfg.param_scheduler[1].eta_min == 0


# data ---------------------------------------------------------------------------------------------
def transforms(name: str, pipeline: list[dict]) -> list:
    with DefaultScope.overwrite_default_scope(library(name)):
        return [TRANSFORMS.build(step) for step in pipeline]


def test_detectors_see_resized_images_and_crops():
    name = next(iter(COCO))
    pipelines = {str(load(n).train_dataloader.dataset.pipeline) for n in COCO if '_r50-' not in n}
    assert len(pipelines) == 1
    load_image, annotations, flip, choice, _ = load(name).train_dataloader.dataset.pipeline
    assert (
        load_image.type == 'LoadImageFromFile' and annotations.with_bbox and annotations.with_mask
    )
    assert (flip.type, flip.prob) == ('RandomFlip', 0.5)
    (change,) = transforms(name, [choice])
    np.random.seed(0)
    whole, cropped = set(), []
    for _ in range(40):
        found = change(dict(img=np.zeros((480, 640, 3), np.uint8), img_shape=(480, 640)))
        h, w = found['img'].shape[:2]
        if abs(w / h - 4 / 3) < 0.005:
            whole.add(h)
        else:
            cropped.append((h, w))
    assert whole <= set(SIZES) and len(whole) > 6 and 12 < len(cropped) < 28
    # a crop of 384 to 600 px, enlarged until its short side is one of them
    assert all(min(s) in SIZES or max(s) in (1332, 1333) for s in cropped)
    assert all(max(s) / min(s) <= 1333 / 384 for s in cropped)


def test_sizes_of_the_resnet_detectors():
    for name in (n for n in COCO if '_r50-' in n):
        resize = load(name).train_dataloader.dataset.pipeline[2]
        if '_ms-2x_' in name:
            assert resize.type == 'RandomResize' and resize.scale == [(1333, 640), (1333, 800)]
        else:
            assert resize.type == 'Resize' and resize.scale == (1333, 800)


@each_of_coco
def test_detectors_are_tested_at_one_size(name):
    cfg = load(name)
    resize = cfg.test_dataloader.dataset.pipeline[1]
    assert (resize.type, resize.scale, resize.keep_ratio) == ('Resize', (1333, 800), True)
    assert cfg.test_evaluator.metric == ['bbox', 'segm']
    images = cfg.model.data_preprocessor
    assert (images.mean, images.std) == ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    assert images.bgr_to_rgb and images.pad_size_divisor == 32


@each_of_ade20k
def test_segmentors_train_on_crops(name):
    cfg = load(name)
    steps = {s.type: s for s in cfg.train_dataloader.dataset.pipeline}
    resize, crop = steps['RandomResize'], steps['RandomCrop']
    assert (resize.scale, resize.ratio_range) == ((2048, 512), (0.5, 2.0))
    assert (crop.crop_size, crop.cat_max_ratio) == ((512, 512), 0.75)
    assert steps['LoadAnnotations'].reduce_zero_label and 'PhotoMetricDistortion' in steps
    whole = dict(mode='slide', crop_size=(512, 512), stride=(341, 341)) if 'vit' in name else dict(
        mode='whole')  # fmt: skip
    assert cfg.model.test_cfg == whole
    assert cfg.model.data_preprocessor.size == (512, 512)
    for head in ('decode_head', 'auxiliary_head'):
        if head in cfg.model:
            assert cfg.model[head].num_classes == 150


@each_of_ade20k
@pytest.mark.parametrize('size', [(375, 500), (700, 512)])
def test_six_sizes_both_ways(name, size):
    steps = load(name).tta_pipeline[1].transforms
    assert [t.prob for t in steps[1]] == [0.0, 1.0]
    found = []
    for change in transforms(name, steps[0]):
        out = change(dict(img=np.zeros((*size, 3), np.uint8), img_shape=size))
        found.append(out['img'].shape[:2])
    ratio, short = max(size) / min(size), []
    for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75):
        short.append(512 * r if 'swin' in name else max(512, 512 * r))
    assert [min(s) for s in found] == short
    assert [max(s) for s in found] == pytest.approx([ratio * s for s in short], abs=1)
