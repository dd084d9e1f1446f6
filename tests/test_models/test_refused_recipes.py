"""Recipes with impossible settings are refused before training, with the key and the value."""

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mmssl.apis import load_config
from mmssl.core import Schedule, UserError
from mmssl.datasets.transforms import PatchMask
from mmssl.engine import MethodHook

from ..helpers.methods import MOMENTUM, TEMPERATURE, build
from ..helpers.paths import REPO
from ..helpers.refusals import refuses

RECIPES = {
    'mocov1': 'mocov1/mocov1_resnet50_8xb32-steplr-200e_in1k',
    'mocov2': 'mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k',
    'mocov3': 'mocov3/mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k',
    'moby': 'moby/moby_swin-tiny_8xb64-amp-coslr-300e_in1k',
    'swav': 'swav/swav_resnet50_4xb64-amp-mcrop-coslr-200e_in1k-224px-96px',
    'esvit': 'esvit/esvit_swin-tiny-w7_16xb32-amp-mcrop-coslr-300e_in1k',
    'esvit-v': 'esvit/esvit_swin-tiny-w7-v_16xb32-amp-mcrop-coslr-300e_in1k',
    'sere': 'sere/sere_vit-small-p16_8xb128-amp-mcrop-coslr-100e_in1k',
    'ibot': 'ibot/ibot_vit-small-p16_16xb64-amp-mcrop-coslr-800e_in1k',
}
METHOD = {
    'mocov1': 'MoCo',
    'mocov2': 'MoCo',
    'mocov3': 'MoCoV3',
    'moby': 'MoBY',
    'swav': 'SwAV',
    'esvit': 'EsViT',
    'esvit-v': 'DINO',
    'sere': 'SERE',
    'ibot': 'iBOT',
}
PIPELINE = 'train_dataloader = dict(dataset=dict(pipeline=[dict(type="LoadImage"), {multi}]))'


def recipe(folder: Path, name: str, views: list[dict[str, Any]] | None, **more: Any) -> Path:
    """Write a config on top of a published one, with other views or top-level entries."""
    path = folder / 'changed.py'
    text = [f"_base_ = '{REPO}/configs/{RECIPES[name]}.py'"]
    if views is not None:
        mask = more.pop('mask', None)
        multi = dict(type='MultiView', views=views, **({'mask': mask} if mask else {}))
        text.append(PIPELINE.format(multi=repr(multi)))
    text += [f'{key} = {value!r}' for key, value in more.items()]
    path.write_text('\n'.join(text))
    return path


def view(size: int = 224, **settings: Any) -> dict[str, Any]:
    """Config of one view."""
    return dict(type='RandomView', size=size, **settings)


MASK = dict(type='PatchMask')


# views, when the config is read -------------------------------------------------------------------
@pytest.mark.parametrize('name', RECIPES)
def test_published_recipe_is_accepted(name: str) -> None:
    load_config(REPO / 'configs' / f'{RECIPES[name]}.py')


@pytest.mark.parametrize('name', RECIPES)
def test_one_view_is_too_few(name: str, tmp_path: Path) -> None:
    with refuses('MultiView.views', 1) as caught:
        load_config(recipe(tmp_path, name, [view()], mask=MASK))
    assert f'{METHOD[name]} needs 2 views' in str(caught.value)
    load_config(recipe(tmp_path, name, [view(repeat=2)], mask=MASK))


@pytest.mark.parametrize('name', ['mocov1', 'mocov3', 'moby'])
def test_three_views_are_too_many_for_pairs(name: str, tmp_path: Path) -> None:
    with refuses('MultiView.views', 3) as caught:
        load_config(recipe(tmp_path, name, [view(), view(repeat=2)]))
    assert f'{METHOD[name]} uses 2 views' in str(caught.value)


def test_region_task_takes_locals_of_one_size(tmp_path: Path) -> None:
    views = [view(repeat=2), view(96, repeat=2), view(64)]
    with refuses('MultiView.views', [64, 96]):
        load_config(recipe(tmp_path, 'esvit', views))
    load_config(recipe(tmp_path, 'esvit', views[:2]))
    load_config(recipe(tmp_path, 'esvit-v', views))


