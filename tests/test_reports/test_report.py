"""The report shows what the files of a run hold, and leaves out what they lack."""

import copy
import io
import json
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmssl.analysis import patches, sheets, similarity
from mmssl.evaluation.knn import nearest
from mmssl.reports import figures, history, report

from ..helpers.refusals import refuses

CFG = Config(
    dict(
        model=dict(type='MoCoV3', backbone=dict(type='VisionTransformer')),
        val_cfg=dict(type='KNNLoop', k=(20,), temperature=0.05),
    )
)


def write_start(folder: Path, lines: list[dict]) -> None:
    """Write one start's scalars as mmengine does."""
    file = folder / 'vis_data' / 'scalars.json'
    file.parent.mkdir(parents=True)
    file.write_text('\n'.join(json.dumps(line) for line in lines) + '\n')


def train_line(step: int, **values: float) -> dict:
    """Return a logged training line of a run with 10 iterations an epoch."""
    return dict(lr=0.1, **values, epoch=-(-step // 10), iter=step, step=step)


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """A work dir of two epochs with monitor, record and results."""
    write_start(
        tmp_path / '20260101_000000',
        [
            {'knn/top1': 21.25, 'knn/top1_k20': 21.25, 'step': 0},
            train_line(10, loss=3.5, uniform=3.9, embedding_std=0.9, momentum=0.99),
            train_line(20, loss=3.0, uniform=3.9, embedding_std=0.95, momentum=1.0),
            {'knn/top1': 43.75, 'knn/top1_k20': 43.75, 'step': 2},
        ],
    )
    entry = dict(
        command='python tools/train.py some.py',
        started='2026-01-01 00:00:00',
        model='MoCoV3',
        data='160 images of 8 classes',
        seed=3,
        versions=dict(mmssl='9.9.9'),
        machine=dict(
            system='Linux x86_64', processor='Abacus 3', cores=2, threads=2, memory=8, gpus=[],
            processes=1,
        ),
        epoch=2,
        max_epochs=2,
        seconds=61.0,
        peak_memory=777,
    )  # fmt: skip
    (tmp_path / 'run.json').write_text(json.dumps(dict(sessions=[entry, entry])))
    (tmp_path / 'results').mkdir()
    for name, value in (('random', 22.5), ('pixels', 18.125), ('pretrained', 44.375)):
        metrics = {'knn/top1': value, 'knn/top1_k20': value}
        (tmp_path / 'results' / f'{name}.json').write_text(json.dumps(metrics))
    return tmp_path


def test_later_start_replaces_what_it_repeats(tmp_path: Path) -> None:
    write_start(tmp_path / '20260101_000000', [train_line(s, loss=float(s)) for s in (10, 20, 30)])
    write_start(tmp_path / '20260101_000100', [train_line(s, loss=-float(s)) for s in (30, 40)])
    points = history.read_history(tmp_path).train['loss']
    assert points == [(1.0, 10.0), (2.0, 20.0), (3.0, -30.0), (4.0, -40.0)]


def test_damaged_files_of_a_killed_run_are_passed_over(work_dir: Path) -> None:
    before = history.read_history(work_dir)
    (scalars,) = work_dir.glob('*/vis_data/scalars.json')
    scalars.write_text(scalars.read_text() + '\n{"step": 99, "lo')
    assert history.read_history(work_dir) == before
    (work_dir / 'results' / 'random.json').write_text('')
    assert set(history.read_results(work_dir)) == {'pixels', 'pretrained'}
    (work_dir / 'run.json').write_text('{"sessions": [')
    assert history.read_record(work_dir) == {}


def test_folder_without_scalars_is_named(tmp_path: Path) -> None:
    with refuses('folder', str(tmp_path)):
        history.read_history(tmp_path)


def test_report_shows_the_numbers_of_the_files(work_dir: Path) -> None:
    html = report.build(work_dir, CFG, 'No pictures: none were taken.')
    for fact in (
        *('22.5 → 44.4 %', '18.1 %', 'T = 0.05', 'k = 20'),  # results
        *('3.000', '3.900', '43.8 %'),  # loss, its uniform value, the monitor's last figure
        *('2 min 2 s', '777 MB', 'Abacus 3', 'mmssl 9.9.9', 'python tools/train.py some.py'),
        'No pictures: none were taken.',
    ):
        assert fact in html, fact
    assert html.count('<img') == 5  # loss, kNN, standard deviation, rate, momentum
    assert 'RankMe' not in html


def test_report_is_one_file(work_dir: Path) -> None:
    html = report.build(work_dir, CFG, 'None.')
    assert 'http' not in html and '<script' not in html and '<link' not in html
    assert all(src.startswith('data:image/png') for src in re.findall(r'src="([^"]*)"', html))


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    write_start(tmp_path / '20260101_000000', [train_line(10, loss=3.5)])
    html = report.build(tmp_path, CFG, 'No pictures.')
    for sentence in ('No accuracy: the images have no labels', 'No accuracy was measured',
                     'no health numbers', 'has no run.json'):  # fmt: skip
        assert sentence in html
    assert '→' not in html


def test_monitor_stands_in_for_results(tmp_path: Path) -> None:
    lines = [{'knn/top1': 20.0, 'step': 0}, train_line(10, loss=1.0), {'knn/top1': 50.0, 'step': 1}]
    write_start(tmp_path / '20260101_000000', lines)
    found = history.read_history(tmp_path)
    both = report.results_by_network(tmp_path, found, pretrained=False)
    assert both == {'random': {'knn/top1': 20.0}, 'pretrained': {'knn/top1': 50.0}}
    both = report.results_by_network(tmp_path, found, pretrained=True)
    assert both == {'start': {'knn/top1': 20.0}, 'pretrained': {'knn/top1': 50.0}}


def test_report_of_an_encoder_names_start_and_teacher(tmp_path: Path) -> None:
    lines = [{'knn/top1': 80.0, 'step': 0}, train_line(10, loss=1.0), {'knn/top1': 81.5, 'step': 1}]
    write_start(tmp_path / '20260101_000000', lines)
    cfg = Config(copy.deepcopy(CFG.to_dict()))
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='b.pth')
    cfg.model.teacher = dict(type='SwinTransformer', init_cfg=dict(checkpoint='huge.pth'))
    html = report.build(tmp_path, cfg, 'None.')
    for fact in ('80.0 → 81.5 %', 'SwinTransformer (huge.pth)'):
        assert fact in html, fact
    assert '80.0 → 81.5 %' in report.build(tmp_path, CFG, 'None.')


def test_curve_is_a_image() -> None:
    image = Image.open(io.BytesIO(figures.curve([(0, 1.0), (1, 2.0)], 'x', [('level', 1.5)])))
    assert image.format == 'PNG' and image.width > image.height > 300


def test_patch_colors_part_what_features_part() -> None:
    """Left and right half along a strong axis, top and bottom along a weaker one."""
    tokens = torch.zeros(2, 4, 4, 8)
    tokens[:, :, 2:, 5] = 10.0
    tokens[:, 2:, :, 3] = 3.0
    colors = patches.patch_colors(tokens.flatten(1, 2), (4, 4))
    assert colors.shape == (2, 4, 4, 3)
    red, green = colors[..., 0], colors[..., 1]
    assert torch.allclose(red[:, :, :2], torch.zeros(2, 4, 2), atol=1e-6)
    assert torch.allclose(red[:, :, 2:], torch.ones(2, 4, 2), atol=1e-6)
    assert torch.allclose(green[:, :2], torch.zeros(2, 2, 4), atol=1e-6)
    assert torch.allclose(green[:, 2:], torch.ones(2, 2, 4), atol=1e-6)


def test_patch_colors_of_two_channels() -> None:
    assert patches.patch_colors(torch.randn(1, 6, 2), (2, 3)).shape == (1, 2, 3, 3)


def test_nearest_is_by_angle() -> None:
    bank = torch.tensor([[1.0, 0.0], [0.0, 5.0], [3.0, 3.0]])
    _, found = nearest(bank, torch.tensor([[0.0, 0.1], [9.0, 8.0]]), 2)
    assert found.tolist() == [[1, 2], [2, 0]]


def test_mosaic_frames_and_places() -> None:
    red, blue = (Image.new('RGB', (4, 4), c) for c in ('red', 'blue'))
    sheet = sheets.image_grid([[red, blue]], [['#00ff00']], side=24)
    assert sheet.getpixel((0, 0)) == (0, 255, 0)
    assert sheet.getpixel((12, 12)) == (255, 0, 0)
    assert sheet.getpixel((24 + 2 + 12, 12)) == (0, 0, 255)


def test_one_image_of_each_class_is_chosen() -> None:
    labels = [i % 5 for i in range(50)]
    chosen = similarity.choose_queries(labels, 50, 5)
    assert sorted(labels[i] for i in chosen) == [0, 1, 2, 3, 4]
    assert len(set(similarity.choose_queries(labels, 50, 8))) == 8
    assert similarity.choose_queries(labels, 50, 8) == similarity.choose_queries(labels, 50, 8)
    assert len(similarity.choose_queries([], 3, 8)) == 3
