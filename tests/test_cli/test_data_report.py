"""mmssl data: what it finds is what was put there, and the clean list is without it."""

import json
import shlex
import shutil

import numpy as np
import pytest
from PIL import Image

from mmssl.cli import data_report
from mmssl.cli.options import OptionAction
from mmssl.datasets import ImageDataset
from mmssl.registry import MODELS

from ..helpers.channels import write_folder
from ..helpers.images import make_image
from ..helpers.packed import copy, pack
from ..helpers.refusals import refuses
from ..helpers.tiny import write_config


def run(*words, status=0):
    """Run the command; return its exit status, 0 where it only returns."""
    words = [*map(str, words), '--workers', '1', '--quiet']
    if not status:
        return data_report.main(words)
    with pytest.raises(SystemExit) as caught:
        data_report.main(words)
    assert caught.value.code == status
    return None


def facts(out):
    return json.loads((out / 'data.json').read_text('utf-8'))


def names(root, *keys):
    return [f'{root}/{key}' for key in keys]


@pytest.fixture
def spoilt(image_folder, tmp_path):
    """Class folders with a truncated file, an equal file, a near copy, a leak and a flat image."""
    root = copy(image_folder, tmp_path / 'a', ['red/3.png'])
    shutil.copy(root / 'train/blue/1.png', root / 'train/blue/copy.png')
    with Image.open(root / 'train/green/2.png') as image:
        image.save(root / 'train/green/2.jpg', quality=95)
    shutil.copy(root / 'val/red/0.png', root / 'train/red/seen.png')
    Image.new('RGB', (30, 40), (9, 9, 9)).save(root / 'train/blue/flat.png')
    return root


def test_what_was_put_there_is_found(spoilt, tmp_path, capsys):
    out, clean = tmp_path / 'out', tmp_path / 'clean.txt'
    run(spoilt, '--out', out, '--clean', clean, status=1)
    found = facts(out)
    train = f'{spoilt}/train'
    assert [entry['name'] for entry in found['unreadable']] == names(train, 'red/3.png')
    copies = {tuple(group) for group in found['exact']}
    assert copies == {
        tuple(names(train, 'blue/1.png', 'blue/copy.png')),
        (f'{train}/red/seen.png', f'{spoilt}/val/red/0.png'),
    }
    assert names(train, 'green/2.jpg', 'green/2.png') in found['near']
    assert [f'{train}/red/seen.png', f'{spoilt}/val/red/0.png'] in found['leaks']
    keys = [finding['key'] for finding in found['findings']]
    assert keys[:5] == ['unreadable', 'leaks', 'exact', 'near', 'flat']
    assert found['sets']['train']['images'] == 28 and found['sets']['train']['readable'] == 27
    assert found['sets']['train']['classes'] == dict(blue=10, green=9, red=9)
    assert found['sets']['val']['classes'] == dict(blue=3, green=3, red=3)
    said = capsys.readouterr().out
    assert 'data: train: 1 of 28 cannot be used' in said
    page = (out / 'index.html').read_text('utf-8')
    assert page.startswith('<!doctype html>') and 'blue/copy.png' in page
    assert '<script' not in page and 'src="http' not in page
    # the list trains as one that never had them
    data = ImageDataset(str(spoilt), 'train', ann_file=str(clean))
    keys = {data.source.key(i) for i in range(len(data))}
    whole = ImageDataset(str(spoilt), 'train')
    gone = {whole.source.key(i) for i in range(28)} - keys
    assert {'red/3.png', 'blue/copy.png', 'green/2.png', 'red/seen.png'} <= gone
    label = {whole.source.key(i): whole.labels[i] for i in range(28)}
    assert data.labels == [label[data.source.key(i)] for i in range(len(data))]
    run(spoilt, '--split', 'train', '--out', tmp_path / 'again', status=1)


def test_what_was_repaired_is_seen(image_folder, tmp_path):
    root = copy(image_folder, tmp_path / 'a', ['red/3.png'])
    run(root, '--split', 'train', '--out', tmp_path / 'out', status=1)
    shutil.copy(image_folder / 'train/red/3.png', root / 'train/red/3.png')
    run(root, '--split', 'train', '--out', tmp_path / 'out')
    assert facts(tmp_path / 'out')['unreadable'] == []


def test_nothing_is_found_where_nothing_is(tmp_path):
    for i in range(6):
        folder = tmp_path / f'data/train/c{i % 2}'
        folder.mkdir(parents=True, exist_ok=True)
        make_image((80, 60), 50 + i).save(folder / f'{i}.png')
    run(tmp_path / 'data', '--out', tmp_path / 'out')
    keys = {finding['key'] for finding in facts(tmp_path / 'out')['findings']}
    assert keys <= {'normalisation'}


def test_every_storage_has_the_same_facts(image_folder, tmp_path):
    run(image_folder, '--split', 'train', '--out', tmp_path / 'folder')
    expected = facts(tmp_path / 'folder')
    for form, source in (('zip', 'ZipSource'), ('shards', 'ShardSource'),
                         ('parquet', 'ParquetSource')):  # fmt: skip
        pack(image_folder, tmp_path / form, '--to', form)
        out = tmp_path / f'of_{form}'
        run(tmp_path / form, '--split', 'train', '--source', source, '--out', out)
        found = facts(out)
        for key in ('images', 'width', 'height', 'modes', 'bytes'):
            assert found['sets']['train'][key] == expected['sets']['train'][key]
        for key in ('mean', 'std'):
            np.testing.assert_allclose(
                found['sets']['train'][key], expected['sets']['train'][key], rtol=1e-12
            )
        assert found['counts'] == expected['counts']
        with refuses('--clean', str(tmp_path / 'list.txt')):
            run(tmp_path / form, '--split', 'train', '--source', source, '--out', out,
                '--clean', tmp_path / 'list.txt')  # fmt: skip


def test_the_data_sets_of_a_config(tiny_config, tmp_path, capsys):
    run(tiny_config(), '--out', tmp_path)
    out = capsys.readouterr().out
    assert 'train_dataloader: 0 of 24' in out
    assert 'val_dataloader: 0 of 9' in out


@pytest.mark.parametrize('channels', [1, 5])
def test_channels_and_the_command_that_states_them(tmp_path, channels):
    root = write_folder(tmp_path / 'data', channels)
    run(root, '--out', tmp_path / 'out', '--channels', channels, '--value-range', 0, 4095)
    found = facts(tmp_path / 'out')
    command = next(f['command'] for f in found['findings'] if f['key'] == 'normalisation')
    _, word = shlex.split(command)
    key, _, text = word.partition('=')
    assert key == 'model.data_preprocessor'
    made = MODELS.build(OptionAction.value(text))  # as --cfg-options reads it
    for name in ('mean', 'std'):
        measured = found['sets']['train'][name]
        assert getattr(made, name).flatten().tolist() == pytest.approx(measured, abs=5e-4)
        assert len(measured) == channels


def test_features_of_a_network(image_folder, tmp_path):
    """Near pairs are confirmed by them: those of images that differ in class are not."""
    root = copy(image_folder, tmp_path / 'a', [])
    config = write_config(tmp_path, root, 'vit')
    words = ['--split', 'train', '--distance', '30', '--out', tmp_path / 'out']
    run(root, *words)
    alone = facts(tmp_path / 'out')
    assert alone['outliers'] == [] and max(map(len, alone['near'])) > 12
    run(root, *words, '--pretrained', config, '--weights', 'random')
    confirmed = facts(tmp_path / 'out')['near']
    assert max(map(len, confirmed), default=0) < max(map(len, alone['near']))