@pytest.mark.parametrize('name', ['sere', 'ibot'])
def test_global_views_of_one_size_come_first(name: str, tmp_path: Path) -> None:
    with refuses('MultiView.views', [224, 96]):
        load_config(recipe(tmp_path, name, [view(), view(96, repeat=10)], mask=MASK))
    with refuses('MultiView.mask', None):
        load_config(recipe(tmp_path, name, [view(repeat=2)]))


def test_code_from_a_crop_that_is_not_there(tmp_path: Path) -> None:
    path = recipe(tmp_path, 'swav', [view(repeat=2)])
    with refuses('model.head.assign', (0, 2)) as caught:
        load_config(path, {'model.head.assign': (0, 2)})
    assert 'MultiView.views has 2' in str(caught.value)


def test_local_views_without_local_heads(tmp_path: Path) -> None:
    path = REPO / 'configs' / f'{RECIPES["sere"]}.py'
    with refuses('model.relation.local', False) as caught:
        load_config(path, {'model.relation.local': False})
    assert '10 local views' in str(caught.value)


def test_mask_of_other_patches(tmp_path: Path) -> None:
    views = [view(repeat=2), view(96, repeat=10)]
    with refuses('MultiView.mask.patch_size', 8) as caught:
        load_config(recipe(tmp_path, 'sere', views, mask=dict(MASK, patch_size=8)))
    assert 'cells of 16 px' in str(caught.value)
    path = REPO / 'configs/ibot/ibot_swin-tiny-w7_16xb64-amp-mcrop-coslr-300e_in1k.py'
    with refuses('MultiView.mask.patch_size', 4) as caught:
        load_config(path, {'train_dataloader.dataset.pipeline.1.mask.patch_size': 4})
    assert 'cells of 32 px' in str(caught.value)


@pytest.mark.parametrize(
    ('settings', 'facts'),
    [
        (dict(ratio=(0.0, 0.3), var=(0.0, 0.4)), r'0\.3\b.*0\.4\b'),
        (dict(ratio=(0.1, 0.3), var=(0.2, 0.1)), r'0\.1\b.*0\.2\b'),
        (dict(ratio=(1.1,), var=(0.0,)), r'1\.1\b.*0\.0\b'),
        (dict(ratio=(0.3,), var=(-0.1,)), r'0\.3\b.*-0\.1\b'),
        (dict(ratio=(0.3,), var=(0.1, 0.2)), r'\(0\.3,\).*\(0\.1, 0\.2\)'),
        (dict(shape='ring'), "'ring'.*'block' or 'rand'"),
    ],
)
def test_mask_that_cannot_be_drawn(settings: dict[str, Any], facts: str) -> None:
    with pytest.raises(UserError, match=facts):
        PatchMask(**settings)


@pytest.mark.parametrize('name', ['swav', 'esvit', 'esvit-v', 'sere', 'ibot'])
def test_small_crops_listed_first(name: str, tmp_path: Path) -> None:
    views = [view(96, repeat=6), view(repeat=2)]
    with refuses('MultiView.views', [96] * 6 + [224] * 2) as caught:
        load_config(recipe(tmp_path, name, views, mask=MASK))
    assert 'views 0 and 1' in str(caught.value)
    load_config(recipe(tmp_path, name, views[::-1], mask=MASK))


def test_codes_of_small_crops(tmp_path: Path) -> None:
    path = recipe(tmp_path, 'swav', [view(96, repeat=2), view(repeat=2)])
    load_config(path, {'model.head.assign': (2, 3)})
    with refuses('MultiView.views', [96, 96, 224, 224]):
        load_config(path, {'model.head.assign': (1, 2)})


