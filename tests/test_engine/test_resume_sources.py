"""Runs over every new storage of images: losses equal those over folders, and resume exactly."""

from copy import deepcopy

import pytest

from ..helpers.packed import pack
from ..helpers.tiny import losses, make_runner
from ..helpers.training_state import interrupt

pytestmark = pytest.mark.slow

ALONE = dict(val_cfg=None, val_dataloader=None, val_evaluator=None, train_cfg__max_epochs=2)
SOURCES = {
    'torchvision': dict(type='TorchvisionSource', name='ImageFolder'),
    'hugging face': dict(type='HuggingFaceSource'),
    'concat': dict(
        type='ConcatSource',
        sources=[
            dict(type='ImageDataset', share=(0.0, 1.0)),
            dict(type='FolderSource', split='val'),
        ],
        weights=(2, 1),
    ),
    'parquet': dict(type='ParquetSource'),
}


@pytest.fixture(scope='module')
def over_folders(tiny_config, tmp_path_factory):
    runner = make_runner(tiny_config(), tmp_path_factory.mktemp('folders'), **deepcopy(ALONE))
    return losses(runner)


@pytest.mark.parametrize('name', SOURCES)
def test_losses_and_resuming(tiny_config, image_folder, over_folders, tmp_path, name):
    settings = ALONE | dict(train_dataloader__dataset__source=SOURCES[name])
    if name == 'hugging face':
        datasets = pytest.importorskip('datasets')
        cache = str(tmp_path / 'cache')
        loaded = datasets.load_dataset('imagefolder', data_dir=str(image_folder), cache_dir=cache)
        loaded.save_to_disk(str(tmp_path / 'disk'))
        settings['data_root'] = str(tmp_path / 'disk')
    elif name == 'parquet':
        pack(image_folder, tmp_path / 'packed', '--to', 'parquet')
        settings['data_root'] = str(tmp_path / 'packed')
    whole = make_runner(tiny_config(), tmp_path / 'whole', **deepcopy(settings))
    expected = losses(whole)
    if name in ('torchvision', 'hugging face'):  # others read in an order of their own
        assert expected == over_folders
    first = make_runner(tiny_config(), tmp_path / 'cut', **deepcopy(settings))
    seen = interrupt(first, 6)
    again = dict(settings, resume=True, load_from=str(tmp_path / 'cut' / 'cut.pth'))
    assert seen + losses(make_runner(tiny_config(), tmp_path / 'cut', **again)) == expected
