"""Methods for a loop of one's own: the published numbers, other backbones, refusals."""

import random
import re
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor, nn

import mmssl
from mmssl.apis.methods import _kind
from mmssl.config.method_recipes import RECIPES, Scale, method_recipe, scaled_model
from mmssl.config.method_recipes import training_settings as settings_of
from mmssl.core import Progress
from mmssl.models.algorithms import MoCoV3, SwAV, iBOT
from mmssl.models.backbones import ModuleBackbone, backbone_settings, build_backbone
from mmssl.optim import Recipe

from ..helpers.paths import REPO
from ..helpers.refusals import refuses

PAIRS = [(name, kind) for name, kinds in RECIPES.items() for kind in kinds]
SIZES: dict[str, Any] = dict(img_size=32, batch_size=4, epochs=4, steps_per_epoch=5)


@pytest.mark.parametrize(('name', 'kind'), PAIRS)
def test_the_published_training_is_the_recipe(name: str, kind: str) -> None:
    """At the published batch and length nothing changes, but steps that are one epoch."""
    cfg = method_recipe(name, kind)
    batch = cfg.auto_scale_lr.base_batch_size
    scale = Scale(224, batch, cfg.train_cfg.max_epochs, 1_281_167 // batch)
    given = settings_of(cfg, scale)
    assert given['optimizer'] == cfg.optim_wrapper.optimizer.to_dict()
    assert given['schedules'] == [dict(s) for s in cfg.param_scheduler]
    assert given['clip_grad'] == cfg.optim_wrapper.get('clip_grad')
    rules = [dict(r) for r in (cfg.optim_wrapper.get('paramwise_cfg') or {}).get('rules', [])]
    for rule in rules:
        if rule.pop('frozen_iters', None):
            rule['frozen_epochs'] = 1
    assert given['rules'] == rules
    width = cfg.model.neck.dims[0] if 'neck' in cfg.model else 0
    assert scaled_model(cfg, width, scale) == cfg.model.to_dict()


def test_the_rate_follows_the_batch_and_warm_ups_the_length() -> None:
    cfg = method_recipe('moby')
    recipe = Recipe(**settings_of(cfg, Scale(224, 256, 30, 10)))
    (rate,) = recipe.schedules
    assert recipe.optimizer['lr'] == pytest.approx(1e-3 / 2)
    assert rate.schedule.warmup == pytest.approx(5 / 10)
    assert rate.schedule.final == pytest.approx(5e-6 / 2)
    assert rate.schedule.warmup_start == pytest.approx(5e-7 / 2)
    model = scaled_model(method_recipe('ibot', 'vit'), 192, Scale(224, 256, 80, 10))
    assert model['teacher_temp']['warmup'] == pytest.approx(30 / 10)
    assert model['neck']['dims'][0] == 192
    steps = settings_of(method_recipe('mocov1'), Scale(224, 256, 400, 10))['schedules'][0]
    assert steps['milestones'] == (240, 320)


def test_swav_has_a_queue_where_the_batch_is_small() -> None:
    assert method_recipe('swav', None, 512).model.head.queue_length == 3840
    assert 'queue_length' not in method_recipe('swav', None, 4096).model.head
    small = mmssl.build_method('swav', 'resnet18', **SIZES)
    assert type(small) is SwAV
    assert small.head.memory.length == 8  # half of an epoch of 20 images


def test_classes_are_the_registered_ones() -> None:
    method = mmssl.build_method('MoCoV3', 'resnet18', **SIZES)
    assert type(method) is MoCoV3
    assert method.student.backbone.num_features == 512
    assert type(mmssl.build_method('ibot', 'vit_tiny_patch16_224', **SIZES)) is iBOT
    assert set(mmssl.list_methods()) == set(RECIPES)


def test_rates_of_a_step() -> None:
    method = mmssl.build_method('mocov3', 'resnet18', **SIZES)
    optimizer = method.build_optimizer()
    method.begin_step(7, optimizer)
    (rate,) = method.recipe.schedules  # type: ignore[union-attr]
    expected = rate.schedule.value_at(*Progress(7, 20, 5))
    assert [g['lr'] for g in optimizer.param_groups] == [expected] * 2
    assert sorted(g['weight_decay'] for g in optimizer.param_groups) == [0.0, 1e-6]
    method.begin_step(9, optimizer, starts_update=False)  # a further batch of the same update
    assert optimizer.param_groups[0]['lr'] == expected
    assert method.progress.step == 9
    own = torch.optim.SGD(method.param_groups(), momentum=0.9)
    method.begin_step(7, own)
    assert own.param_groups[0]['lr'] == expected


def test_bytes_are_normalised() -> None:
    method = mmssl.build_method('mocov3', 'resnet18', **SIZES).eval()
    views = [torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8) for _ in range(2)]
    prepared = method.data_preprocessor(dict(inputs=views), True)
    method.begin_step(0)
    first = method(views, mode='loss')['loss']
    assert torch.equal(first, method(prepared['inputs'], mode='loss')['loss'])


