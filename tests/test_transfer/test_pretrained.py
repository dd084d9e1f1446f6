"""A pretraining file under a detector's backbone: taken whole, or refused in one line."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config, ConfigDict
from torch import nn

from mmssl import transfer  # noqa: F401, its types can be named
from mmssl.checkpoint import read
from mmssl.checkpoint.layouts import LAYOUTS
from mmssl.core import UserError
from mmssl.transfer.pretrained import PretrainHook, start_from

from ..helpers.refusals import refuses
from ..helpers.transfer_nets import NETS, OURS, THEIRS, VIT

pytestmark = pytest.mark.transfer


def config(tmp_path, backbone, **more):
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / 'c.py').touch()
    model = dict(backbone=dict(backbone))
    return Config(dict(model=model, work_dir=str(tmp_path), **more), filename=tmp_path / 'c.py')


@pytest.mark.parametrize(
    ('library', 'kind', 'route', 'new'),
    [
        ('mmdet', 'swin', THEIRS, 8),
        ('mmdet', 'swin', OURS, 2),
        ('mmdet', 'resnet', THEIRS, 0),
        ('mmseg', 'vit', THEIRS, 0),
        ('mmseg', 'vit', OURS, 0),
    ],
)
def test_every_tensor_is_there_before_the_first_step(
    library, kind, route, new, pretrained, tmp_path
):
    cfg = config(tmp_path, route[kind], pretrained=str(pretrained(kind)))
    start = start_from(cfg, library)
    assert '0 missing, 0 unexpected' in start.line
    assert 'pretrained' not in cfg
    tensors = len(read(tmp_path / 'pretrained' / f'{kind}-{library}.pth')['state_dict'])
    lost = 2 if (library, kind, route) == ('mmseg', 'vit', THEIRS) else 0  # the last norm
    assert len(start.names) == tensors - lost
    assert (f'{new} new' in start.line) == (new > 0)


def runner_of(backbone):
    lines = []
    logger = SimpleNamespace(info=lines.append)
    detector = nn.Module()
    detector.backbone = backbone
    return SimpleNamespace(model=detector, logger=logger, lines=lines)


def test_weights_that_get_lost_on_the_way_stop_the_run(pretrained, tmp_path):
    cfg = config(tmp_path, OURS['vit'], pretrained=str(pretrained('vit')))
    hook = PretrainHook(start_from(cfg, 'mmdet'))
    net = NETS['vit']()
    with refuses('pretrained'):
        hook.before_train(runner_of(net))
    net.init_cfg = cfg.model.backbone.init_cfg
    net.init_weights()
    runner = runner_of(net)
    hook.before_train(runner)
    assert '54 of 54 tensors' in runner.lines[0]


def test_a_backbone_that_does_not_take_its_file(pretrained, tmp_path, monkeypatch):
    monkeypatch.setattr('mmssl.models.backbones.VisionTransformer.init_weights', lambda self: None)
    path = str(pretrained('vit'))
    with refuses('net.cls_token') as caught:
        start_from(config(tmp_path, OURS['vit'], pretrained=path), 'mmdet')
    assert path in str(caught.value)


def test_nothing_said_is_an_error_and_random_has_to_be_said(tmp_path):
    with refuses('pretrained') as caught:
        start_from(config(tmp_path, OURS['vit']), 'mmdet')
    assert 'pretrained=random' in str(caught.value) and f'{tmp_path}/c.py' in str(caught.value)
    with pytest.raises(UserError, match='pretrained=mocov2_r50'):
        start_from(config(tmp_path, OURS['vit'], pretrained='mocov2_r50'), 'mmdet')
    cfg = config(tmp_path, dict(OURS['vit'], init_cfg=None), pretrained='random')
    assert start_from(cfg, 'mmdet') is None
    assert cfg.model.backbone.init_cfg is None
    with refuses('pretrained'):
        start_from(config(tmp_path, OURS['vit'], resume=True), 'mmdet')
    (tmp_path / 'last_checkpoint').write_text('epoch_1.pth')
    assert start_from(config(tmp_path, OURS['vit'], resume=True), 'mmdet') is None


def test_the_configs_own_file_counts(pretrained, tmp_path):
    init = dict(type='Pretrained', checkpoint=str(pretrained('resnet')))
    start = start_from(config(tmp_path, dict(THEIRS['resnet'], init_cfg=init)), 'mmdet')
    assert 'resnet.pth (mmssl' in start.line


def test_a_converted_file_is_taken_as_it_is(pretrained, tmp_path):
    start_from(config(tmp_path, THEIRS['swin'], pretrained=str(pretrained('swin'))), 'mmdet')
    converted = tmp_path / 'pretrained' / 'swin-mmdet.pth'
    cfg = config(tmp_path / 'again', THEIRS['swin'], pretrained=str(converted))
    assert '(mmdet, ' in start_from(cfg, 'mmdet').line


@pytest.mark.parametrize(
    ('library', 'file', 'backbone', 'fact'),
    [
        ('mmdet', 'resnet', OURS['swin'], 'mmssl.SwinTransformer'),
        ('mmdet', 'resnet', dict(THEIRS['resnet'], depth=34), 'depth=18 for 34'),
        (
            'mmdet',
            'resnet',
            dict(THEIRS['resnet'], base_channels=16, stem_channels=16),
            'net.conv1.weight (8, 3, 7, 7) for (16, 3, 7, 7)',
        ),
        ('mmdet', 'swin', dict(THEIRS['swin'], window_size=7), 'relative_position'),
        ('mmseg', 'swin', THEIRS['vit'], 'selfsup2mmseg.py'),
    ],
)
def test_another_network_is_refused(library, file, backbone, fact, pretrained, tmp_path):
    path = str(pretrained(file))
    with refuses('file', path) as caught:
        start_from(config(tmp_path, backbone, pretrained=path), library)
    assert fact in str(caught.value) and path in str(caught.value)


def test_heads_that_tensors_do_not_tell(tmp_path):
    """A file that says its settings: 3 heads, where the config has 4."""
    net = NETS['vit']()
    settings = dict(model=dict(backbone=dict(type='VisionTransformer', **VIT)))
    state = {f'backbone.{k}': v for k, v in net.state_dict().items()}
    content = dict(state_dict=state, meta=dict(settings=settings))
    torch.save(content, tmp_path / 'x.pth')
    other = dict(OURS['vit'], arch=(24, 4, 4))
    with refuses('model.backbone.num_heads', 4) as caught:
        start_from(config(tmp_path, other, pretrained=str(tmp_path / 'x.pth')), 'mmdet')
    assert 'model.backbone.num_heads=3' in str(caught.value)
    cfg = config(tmp_path, dict(other, num_heads=3), pretrained=str(tmp_path / 'x.pth'))
    assert start_from(cfg, 'mmdet') is not None


def test_the_epsilon_of_the_norms_travels(pretrained, tmp_path):
    cfg = config(tmp_path, dict(THEIRS['vit'], norm_cfg=None), pretrained=str(pretrained('vit')))
    start_from(cfg, 'mmseg')
    assert cfg.model.backbone.norm_cfg == ConfigDict(type='LN', eps=1e-6)


# what a config of the libraries says otherwise than the file --------------------------------------
def said(monkeypatch):
    """Return a list that the log's lines go to from now on."""
    lines = []
    for module in ('pretrained', 'network_settings'):
        monkeypatch.setattr(
            f'mmssl.transfer.{module}.print_log', lambda line, **_: lines.append(line)
        )
    return lines


