"""Exports of backbones: the files, their checks, and what is refused."""

import json
import os
import stat
import sys

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
import yaml
from safetensors import safe_open

from mmssl.apis import get_model
from mmssl.cli import export, hub_folder
from mmssl.models.backbones import (
    CvT,
    ResNet,
    SwinTransformer,
    TimmBackbone,
    ViL,
    VisionTransformer,
)
from mmssl.models.backbones.to_timm import twin

from ..helpers.refusals import refuses

FILES = ['README.md', 'config.json', 'model.safetensors']
VIL = 'l1,h2,d8,n1,s1,g1,p4,f3,a0_l2,h2,d16,n1,s0,g1,p2,f3,a0_l3,h4,d16,n1,s0,g0,p1,f3,a0'
BACKBONES = {
    'vit': dict(type='VisionTransformer', arch=(16, 2, 2), img_size=48, patch_size=8),
    'swin': dict(type='SwinTransformer', arch=(8, (2, 2), (1, 2)), img_size=48, window_size=4),
    'cvt': dict(
        type='CvT', widths=(8, 16), depths=(1, 1), num_heads=(1, 2), windows=(4, 4),
        embeds=((7, 4, 2), (3, 2, 1)),
    ),
    'vil': dict(type='ViL', arch=VIL, img_size=48),
    'resnet': dict(type='ResNet', layers=(1, 1, 1, 1)),
    'timm': dict(
        type='TimmBackbone', name='convnext_tiny', args=dict(dims=(8, 8, 8, 16), depths=(1,) * 4)
    ),
}  # fmt: skip


@pytest.fixture
def config(tmp_path):
    def write(backbone, **more):
        model = dict(type='Classifier', backbone=backbone, head=dict(type='LinearHead'), **more)
        model['head']['num_classes'] = 3
        path = tmp_path / 'config.py'
        path.write_text(f'model = {model!r}\n')
        return str(path)

    return write


def run(kind, config, out, *more, checkpoint='random', size=48):
    words = ['--weights', str(checkpoint), '--size', str(size)]
    return export.main([kind, config, str(out), *words, *more])


# two families a day; the others every night
FAMILIES = [
    name if name in ('vit', 'swin') else pytest.param(name, marks=pytest.mark.nightly)
    for name in BACKBONES
]


@pytest.mark.parametrize('name', FAMILIES)
def test_torch_export_of_every_family(name, config, tmp_path, capsys):
    """At another size than the built one: positions and biases are resized in the program."""
    out = tmp_path / 'net.pt2'
    worst = run('torch', config(BACKBONES[name]), out, size=64)
    assert worst <= 1e-5
    text = capsys.readouterr().out
    assert f'{out}: largest absolute difference {worst:.1e}, of values up to' in text
    program = torch.export.load(out).module()
    for batch in (1, 5):  # any number of images
        assert program(torch.zeros(batch, 3, 64, 64)).shape[0] == batch
    # the tracer's empty tensors must not be remembered as windows
    net = export.MODELS.build(BACKBONES[name]).eval()
    assert net.encode(torch.zeros(1, 3, 64, 64)).pooled.isfinite().all()


@pytest.mark.parametrize('name', FAMILIES)
def test_onnx_of_every_family(name, config, tmp_path):
    runtime = pytest.importorskip('onnxruntime')
    out = tmp_path / 'net.onnx'
    assert run('onnx', config(BACKBONES[name]), out, size=64) <= 1e-4
    session = runtime.InferenceSession(out)
    (image,), (features,) = session.get_inputs(), session.get_outputs()
    assert (image.name, features.name) == ('image', 'features')
    assert session.run(None, {'image': np.zeros((5, 3, 64, 64), np.float32)})[0].shape[0] == 5
    assert [p.name for p in tmp_path.iterdir() if 'onnx' in p.name] == ['net.onnx']  # one file


def test_maps_and_weights_of_a_checkpoint(config, tmp_path):
    net = ResNet(layers=(1, 1, 1, 1)).eval()
    path = tmp_path / 'weights.pth'
    torch.save({'state_dict': {f'backbone.{k}': v for k, v in net.state_dict().items()}}, path)
    out = tmp_path / 'maps.pt2'
    run('torch', config(BACKBONES['resnet']), out, '--maps', '0', '3', checkpoint=path)
    x = torch.randn(2, 3, 48, 48)
    net.out_indices = (0, 3)
    for ours, expected in zip(torch.export.load(out).module()(x), net(x), strict=True):
        assert torch.allclose(ours, expected, rtol=0, atol=1e-5)


