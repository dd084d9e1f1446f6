"""The page about data sets: what it lists, how wide images are, and that it stays small."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from mmssl.data_report import data_page as pages
from mmssl.data_report import measure, summarise
from mmssl.data_report.findings import MOST, to_json
from mmssl.datasets import ImageDataset
from mmssl.datasets.transforms.load_image import LoadImage

from ..helpers.images import make_image

COPIES = 30


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    """One image thirty times in train, another twice, and in val one of train."""
    root = tmp_path_factory.mktemp('copies')
    for split, counts in (('train', (COPIES, 2, 1)), ('val', (0, 1))):
        for kind, count in enumerate(counts):
            for i in range(count):
                folder = root / split / 'a'
                folder.mkdir(parents=True, exist_ok=True)
                make_image((40, 40), kind).save(folder / f'{kind}_{i:02d}.png')
    (root / 'train' / 'a' / 'bad.png').write_bytes(b'')
    images = {name: ImageDataset(str(root), name) for name in ('train', 'val')}
    load = LoadImage()
    found = {name: measure(data, load, root / f'{name}.jsonl') for name, data in images.items()}
    return summarise(str(root), images, found, (None, None))


def test_names_of_groups():
    groups = [['a', 'b'], ['c']]
    assert pages.names_of(groups, 2) == 'a\nb\n\nc'
    assert pages.names_of([['a'], ['b']], 2) == 'a\nb'
    many = pages.names_of([[str(i)] for i in range(50)], 1234).split('\n')
    assert many[: pages.LISTED] == [str(i) for i in range(pages.LISTED)]
    assert len(many) == pages.LISTED + 1 and '1,214' in many[-1]


def test_a_page_of_many_copies_stays_small(report):
    page = pages.data_page(report, LoadImage())
    exact = page.partition('<h2>Equal files')[2].partition('<section>')[0]
    assert len(report.exact[0]) == COPIES
    listed = re.search('<pre class="wrap">([^<]*)</pre></details>', exact)[1].split('\n')
    assert len(listed) == pages.LISTED + 1 + 3  # of the first group, and the second, three times
    assert f'has {COPIES}' in exact
    # eight squares and the gaps between them: not larger than they are
    width = pages.COLUMNS * (pages.SIDE + pages.SIDE // 12) - pages.SIDE // 12
    assert f'style="max-width: {width}px"' in exact
    leaks = page.partition('<h2>Images in several sets')[2].partition('<section>')[0]
    narrow = 3 * (pages.SIDE + pages.SIDE // 12) - pages.SIDE // 12
    assert f'style="max-width: {narrow}px"' in leaks


def test_groups_of_the_json_are_bounded(report):
    report.exact[0] = [0] * (MOST + 5)
    found = to_json(report)
    assert [len(group) for group in found['exact']] == [MOST, 3]
    assert found['counts']['exact'] == 2


def test_names_and_spreads():
    assert pages.shortened('x' * 24) == 'x' * 24
    assert pages.shortened('x' * 25) == 'x' * 23 + '…'
    assert pages.spread(dict(min=7, median=7, max=7)) == '7'
    assert re.findall(r'\d+', pages.spread(dict(min=1, median=3, max=9))) == ['1', '9', '3']


@pytest.mark.parametrize(
    ('values', 'pixels', 'counts'),
    [([128] * 3, range(126, 131), [0, 0, 3, 0, 0]), ([5, 9, 9], range(5, 10), [1, 0, 0, 0, 2])],
)
def test_bars_stand_on_whole_pixels(monkeypatch, values, pixels, counts):
    seen = {}

    def hist(axes, values, bins, color):
        seen.update(counts=np.histogram(values, bins)[0], bins=bins)

    monkeypatch.setattr('matplotlib.axes.Axes.hist', hist)
    png = pages.histogram(np.array(values), 'title', 'label')
    assert Image.open(io.BytesIO(png)).format == 'PNG'
    assert seen['counts'].tolist() == counts
    assert seen['bins'] == [p - 0.5 for p in pixels] + [pixels[-1] + 0.5]
