"""Configs of mmdet and mmseg: their library, options, and data folder."""

import sys

import pytest
from mmengine.config import Config

from mmssl.core import UserError
from mmssl.transfer import data_checks, settings

from ..helpers.paths import REPO
from ..helpers.refusals import refuses
from ..helpers.transfer_nets import SMALL

DETECTOR = SMALL / 'mask-rcnn_r18-w32_fpn_8e_pennfudan.py'
SEGMENTOR = SMALL / 'fpn_r18-w32_300i_camvid.py'


@pytest.mark.parametrize(
    ('path', 'library'),
    [
        (DETECTOR, 'mmdet'),
        (SEGMENTOR, 'mmseg'),
        (REPO / 'configs/quickstart/mocov3_vit-conv_1xb64-32e_shapes.py', None),
        (REPO / 'configs/gone.py', None),
    ],
)
def test_whose_config_it_is_is_read_without_the_library(path, library):
    assert settings.library_of(path) == library


@pytest.mark.parametrize(
    ('code', 'library'),
    [
        ("default_scope = 'mmdet'\nimport nowhere\n", 'mmdet'),
        ("_base_ = 'mmseg::_base_/default_runtime.py'\n", 'mmseg'),
        ("_base_ = ['mmdet::a.py']\ndefault_scope = 'mmssl'\n", None),
        ('not python', None),
        ('x = 1\n', None),
    ],
)
def test_a_scope_or_a_base_tells(code, library, tmp_path):
    (tmp_path / 'c.py').write_text(code)
    assert settings.library_of(tmp_path / 'c.py') == library


@pytest.mark.parametrize('module', ['mmcv', 'mmcv.ops', 'mmdet'])
def test_what_is_not_installed_is_named_with_its_remedy(module, monkeypatch):
    names = ('mmcv', 'mmcv.ops', 'mmdet')
    for name in names[: names.index(module)]:
        monkeypatch.setitem(sys.modules, name, sys)  # stands for an installed one
    monkeypatch.setitem(sys.modules, module, None)
    with refuses(module) as caught:
        settings.read_transfer_config(str(DETECTOR), {})
    assert 'make install-all' in str(caught.value)


