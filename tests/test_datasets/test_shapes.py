"""The example data: pinned pixels, classes that colour does not tell, files that agree."""

import hashlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmssl.cli import make_shapes
from mmssl.datasets.shapes import CLASSES, PortableRandom, draw_object, draw_scene

from ..helpers.refusals import refuses

# The images are the same on every machine; who changes one on purpose raises VERSION.
PIXELS = {
    'disc': 'a195e024d79b2a2d',
    'square': '9c462ad97340a1c3',
    'triangle': '3198c1f2fdd3908f',
    'star': 'e977f9f322a18494',
    'cross': '1cec1f4118b81e04',
    'ring': 'a95ae4802b4ca8d0',
    'crescent': 'bc72f33b7bb7014f',
    'hexagon': '3232e16d3fe0fca4',
}
SCENE = 'b8294e0530113bde', [1, 5]
JSON = '71632a6872abd3ed'
SCENES = dict(size=64, train=12, val=3, seed=5, progress=False)


def digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b''.join(a.tobytes() for a in arrays)).hexdigest()[:16]


@pytest.fixture(scope='module')
def tool() -> ModuleType:
    return make_shapes


@pytest.fixture(scope='module')
def scenes(tool: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('scenes')
    assert tool.write_scenes(root, **SCENES)
    return root


@pytest.mark.parametrize('label', range(len(CLASSES)))
def test_pixels_are_pinned(label: int) -> None:
    expected = PIXELS[CLASSES[label]]
    assert digest(*draw_object(7, 40 + label, label)) == expected


def test_scene_pixels_are_pinned() -> None:
    image, masks, labels = draw_scene(7, 1, 64, 'val')
    assert (digest(image, masks), labels) == SCENE


def test_a_image_depends_on_its_key_alone() -> None:
    base = draw_object(3, 11, 2, 32)[0]
    assert np.array_equal(draw_object(3, 11, 2, 32, 'train')[0], base)
    for key in ((4, 11, 2, 32), (3, 12, 2, 32), (3, 11, 3, 32), (3, 11, 2, 32, 'val')):
        assert not np.array_equal(draw_object(*key)[0], base)


def test_directions_are_uniform_unit_vectors() -> None:
    rng = PortableRandom(0)
    found = np.array([rng.direction() for _ in range(4000)])  # (4000, 2)
    assert np.abs((found**2).sum(1) - 1).max() < 1e-15
    assert np.abs(found.mean(0)).max() < 0.04  # 3.5 standard errors
    assert np.abs(np.bincount((found > 0) @ [1, 2]) / 4000 - 0.25).max() < 0.025


@pytest.mark.parametrize('index', range(6))
def test_the_class_changes_nothing_outside_the_object(index: int) -> None:
    drawn = [draw_object(0, index, label) for label in range(len(CLASSES))]
    near = np.pad(np.any([mask for _, mask in drawn], axis=0), 3)
    # soft edges, and strokes: what they hide of an object is not in its mask
    reach = [near[dy : dy + 48, dx : dx + 48] for dy in range(7) for dx in range(7)]
    outside = ~np.any(reach, axis=0)
    assert outside.sum() > 100
    assert all(np.array_equal(image[outside], drawn[0][0][outside]) for image, _ in drawn)


def test_colours_do_not_tell_the_class() -> None:
    share, colour, area = [], [], []
    for label in range(len(CLASSES)):
        drawn = [draw_object(1, index, label) for index in range(160)]
        inside = np.array([image[mask].mean(0) / 255 for image, mask in drawn])  # (160, 3)
        colour.append(inside.mean(0))
        share.append((inside[:, 0] > inside[:, 2]).mean())
        area.append(np.mean([mask.mean() for _, mask in drawn]))
    # the same 160 draws for each class: what is left is how much of each tone a texture shows
    assert np.ptp(colour, axis=0).max() < 0.03
    assert np.ptp(share) < 0.1
    assert min(area) > 0.22 and max(area) < 0.42


def test_scene_masks_are_large_and_disjoint() -> None:
    counts = set()
    for index in range(40):
        _, masks, labels = draw_scene(2, index, 96)
        assert 2 <= len(masks) == len(labels) <= 6
        assert masks.sum(0).max() == 1
        assert masks.sum((1, 2)).min() > 0.01 * 96 * 96
        counts.add(len(labels))
    assert counts == {2, 3, 4, 5, 6}


def read_coco(file: Path) -> Any:
    """Read annotations with pycocotools, which comes with the libraries of transfer."""
    from pycocotools.coco import COCO

    return COCO(file)


@pytest.mark.transfer
def test_boxes_areas_and_masks_agree_with_pycocotools(scenes: Path) -> None:
    coco = read_coco(scenes / 'annotations' / 'instances_train.json')
    assert [c['name'] for c in coco.loadCats(coco.getCatIds())] == list(CLASSES)
    assert len(coco.imgs) == 12 and len(coco.anns) >= 36
    for image_id, record in coco.imgs.items():
        image, masks, labels = draw_scene(5, image_id - 1, 64)
        file = scenes / 'images' / 'train' / record['file_name']
        assert np.array_equal(np.asarray(Image.open(file)), image)
        annotations = coco.imgToAnns[image_id]
        assert [a['category_id'] - 1 for a in annotations] == labels
        for annotation, mask in zip(annotations, masks, strict=True):
            assert np.array_equal(coco.annToMask(annotation), mask)
            assert annotation['area'] == mask.sum()
            x, y, w, h = annotation['bbox']
            rows, columns = np.nonzero(mask)
            assert (x, x + w - 1) == (columns.min(), columns.max())
            assert (y, y + h - 1) == (rows.min(), rows.max())


@pytest.mark.transfer
def test_label_maps_agree_with_instance_masks(scenes: Path) -> None:
    coco = read_coco(scenes / 'annotations' / 'instances_val.json')
    for image_id, record in coco.imgs.items():
        expected = np.zeros((64, 64), dtype=int)
        for annotation in coco.imgToAnns[image_id]:
            expected += annotation['category_id'] * coco.annToMask(annotation)
        found = np.asarray(Image.open(scenes / 'labels' / 'val' / record['file_name']))
        assert found.dtype == np.uint8 and np.array_equal(found, expected)
        assert found.max() <= len(CLASSES)


def test_the_json_is_pinned(scenes: Path) -> None:
    text = (scenes / 'annotations' / 'instances_val.json').read_bytes()
    assert hashlib.sha256(text).hexdigest()[:16] == JSON


@pytest.mark.parametrize('rows', ['0011/0011', '1100/1100', '0000/0000', '1111/1111', '01/10'])
def test_run_lengths_count_down_the_columns(tool: ModuleType, rows: str) -> None:
    mask = np.array([[c == '1' for c in row] for row in rows.split('/')])
    counts = tool.run_lengths(mask)
    values = np.arange(len(counts)) % 2 == 1  # zeros first
    assert np.array_equal(np.repeat(values, counts).reshape(mask.T.shape).T, mask)
    assert counts.count(0) == int(mask[0, 0])


def write(tool: ModuleType, root: Path, **changes: int) -> bool:
    settings = dict(size=16, train_per_class=3, val_per_class=1, seed=0, progress=False)
    return tool.write_classification(root, **(settings | changes))


def test_class_folders_hold_the_drawn_pixels(tool: ModuleType, tmp_path: Path) -> None:
    assert write(tool, tmp_path)
    assert {p.name for p in (tmp_path / 'train').iterdir()} == set(CLASSES)
    file = tmp_path / 'train' / 'star' / '00002.png'
    label = CLASSES.index('star')
    expected = draw_object(0, 2 * len(CLASSES) + label, label, 16)[0]
    assert np.array_equal(np.asarray(Image.open(file)), expected)
    manifest = json.loads((tmp_path / 'manifest.json').read_text())
    assert manifest['counts'] == dict(train=24, val=8, files=32)


def test_a_second_run_reuses_what_is_complete(tool: ModuleType, tmp_path: Path) -> None:
    assert write(tool, tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob('*') if p.is_file()}
    assert not write(tool, tmp_path)
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob('*') if p.is_file()}
    lost = tmp_path / 'val' / 'disc' / '00000.png'
    lost.unlink()
    assert write(tool, tmp_path) and lost.is_file()


