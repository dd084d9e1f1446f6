"""Pictures of a run in other backends: which, when, and of what."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmssl.analysis.pictures_hook import PicturesHook, register_pictures
from mmssl.analysis.sheets import image_grid, to_image
from mmssl.analysis.similarity import choose_queries, similarity_sheets

from ..helpers.tiny import make_runner, write_config


@pytest.fixture
def config(tmp_path: Path, image_folder: Path) -> Path:

    return write_config(tmp_path, image_folder)


def test_no_pictures_without_another_backend(tmp_path: Path, config: Path) -> None:
    runner = make_runner(config, tmp_path / 'work')
    register_pictures(runner)
    assert not any(isinstance(hook, PicturesHook) for hook in runner.hooks)


def test_tensorboard_gets_views_neighbours_and_patches(tmp_path: Path, config: Path) -> None:
    backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
    options = {'visualizer.vis_backends': backends, 'train_cfg.max_epochs': 1}
    runner = make_runner(config, tmp_path / 'work', **options)
    register_pictures(runner)
    runner.train()
    (events,) = (tmp_path / 'work').rglob('events.out.*')
    read = EventAccumulator(str(events.parent), size_guidance={'images': 0}).Reload()
    assert set(read.Tags()['images']) == {'views', 'neighbours', 'patches'}
    steps = {name: read.Images(name)[0].step for name in ('views', 'neighbours')}
    assert steps == {'views': 0, 'neighbours': runner.iter}

    dataset = runner.train_dataloader.dataset
    chosen = choose_queries([], len(dataset), 8)
    rows = [[to_image(view) for view in dataset[(0, i)]['inputs']] for i in chosen]
    seen = read.Images('views')[0]
    expected = image_grid(rows)
    assert (seen.width, seen.height) == expected.size
    (file,) = (tmp_path / 'work').rglob('views_0.png')

    assert np.array_equal(np.asarray(Image.open(file)), np.asarray(expected))
    loop = runner.val_loop
    sheets = similarity_sheets(runner.model, loop.bank.dataset, loop.dataloader.dataset)
    (file,) = (tmp_path / 'work').rglob(f'neighbours_{runner.iter}.png')
    assert np.array_equal(np.asarray(Image.open(file)), np.asarray(sheets.neighbours))
