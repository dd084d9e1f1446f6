"""Which encoders words of a command line name."""

import pytest

from mmssl.encoder_report.models import Run, read_models

from ..helpers.refusals import refuses

VIT = 'timm:vit_tiny_patch16_224'
SWIN = 'esvit_swin-tiny-w7_16xb32-amp-mcrop-coslr-300e_in1k'


@pytest.fixture
def files(tmp_path, monkeypatch):
    (tmp_path / 'run').mkdir()
    for name in ('a.pth', 'b.pth', 'run/epoch_3.pth'):
        (tmp_path / name).write_bytes(b'x')
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ('words', 'runs'),
    [
        (['pixels'], [Run('pixels', 0, 'pixels')]),
        ([VIT], [Run(VIT, 0, VIT, VIT)]),
        (['run/epoch_3.pth'], [Run('run/epoch_3', 0, 'run/epoch_3.pth')]),
        (['dino@a.pth,b.pth'], [Run('dino', 0, 'a.pth'), Run('dino', 1, 'b.pth')]),
        ([f'{VIT}@a.pth'], [Run(VIT, 0, 'a.pth', VIT)]),
        ([f'mine={VIT}@a.pth'], [Run('mine', 0, 'a.pth', VIT)]),
        ([f'{SWIN}@random'], [Run(f'{SWIN} random', 0, 'random', SWIN)]),
        (['a=a.pth', 'b=b.pth'], [Run('a', 0, 'a.pth'), Run('b', 0, 'b.pth')]),
        # the network of the first model that tells one
        (['pixels', 'random', VIT],
         [Run('pixels', 0, 'pixels'), Run('random', 0, 'random', VIT), Run(VIT, 0, VIT, VIT)]),
        (['few@random,random', 'x=a.pth'],
         [*(Run('few', i, 'random', 'a.pth') for i in (0, 1)), Run('x', 0, 'a.pth')]),
        (['hf-hub:timm/some@main'], [Run('hf-hub:timm/some@main', 0, 'hf-hub:timm/some@main')]),
    ],
    ids=lambda v: ' '.join(v) if isinstance(v[0], str) else '',
)  # fmt: skip
@pytest.mark.usefixtures('files')
def test_words_are_models(words, runs):
    assert [run for model in read_models(words) for run in model.runs] == runs


def test_seeds_have_labels_of_their_own():
    assert [Run('m', i, '').label for i in range(2)] == ['m', 'm seed 1']


@pytest.mark.parametrize(
    ('words', 'key', 'value'),
    [
        ([], 'MODEL', None),
        (['random'], 'MODEL', 'random'),
        (['random', 'pixels'], 'MODEL', 'random'),
        (['pixels', 'pixels'], 'MODEL', 'pixels'),
        (['name@'], 'MODEL', 'name@'),
        (['gone.pth'], 'pretrained', 'gone.pth'),
        (['x@a.pth,gone.pth'], 'pretrained', 'gone.pth'),
    ],
    ids=str,
)
@pytest.mark.usefixtures('files')
def test_what_names_no_model_is_refused(words, key, value):
    with refuses(key, value):
        read_models(words)