def test_a_converted_file_is_not_converted_again(pretrained, tmp_path, monkeypatch):
    """mmdet's own Swin recipes have convert_weights=True."""
    lines = said(monkeypatch)
    backbone = dict(THEIRS['swin'], convert_weights=True)
    cfg = config(tmp_path, backbone, pretrained=str(pretrained('swin')))
    assert start_from(cfg, 'mmdet') is not None
    assert cfg.model.backbone.convert_weights is False
    assert 'model.backbone.convert_weights=False' in lines[0]


def test_the_bias_of_the_patches_travels(pretrained, tmp_path, monkeypatch):
    """mmseg's own ViT recipes have none."""
    lines = said(monkeypatch)
    backbone = dict(THEIRS['vit'])
    del backbone['patch_bias']
    cfg = config(tmp_path, backbone, pretrained=str(pretrained('vit')))
    assert 'patch_embed.projection.bias' in start_from(cfg, 'mmseg').names
    assert cfg.model.backbone.patch_bias is True
    assert 'model.backbone.patch_bias=True' in lines[0]


CAFFE = dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False)
TORCH = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)


@pytest.mark.parametrize(
    ('style', 'images', 'keys'),
    [
        ('pytorch', TORCH, ()),
        ('caffe', TORCH, ('backbone.style=pytorch',)),
        ('pytorch', dict(TORCH, bgr_to_rgb=False), ('data_preprocessor.bgr_to_rgb=True',)),
        ('caffe', CAFFE, ('backbone.style=pytorch', 'bgr_to_rgb=True', 'std=[58.395,57.12,57.375]',
                          'mean=[123.675,116.28,103.53]')),
    ],
)  # fmt: skip
def test_a_config_for_weights_of_caffe(style, images, keys, pretrained, tmp_path, monkeypatch):
    lines = said(monkeypatch)
    backbone = dict(THEIRS['resnet'], style=style)
    cfg = config(tmp_path, backbone, pretrained=str(pretrained('resnet')))
    cfg.model.data_preprocessor = images
    start_from(cfg, 'mmdet')
    assert len(lines) == bool(keys)
    assert all(key in lines[0] for key in keys)