# backbones ----------------------------------------------------------------------------------------
@pytest.mark.parametrize('name', ['vit_tiny_patch16_224', 'swin_tiny_patch4_window7_224'])
def test_plain_transformers_of_timm_become_ours(name: str) -> None:
    theirs = timm.create_model(name, num_classes=0).eval()
    ours = build_backbone(backbone_settings(name, 224)).eval()
    ours.net.load_state_dict(theirs.state_dict(), strict=False)
    x = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        assert torch.allclose(ours.encode(x).pooled, theirs(x), atol=1e-5)
    assert ours.supports_masks


@pytest.mark.parametrize(
    ('name', 'kind', 'width'),
    [
        ('resnet34', 'convnet', 512),
        ('vit_small_patch14_dinov2', 'vit', 384),
        ('mobilenetv3_small_050', 'convnet', 288),
        ('torchvision/mobilenet_v3_small', 'convnet', 1024),
    ],
)
def test_names_of_libraries(name: str, kind: str, width: int) -> None:
    settings = backbone_settings(name, 32)
    assert _kind(settings) == kind
    assert build_backbone(settings).num_features == width


class Gives(nn.Module):
    """A network whose output is made of its images (B, 3, H, W)."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.layer = nn.Conv2d(3, 5, 8, 8)

    def forward(self, x: Tensor) -> Any:
        grid = self.layer(x)  # (B, 5, h, w)
        tokens = grid.flatten(2).transpose(1, 2)
        cls = tokens.mean(1, keepdim=True) + 1
        return {
            'features': lambda: grid.mean((2, 3)),
            'map': lambda: grid,
            'tokens': lambda: tokens,
            'class token': lambda: torch.cat([cls, tokens], 1),
            'dict': lambda: dict(out=grid, aux=None),
            'hidden': lambda: dict(last_hidden_state=torch.cat([cls, tokens], 1)),
            'stages': lambda: (x, grid),
            'pairs': lambda: tokens[:, :3],
            'numbers': lambda: 3,
            'rows': lambda: grid.mean((2, 3)).sum(0, keepdim=True).repeat(3, 1),
        }[self.form]()


@pytest.mark.parametrize('form', ['features', 'map', 'tokens', 'dict', 'stages'])
def test_outputs_of_a_module(form: str) -> None:
    net = Gives(form)
    backbone = ModuleBackbone(net, 32)
    x = torch.randn(2, 3, 32, 32)
    expected = net.layer(x).mean((2, 3))
    assert torch.allclose(backbone.encode(x).pooled, expected, atol=1e-6)
    assert backbone.num_features == 5
    grid = (1, 1) if form == 'features' else (4, 4)
    assert backbone.encode(x).grid == grid


@pytest.mark.parametrize('form', ['class token', 'hidden'])
def test_a_class_token_is_the_feature(form: str) -> None:
    net = Gives(form)
    x = torch.randn(2, 3, 32, 32)
    features = ModuleBackbone(net, 32).encode(x)
    assert torch.allclose(features.pooled, net.layer(x).mean((2, 3)) + 1, atol=1e-6)
    assert features.tokens.shape == (2, 16, 5)


@pytest.mark.parametrize('form', ['pairs', 'numbers', 'rows'])
def test_outputs_that_are_not_understood(form: str) -> None:
    given: Any = {'pairs': (1, 3, 5), 'numbers': 'int', 'rows': (3, 5)}[form]
    with refuses('backbone', given):
        mmssl.build_method('mocov3', Gives(form), **SIZES)


# views --------------------------------------------------------------------------------------------
def test_views_are_those_of_the_pipeline() -> None:
    views = mmssl.build_transform('dino', 'vit_tiny_patch16_224', img_size=64)
    pixels = np.random.default_rng(0).integers(0, 256, (80, 90, 3), np.uint8)
    torch.manual_seed(3)
    item = views(pixels)
    torch.manual_seed(3)
    rng = random.Random(int(torch.randint(2**62, ())))
    expected = views.multi_view(dict(image=Image.fromarray(pixels), rng=rng, epoch=0))
    sizes = [view.shape[-1] for view in item['inputs']]
    assert sizes == [64, 64] + [32] * 8  # 96 of 224, in patches of 16
    assert all(map(torch.equal, item['inputs'], expected['inputs']))
    batch = views.collate([(item, 4), (views(Image.fromarray(pixels)), 2)])
    assert batch['inputs'][0].shape == (2, 3, 64, 64)
    assert batch['data_samples']['label'].tolist() == [4, 2]
    assert 'label' not in views.collate([item])['data_samples']


def test_masks_fit_the_network_and_begin_with_their_epoch() -> None:
    views = mmssl.build_transform('ibot', 'swin_tiny_patch4_window7_224', img_size=64)
    image = Image.new('RGB', (80, 80))
    assert views(image)['data_samples']['mask'].shape == (2, 2, 2)
    hidden = [int(views(image)['data_samples']['mask'].sum()) for _ in range(20)]
    assert sum(hidden) == 0  # before epoch 50
    views.set_epoch(50)
    hidden = [int(views(image)['data_samples']['mask'].sum()) for _ in range(20)]
    assert sum(hidden) > 0


def test_the_page_of_the_docs() -> None:
    """Its snippets, one after the other."""
    text = (REPO / 'docs' / 'own_loop.md').read_text()
    names: dict[str, Any] = {}
    for block in re.findall(r'```python\n(.*?)```', text, re.DOTALL):
        exec(block, names)
    assert names['method'].progress.step == 3
    assert names['matched'].shape == (8, 49, 16)


# refusals -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ('name', 'backbone', 'changes', 'key', 'value', 'words'),
    [
        ('mocov4', 'resnet18', {}, 'method', 'mocov4', 'mocov3'),
        (3, 'resnet18', {}, 'method', 3, 'mocov3'),
        ('mocov3', 'resnet17', {}, 'backbone', 'resnet17', 'resnet18'),
        ('mocov3', 'torchvision/resnet17', {}, 'backbone', 'torchvision/resnet17', 'resnet'),
        ('mocov3', 'torchvision/squeezenet1_0', {}, 'backbone', 'torchvision/squeezenet1_0', ''),
        ('mocov3', 5, {}, 'backbone', 5, 'resnet50'),
        ('mocov3', 'resnet18', {'epochs': None}, 'epochs', None, ''),
        ('mocov3', 'resnet18', {'steps_per_epoch': None}, 'steps_per_epoch', None, ''),
        ('mocov3', 'resnet18', {'batch_size': None}, 'batch_size', None, ''),
        ('mocov3', 'resnet18', {'batch_size': 0}, 'batch_size', 0, ''),
        ('mocov3', 'resnet18', {'epochs': 2.5}, 'epochs', 2.5, ''),
        ('mocov3', 'vit_tiny_patch16_224', {'img_size': 50}, 'img_size', 50, '48'),
        ('ibot', 'resnet18', {}, 'model.backbone.type', 'ResNet', 'VisionTransformer'),
        ('sere', 'swin_tiny_patch4_window7_224', {}, 'model.backbone.type', 'SwinTransformer', ''),
    ],
)  # fmt: skip
def test_arguments(
    name: Any, backbone: Any, changes: dict[str, Any], key: str, value: Any, words: str
) -> None:
    with refuses(key, value) as caught:
        mmssl.build_method(name, backbone, **(SIZES | changes))
    assert words in str(caught.value)


def test_steps_and_optimizers() -> None:
    method = mmssl.build_method('mocov3', 'resnet18', **SIZES)
    with refuses('step', 20):
        method.begin_step(20)
    with refuses('optimizer', None):
        method.begin_step(0, torch.optim.SGD(method.parameters(), lr=0.1))
    with refuses('recipe', None):
        MoCoV3(
            backbone=dict(type='ResNet', depth=18, width=4),
            neck=dict(type='MLP', dims=(32, 8)),
            head=dict(
                type='ContrastiveHead', temperature=1.0, predictor=dict(type='MLP', dims=(8, 8))
            ),
            momentum=dict(start=0.9, shape='constant'),
        ).build_optimizer()
    with refuses('items', 'Tensor'):
        mmssl.build_transform('mocov3', 'resnet18', img_size=32).collate([torch.zeros(3)])
    with refuses('image', 'int'):
        mmssl.build_transform('mocov3', 'resnet18', img_size=32)(7)