def strings(node):
    if isinstance(node, dict):
        for value in node.values():
            yield from strings(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from strings(value)
    elif isinstance(node, str):
        yield node


@pytest.mark.transfer
@pytest.mark.parametrize(('path', 'count'), [(DETECTOR, 7), (SEGMENTOR, 5)])
def test_the_data_moves_everywhere(path, count, tmp_path):
    """Top level, three loaders, what they share in the file, the lists of COCO's evaluators."""
    before = [
        s
        for s in strings(settings.read_transfer_config(str(path), {})._cfg_dict)
        if s.startswith('data/')
    ]
    after = list(
        strings(settings.read_transfer_config(str(path), {'data_root': f'{tmp_path}'})._cfg_dict)
    )
    assert len(before) == count
    assert not [s for s in after if s.startswith('data/')]
    assert sum(s.startswith(str(tmp_path)) for s in after) == count


def test_only_whole_folders_move():
    cfg = Config(dict(data_root='data/a/', x=['data/a/b.json', 'data/ab', 'data/a']))
    data_checks.move_data(cfg, '/new')
    assert (cfg.data_root, cfg.x) == ('/new/', ['/new/b.json', 'data/ab', '/new'])


@pytest.mark.transfer
@pytest.mark.parametrize(
    ('options', 'fact'),
    [
        ({'pretrian': 'x'}, r"'pretrian' \(did you mean pretrained"),
        ({'scale': (1, 2)}, "'scale' is a helper name"),
        ({'model.backbone.dept': 18}, r"'dept' \(did you mean depth"),
        ({'model.neck.type': 'FPM'}, r"'FPM' .*\(did you mean .*FPN"),
    ],
)
def test_options_that_nothing_reads(options, fact):
    with pytest.raises(UserError, match=fact):
        settings.read_transfer_config(str(DETECTOR), options)


@pytest.mark.transfer
def test_a_file_to_start_from_is_no_option_of_the_backbone():
    key = 'model.backbone.init_cfg.checkpiont'
    with refuses(key, 'x') as caught:
        settings.read_transfer_config(str(DETECTOR), {key: 'x'})
    assert 'pretrained=FILE' in str(caught.value)


@pytest.mark.transfer
def test_a_backbone_and_a_whole_model_are_two_starts():
    with refuses('pretrained', 'a.pth') as caught:
        settings.read_transfer_config(str(DETECTOR), dict(pretrained='a.pth', load_from='b.pth'))
    assert 'load_from=b.pth' in str(caught.value)


@pytest.mark.parametrize(('gpu', 'processes', 'kind'), [
    (False, 1, 'BN'), (False, 2, 'BN'), (True, 1, 'BN'), (True, 2, 'MMSyncBN'),
])  # fmt: skip
def test_mmcvs_sync_bn_needs_a_gpu_and_processes(gpu, processes, kind, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: gpu)
    monkeypatch.setattr(settings.dist, 'world_size', lambda: processes)
    said = []
    monkeypatch.setattr(settings, 'print_log', lambda line, **_: said.append(line))
    norm = dict(type='MMSyncBN', requires_grad=True)
    heads = [dict(norm_cfg=norm), dict(norm_cfg=dict(norm, type='mmcv.MMSyncBN'))]
    cfg = Config(dict(model=dict(heads=heads, other=dict(norm_cfg=dict(type='SyncBN')))))
    settings.revert_mmcv_sync_bn(cfg)
    assert cfg.model.heads[0].norm_cfg == dict(type=kind, requires_grad=True)
    assert cfg.model.heads[1].norm_cfg.type.rpartition('.')[2] == kind
    assert cfg.model.other.norm_cfg.type == 'SyncBN'
    assert len(said) == (kind == 'BN')


@pytest.mark.transfer
@pytest.mark.parametrize(
    'init', ['x.pth', dict(type='Pretrained', checkpiont='x.pth')], ids=['text', 'dict']
)
def test_a_start_that_nothing_reads(init, tmp_path):
    written = dict(init, _delete_=True) if isinstance(init, dict) else init
    (tmp_path / 'c.py').write_text(
        f'_base_ = {str(DETECTOR)!r}\nmodel = dict(backbone=dict(init_cfg={written!r}))\n'
    )
    with refuses('model.backbone.init_cfg', init) as caught:
        settings.read_transfer_config(str(tmp_path / 'c.py'), {})
    assert 'pretrained=FILE' in str(caught.value)


def test_missing_data_is_named(tmp_path):
    dataset = dict(data_root=str(tmp_path), ann_file='train.json', data_prefix=dict(img='images'))
    cfg = Config(dict(train_dataloader=dict(dataset=dict(dataset=dataset))))
    with refuses('file', f'{tmp_path}/train.json') as caught:
        data_checks.check_data(cfg)
    assert '(train_dataloader)' in str(caught.value) and 'data_root=' in str(caught.value)
    (tmp_path / 'train.json').write_text('{}')
    with refuses('folder', f'{tmp_path}/images') as caught:
        data_checks.check_data(cfg)
    assert f'{tmp_path}/images' in str(caught.value)
    (tmp_path / 'images').mkdir()
    data_checks.check_data(cfg)
    inner = cfg.train_dataloader.dataset.dataset
    inner.update(img_suffix='.png', data_prefix=dict(img_path='images'))
    (tmp_path / 'images' / 'a.jpg').touch()
    with refuses('train_dataloader.dataset.dataset.img_suffix', '.png') as caught:
        data_checks.check_data(cfg)
    assert f'{tmp_path}/images' in str(caught.value)
    (tmp_path / 'images' / 'a.png').touch()
    data_checks.check_data(cfg)
    cfg.val_evaluator = [dict(type='CocoMetric', ann_file=str(tmp_path / 'val.json'))]
    with refuses('file', f'{tmp_path}/val.json') as caught:
        data_checks.check_data(cfg)
    assert '(val_evaluator)' in str(caught.value)


@pytest.mark.parametrize(
    ('around', 'place'),
    [
        (lambda one: one, 'dataset'),
        (lambda one: dict(type='RepeatDataset', times=2, dataset=one), 'dataset.dataset'),
        (lambda one: dict(type='ConcatDataset', datasets=[one]), 'dataset.datasets.0'),
        (
            lambda one: dict(dataset=dict(datasets=[dict(type='Other'), dict(dataset=one)])),
            'dataset.dataset.datasets.1.dataset',
        ),
    ],
)
def test_the_suffix_of_a_data_set_within_others(tmp_path, around, place):
    (tmp_path / 'a.jpg').touch()
    cfg = Config(
        dict(train_dataloader=dict(dataset=around(dict(data_root=str(tmp_path), img_suffix='.x'))))
    )
    key = f'train_dataloader.{place}.img_suffix'
    with refuses(key, '.x') as caught:
        data_checks.check_data(cfg)
    assert f'--cfg-options {key}=' in str(caught.value)
    cfg.merge_from_dict({key: '.jpg'})  # as the message says
    data_checks.check_data(cfg)
