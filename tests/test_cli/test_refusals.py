"""Bad input of the tools is refused before they begin, with the option or file at fault."""

from argparse import Namespace

import pytest
from mmengine.config import Config

from mmssl.cli import (
    browse_views,
    camvid,
    correspondence,
    data_report,
    embedding,
    extract_features,
    make_shapes,
    neighbours,
    options,
    own_images,
    penn_fudan,
    plan,
    plot_schedule,
    report,
    test,
    transfer,
    transfer_demo,
)

from ..helpers.images import make_image
from ..helpers.refusals import refuses

OUT = ('--out', 'o')
# reader of a command line, its words, key and value
WORDS = [
    (browse_views.parse, ('c', 'i', *OUT, '--count', '0'), '--count', 0),
    (browse_views.parse, ('c', 'i', *OUT, '--repeat', '-1'), '--repeat', -1),
    (correspondence.parse, ('m', 'a', 'b', 'c', *OUT), 'images', ['a', 'b', 'c']),
    (correspondence.parse, ('m', 'a', 'b', '--measure', *OUT), 'images', ['a', 'b']),
    (correspondence.parse, ('m', 'a', *OUT, '--pairs', '0'), '--pairs', 0),
    (correspondence.parse, ('m', 'a', *OUT, '--most', '0'), '--most', 0),
    (embedding.parse, ('m', 'f', *OUT, '--method', 'lda'), '--method', 'lda'),
    (embedding.parse, ('m', 'f', *OUT, '--most', '0'), '--most', 0),
    (extract_features.parse, ('m', 'd', '--out', 'f.npy'), '--out', 'f.npy'),
    (extract_features.parse, ('m', 'd', '--out', 'f.npz', '--batch-size', '0'), '--batch-size', 0),
    (extract_features.parse, ('m', 'd', '--out', 'f.npz', '--workers', '-1'), '--workers', -1),
    (neighbours.parse, ('m', 'i', 'f', *OUT, '--count', '0'), '--count', 0),
    (plan.parse, ('c', '--gpus', '0'), '--gpus', 0),
    (plot_schedule.parse, ('c', *OUT, '--per-epoch', '0'), '--per-epoch', 0),
    (test.parse, ('c', 'random', '--out-item', 'metrics'), '--out', None),
    (test.parse, ('c', 'random', '--out', 'x.pkl'), '--out', 'x.pkl'),
    (make_shapes.main, ('new', '--quiet', '--size', '8'), 'size', 8),
    (make_shapes.main, ('new', '--quiet', '--train-per-class', '-1'), 'train_per_class', -1),
    (make_shapes.main, ('new', '--quiet', '--seed', '-2'), 'seed', -2),
    (make_shapes.main, ('file', '--quiet'), 'folder', 'file'),
    (make_shapes.main, ('taken', '--quiet'), 'folder', 'taken'),
    (make_shapes.main, ('file/x', '--quiet'), 'file', 'file/x'),
    (report.main, ('gone',), 'folder', 'gone'),
    (report.main, ('empty',), 'folder', 'empty'),
    (data_report.main, ('gone',), 'file', 'gone'),
    (data_report.parse, ('d', '--distance', '-1'), '--distance', -1),
    (data_report.parse, ('d', '--workers', '0'), '--workers', 0),
    (penn_fudan.main, ('gone', 'new'), 'file', 'gone'),
    (penn_fudan.main, ('empty', 'new'), 'folder', 'empty'),
    (penn_fudan.main, ('file', 'new'), 'file', 'file'),
    (camvid.main, ('gone', 'new'), 'file', 'gone'),
    (camvid.main, ('empty', 'new'), 'folder', 'empty'),
    (camvid.main, ('file', 'new'), 'file', 'file'),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work beside an empty folder, a folder of somebody else and a file."""
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'taken' / 'train').mkdir(parents=True)
    (tmp_path / 'file').write_bytes(b'PK')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ('read', 'words', 'key', 'value'),
    WORDS,
    ids=[f'{read.__module__.rpartition(".")[2]} {" ".join(words)}' for read, words, *_ in WORDS],
)
def test_words(folder, read, words, key, value):
    with refuses(key, value):
        read(list(words))
    assert not (folder / 'new').exists()


# settings of a config that an option needs
CONFIG = Config(dict(tta_model=dict(type='SegTTAModel'), model=dict(type='Classifier')))


@pytest.mark.parametrize(
    ('call', 'key', 'value'),
    [
        (lambda: options.OptionAction.value('dict(a=1)'), '--cfg-options', 'dict(a=1)'),
        (
            lambda: options.apply_train_options(
                Config(), Namespace(resume='auto', overwrite=True, no_persistent_workers=False)
            ),
            *('--resume', 'auto'),
        ),
        (lambda: options.select_by_prefix('--cases', ['x'], ['a', 'b']), '--cases', ['x']),
        (lambda: test.set_checkpoint(CONFIG, None), 'file', None),
        (lambda: transfer.test(Namespace(out='o', out_item='pred')), '--out-item', 'pred'),
        (lambda: transfer.test(Namespace(out='o', out_item=None)), '--out-item', None),
        (lambda: transfer.enable_tta(Config()), 'tta_model', None),
        (lambda: transfer.enable_tta(CONFIG), 'tta_pipeline', None),
        (lambda: transfer.set_show_dir(CONFIG, 'shown'), 'default_hooks.visualization', None),
    ],
)
def test_options(call, key, value):
    with refuses(key, value):
        call()


def test_a_folder_without_drawings(tmp_path):
    with refuses('folder', str(tmp_path)):
        transfer_demo.sheet_of(tmp_path)


@pytest.mark.parametrize(
    ('files', 'fact'),
    [
        ({}, ''),
        ({'few': 3}, '3 images'),
        ({'train/cat': 9, 'train/dog': 9, 'val/cat': 9, 'val/dogs': 9}, '(dogs) are not among'),
    ],
)
def test_folders_to_pretrain_on(tmp_path, files, fact):
    root = tmp_path / 'data'
    for name, count in files.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            make_image((9, 9), i).save(root / name / f'{i}.png')
    with refuses('folder', str(root)) as caught:
        own_images.read_folder(root)
    assert fact in str(caught.value)


@pytest.mark.parametrize('content', [b'no image', None])
def test_label_maps_of_camvid(tmp_path, content):
    for split in ('train', 'val', 'test'):
        for name in (split, f'{split}annot'):
            (tmp_path / name).mkdir()
    labels = tmp_path / 'valannot' / 'a.png'
    image = tmp_path / 'val' / 'a.png'
    labels.write_bytes(content or b'')
    if content is not None:
        make_image((12, 8)).save(image)
    with refuses('file', str(image if content is None else labels)):
        camvid.convert(tmp_path, tmp_path / 'out')


def test_masks_of_penn_fudan_that_are_gone(tmp_path):
    for name in ('PNGImages', 'PedMasks'):
        (tmp_path / name).mkdir()
    make_image((12, 8)).save(tmp_path / 'PNGImages' / 'a.png')
    with refuses('file', str(tmp_path / 'PedMasks' / 'a_mask.png')):
        penn_fudan.convert(tmp_path, tmp_path / 'out')