def test_a_third_view_of_an_own_data_set() -> None:
    model = build('mocov3')
    views = [torch.randn(4, 3, 16, 16, dtype=torch.double) for _ in range(3)]
    with refuses('inputs', 3):
        model(views, mode='loss')


def test_a_fixed_order_keeps_ranks_even(tmp_path: Path) -> None:
    path = REPO / 'configs' / f'{RECIPES["mocov3"]}.py'
    order = {'train_dataloader.sampler.shuffle': False}
    with refuses('train_dataloader.sampler.shuffle', False) as caught:
        load_config(path, order)
    assert 'sampler.even=True' in str(caught.value)
    load_config(path, {**order, 'train_dataloader.sampler.even': True})


@pytest.mark.parametrize('key', ['model.head.temperature', 'val_cfg.temperature'])
@pytest.mark.parametrize('value', [0, -0.1])
def test_a_temperature_is_above_zero(key: str, value: float) -> None:
    path = REPO / 'configs' / f'{RECIPES["mocov3"]}.py'
    with refuses(key, value):
        load_config(path, {key: value})


# schedules, when the config is read ---------------------------------------------------------------
@pytest.mark.parametrize('name', ['mocov3', 'moby', 'swav', 'esvit', 'sere', 'ibot'])
def test_warm_up_longer_than_training(name: str, tmp_path: Path) -> None:
    path = REPO / 'configs' / f'{RECIPES[name]}.py'
    lr = load_config(path).param_scheduler[0]
    rise = lr.get('warmup', 0)
    if name == 'swav':  # the small-batch recipes have none
        rise, scheduler = 9, dict(lr, warmup=9)
        path = recipe(tmp_path, name, None, param_scheduler=[dict(scheduler)])
    with pytest.raises(UserError, match=rf'\b{rise} epochs .*\b{rise - 1}\b'):
        load_config(path, {'train_cfg.max_epochs': rise - 1})


@pytest.mark.parametrize('name', ['esvit', 'sere'])
def test_temperature_rise_longer_than_training(name: str, tmp_path: Path) -> None:
    path = REPO / 'configs' / f'{RECIPES[name]}.py'
    with pytest.raises(UserError, match=r'teacher_temp.*\b30 epochs .*\b29\b'):
        load_config(path, {'train_cfg.max_epochs': 29})
    load_config(path, {'train_cfg.max_epochs': 30})
    with pytest.raises(UserError, match=r'teacher_temp.*\b31 epochs .*\b30\b'):
        load_config(path, {'train_cfg.max_epochs': 30, 'model.teacher_temp.delay': 1})


@pytest.mark.parametrize(
    ('settings', 'facts'),
    [
        (dict(start=1, shape='square'), "'square'.*constant, linear, cosine, step"),
        (dict(start=1), "'cosine'.*final"),
        (dict(start=1, finale=0), r"model\.x.*'finale' \(did you mean final"),
        (dict(start=1, shape='constant', rise=3), r"model\.x.*'rise'"),
    ],
)
def test_schedule_that_says_too_little(settings: dict[str, Any], facts: str) -> None:
    with pytest.raises(UserError, match=facts):
        Schedule.build(settings, 'model.x')


@pytest.mark.parametrize('key', ['momentum', 'teacher_temp', 'teacher_patch_temp'])
def test_schedule_of_a_model_is_named_by_its_key(key: str) -> None:
    settings = dict(start=0.04, shape='constant', rise=3)
    with pytest.raises(UserError, match=rf"^model\.{key}.*'rise'"):
        build('ibot', **{key: settings})


# batches, before the first iteration --------------------------------------------------------------
def runner(
    model: Any, images: int, epochs: int = 8, per_epoch: int = 5, left: int = 0
) -> SimpleNamespace:
    """Return what MethodHook asks of a runner; ``left`` images end an epoch."""

    class Loader:
        batch_size = images
        drop_last = not left
        sampler = range(images * per_epoch + left)

        def __len__(self) -> int:
            return per_epoch

    lines: list[str] = []
    return SimpleNamespace(
        model=model,
        train_dataloader=Loader(),
        max_iters=epochs * per_epoch,
        optim_wrapper=SimpleNamespace(_accumulative_counts=1),
        logger=SimpleNamespace(warning=lines.append, lines=lines),
    )


