"""Refusals of mmssl.zoo: each error has the key and the value at fault."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmssl.core import UserError
from mmssl.zoo.hub import ModelHub, UnknownModel

from ..helpers.refusals import refuses

UNKNOWN = 'mocov3_resnet50_8xb512-amp-coslr-200e_in1k'
UNPUBLISHED = 'moby_swin-tiny_3rdparty_8xb64-amp-coslr-100e_in1k'
BY_HAND = ModelHub.get('sere_vit-small-p16_3rdparty_8xb128-amp-mcrop-coslr-100e_in1k')
ENTRY = '{Models: [{Name: a, Results: null}]}'


def register(folder: Path, index: str | None, metafile: str = '') -> None:
    """Register the model index of a folder, which names one metafile."""
    if index is not None:
        (folder / 'model-index.yml').write_text(index)
    (folder / 'm.yml').write_text(metafile)
    ModelHub.register_model_index(folder / 'model-index.yml')


# id: (what is done in a folder, key, value, a fact that the message names)
CASES: dict[str, tuple[Callable[[Path], Any], str, str, str]] = {
    'name': (lambda _: ModelHub.get(UNKNOWN), 'name', UNKNOWN, 'did you mean mocov3_resnet50'),
    'no weights': (lambda _: ModelHub.get(UNPUBLISHED).fetch(), 'name', UNPUBLISHED, ''),
    'weights for browsers': (lambda _: BY_HAND.fetch(), 'file', '{address}', ''),
    'no index': (
        lambda folder: register(folder, None), 'file', '{folder}/model-index.yml', 'No such file',
    ),
    'no metafile': (
        lambda folder: register(folder, 'Import: [n.yml]'), 'file', '{folder}/n.yml',
        'No such file',
    ),
    'an index that is no YAML': (
        lambda folder: register(folder, 'Import: [m.yml'), 'file', '{folder}/model-index.yml',
        'line 1',
    ),
    'an entry without its collection': (
        lambda folder: register(folder, 'Import: [m.yml]', ENTRY), 'file', '{folder}/m.yml',
        "'In Collection'",
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', CASES)
def test_key_and_value_are_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    call, key, value, fact = CASES[name]
    value = value.replace('{folder}', str(tmp_path)).replace('{address}', BY_HAND.weights or '')
    with refuses(key, value, UnknownModel if name == 'name' else UserError) as caught:
        call(tmp_path)
    assert fact in str(caught.value)
    assert value in str(caught.value)


def test_an_unknown_model_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match=r'mmssl\.list_models\(\)'):
        ModelHub.get(UNKNOWN)
