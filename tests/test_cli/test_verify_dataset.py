"""verify_dataset finds the images that training would replace."""

import pytest

from mmssl.datasets import ImageDataset

from ..helpers.damage import damaged_shards
from ..helpers.packed import copy, tool


@pytest.mark.parametrize('workers', [1, 2])
def test_verify_finds_all_beforehand(image_folder, tmp_path, workers, capsys):
    root = copy(image_folder, tmp_path / 'a', ['red/3.png', 'blue/1.png'])
    (root / 'train/green/0.png').write_bytes(b'')
    words = [str(root), '--split', 'train', '--workers', str(workers), '--quiet']
    with pytest.raises(SystemExit, match='1'):
        tool('verify_dataset').main([*words, '--out', str(tmp_path / 'bad.txt')])
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == 'verify_dataset: train: 3 of 24 cannot be used'
    assert [line.partition(': ')[0] for line in lines] == [
        f'{root}/train/{name}' for name in ('blue/1.png', 'green/0.png', 'red/3.png')
    ]
    assert (tmp_path / 'bad.txt').read_text().splitlines() == lines
    tool('verify_dataset').main(
        [str(image_folder), '--split', 'train', '--workers', '1', '--quiet']
    )
    assert '0 of 24 cannot be used' in capsys.readouterr().out


def test_verify_reads_shards_and_configs(image_folder, tmp_path, tiny_config, capsys):
    verify = tool('verify_dataset')
    source, expected = damaged_shards(image_folder, tmp_path)
    data = ImageDataset(str(tmp_path), 'train', source=source)
    assert [len(run) for run in verify.chunks(data)] == [3, 2, 1]
    found = [reason for _, reasons in verify.verify(data, 1) for reason in reasons]
    assert len(found) == len(expected)
    verify.main([str(tiny_config()), '--quiet', '--workers', '2'])
    out = capsys.readouterr().out
    assert 'train_dataloader: 0 of 24' in out
    assert 'val_dataloader: 0 of 9' in out