@pytest.mark.parametrize('name', ['moco', 'moby', 'swav', 'mocov3'])
def test_batch_of_one(name: str) -> None:
    with refuses('train_dataloader.batch_size', 1):
        MethodHook().before_train(runner(build(name), 1))
    MethodHook().before_train(runner(build(name), 2))


@pytest.mark.parametrize('name', ['moco', 'moby', 'swav', 'mocov3'])
def test_one_image_left_at_the_end_of_an_epoch(name: str) -> None:
    with refuses('train_dataloader.drop_last', False):
        MethodHook().before_train(runner(build(name), 4, left=1))
    MethodHook().before_train(runner(build(name), 4, left=2))


@pytest.mark.parametrize(('name', 'length'), [('moco', 14), ('swav', 16)])
def test_queue_longer_than_an_epoch_is_said(name: str, length: int) -> None:
    for per_epoch, said in ((length // 2, 0), (length // 2 - 1, 1)):
        run = runner(build(name), 2, per_epoch=per_epoch)
        MethodHook().before_train(run)
        assert len(run.logger.lines) == said
    assert f'a queue of {length} is longer than an epoch of {length - 2}' in run.logger.lines[0]


@pytest.mark.parametrize('name', ['moco', 'moby'])
def test_queue_smaller_than_the_batch(name: str) -> None:
    model = build(name)
    MethodHook().before_train(runner(model, 14))
    with refuses('model.queue_length', 14) as caught:
        MethodHook().before_train(runner(model, 15))
    assert '15' in str(caught.value)


def test_memory_smaller_than_the_batch() -> None:
    model = build('swav')  # 16 rows
    MethodHook().before_train(runner(model, 16))
    with refuses('model.head.queue_length', 16) as caught:
        MethodHook().before_train(runner(model, 17))
    assert '17' in str(caught.value)


def _before_train(images: int) -> tuple[str, object, str]:
    try:
        MethodHook().before_train(runner(build('moby'), images))
    except UserError as error:
        return error.key, error.value, str(error)
    return '', None, ''


@pytest.mark.slow
def test_queue_smaller_than_the_batch_of_both_ranks(two_ranks: Callable[..., Any]) -> None:
    assert two_ranks(_before_train, 7) == [('', None, '')] * 2
    for key, value, message in two_ranks(_before_train, 8):
        assert (key, value) == ('model.queue_length', 14)
        assert '16' in message


def test_curve_of_a_model_is_checked_against_the_run() -> None:
    """Epochs that only the runner knows, as with a shorter run than the config's."""
    with pytest.raises(UserError, match=r'teacher_temp.*\b2 epochs .*\b1 epochs'):
        MethodHook().before_train(runner(build('esvit'), 4, epochs=1))
    MethodHook().before_train(runner(build('esvit'), 4, epochs=2))


@pytest.mark.parametrize(
    ('name', 'key', 'part', 'value'),
    [
        ('mocov3', 'momentum', 'start', 1.5),
        ('moby', 'momentum', 'final', -0.1),
        ('dino', 'teacher_temp', 'start', 0.0),
        ('esvit', 'teacher_temp', 'warmup_start', -0.04),
        ('ibot', 'teacher_patch_temp', 'start', math.nan),
    ],
)
def test_values_of_a_schedule_that_cannot_be(name: str, key: str, part: str, value: float) -> None:
    schedule = {**(MOMENTUM if key == 'momentum' else TEMPERATURE), part: value}
    with refuses(f'model.{key}.{part}', value):
        build(name, **{key: schedule})


@pytest.mark.parametrize('value', [-0.1, 1.5, math.nan])
def test_momentum_of_a_patch_centre(value: float) -> None:
    with refuses('model.patch_center_momentum', value):
        build('ibot', patch_center_momentum=value)
