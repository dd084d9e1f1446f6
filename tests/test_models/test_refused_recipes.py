"""Recipes with impossible settings are refused before training; the error names the values."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmssl.apis import load_config
from mmssl.core import Schedule, UserError
from mmssl.engine import MethodHook

from ..helpers.methods import build
from ..helpers.paths import REPO

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
    method = METHOD[name]
    with pytest.raises(UserError, match=f'^{method} needs 2 views, the pipeline makes 1: '):
        load_config(recipe(tmp_path, name, [view()], mask=MASK))
    load_config(recipe(tmp_path, name, [view(repeat=2)], mask=MASK))


def test_region_task_takes_locals_of_one_size(tmp_path: Path) -> None:
    views = [view(repeat=2), view(96, repeat=2), view(64)]
    with pytest.raises(UserError, match=r'local views of one size, got \[64, 96\]'):
        load_config(recipe(tmp_path, 'esvit', views))
    load_config(recipe(tmp_path, 'esvit', views[:2]))
    load_config(recipe(tmp_path, 'esvit-v', views))


@pytest.mark.parametrize('name', ['sere', 'ibot'])
def test_global_views_of_one_size_come_first(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'two global views of one size first, got \[224, 96\]'):
        load_config(recipe(tmp_path, name, [view(), view(96, repeat=10)], mask=MASK))
    with pytest.raises(UserError, match=r"masks patches: add mask=dict\(type='PatchMask'\)"):
        load_config(recipe(tmp_path, name, [view(repeat=2)]))


def test_code_from_a_crop_that_is_not_there(tmp_path: Path) -> None:
    path = recipe(tmp_path, 'swav', [view(repeat=2)])
    with pytest.raises(UserError, match='2'):
        load_config(path, {'model.head.assign': (0, 2)})


def test_local_views_without_local_heads(tmp_path: Path) -> None:
    path = REPO / 'configs' / f'{RECIPES["sere"]}.py'
    with pytest.raises(UserError, match='local'):
        load_config(path, {'model.relation.local': False})


def test_mask_of_other_patches(tmp_path: Path) -> None:
    views = [view(repeat=2), view(96, repeat=10)]
    with pytest.raises(UserError, match=r'16.*8|8.*16'):
        load_config(recipe(tmp_path, 'sere', views, mask=dict(MASK, patch_size=8)))


# schedules, when the config is read ---------------------------------------------------------------
@pytest.mark.parametrize('name', ['mocov3', 'moby', 'swav', 'esvit', 'sere', 'ibot'])
def test_warm_up_longer_than_training(name: str, tmp_path: Path) -> None:
    path = REPO / 'configs' / f'{RECIPES[name]}.py'
    lr = load_config(path).param_scheduler[0]
    rise = lr.get('warmup', 0)
    if name == 'swav':  # the small-batch recipes have none
        rise, scheduler = 9, dict(lr, warmup=9)
        path = recipe(tmp_path, name, None, param_scheduler=[dict(scheduler)])
    with pytest.raises(
        UserError,
        match=f'^param_scheduler of lr: warm-up of {rise} epochs is longer than '
        f'train_cfg.max_epochs={rise - 1}',
    ):
        load_config(path, {'train_cfg.max_epochs': rise - 1})


@pytest.mark.parametrize('name', ['esvit', 'sere'])
def test_temperature_rise_longer_than_training(name: str, tmp_path: Path) -> None:
    path = REPO / 'configs' / f'{RECIPES[name]}.py'
    with pytest.raises(
        UserError,
        match=r'^model\.teacher_temp: warm-up of 30 epochs is longer than train_cfg\.max_epochs=29',
    ):
        load_config(path, {'train_cfg.max_epochs': 29})
    load_config(path, {'train_cfg.max_epochs': 30})
    with pytest.raises(UserError, match=r'warm-up of 31 epochs .*=30'):
        load_config(path, {'train_cfg.max_epochs': 30, 'model.teacher_temp.delay': 1})


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(start=1, shape='square'), "shape 'square' is unknown; use one of constant, linear"),
        (dict(start=1), "a schedule of shape 'cosine' needs its final value"),
        (
            dict(start=1, finale=0),
            r"^model.x: a schedule has no argument 'finale' \(did you mean ",
        ),
    ],
)
def test_curve_that_says_too_little(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Schedule.build(settings, 'model.x')


# batches, before the first iteration --------------------------------------------------------------
def runner(model: Any, images: int, epochs: int = 8, per_epoch: int = 5) -> SimpleNamespace:
    """What the clock's hook asks of a runner."""

    class Loader:
        batch_size = images

        def __len__(self) -> int:
            return per_epoch

    return SimpleNamespace(model=model, train_dataloader=Loader(), max_iters=epochs * per_epoch)


@pytest.mark.parametrize('name', ['moco', 'moby'])
def test_queue_smaller_than_the_batch(name: str) -> None:
    model = build(name)
    MethodHook().before_train(runner(model, 14))
    with pytest.raises(
        UserError, match=r'^queue_length=14 is smaller than the batch of all processes, 15$'
    ):
        MethodHook().before_train(runner(model, 15))


def test_memory_smaller_than_the_batch() -> None:
    model = build('swav')  # 16 rows
    MethodHook().before_train(runner(model, 16))
    with pytest.raises(UserError, match=r'queue_length=16 .* 17'):
        MethodHook().before_train(runner(model, 17))


def _before_train(images: int) -> str:
    try:
        MethodHook().before_train(runner(build('moby'), images))
    except UserError as error:
        return str(error)
    return ''


def test_queue_smaller_than_the_batch_of_both_ranks(two_ranks: Callable[..., Any]) -> None:
    assert two_ranks(_before_train, 7) == ['', '']
    for message in two_ranks(_before_train, 8):
        assert message == 'queue_length=14 is smaller than the batch of all processes, 16'


def test_curve_of_a_model_is_checked_against_the_run() -> None:
    """Epochs that only the runner knows, as with a shorter run than the config's."""
    with pytest.raises(UserError, match=r'teacher_temp: warm-up of 2 epochs .* \(1 epochs\)'):
        MethodHook().before_train(runner(build('esvit'), 4, epochs=1))
    MethodHook().before_train(runner(build('esvit'), 4, epochs=2))