def test_other_arguments_leave_nothing_of_the_old_set(tool: ModuleType, tmp_path: Path) -> None:
    write(tool, tmp_path)
    assert write(tool, tmp_path, train_per_class=1)
    assert len(list((tmp_path / 'train').rglob('*.png'))) == len(CLASSES)


def test_an_interrupted_run_is_redone(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = tool.draw_object

    def stop(seed: int, index: int, *rest: int) -> tuple[np.ndarray, np.ndarray]:
        if index == 9:
            raise KeyboardInterrupt
        return draw(seed, index, *rest)

    monkeypatch.setattr(tool, 'draw_object', stop)
    with pytest.raises(KeyboardInterrupt):
        write(tool, tmp_path)
    assert not (tmp_path / 'manifest.json').exists()
    torn = tmp_path / 'train' / 'disc' / '00001.png'
    torn.write_bytes(torn.read_bytes()[:50])
    monkeypatch.setattr(tool, 'draw_object', draw)
    assert write(tool, tmp_path)
    assert np.asarray(Image.open(torn)).shape == (16, 16, 3)
    assert not (tmp_path / 'manifest.json.part').exists()


def test_foreign_folders_are_left_alone(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / 'train').mkdir()
    (tmp_path / 'train' / 'mine.png').write_text('mine')
    with refuses('folder', str(tmp_path)) as caught:
        write(tool, tmp_path)
    assert 'holds train' in str(caught.value)
    assert (tmp_path / 'train' / 'mine.png').read_text() == 'mine'


@pytest.mark.parametrize(
    ('key', 'value', 'fact'),
    [('val_per_class', -1, ''), ('seed', -1, ''), ('size', 8, '16 pixels')],
)
def test_bad_arguments_are_named(
    tool: ModuleType, tmp_path: Path, key: str, value: int, fact: str
) -> None:
    with refuses(key, value) as caught:
        write(tool, tmp_path / 'out', **{key: value})
    assert fact in str(caught.value)


def test_a_file_in_the_way_is_named(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with refuses('folder', str(tmp_path / 'file')):
        write(tool, tmp_path / 'file')


def test_the_command_line_says_what_it_did(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'out'
    words = [str(out), '--size=16', '--train-per-class=2', '--val-per-class=1', '--quiet']
    tool.main([*words, '--scenes=2', '--scene-size=48'])
    tool.main([*words, '--scenes=2', '--scene-size=48'])
    first, second = capsys.readouterr().out.splitlines()
    scenes = out / 'scenes'
    assert first == f'make_shapes: wrote 16 + 8 images in {out}, wrote 2 + 1 scenes in {scenes}'
    assert second == first.replace('wrote', 'reused')
