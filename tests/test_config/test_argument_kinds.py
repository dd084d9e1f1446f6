"""Values of a config are of the kinds that the annotations of their classes name."""

from collections.abc import Sequence
from typing import Any, Literal

import pytest
from torch import nn

from mmssl.cli.options import text_value
from mmssl.config.argument_kinds import description, fits, wrong_arguments
from mmssl.config.load import load_config
from mmssl.core.kinds import Count, DropRate, ScheduleSettings
from mmssl.models.backbones import ResNet, VisionTransformer
from mmssl.zoo.hub import recipes

from ..helpers.refusals import refuses

SHAPES = 'mocov3_vit-conv_1xb64-32e_shapes'
VIEW = 'train_dataloader.dataset.pipeline.1.views.0'
# an option of the quickstart's config, a wrong value, and what to give
WRONG: list[tuple[str, Any, str]] = [
    ('model.momentum', 0.99, "dict(start=0.99, shape='constant')"),
    ('model.backbone.arch', (16, 2), '3 values, each a whole number'),
    ('model.backbone.patch_size', '8', 'a whole number of at least 1'),
    ('model.backbone.img_size', 32.5, 'a whole number of at least 1'),
    ('model.backbone.drop_path_rate', 1.0, 'a number from 0 to below 1'),
    ('model.backbone.drop_path_rate', -0.1, 'a number from 0 to below 1'),
    ('model.backbone.positions', 3, 'text'),
    ('model.neck.dims', 5, 'a list, each a whole number'),
    ('model.neck.dims', (64, 'a'), 'a list, each a whole number'),
    ('model.head.scaled', 'yes', 'True or False'),
    ('model.data_preprocessor', 5, 'a dict or None'),
    ('optim_wrapper.clip_grad', 3.0, 'a dict or None'),
    ('train_dataloader.dataset.share', 0.5, '2 values, each a number'),
    ('train_dataloader.dataset.pipeline', 5, 'a list, each a dict'),
    ('train_dataloader.dataset.split', 0, 'text'),
    (f'{VIEW}.jitter', 0.4, 'a list, each a number or None'),
    (f'{VIEW}.size', (16, 32), 'a whole number'),
    (f'{VIEW}.flip', 'often', 'a number'),
    ('val_cfg.k', 5, 'a list, each a whole number'),
    ('custom_imports', ['m'], 'a dict or None'),
    ('custom_hooks', [5], 'a dict or Hook'),
    ('work_dir', 5, 'text or None'),
    ('data_root', 2024, 'text or None'),
]


@pytest.mark.parametrize(('key', 'value', 'words'), WRONG, ids=[f'{k}-{v}' for k, v, _ in WRONG])
def test_a_value_of_another_kind(key: str, value: Any, words: str) -> None:
    with refuses(key, value) as caught:
        load_config(SHAPES, {key: value})
    assert words in str(caught.value)


def test_several_at_once() -> None:
    with pytest.raises(Exception, match='2') as caught:
        load_config(SHAPES, {'model.backbone.patch_size': '8', 'model.neck.dims': 5})
    keys = [error.key for error in caught.value.errors]  # type: ignore[attr-defined]
    assert keys == ['model.backbone.patch_size', 'model.neck.dims']


def test_an_index_that_is_not_there() -> None:
    with refuses('train_dataloader.dataset.pipeline.7.views', 3) as caught:
        load_config(SHAPES, {'train_dataloader.dataset.pipeline.7.views': 3})
    assert 'RandomView' not in str(caught.value)  # not the whole pipeline


def test_every_recipe_has_the_right_kinds() -> None:
    read = [load_config(path) for name, path in recipes().items() if '/transfer/' not in str(path)]
    assert len(read) > 150


ANNOTATIONS: list[tuple[Any, Any, bool]] = [
    (int, 3, True), (int, 3.0, False), (int, True, False), (float, 3, True), (float, '3', False),
    (bool, 1, False), (str, 'a', True), (str | None, None, True), (dict, {}, True),
    (tuple[int, int], [1, 2], True), (tuple[int, int], (1, 2, 3), False),
    (Sequence[int], [1, 2], True), (Sequence[int], 'ab', False), (list[int], (1, 2), True),
    (str | tuple[int, int], [1, 2], True), (str | tuple[int, int], [1, 'b'], False),
    (dict[str, tuple[int, int]], {'a': [1, 2]}, True), (Literal['a', 'b'], 'c', False),
    (nn.Module, nn.ReLU(), True), (nn.Module | dict, 3, False), (Any, object(), True),
    (Count, 0, False), (Count, 1, True), (DropRate, 0.99, True), (DropRate, 1, False),
    (ScheduleSettings, 0.9, False),
]  # fmt: skip


@pytest.mark.parametrize(
    ('annotation', 'value', 'right'), ANNOTATIONS, ids=[str(i) for i in range(len(ANNOTATIONS))]
)
def test_kinds(annotation: Any, value: Any, right: bool) -> None:
    assert fits(annotation, value) is right


def test_annotations_are_those_of_bases_too() -> None:
    given = dict(depth='18', width=8, frozen_stages='2', norm_eval=1, other='x')
    found = dict(wrong_arguments(ResNet, given))
    assert found == dict(depth='a whole number', frozen_stages='a whole number',
                         norm_eval='True or False')  # fmt: skip
    assert dict(wrong_arguments(VisionTransformer, dict(arch='small', out_indices=(3,)))) == {}
    assert dict(wrong_arguments(nn.Linear, dict(in_features='a'))) == {}


def test_words() -> None:
    assert description(str | tuple[int, int]) == 'text or 2 values, each a whole number'
    assert description(tuple[int, float]) == '2 values, a whole number, a number'
    assert description(Literal['a', 2]) == "'a' or 2"
    assert description(nn.Module | None) == 'Module or None'


def test_options_that_hold_paths_are_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HOME', '/home/user')
    assert [text_value(t) for t in ('2024', 'a,b', '0', "'x y'", 'None', '~/data')] == [
        '2024', 'a,b', '0', 'x y', None, '/home/user/data',
    ]  # fmt: skip
