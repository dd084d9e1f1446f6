"""Ranks that would train something else than rank 0 are told so before the first step."""

import shutil
from pathlib import Path

import pytest

from mmssl.apis import load_config
from mmssl.core import UserError, dist
from mmssl.datasets import ImageDataset
from mmssl.engine.rank_check import data_of, settings_of

from ..helpers.packed import pack
from ..helpers.refusals import check_refusal
from ..helpers.tiny import Watch, make_runner

pytestmark = pytest.mark.slow

SMALL = dict(
    launcher='pytorch',
    train_dataloader__batch_size=3,
    train_cfg__max_epochs=1,
    val_cfg=None,
    val_dataloader=None,
    val_evaluator=None,
)


def _train(config, folder, options, data):
    """Return (error, iterations done) of this rank."""
    own = {**SMALL, **options[dist.rank()]}
    if data:
        own['data_root'] = str(data[dist.rank()])
    steps = []
    try:
        runner = make_runner(config, folder, **own)
        runner.register_hook(Watch(lambda *_: steps.append(1)))
        runner.train()
    except UserError as error:
        return (error.key, error.value, str(error)), len(steps)
    return None, len(steps)


@pytest.mark.parametrize(
    ('second', 'key', 'value'),
    [
        (dict(optim_wrapper__optimizer__lr=0.5), 'optim_wrapper.optimizer.lr', 0.5),
        (dict(randomness__seed=7), 'randomness.seed', 7),
        (dict(resume=True), 'resume', True),
        (dict(train_dataloader__batch_size=2), 'train_dataloader.batch_size', 2),
        (dict(train_cfg__max_epochs=2), 'train_cfg.max_epochs', 2),
    ],
)
def test_other_settings_are_named_and_nothing_is_trained(
    two_ranks, tiny_config, tmp_path, second, key, value
):
    answers = two_ranks(_train, tiny_config(), tmp_path, [{}, second], None)
    for (found, given, text), done in answers:
        check_refusal(UserError(text, found, given), key, value)
        assert 'rank 1' in text and done == 0
    assert answers[0] == answers[1]


def copies(image_folder: Path, folder: Path, change) -> list[Path]:
    """Return a copy of the images for each rank, the second one changed."""
    roots = [folder / 'a', folder / 'b']
    for root in roots:
        shutil.copytree(image_folder, root)
    change(roots[1] / 'train' / 'red')
    return roots


def fewer(folder: Path) -> None:
    for file in sorted(folder.iterdir())[:6]:
        file.unlink()


def renamed(folder: Path) -> None:
    (folder / '0.png').rename(folder / '00.png')


def relabelled(folder: Path) -> None:
    (folder / '7.png').rename(folder.parent / 'green' / '8.png')


@pytest.mark.parametrize(
    ('change', 'key'),
    [
        (fewer, 'train_dataloader: images'),
        (renamed, 'train_dataloader: names'),
        (relabelled, 'train_dataloader: labels'),
        (lambda _: None, None),
    ],
    ids=['fewer', 'renamed', 'relabelled', 'elsewhere'],
)
def test_other_data_is_named_and_the_same_elsewhere_is_not(
    two_ranks, tiny_config, image_folder, tmp_path, change, key
):
    roots = copies(image_folder, tmp_path, change)
    answers = two_ranks(_train, tiny_config(), tmp_path / 'w', [{}, {}], roots)
    for error, done in answers:
        assert (error and error[0], done) == ((key, 0) if key else (None, 4))


def test_facts_of_a_config_do_not_depend_on_the_process(tiny_config):
    cfg = load_config(tiny_config(), {})
    before = settings_of(cfg)
    cfg.work_dir = 'elsewhere'
    cfg.train_dataloader.dataset.data_root = '/local/copy'
    cfg.train_dataloader.dataset.seed = 0
    after = settings_of(cfg)
    assert {key for key in {*before, *after} if before.get(key) != after.get(key)} == {
        'train_dataloader.dataset.seed'
    }
    assert after['version of torch'] and after['version of mmssl']


def test_a_set_without_an_index_is_known_by_its_length(tiny_config, tmp_path):
    class Loader(list):
        dataset = range(7)

    assert data_of(Loader([1, 2]), 'data') == {'data: items': 7}
    assert data_of(None, 'data') == {'data': None}


STORAGES = dict(folder=None, zip='ZipSource', tsv='TsvSource', shards='ShardSource')


@pytest.mark.parametrize('kind', STORAGES)
def test_every_storage_tells_its_images_without_reading_them(image_folder, tmp_path, kind):
    """Equal copies have equal digests; one without its last image has others."""
    fewer = tmp_path / 'fewer'
    shutil.copytree(image_folder, fewer)
    (fewer / 'train' / 'red' / '7.png').unlink()
    found = []
    for number, root in enumerate((image_folder, image_folder, fewer)):
        pack(root, tmp_path / f'{number}', '--to', kind)
        source = dict(source=dict(type=STORAGES[kind])) if STORAGES[kind] else {}
        data = ImageDataset(str(tmp_path / f'{number}'), 'train', **source)
        data.source.read = None
        found.append(data.index_digests())
    assert found[0] == found[1]
    assert found[0]['images'] == found[2]['images'] + 1 == 24
    assert found[0]['classes'] == found[2]['classes'] == 3
    assert found[0]['names'] != found[2]['names'] and found[0]['labels'] != found[2]['labels']
