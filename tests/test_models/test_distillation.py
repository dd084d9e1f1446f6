"""`Distillation`: its equation written out, teachers of other sizes and libraries, the cache."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import mmssl
from mmssl.apis import load_config
from mmssl.core.protocols import HasFrozenTeacher
from mmssl.functional.resize import average
from mmssl.models.algorithms import Distillation
from mmssl.models.algorithms.distillation import FeatureCache, Target, is_fixed
from mmssl.models.backbones import (
    Backbone,
    ResNet,
    SwinTransformer,
    TimmBackbone,
    VisionTransformer,
)
from mmssl.registry import MODELS

from ..helpers.methods import RESNET, SWIN, VIT
from ..helpers.refusals import refuses

TEACHER = dict(arch=(24, 2, 3), img_size=16, patch_size=2, registers=2, positions='rotary')


def teacher(**more: Any) -> VisionTransformer:
    net = VisionTransformer(**(TEACHER | more)).double().eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net


def build(backbone: dict[str, Any], net: Backbone, **more: Any) -> Distillation:
    settings = dict(type='Distillation', backbone=backbone, teacher=net)
    model: Distillation = MODELS.build(settings | more)
    return model.double()


def views(count: int = 2, size: int = 16) -> list[Tensor]:
    return [torch.randn(3, 3, size, size).double() for _ in range(count)]


def cell_means(grid: Tensor, height: int, width: int) -> Tensor:
    """Average a map (h, w, C) over equal cells, by sampling every old cell 60 x 60 times."""
    fine = grid.repeat_interleave(60, 0).repeat_interleave(60, 1)
    rows, columns = fine.shape[0] // height, fine.shape[1] // width
    out = torch.zeros(height, width, grid.shape[2], dtype=grid.dtype)
    for i in range(height):
        for j in range(width):
            block = fine[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
            out[i, j] = block.mean((0, 1))
    return out


def restated(model: Distillation, net: Backbone, images: list[Tensor], kind: str) -> list[float]:
    """The two losses, image by image, patch by patch, channel by channel."""
    sums = [[], []]  # type: list[list[float]]
    for view in images:
        student = model.student.backbone.encode(view)
        target = net.encode(view)
        grid = [min(a, b) for a, b in zip(student.grid, target.grid, strict=True)]
        for i in range(len(view)):
            mapped = nn.functional.linear(
                student.tokens[i], *(p for p in model.student.neck['patch'].parameters())
            )
            ours = cell_means(mapped.unflatten(0, student.grid), *grid).flatten(0, 1)
            theirs = cell_means(target.tokens[i].unflatten(0, target.grid), *grid).flatten(0, 1)
            vector = nn.functional.linear(
                student.pooled[i], *(p for p in model.student.neck['view'].parameters())
            )
            sums[0].append(distance(vector.tolist(), target.pooled[i].tolist(), kind))
            rows = [
                distance(a.tolist(), b.tolist(), kind) for a, b in zip(ours, theirs, strict=True)
            ]
            sums[1].append(sum(rows) / len(rows))
    return [sum(values) / len(values) for values in sums]


def distance(a: list[float], b: list[float], kind: str) -> float:
    if kind == 'cosine':
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return 1 - dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))
    mean = sum(b) / len(b)
    spread = math.sqrt(sum((y - mean) ** 2 for y in b) / len(b) + 1e-5)
    gaps = [abs(x - (y - mean) / spread) for x, y in zip(a, b, strict=True)]
    return sum(g * g / 2 if g < 1 else g - 0.5 for g in gaps) / len(gaps)


@pytest.mark.parametrize('kind', ['cosine', 'smooth_l1'])
@pytest.mark.parametrize('backbone', [VIT, SWIN, RESNET], ids=lambda b: b['type'])
def test_the_loss_is_its_equation_written_out(backbone, kind):
    """Grids of 4, 4 and 8 cells against the teacher's 8, and 5 against 8 in one more view."""
    torch.manual_seed(2)
    net = teacher()
    model = build(backbone, net, loss=kind, weights=(0.7, 1.3)).eval()
    images = views(1) + (views(1, 20) if backbone['type'] == 'VisionTransformer' else [])
    with torch.no_grad():
        losses = model(images, {}, mode='loss')
        pooled, patch = restated(model, net, images, kind)
    assert_close(losses['pooled'].item(), 0.7 * pooled, rtol=0, atol=1e-9)
    assert_close(losses['patch'].item(), 1.3 * patch, rtol=0, atol=1e-9)
    assert_close(losses['loss'].item(), 0.7 * pooled + 1.3 * patch, rtol=0, atol=1e-9)


