"""The converters from the command line: their files, the lines they print, what they refuse."""

import builtins
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from safetensors.torch import load_file

from mmssl.checkpoint import load, read
from mmssl.registry import MODELS

from ..helpers.command import call, refused
from ..helpers.methods import build
from ..helpers.paths import GOLDEN
from ..helpers.tiny import make_runner

FOLDER = 'tools/model_converters'
OFFICIAL = {
    'moco': 'mocov2_r50_a',
    'mocov3': 'mocov3_vit_a',
    'moby': 'moby_swin_a',
    'esvit': 'esvit_swin_vr_a',
    'sere': 'sere_vit_a',
    'swav': 'swav_r50_a',
}


def official(method: str) -> Path:
    return GOLDEN / OFFICIAL[method] / 'official.pth'


def plain(path: Path) -> dict[str, Any]:
    """Read as a library does, which knows nothing of us."""
    return torch.load(path, weights_only=True)


def pasted(out: str) -> Any:
    """Put the printed lines into a config and return its backbone."""
    return Config.fromstring('backbone=' + out.split('backbone=', 1)[1], '.py').backbone


@pytest.mark.parametrize('library', ['mmdet', 'mmseg'])
@pytest.mark.parametrize('method', OFFICIAL)
def test_every_method_is_written(method: str, library: str, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / 'out.pth'
    script = f'{FOLDER}/selfsup2{library}.py'
    done = call(capsys, official(method), out, '--selfsup', method, script=script)
    assert (done.code, done.err) == (0, '')
    content = plain(out)
    assert list(content) == ['state_dict']
    names = set(content['state_dict'])
    assert not any(re.search('head|neck|queue|fc[.]|prototypes|sere', name) for name in names)
    signs = {
        'moco': 'layer1.0.conv1.weight',
        'swav': 'layer1.0.conv1.weight',
        'moby': 'stages.0.blocks.0.attn.w_msa.qkv.weight',
        'esvit': 'stages.0.blocks.0.attn.w_msa.qkv.weight',
        'mocov3': 'net.blocks.0.attn.qkv.weight',
        'sere': 'net.blocks.0.attn.qkv.weight',
    }
    sign = signs[method]
    if library == 'mmseg' and method in ('mocov3', 'sere'):
        sign = 'layers.0.attn.attn.in_proj_weight'
    if library == 'mmdet' and method in ('moby', 'esvit'):
        sign = f'backbone.{sign}'
    assert sign in names
    assert f"init_cfg=dict(type='Pretrained', checkpoint='{out}')" in done.out
    ours = library == 'mmdet' and method in ('mocov3', 'sere')
    assert ("custom_imports = dict(imports=['mmssl.models']" in done.out) is ours


def test_what_differs_is_said(tmp_path: Path, capsys: Any) -> None:
    """EsViT's epsilon, and windows that mmdet and mmseg have otherwise."""
    path = GOLDEN / 'esvit_linear_a' / 'official.pth'
    done = call(capsys, path, tmp_path / 'x.pth', script=f'{FOLDER}/selfsup2mmseg.py')
    notes = [line for line in done.out.splitlines() if line.startswith('note: ')]
    assert 'stage 4 has windows of 2' in notes[0] and 'resized to 4' in notes[0]
    assert re.search(r'epsilon 1e-06, .*\(the norm_cfg below keeps it', notes[1])
    assert re.search(r'shifts the windows .* the last stage differs', notes[2])
    assert "norm_cfg=dict(type='LN', eps=1e-06)" in done.out


def test_our_own_files_are_taken_and_printed_as_configured(
    tiny_config: Any, tmp_path: Path, capsys: Any
) -> None:
    make_runner(tiny_config(), tmp_path, train_cfg__max_epochs=1).train()
    done = call(capsys, tmp_path / 'epoch_1.pth', tmp_path / 'x.pth', '--selfsup', 'mocov3',
                script=f'{FOLDER}/selfsup2mmdet.py')  # fmt: skip
    settings = pasted(done.out)
    del settings['_delete_']
    settings['type'] = settings['type'].removeprefix('mmssl.')
    net = MODELS.build(settings)
    net.init_weights()
    file = read(tmp_path / 'epoch_1.pth')['state_dict']
    for key, value in net.state_dict().items():
        assert torch.equal(value, file[f'student.backbone.{key}']), key


@pytest.mark.transfer
@pytest.mark.parametrize('library', ['mmdet', 'mmseg'])
@pytest.mark.parametrize('method', ['moby', 'sere'])
def test_pasted_lines_build_the_network(
    method: str, library: str, tmp_path: Path, capsys: Any
) -> None:
    """The library's own registry and loader, with the lines as printed."""
    import mmseg.models  # noqa: F401
    from mmengine.registry import MODELS as ROOT

    script = f'{FOLDER}/selfsup2{library}.py'
    done = call(capsys, official(method), tmp_path / 'x.pth', script=script)
    settings = pasted(done.out)
    del settings['_delete_']
    if method == 'sere':  # heads are not in the file
        heads = {'arch': (30, 2, 3)} if library == 'mmdet' else {'num_heads': 3}
        settings |= heads
    if '.' not in settings['type']:
        settings['type'] = f'{library}.{settings["type"]}'
    net = ROOT.build(settings)
    net.init_weights()
    state = {
        k.removeprefix('backbone.'): v for k, v in plain(tmp_path / 'x.pth')['state_dict'].items()
    }
    loaded = net.state_dict()
    assert {k for k in loaded if k not in state} <= {f'norm{i}.{n}' for i in range(4)
                                                     for n in ('weight', 'bias')}  # fmt: skip
    assert all(torch.equal(loaded[k], v) for k, v in state.items())


@pytest.mark.parametrize(
    'name', ['moco', 'mocov3', 'moby', 'swav', 'esvit', 'dino', 'ibot', 'sere']
)
def test_official_and_back_loads_whole(name: str, tmp_path: Path, capsys: Any) -> None:
    """Our model under official names, rewritten under ours, fills every tensor again."""
    from mmssl.checkpoint.layouts import LAYOUTS

    model = build(name, 3)
    layout = LAYOUTS[{'moco': 'mocov2'}.get(name, name)]
    state = layout.restore(model.state_dict())
    content: dict[str, Any] = {layout.roots[0]: state} if layout.roots else {}
    for section in layout.sections:
        start = f'{section}.'
        content[section] = {k.removeprefix(start): state[k] for k in state if k.startswith(start)}
    torch.save(content | {'epoch': 4}, tmp_path / 'official.pth')
    out = tmp_path / 'ours.pth'
    done = call(capsys, tmp_path / 'official.pth', out, script=f'{FOLDER}/official2mmssl.py')
    assert (done.code, done.err) == (0, '')
    assert plain(out)['meta'] == dict(source=layout.name, export=model.export, epoch=4)
    other = build(name, 4)
    report = load(other, out)
    assert report.missing == report.unexpected == report.mismatched == []
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in model.state_dict().items())


