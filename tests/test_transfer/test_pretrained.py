"""A pretraining file under a detector's backbone: taken whole, or refused in one line."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config, ConfigDict
from torch import nn

from mmssl import transfer  # noqa: F401, its types can be named
from mmssl.checkpoint import read
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
        ('mmdet', 'resnet', dict(THEIRS['resnet'], depth=34), '(layer1.'),
        ('mmdet', 'resnet', dict(THEIRS['resnet'], base_channels=16, stem_channels=16), '(conv1.'),
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
