"""Measurements of images: hashes, sums, and going on where a run stopped."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn

from mmssl.data_report import measurements as measures
from mmssl.data_report.measurements import chunks, measure, perceptual_hash
from mmssl.datasets import ImageDataset
from mmssl.datasets.transforms import LoadImage

from ..helpers.channels import write_folder
from ..helpers.damage import damaged_shards
from ..helpers.images import make_image
from ..helpers.packed import copy, pack


def found(images, tmp_path, load=None, **more):
    return measure(images, load or LoadImage(), tmp_path / 'log.jsonl', **more)


@pytest.mark.parametrize('workers', [1, 2])
def test_rows_and_sums(image_folder, tmp_path, workers):
    images = ImageDataset(str(image_folder), 'train')
    measured = found(images, tmp_path, workers=workers)
    pixels = [np.asarray(Image.open(images.name(i))) / 255 for i in range(24)]
    assert measured.rows['readable'].all() and measured.unreadable == []
    assert measured.rows['width'].tolist() == [p.shape[1] for p in pixels]
    assert measured.rows['height'].tolist() == [p.shape[0] for p in pixels]
    assert set(measured.rows['mode'].tolist()) == {b'RGB'}
    sizes = [len(images.read(i)) for i in range(24)]
    assert measured.rows['bytes'].tolist() == sizes
    assert len(set(measured.rows['digest'].tolist())) == 24
    mean, std = measured.mean_and_std()
    np.testing.assert_allclose(mean, np.mean([p.mean((0, 1)) for p in pixels], 0), atol=1e-6)
    square = np.mean([(p**2).mean((0, 1)) for p in pixels], 0)
    np.testing.assert_allclose(std, np.sqrt(square - np.array(mean) ** 2), atol=1e-6)


@pytest.mark.parametrize('channels', [1, 5, 13])
def test_statistics_of_many_channels(tmp_path, channels):
    root = write_folder(tmp_path / 'data', channels)
    images = ImageDataset(str(root), 'train')
    load = LoadImage(channels=channels, value_range=(0, 4095))
    measured = found(images, tmp_path, load)
    pixels = [load.from_file(tmp_path / 'data/train' / images.source.key(i)).pixels() / 65535
              for i in range(len(images))]  # fmt: skip
    mean, std = measured.mean_and_std()
    np.testing.assert_allclose(mean, np.mean([p.mean((0, 1)) for p in pixels], 0), atol=1e-6)
    square = np.mean([(p**2).mean((0, 1)) for p in pixels], 0)
    np.testing.assert_allclose(std, np.sqrt(square - np.array(mean) ** 2), atol=1e-6)
    assert set(measured.rows['mode'].tolist()) == {f'{channels} channels 16'.encode()}


def test_the_hash_is_that_of_its_definition():
    image = make_image((64, 48))
    grey = np.asarray(image.convert('L')).astype(float)
    small = grey.reshape(48, 64)
    rows = np.arange(48) * 32 // 48
    small = np.zeros((32, 32))
    weights = np.zeros((32, 48))
    for i in range(32):  # mean over the area of each cell
        for y in range(48):
            weights[i, y] = max(0, min((i + 1) * 1.5, y + 1) - max(i * 1.5, y)) / 1.5
    assert rows[-1] == 31
    small = weights @ grey @ np.kron(np.eye(32), np.full((2, 1), 0.5))
    low = dctn(small, norm='ortho')[:8, :8].flatten()
    bits = low > np.median(low[1:])
    bits[0] = False
    expected = int(''.join('01'[int(bit)] for bit in bits), 2)
    value, flat = perceptual_hash(np.asarray(image))
    assert (value ^ expected).bit_count() <= 2  # OpenCV's grey is rounded otherwise
    assert not flat


@pytest.mark.parametrize('change', ['half', 'double', 'jpeg', 'brighter'])
def test_copies_keep_their_hash(change):
    image = make_image((120, 90), 3)
    made = dict(
        half=lambda: image.resize((60, 45)),
        double=lambda: image.resize((240, 180)),
        jpeg=lambda: Image.open(_jpeg(image)),
        brighter=lambda: image.point(lambda v: min(255, v + 12)),
    )[change]()
    value, _ = perceptual_hash(np.asarray(image))
    other, _ = perceptual_hash(np.asarray(made.convert('RGB')))
    assert (value ^ other).bit_count() <= 4
    stranger, _ = perceptual_hash(np.asarray(make_image((120, 90), 4)))
    assert (value ^ stranger).bit_count() > 16


def _jpeg(image):
    file = io.BytesIO()
    image.save(file, 'JPEG', quality=60)
    return file


def test_images_of_one_colour_are_flat():
    for pixels in (np.full((40, 30, 3), 17, np.uint8), np.full((40, 30, 5), 900, np.uint16)):
        assert perceptual_hash(pixels)[1]


def test_what_cannot_be_read_is_named(image_folder, tmp_path):
    root = copy(image_folder, tmp_path / 'a', ['red/3.png', 'blue/1.png'])
    (root / 'train/green/0.png').write_bytes(b'')
    images = ImageDataset(str(root), 'train')
    measured = found(images, tmp_path)
    names = [report.partition(': ')[0] for _, report in measured.unreadable]
    assert names == [f'{root}/train/{name}' for name in ('blue/1.png', 'green/0.png', 'red/3.png')]
    assert np.flatnonzero(~measured.rows['readable']).tolist() == [1, 8, 19]
    assert measured.sums[3][0] == 21


def test_shards_are_read_whole(image_folder, tmp_path):
    source, expected = damaged_shards(image_folder, tmp_path)
    data = ImageDataset(str(tmp_path), 'train', source=source)
    assert [len(run) for run in chunks(data)] == [3, 2, 1]
    measured = found(data, tmp_path)
    assert sorted(i for i, _ in measured.unreadable) == sorted(expected)


# restarting -----------------------------------------------------------------------------------
@pytest.fixture
def packed(image_folder, tmp_path):
    """Five shards, each a run of its own."""
    pack(image_folder, tmp_path / 'packed', '--to', 'shards', '--per-file', 5)
    source = dict(type='ShardSource')
    return ImageDataset(str(tmp_path / 'packed'), 'train', source=source)


@pytest.mark.parametrize('cut', [0, 1, 40])  # bytes of the last line that a stop has not written
def test_a_stopped_run_goes_on(packed, tmp_path, monkeypatch, cut):
    whole = measure(packed, LoadImage(), tmp_path / 'whole.jsonl')
    lines = (tmp_path / 'whole.jsonl').read_bytes().splitlines(keepends=True)
    assert len(lines) == 6
    kept = b''.join(lines[:4])
    (tmp_path / 'log.jsonl').write_bytes(kept[: len(kept) - cut])
    asked = []
    run = measures.measure_run
    monkeypatch.setattr(measures, 'measure_run', lambda at: asked.append(at.start) or run(at))
    told = []
    again = found(packed, tmp_path, progress=lambda count, _: told.append(count))
    assert asked == ([15, 20] if not cut else [10, 15, 20])
    assert sum(told) == 24
    np.testing.assert_array_equal(again.rows, whole.rows)
    assert again.mean_and_std() == whole.mean_and_std()
    assert (tmp_path / 'log.jsonl').read_bytes() == (tmp_path / 'whole.jsonl').read_bytes()


def test_a_log_of_other_data_or_settings_is_not_taken(image_folder, packed, tmp_path):
    images = ImageDataset(str(image_folder), 'val')
    found(images, tmp_path)
    again = found(packed, tmp_path)
    assert again.rows['readable'].sum() == 24
    load = LoadImage(max_pixels=10)
    assert len(found(packed, tmp_path, load).unreadable) == 24
    head = json.loads((tmp_path / 'log.jsonl').read_text().splitlines()[0])
    assert '10' in head['load']