def test_norms_that_a_detector_trained_are_taken(pretrained, tmp_path):
    """And a backbone without them leaves them out."""
    net = NETS['swin']()
    state = LAYOUTS['mmdet'].restore({f'backbone.{k}': v for k, v in net.state_dict().items()})
    norms = {f'norm{i}.{n}': torch.rand(12 * 2**i) for i in range(4) for n in ('weight', 'bias')}
    whole = {f'backbone.{k}': v for k, v in (state | norms).items()}
    torch.save({'state_dict': whole | {'rpn_head.x': torch.ones(1)}}, tmp_path / 'x.pth')
    cfg = config(tmp_path, THEIRS['swin'], pretrained=str(tmp_path / 'x.pth'))
    start = start_from(cfg, 'mmdet')
    assert set(norms) <= set(start.names)
    assert 'new' not in start.line
    cfg = config(
        tmp_path, dict(THEIRS['swin'], out_indices=(3,)), pretrained=str(tmp_path / 'x.pth')
    )
    start = start_from(cfg, 'mmdet')
    assert set(norms) & set(start.names) == {'norm3.weight', 'norm3.bias'}
    assert '6 left out (norm0.weight, ' in start.line


# what a message says ------------------------------------------------------------------------------
def test_counts_names_and_shapes_of_another_network(pretrained, tmp_path):
    state = read(pretrained('resnet'))['state_dict']
    state = {key: value for key, value in state.items() if 'layer3.1.bn' not in key}
    state['backbone.net.conv1.weight'] = torch.ones(8, 3, 5, 5)
    state['backbone.net.layer1.5.conv1.weight'] = torch.ones(1)
    torch.save({'state_dict': state}, tmp_path / 'x.pth')
    path = str(tmp_path / 'x.pth')
    with refuses('file', path) as caught:
        start_from(config(tmp_path, OURS['resnet'], pretrained=path), 'mmdet')
    for fact in (
        '8 missing (net.layer3.1.bn1.weight, net.layer3.1.bn1.bias, net.layer3.1.bn1.running_mean',
        '1 of another shape or kind (net.conv1.weight (8, 3, 5, 5) for (8, 3, 7, 7))',
        '1 that this network does not have (net.layer1.5.conv1.weight)',
    ):
        assert fact in str(caught.value)


def test_advice_can_be_followed(pretrained, tmp_path):
    path, backbone = str(pretrained('resnet')), dict(THEIRS['resnet'], type='ResNetV1c')
    with refuses('file', path) as caught:
        start_from(config(tmp_path, backbone, pretrained=path), 'mmseg')
    assert 'model.backbone.type=ResNet' in str(caught.value)
    assert start_from(config(tmp_path, dict(backbone, type='ResNet'), pretrained=path), 'mmseg')


@pytest.mark.parametrize('scale', [1.0, 1e300])
def test_numbers_of_double_precision(scale, pretrained, tmp_path):
    state = read(pretrained('resnet'))['state_dict']
    name = 'backbone.net.conv1.weight'
    state[name] = scale * (state[name].double() + 1e-12)  # no number of single precision
    torch.save({'state_dict': state}, tmp_path / 'x.pth')
    cfg = config(tmp_path, THEIRS['resnet'], pretrained=str(tmp_path / 'x.pth'))
    if scale == 1.0:
        assert start_from(cfg, 'mmdet') is not None
        return
    with refuses('file', str(tmp_path / 'x.pth')) as caught:
        start_from(cfg, 'mmdet')
    assert 'net.conv1.weight with numbers beyond float32' in str(caught.value)


def test_a_width_that_tells_no_heads_is_not_compared(tmp_path):
    """A DINO file 24 wide: neither its method nor its width tells the heads."""
    state = {f'module.backbone.{k}': v for k, v in NETS['vit']().net.state_dict().items()}
    torch.save(dict(student=state, teacher=state), tmp_path / 'x.pth')
    cfg = config(tmp_path, dict(OURS['vit'], num_heads=4), pretrained=str(tmp_path / 'x.pth'))
    assert '(dino, teacher branch)' in start_from(cfg, 'mmdet').line