def test_extraction_for_libraries(tmp_path: Path, capsys: Any) -> None:
    script, source = f'{FOLDER}/extract_backbone.py', official('mocov3')
    out = tmp_path / 'x.safetensors'
    done = call(capsys, source, out, '--to', 'timm', '--branch', 'teacher', script=script)
    assert 'teacher branch' in done.out
    file = read(source)['state_dict']
    state = load_file(out)
    start = 'module.momentum_encoder.'
    assert all(torch.equal(v, file[f'{start}{k}']) for k, v in state.items())
    assert len(state) == 30
    linear = GOLDEN / 'moby_linear_a' / 'linear_official.pth'
    done = call(capsys, linear, tmp_path / 'y.pth', script=script)
    assert done.code == 0 and 'swin file' in done.out  # the network of a linear file, on demand
    assert not any('head' in key for key in plain(tmp_path / 'y.pth')['state_dict'])


def test_publishing_strips_and_names_by_hash(tiny_config: Any, tmp_path: Path, capsys: Any) -> None:
    make_runner(tiny_config(), tmp_path / 'w', train_cfg__max_epochs=1).train()
    source = tmp_path / 'w' / 'epoch_1.pth'
    done = call(capsys, source, tmp_path / 'p' / 'tiny.pth', script=f'{FOLDER}/publish_model.py')
    (found,) = (tmp_path / 'p').iterdir()
    digest = hashlib.sha256(found.read_bytes()).hexdigest()
    assert found.name == f'tiny-{digest[:8]}.pth' and digest in done.out
    content = plain(found)
    assert set(content) == {'state_dict', 'meta'}
    assert str(tmp_path) not in json.dumps(content['meta'])
    assert content['meta']['export'] == 'student' and content['meta']['epoch'] == 1
    whole = read(source)['state_dict']
    assert all(torch.equal(v, whole[k]) for k, v in content['state_dict'].items())