def test_a_missing_extra_is_named(config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with refuses('kind', 'onnx') as caught:
        run('onnx', config(BACKBONES['vit']), tmp_path / 'net.onnx')
    assert "onnxruntime: pip install 'mmssl[deploy]'" in str(caught.value)


def test_what_cannot_be_exported_is_named(config, tmp_path):
    with refuses('--maps', [0]):
        run('huggingface', config(BACKBONES['resnet']), tmp_path / 'hub', '--maps', '0')
    bare = tmp_path / 'bare.py'
    bare.write_text("model = dict(type='MLP', dims=(2, 2))\n")
    with refuses('model.backbone'):
        run('torch', str(bare), tmp_path / 'net.pt2')
    assert not (tmp_path / 'hub').exists()


def test_a_result_that_differs_is_an_error(config, tmp_path, monkeypatch):
    monkeypatch.setattr(export, 'to_program', lambda source, a, b, out: [source.network(b) + 1e-2])
    with refuses('file', str(tmp_path / 'net.pt2')):
        run('torch', config(BACKBONES['vit']), tmp_path / 'net.pt2')


# Hugging Face folders -----------------------------------------------------------------------------
EXACT = {
    'vit': BACKBONES['vit'],
    'moby swin': BACKBONES['swin'],
    'resnet': BACKBONES['resnet'],
    'resnet18': dict(type='ResNet', depth=18),
    'timm': BACKBONES['timm'],
}


@pytest.mark.parametrize('name', EXACT)
def test_timm_loads_the_folder(name, config, tmp_path, capsys):
    out = tmp_path / 'hub'
    pixels = dict(type='ViewPreprocessor', std=(0.228, 0.224, 0.225))
    worst = run('huggingface', config(EXACT[name], data_preprocessor=pixels), out)
    assert worst <= 1e-9
    assert sorted(p.name for p in out.iterdir()) == [
        'README.md',
        'config.json',
        'model.safetensors',
    ]
    found = timm.create_model(f'local-dir:{out}', pretrained=True)
    assert list(found.pretrained_cfg['std']) == [0.228, 0.224, 0.225]
    assert found.num_classes == 0
    with safe_open(out / 'model.safetensors', 'pt') as file:
        assert set(file.keys()) == set(found.state_dict())


# five channels ------------------------------------------------------------------------------------
FIVE = dict(type='ViewPreprocessor', mean=(0.5, 0.4, 0.3, 0.2, 0.1), std=(0.2,) * 5)


@pytest.mark.parametrize('name', ['vit', 'moby swin', 'resnet18', 'timm'])
def test_timm_loads_a_folder_of_five_channels(name, config, tmp_path):
    """Its own weights, where timm makes those of other channels from RGB or at random."""
    out = tmp_path / 'hub'
    backbone = dict(EXACT[name], in_channels=5)
    assert run('huggingface', config(backbone, data_preprocessor=FIVE), out) <= 1e-9
    found = timm.create_model(f'local-dir:{out}', pretrained=True).double().eval()
    assert found.pretrained_cfg['input_size'] == (5, 48, 48)
    assert list(found.pretrained_cfg['mean']) == [0.5, 0.4, 0.3, 0.2, 0.1]
    with safe_open(out / 'model.safetensors', 'pt') as file:
        for key, value in found.state_dict().items():
            assert torch.equal(file.get_tensor(key).to(value.dtype), value), key
    # the card's lines
    card = (out / 'README.md').read_text()
    code = card.partition('```python\n')[2].partition('```')[0]
    names = {}
    exec(code.replace('hf-hub:NAME', f'local-dir:{out}'), names)
    image = names['image']
    mean, std = (torch.tensor(FIVE[key]).view(-1, 1, 1) for key in ('mean', 'std'))
    expected = found((image[None].double() - mean) / std)
    assert torch.allclose(names['features'].double(), expected, atol=1e-4)


@pytest.mark.parametrize('name', ['vit', 'resnet'])
def test_programs_of_five_channels(name, config, tmp_path):
    out = tmp_path / 'net.pt2'
    backbone = dict(BACKBONES[name], in_channels=5)
    assert run('torch', config(backbone, data_preprocessor=FIVE), out) <= 1e-5
    program = torch.export.load(out).module()
    assert program(torch.zeros(2, 5, 48, 48)).shape[0] == 2


def test_cvt_of_five_channels_is_refused_by_name(config, tmp_path):
    with refuses('backbone', 'CvT'):
        backbone = dict(BACKBONES['cvt'], in_channels=5)
        run('huggingface', config(backbone, data_preprocessor=FIVE), tmp_path / 'hub')


def test_a_folder_holds_the_side_that_was_asked_for(config, tmp_path, golden):
    """A MoBY file: timm's pooled features are the recorded ones of either network."""
    case = golden('moby_transfer_a')
    swin = dict(
        type='SwinTransformer',
        arch=(12, (1, 2, 2, 1), (1, 2, 4, 4)),
        img_size=64,
        patch_size=2,
        window_size=4,
    )
    image = case.batch['image_cls'].double()
    for branch, name in (('student', 'online'), ('teacher', 'target')):
        out = tmp_path / branch
        file = case.folder / 'official.pth'
        run('huggingface', config(swin), out, '--branch', branch, checkpoint=file, size=64)
        net = timm.create_model(f'local-dir:{out}', pretrained=True).double().eval()
        expected = case.expect[f'cls.feat_{name}']
        assert float((net(image) - expected).abs().max() / expected.abs().max()) < 1e-9


def test_esvits_epsilon_cannot_travel(config, tmp_path, capsys):
    backbone = dict(BACKBONES['swin'], norm_eps=1e-6)
    worst = run('huggingface', config(backbone), tmp_path / 'hub')
    text = capsys.readouterr().out
    assert 'the epsilon of norms is 1e-06 here and 1e-05 in timm' in text
    assert 1e-9 < worst < 1e-3
    with refuses('folder', str(tmp_path / 'hub')):
        run('huggingface', config(backbone), tmp_path / 'hub', '--tolerance', '1e-9')


def test_windows_that_do_not_fill_the_map(config, tmp_path, capsys):
    """A map of 10 x 10 in windows of 4: another network in timm, and the reason is said."""
    backbone = dict(BACKBONES['swin'], img_size=40)
    with refuses('folder', str(tmp_path / 'hub')):
        run('huggingface', config(backbone), tmp_path / 'hub', size=40)
    text = capsys.readouterr().out
    assert 'timm shifts before it pads' in text and 'epsilon' not in text


@pytest.mark.parametrize(
    ('backbone', 'key', 'value', 'fact'),
    [
        (lambda: CvT(), 'backbone', 'CvT', 'its attention is that of EsViT'),
        (lambda: ViL(), 'backbone', 'ViL', ''),
        (lambda: ResNet(width=128), 'width', 128, '128 channels and stride 2'),
        (lambda: ResNet(small_stem=True), 'small_stem', True, '64 channels and stride 1'),
        (lambda: VisionTransformer('small', stem='conv'), 'stem', 'conv', ''),
        (lambda: VisionTransformer('small', last_norm=False), 'last_norm', False, ''),
        (lambda: SwinTransformer(norm_before_mlp='batch'), 'norm_before_mlp', 'batch', ''),
    ],
)
def test_what_timm_does_not_have(backbone, key, value, fact):
    with torch.device('meta'):
        net = backbone()
    with refuses(key, value) as caught:
        twin(net)
    assert fact in str(caught.value)


@pytest.mark.parametrize(
    ('backbone', 'name'),
    [
        (lambda: VisionTransformer('small', num_heads=12), 'vit_small_patch16_224'),
        (lambda: VisionTransformer('huge', patch_size=14), 'vit_huge_patch14_224'),
        (lambda: SwinTransformer('base', window_size=14), 'swin_base_patch4_window7_224'),
        (lambda: ResNet(50), 'resnet50'),
        (lambda: ResNet(101), 'resnet101'),
        (lambda: TimmBackbone('regnety_002'), 'regnety_002'),
    ],
)
def test_full_size_twins_take_our_weights(backbone, name):
    """Names, and every key and shape."""
    with torch.device('meta'):
        net = backbone()
        found, args, differs = twin(net)
        theirs = timm.create_model(found, num_classes=0, **args).state_dict()
    assert (found, differs) == (name, '')
    ours = net.net.state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


def test_the_config_says_how_to_build_it(config, tmp_path):
    run('huggingface', config(BACKBONES['swin']), tmp_path / 'hub')
    found = json.loads((tmp_path / 'hub' / 'config.json').read_text())
    assert found['architecture'] == 'swin_tiny_patch4_window7_224'
    assert found['model_args'] == dict(
        img_size=48,
        patch_size=4,
        embed_dim=8,
        depths=[2, 2],
        num_heads=[1, 2],
        window_size=4,
        mlp_ratio=4.0,
    )
    assert found['pretrained_cfg']['input_size'] == [3, 48, 48]


# folders for the Hub ------------------------------------------------------------------------------
def test_a_folder_is_whole_or_absent_and_readable(config, tmp_path, monkeypatch):
    out = tmp_path / 'hub'
    path = config(BACKBONES['vit'])
    before = os.umask(0o077)  # files of others' machines
    run('huggingface', path, out)
    os.umask(before)
    assert {stat.S_IMODE(p.stat().st_mode) for p in out.iterdir()} == {0o644}
    assert stat.S_IMODE(out.stat().st_mode) == 0o755
    before = (out / 'model.safetensors').read_bytes()

    def fail(tensors, file, metadata):
        file.write_bytes(b'half')
        raise OSError('disk full')

    monkeypatch.setattr(hub_folder, 'save_file', fail)
    for place in (out, tmp_path / 'new'):
        with pytest.raises(OSError, match='disk full'):
            run('huggingface', path, place)
    assert (out / 'model.safetensors').read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ['config.py', 'hub']

    (out / 'notes.txt').write_text('mine')
    with refuses('folder', str(out)):
        run('huggingface', path, out)


def test_the_size_is_the_networks(config, tmp_path):
    out = tmp_path / 'hub'
    path = config(BACKBONES['vit'])
    export.main(['huggingface', path, str(out), '--weights', 'random'])
    stated = json.loads((out / 'config.json').read_text())
    assert stated['pretrained_cfg']['input_size'] == [3, 48, 48]
    card = (out / 'README.md').read_text()
    head = yaml.safe_load(card.split('---')[1])
    assert head['library_name'] == 'timm' and '48 x 48 px' in card and '16 numbers' in card


def test_transformers_loads_the_folder(config, tmp_path):
    transformers = pytest.importorskip('transformers')
    out = tmp_path / 'hub'
    run('huggingface', config(BACKBONES['vit']), out)
    x = torch.randn(2, 3, 48, 48)
    theirs = transformers.AutoModel.from_pretrained(out).eval()(x)
    net = timm.create_model(f'local-dir:{out}', pretrained=True).eval()
    assert torch.equal(theirs.pooler_output, net(x))


def test_push_uploads_the_folder(config, tmp_path, monkeypatch, capsys):
    asked = []

    class Hub:
        def create_repo(self, name, private, exist_ok):
            asked.append((name, private, exist_ok))

        def upload_folder(self, repo_id, folder_path, commit_message):
            if repo_id == 'no/one':
                raise OSError('401 Unauthorized')
            asked.append((repo_id, sorted(p.name for p in folder_path.iterdir())))

    monkeypatch.setattr(huggingface_hub, 'HfApi', Hub)
    out = tmp_path / 'hub'
    run('huggingface', config(BACKBONES['vit']), out, '--push', 'me/net', '--private')
    assert asked == [('me/net', True, True), ('me/net', FILES)]
    assert 'https://huggingface.co/me/net' in capsys.readouterr().out
    with refuses('--push', 'no/one') as caught:
        run('huggingface', config(BACKBONES['vit']), out, '--push', 'no/one')
    assert '401 Unauthorized' in str(caught.value) and 'hf auth login' in str(caught.value)
    assert out.is_dir()
    for words in (['onnx', '--push', 'a/b'], ['huggingface', '--private']):
        with refuses(words[1], 'a/b' if '--push' in words else True):
            run(words[0], config(BACKBONES['vit']), out, *words[1:])


# classifiers --------------------------------------------------------------------------------------
def test_a_classifier_takes_pixels(config, tmp_path):
    path = config(BACKBONES['vit'])
    out = tmp_path / 'net.pt2'
    torch.manual_seed(3)  # random weights are those of the seed
    assert run('torch', path, out, '--classifier') <= 1e-5
    pixels = torch.randint(0, 256, (2, 3, 48, 48)).float()
    scores = torch.export.load(out).module()(pixels)
    torch.manual_seed(3)
    net = get_model(path)
    expected = net.logits(net.data_preprocessor.normalize(pixels.byte())).softmax(1)
    assert torch.allclose(scores, expected, rtol=0, atol=1e-6)
    for words in (['torch', '--maps', '0'], ['huggingface']):
        with refuses('--classifier', True):
            run(words[0], path, out, '--classifier', *words[1:])


def test_weights_must_be_named(config, tmp_path):
    path = config(BACKBONES['vit'])
    with refuses('--weights') as caught:
        export.main(['torch', path, str(tmp_path / 'net.pt2')])
    assert '--weights random' in str(caught.value)