def test_cells_of_a_coarser_grid_count_alike():
    grid = torch.randn(1, 7, 5, 4).double()
    assert_close(average(grid, 3, 2)[0], cell_means(grid[0], 3, 2), rtol=0, atol=1e-12)
    assert average(grid, 7, 5) is grid


def test_only_the_student_learns_and_is_stored():
    net = teacher()
    model = build(VIT, net)
    assert isinstance(model, HasFrozenTeacher)
    model(views(), {}, mode='loss')['loss'].backward()
    assert all(p.grad is not None for n, p in model.named_parameters() if 'mask' not in n)
    assert all(p.grad is None and not p.requires_grad for p in net.parameters())
    assert not any('teacher' in name for name in model.state_dict())
    model.train()
    assert not net.training
    assert {p.dtype for p in model.float().frozen_teacher.parameters()} == {torch.float32}
    assert model.to('meta').frozen_teacher.net.cls_token.device.type == 'meta'


def test_the_teacher_sees_its_own_normalisation():
    """A network of timm states its own; the student's is ImageNet's."""
    args = dict(depth=1, embed_dim=24, num_heads=3, img_size=32, patch_size=8)
    net = TimmBackbone('vit_small_patch16_224', args).eval()
    assert net.normalisation == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    model: Any = MODELS.build(dict(type='Distillation', backbone=RESNET, teacher=net))
    raw = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    view = model.data_preprocessor(dict(inputs=[raw]), True)['inputs'][0]
    (found,) = model.targets([view], {})
    wanted = net.encode((raw.float() / 255 - 0.5) / 0.5)
    assert_close(found.pooled, wanted.pooled, rtol=0, atol=1e-5)


def test_features_of_fixed_views_are_computed_once():
    net = teacher()
    model = build(VIT, net, cache_gib=0.1).eval()
    calls: list[int] = []
    net.register_forward_pre_hook(lambda *_: None)
    encode = net.encode
    net.encode = lambda x, mask=None: (calls.append(len(x)), encode(x, mask))[1]  # type: ignore
    images = views(2)
    first = model(images, dict(index=torch.tensor([4, 9, 2])), mode='loss')['loss']
    order = torch.tensor([2, 0, 1])
    again = [view[order] for view in images]
    second = model(again, dict(index=torch.tensor([2, 4, 9])), mode='loss')['loss']
    assert calls == [3, 3]
    assert_close(first, second, rtol=0, atol=1e-12)
    other = dict(index=torch.tensor([2, 4, 9]), unreadable=['', 'x.jpg: gone', ''])
    model(again, other, mode='loss')  # another image took the place of one
    model(again, dict(index=torch.tensor([2, 4, 8])), mode='loss')
    assert calls == [3] * 6
    plain = build(VIT, net)
    plain(images, dict(index=torch.tensor([1, 2, 3])), mode='loss')
    assert plain.cache.rows == {}


def test_a_full_cache_takes_no_more():
    cache = FeatureCache(0)
    row = Target(torch.zeros(1, 4), torch.zeros(1, 2, 2, 4))
    cache.limit = 2 * 80
    for key in range(4):
        cache.keep(0, [key], row)
    assert [cache.find(0, [key]) is not None for key in range(4)] == [True, True, False, False]
    assert cache.used == 160


@pytest.mark.parametrize(
    ('more', 'fixed'),
    [
        ({}, False),
        (dict(flip=0, gray=0, scale=(1, 1), ratio=(1, 1)), True),
        (dict(flip=0, gray=0, scale=(1, 1)), False),
        (dict(flip=0, gray=0, scale=(1, 1), ratio=(1, 1), blur=0.5), False),
    ],
)
def test_which_views_are_fixed(more, fixed):
    assert is_fixed(dict(type='RandomView', **more)) == fixed
    check = Distillation.check_recipe
    more = dict(more, size=224)
    check(dict(cache_gib=0, backbone=RESNET), [more], None)
    if fixed:
        check(dict(cache_gib=1, backbone=RESNET), [more], None)
    else:
        with refuses('model.cache_gib', 1):
            check(dict(cache_gib=1, backbone=RESNET), [more], None)


