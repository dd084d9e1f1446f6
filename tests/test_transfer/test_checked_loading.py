"""Label maps and images that cannot be used are named, in training, testing and a scan."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import TRANSFORMS, DefaultScope
from PIL import Image

from mmssl.transfer.checked_loading import checked, scan_labels

from ..helpers.refusals import refuses

pytestmark = pytest.mark.transfer
GOOD = np.arange(48).reshape(6, 8) % 3


def write(folder: Path, labels: np.ndarray | bytes | None, name: str = 'a') -> dict[str, Any]:
    """Write an image of 8 x 6 pixels and its label map; return the sample's record."""
    for kind in ('images', 'labels'):
        (folder / kind).mkdir(exist_ok=True)
    Image.new('RGB', (8, 6)).save(folder / 'images' / f'{name}.png')
    path = folder / 'labels' / f'{name}.png'
    if isinstance(labels, bytes):
        path.write_bytes(labels)
    elif labels is not None:
        Image.fromarray(labels).save(path)
    return dict(img_path=str(folder / 'images' / f'{name}.png'), seg_map_path=str(path),
                seg_fields=[], reduce_zero_label=False, label_map=None)  # fmt: skip


def config(folder: Path, **head: Any) -> Config:
    data = dict(
        type='BaseSegDataset', data_root=str(folder), img_suffix='.png',
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=('a', 'b', 'c')),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
    )  # fmt: skip
    model = dict(decode_head=dict(num_classes=3, **head))
    return Config(dict(model=model, train_dataloader=dict(dataset=data)))


def steps(cfg: Config) -> list[Any]:
    """Build the steps of a pipeline that checks what it loads."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        pipeline = checked(cfg.train_dataloader, cfg.model)['dataset']['pipeline']
        return [TRANSFORMS.build(step) for step in pipeline]


def load(cfg: Config, record: dict[str, Any]) -> dict[str, Any]:
    for step in steps(cfg):
        record = step(record)
    return record


def test_good_maps_are_loaded_as_they_are(tmp_path: Path) -> None:
    ignored = np.where(GOOD == 2, 255, GOOD).astype(np.uint8)
    cfg = config(tmp_path)
    before = cfg.train_dataloader.to_dict()
    assert (load(cfg, write(tmp_path, ignored))['gt_seg_map'] == ignored).all()
    assert cfg.train_dataloader.to_dict() == before  # the config that is dumped stays the library's


def with_value(value: int) -> np.ndarray:
    labels = GOOD.copy()
    labels[2, 3] = value
    return labels.astype(np.uint8)


@pytest.mark.parametrize(
    ('labels', 'fact'),
    [
        (with_value(37), 'the value 37, and the head has 3 classes, 0 to 2'),
        (with_value(3), 'the value 3'),
        (np.zeros((6, 8, 3), np.uint8), '3 values a pixel'),
        (GOOD[:3].astype(np.uint8), 'has 8 x 3 pixels'),
        (GOOD.astype(np.uint16), 'more than eight bits'),
        (None, 'no such label map'),
        (b'not an image', 'not a readable label map'),
    ],
)
def test_other_maps_are_named(labels: Any, fact: str, tmp_path: Path) -> None:
    cfg = config(tmp_path)
    write(tmp_path, GOOD.astype(np.uint8), 'b')
    record = write(tmp_path, labels)
    with refuses('file', record['seg_map_path']) as caught:
        load(cfg, dict(record))
    assert fact in str(caught.value)
    with refuses('file', record['seg_map_path']) as caught:
        scan_labels(cfg, 'mmseg')
    assert fact in str(caught.value)


def test_a_good_folder_passes_the_scan(tmp_path: Path) -> None:
    for name in ('a', 'b'):
        write(tmp_path, GOOD.astype(np.uint8), name)
    scan_labels(config(tmp_path), 'mmseg')


def test_the_value_is_that_of_the_file_where_zero_does_not_count(tmp_path: Path) -> None:
    record = dict(write(tmp_path, with_value(9)), reduce_zero_label=True)
    with refuses('file', record['seg_map_path']) as caught:
        load(config(tmp_path), record)
    assert 'the value 9, and the head has 3 classes, 1 to 3' in str(caught.value)
    record = dict(write(tmp_path, with_value(3)), reduce_zero_label=True)
    assert load(config(tmp_path), record)['gt_seg_map'].max() == 255


def test_the_head_says_what_does_not_count(tmp_path: Path) -> None:
    record = write(tmp_path, with_value(37))
    load(config(tmp_path, ignore_index=37), dict(record))


@pytest.mark.parametrize('content', [None, b'\x89PNG damaged'])
def test_images_that_cannot_be_read_are_named(content: bytes | None, tmp_path: Path) -> None:
    record = write(tmp_path, GOOD.astype(np.uint8))
    path = Path(record['img_path'])
    path.unlink()
    if content:
        path.write_bytes(content)
    with refuses('file', str(path)):
        load(config(tmp_path), record)


def test_pipelines_within_others_are_found() -> None:
    from mmcv.transforms import LoadImageFromFile

    steps = [dict(type='mmcv.LoadImageFromFile'), dict(type='RandomFlip')]
    inner = dict(pipeline=[*steps, dict(type=LoadImageFromFile)])
    loader = dict(dataset=dict(dataset=dict(datasets=[inner])))
    found = checked(loader, {})['dataset']['dataset']['datasets'][0]['pipeline']
    checks = 'mmssl.CheckedImage'
    assert [step['type'] for step in found] == [checks, 'RandomFlip', checks]
    assert found[0]['load'] == inner['pipeline'][0]