@pytest.mark.parametrize(
    ('script', 'words', 'key', 'value'),
    [
        ('selfsup2mmdet', (official('moby'), 'x.pth', '--selfsup', 'swav'),
         '--selfsup', 'swav'),
        ('selfsup2mmdet', (GOLDEN / 'esvit_linear_a' / 'linear_checkpoint.pth.tar', 'x.pth'),
         'file', str(GOLDEN / 'esvit_linear_a' / 'linear_checkpoint.pth.tar')),
        ('extract_backbone', (official('moby'), 'x.pth', '--to', 'torchvision'),
         'target', 'torchvision'),
        ('extract_backbone', ('nowhere.pth', 'x.pth'), 'file', 'nowhere.pth'),
        ('publish_model', (official('moby'), 'x.pth'), 'file', str(official('moby'))),
    ],
)  # fmt: skip
def test_refusals_are_one_line_and_leave_nothing(
    script: str,
    words: tuple,
    key: str,
    value: str,
    tmp_path: Path,
    capsys: Any,
    monkeypatch: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(call(capsys, *words, script=f'{FOLDER}/{script}.py'), key, value)
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_a_network_is_refused(tmp_path: Path, capsys: Any) -> None:
    file = read(official('moby'))['model']
    name = 'encoder.layers.1.blocks.0.norm1.weight'
    part = tmp_path / 'part.pth'
    for drop, fact in (
        ('encoder.patch_embed', 'a part of a swin only'),
        (name, 'layers.1.blocks.0.norm1.weight'),
    ):
        state = {k: v for k, v in file.items() if not k.startswith(drop)}
        torch.save({'model': state}, part)
        done = call(capsys, part, tmp_path / 'x.pth', script=f'{FOLDER}/selfsup2mmseg.py')
        assert fact in refused(done, 'file', str(part))
        assert not (tmp_path / 'x.pth').exists()


# malicious files ----------------------------------------------------------------------------------
class Payload:
    """Prints while a pickle with it is read without care."""

    def __reduce__(self) -> Any:
        return builtins.print, ('EXECUTED',)


def malicious(kind: str, path: Path) -> Path:
    """Write a whole checkpoint with a payload: pickled, or as text that mmengine would run."""
    state = build('mocov3').state_dict()
    text = "print('EXECUTED')"
    settings = {'pickle': Payload(), 'config': text, 'cfg': text}[kind]
    meta = {'config' if kind == 'pickle' else kind: settings, 'settings': text, 'model': text}
    torch.save({'state_dict': state, 'meta': meta, 'message_hub': meta}, path)
    return path


@pytest.mark.parametrize('kind', ['pickle', 'config', 'cfg'])
@pytest.mark.parametrize(
    'script',
    ['selfsup2mmdet', 'selfsup2mmseg', 'official2mmssl', 'extract_backbone', 'publish_model'],
)
def test_converting_runs_nothing(script: str, kind: str, tmp_path: Path, capsys: Any) -> None:
    path = malicious(kind, tmp_path / 'bad.pth')
    done = call(capsys, path, tmp_path / 'x.pth', script=f'{FOLDER}/{script}.py')
    assert 'EXECUTED' not in done.out + done.err
    if kind == 'pickle':
        assert 'it would call builtins.print' in refused(done, 'file', str(path))
        assert os.listdir(tmp_path) == ['bad.pth']
    else:
        assert done.code == (2 if script.startswith('selfsup') else 0), done  # small-stem ResNet


@pytest.mark.parametrize('kind', ['pickle', 'config', 'cfg'])
@pytest.mark.parametrize('way', ['load_from', 'resume'])
def test_training_from_a_malicious_file_runs_nothing(
    way: str, kind: str, tiny_config: Any, tmp_path: Path, capsys: Any
) -> None:
    path = malicious(kind, tmp_path / 'bad.pth')
    more = ('--resume', path) if way == 'resume' else ('--cfg-options', f'load_from={path}')
    done = call(capsys, tiny_config(), '--work-dir', tmp_path / 'w', *more)
    assert 'EXECUTED' not in done.out + done.err
    line = refused(done)
    if kind == 'pickle':
        assert 'it would call builtins.print' in line
    elif way == 'resume':
        assert f'load_from={path}' in line
    else:
        assert 'does not hold this backbone' in line


def test_a_resnet_in_mmdet_trains_its_norms(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """As MMDetection's page on self-supervised networks asks for; its configs freeze them."""
    for tool, asks in (('selfsup2mmdet', True), ('selfsup2mmseg', False)):
        script = f'{FOLDER}/{tool}.py'
        text = call(capsys, official('moco'), tmp_path / 'x.pth', script=script).out
        for line in (
            'frozen_stages=0,',
            'norm_eval=False,',
            "norm_cfg=dict(type='SyncBN', requires_grad=True),",
        ):
            assert (line in text) is asks
