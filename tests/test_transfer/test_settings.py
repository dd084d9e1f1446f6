"""Configs of mmdet and mmseg: their library, options, and data folder."""

import sys

import pytest
from mmengine.config import Config

from mmssl.core import UserError
from mmssl.transfer import data_checks, settings

from ..helpers.paths import REPO
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
    with pytest.raises(UserError, match=rf'is for mmdet, but {module} .*make install-all') as said:
        settings.read_transfer_config(str(DETECTOR), {})
    assert '\n' not in str(said.value)


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
    ('options', 'message'),
    [
        ({'pretrian': 'x'}, r"unknown key 'pretrian' \(did you mean pretrained"),
        ({'scale': (1, 2)}, "'scale' is a helper name of the file, already used up"),
        ({'model.backbone.init_cfg.checkpiont': 'x'}, 'init_cfg.checkpiont: .* by pretrained=FILE'),
        (
            {'model.backbone.dept': 18},
            r"model.backbone: ResNet has no argument 'dept' \(did you .*",
        ),
        (
            {'model.neck.type': 'FPM'},
            r"model.neck: type 'FPM' is not registered \(did you mean .*FPN",
        ),
    ],
)
def test_options_that_nothing_reads(options, message):
    with pytest.raises(UserError, match=message):
        settings.read_transfer_config(str(DETECTOR), options)


@pytest.mark.transfer
@pytest.mark.parametrize(
    'init', ['x.pth', dict(_delete_=True, type='Pretrained', checkpiont='x.pth')]
)
def test_a_start_that_nothing_reads(init, tmp_path):
    (tmp_path / 'c.py').write_text(
        f'_base_ = {str(DETECTOR)!r}\nmodel = dict(backbone=dict(init_cfg={init!r}))\n'
    )
    with pytest.raises(
        UserError, match=r'init_cfg=.*x.pth.* names no checkpoint; .* pretrained=FILE'
    ):
        settings.read_transfer_config(str(tmp_path / 'c.py'), {})


def test_missing_data_is_named(tmp_path):
    dataset = dict(data_root=str(tmp_path), ann_file='train.json', data_prefix=dict(img='images'))
    cfg = Config(dict(train_dataloader=dict(dataset=dict(dataset=dataset))))
    remedy = '--cfg-options data_root=FOLDER'
    with pytest.raises(UserError, match=rf'train.json: no such file \(train_.*{remedy}'):
        data_checks.check_data(cfg)
    (tmp_path / 'train.json').write_text('{}')
    with pytest.raises(UserError, match=rf'images: no such folder \(train_.*{remedy}'):
        data_checks.check_data(cfg)
    (tmp_path / 'images').mkdir()
    data_checks.check_data(cfg)
    inner = cfg.train_dataloader.dataset.dataset
    inner.update(img_suffix='.png', data_prefix=dict(img_path='images'))
    (tmp_path / 'images' / 'a.jpg').touch()
    with pytest.raises(UserError, match=r'images: no image in it ends in .png; .*img_suffix='):
        data_checks.check_data(cfg)
    (tmp_path / 'images' / 'a.png').touch()
    data_checks.check_data(cfg)
    cfg.val_evaluator = [dict(type='CocoMetric', ann_file=str(tmp_path / 'val.json'))]
    with pytest.raises(UserError, match=r'val.json: no such file \(val_evaluator'):
        data_checks.check_data(cfg)
