"""Measured results next to published ones."""

from pathlib import Path

import pytest

from mmssl.results.reference import PublishedFigure, comparison_line, published_figure
from mmssl.zoo.hub import identify

from ..helpers.command import call
from ..helpers.hub import entry, registered, write_classifier
from ..helpers.knn_runs import weights, write_knn
from ..helpers.results import TEST, result

KNN = dict(k=[20, 10], temperature=0.07, features=dict(blocks=1, pool='auto'))


def test_the_figure_of_a_protocol(tmp_path, tiny_config):
    encoder = tmp_path / 'tiny_resnet.py'
    encoder.write_text(tiny_config('resnet').read_text())
    probe = write_classifier(tmp_path, tmp_path)
    published = {'kNN k=10': 69.5, 'kNN Top 1': 70.1, 'Linear Top 1': 75.5}
    pre = entry(encoder, 'https://a.org/x.pth', None, Source='official', Published=published)
    trained = entry(probe, 'https://a.org/y-0123abcd.pth', 'Image Classification', Source='mmssl')
    pre['Downstream'] = [trained['Name']]
    with registered(tmp_path, pre, trained):
        for asked in ('Tiny_ResNet', 'https://a.org/x.pth'):
            info = identify(asked)
            assert info.name == 'TINY_RESNET'
            said = PublishedFigure('kNN Top 1', 70.1, 'TINY_RESNET, official')
            other = Path('other.py')
            assert published_figure(info, 'kNN', other, KNN) == said
            assert published_figure(info, 'linear (MoCo v3)', other, {}).value == 75.5
            assert published_figure(info, 'fine-tuning', other, {}) is None
            assert published_figure(info, 'kNN', other, KNN | dict(k=[10, 20])).value == 69.5
            for changed in (dict(temperature=0.1), dict(features='pixels')):
                assert published_figure(info, 'kNN', other, KNN | changed) is None
            of_this_config = published_figure(info, 'linear (MoCo v3)', probe, {})
            assert of_this_config == PublishedFigure('Top 1 Accuracy', 50.0, 'TINY_LINEAR3, mmssl')
        kept = identify(str(tmp_path / 'y-0123abcd.pth'))
        assert published_figure(kept, 'linear', probe, {}).value == 50.0
        assert identify(str(tmp_path / 'x.pth')) is identify(None) is None


def test_the_last_line_of_a_knn_is_the_published_figure(
    tmp_path, image_folder, capsys, monkeypatch
):
    """Of a file that is known by OpenMMLab's name, here on the data of the figure."""
    config = write_knn(tmp_path, image_folder)
    file = weights(tmp_path / 'tiny-0123abcd.pth')
    known = entry(config, f'https://a.org/{file.name}', None, Source='official')
    known['Metadata']['Published'] = {'kNN Top 1': 70.1}
    words = (config, file, '--work-dir', tmp_path / 'run')
    with registered(tmp_path, known):
        last = call(capsys, *words, script=TEST).out.splitlines()[-1]
        assert last.endswith(
            '9 images to test, 3 classes to test, 24 images to bank): not comparable'
        )
        sets = {'test': dict(images=9, classes=3), 'bank': dict(images=24)}
        monkeypatch.setattr('mmssl.results.reference.IMAGENET', sets)
        last = call(capsys, *words, script=TEST).out.splitlines()[-1]
        found = result(tmp_path / 'run')
        call(capsys, *words, '--cfg-options', 'branch=student', script=TEST)
        assert result(tmp_path / 'run')['published'] is None, 'another branch than the published'
    top1 = found['metric']['last']
    assert f'kNN Top 1: measured {top1:.2f} %' in last and 'published 70.1 %' in last
    assert last.endswith(f'difference {top1 - 70.1:+.2f} (TINY_KNN, official)')
    assert found['published'] == dict(name='kNN Top 1', value=70.1, source='TINY_KNN, official')


IMAGENET = {'test': dict(images=50_000, classes=1000), 'bank': dict(images=1_281_167)}
SAID = PublishedFigure('kNN Top 1', 75.7, 'esvit, official')


@pytest.mark.parametrize(
    ('last', 'best', 'data', 'expected'),
    [
        (
            74.52,
            74.52,
            {},
            'measured 74.52 %, published 75.7 %, difference -1.18 (esvit, official)',
        ),
        (
            74.5,
            75.0,
            {},
            '74.50 % (best 75.00 %, knn/top1_k10), published 75.7 %, difference -1',
        ),
        (76.0, 76.0, {'bank': dict(images=50)}, '(50 images to bank): not comparable'),
        (76.0, 76.0, {'test': dict(images=9, classes=3)}, '(9 images to test, 3 classes to test)'),
    ],
)
def test_measured_against_published(last, best, data, expected):
    metric = dict(last=last, best=best, best_at='knn/top1_k10')
    (told,) = comparison_line(SAID, metric, IMAGENET | data)
    assert expected in told
    assert comparison_line(None, metric, IMAGENET) == []