@pytest.mark.parametrize(
    ('key', 'value', 'more'),
    [
        ('model.loss', 'l2', dict(loss='l2')),
        ('model.weights', (0, 0), dict(weights=(0, 0))),
        ('model.neck', 9, dict(neck=dict(type='MLP', dims=(12, 9)))),
    ],
)
def test_refusals(key, value, more):
    with refuses(key, value):
        build(VIT, teacher(), **more)


def test_a_teacher_of_settings_needs_a_file(tmp_path):
    settings = dict(type='VisionTransformer', **TEACHER)
    model = build(VIT, settings)
    with refuses('model.teacher.init_cfg.checkpoint'):
        model.init_weights()
    net = teacher().float()
    path = tmp_path / 'teacher.pth'
    torch.save({f'backbone.{k}': v for k, v in net.state_dict().items()}, path)
    settings['init_cfg'] = dict(type='Pretrained', checkpoint=str(path))
    model = build(VIT, settings)
    model.begin_step(0, length=(4, 2))  # as a resumed run, whose weights are not initialised
    assert torch.equal(model.frozen_teacher.net.cls_token, net.net.cls_token.double())


def test_a_method_for_a_loop_of_ones_own():
    method = mmssl.build_method(
        'distillation', 'resnet18', img_size=32, batch_size=3, epochs=2, steps_per_epoch=2,
        teacher=VisionTransformer(**TEACHER),
    )  # fmt: skip
    assert isinstance(method.student.backbone, ResNet)
    assert method.student.neck['view'].dims == (512, 24)
    optimizer = method.build_optimizer()
    losses = []
    images = [torch.randn(3, 3, 32, 32)]
    for step in range(4):
        method.begin_step(step, optimizer)
        loss = method(images, mode='loss')['loss']
        loss.backward()
        method.clip_gradients()
        optimizer.step()
        optimizer.zero_grad()
        method.end_step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert method.uniform_loss(3) == 2.0
    sizes = dict(img_size=32, batch_size=3, epochs=2, steps_per_epoch=2)
    with refuses('teacher'):
        mmssl.build_method('distillation', 'resnet18', **sizes)
    with refuses('teacher', 'a.pth'):
        mmssl.build_method('dino', 'resnet18', teacher='a.pth', **sizes)


def test_a_teacher_by_name_tells_its_network():
    cfg = load_config('distillation_swin-tiny-w7_8xb128-amp-coslr-100e_in1k')
    assert cfg.model.teacher.type == 'VisionTransformer'
    assert cfg.model.teacher.positions == 'rotary'
    assert cfg.model.teacher.init_cfg.checkpoint == 'timm:vit_base_patch16_dinov3.lvd1689m'
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert isinstance(model.student.backbone, SwinTransformer)
    assert model.student.neck['patch'].dims == (768, 768)


def test_images_of_other_channels_reach_both():
    """Four channels, whose normalisation is the student's; a teacher of three is refused."""
    pixels = dict(type='ViewPreprocessor', mean=[0.4] * 4, std=[0.3] * 4)
    student = dict(RESNET, in_channels=4)
    four = VisionTransformer(**TEACHER, in_channels=4)
    settings = dict(type='Distillation', backbone=student, data_preprocessor=pixels)
    model: Any = MODELS.build(dict(settings, teacher=four))
    images = torch.randn(2, 4, 16, 16)
    (found,) = model.targets([images], {})
    assert torch.equal(found.pooled, four.encode(images).pooled)
    with refuses('model.teacher', 3):
        MODELS.build(dict(settings, teacher=VisionTransformer(**TEACHER)))


def test_the_teachers_patches_divide_the_views():
    settings = dict(backbone=RESNET, teacher=dict(type='VisionTransformer', patch_size=14))
    fitting, other = dict(type='RandomView', size=112), dict(type='RandomView', size=96)
    Distillation.check_recipe(settings, [fitting], None)
    with refuses('MultiView.views', 96):
        Distillation.check_recipe(settings, [fitting, other], None)
