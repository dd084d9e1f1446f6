"""verify_dataset finds beforehand what training would replace."""

import pytest

from mmssl.core import UserError
from mmssl.datasets import ImageSet

from ..test_datasets.damage import damaged_shards
from ..test_datasets.packed import copy, tool


@pytest.mark.parametrize('workers', [1, 2])
def test_verify_finds_all_beforehand(pictures, tmp_path, workers, capsys):
    root = copy(pictures, tmp_path / 'a', ['red/3.png', 'blue/1.png'])
    (root / 'train/green/0.png').write_bytes(b'')
    words = [str(root), '--split', 'train', '--workers', str(workers), '--quiet']
    with pytest.raises(SystemExit, match='1'):
        tool('misc/verify_dataset').main([*words, '--out', str(tmp_path / 'bad.txt')])
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == 'verify_dataset: train: 3 of 24 cannot be used'
    assert [line.partition(': ')[0] for line in lines] == [
        f'{root}/train/{name}' for name in ('blue/1.png', 'green/0.png', 'red/3.png')
    ]
    assert (tmp_path / 'bad.txt').read_text().splitlines() == lines
    tool('misc/verify_dataset').main(
        [str(pictures), '--split', 'train', '--workers', '1', '--quiet']
    )
    assert '0 of 24 cannot be used' in capsys.readouterr().out


def test_verify_reads_shards_and_configs(pictures, tmp_path, tiny_config, capsys):
    verify = tool('misc/verify_dataset')
    source, expected = damaged_shards(pictures, tmp_path)
    data = ImageSet(str(tmp_path), 'train', source)
    assert [len(run) for run in verify.chunks(data)] == [3, 2, 1]
    found = [fault for _, faults in verify.verify(data, 1) for fault in faults]
    assert len(found) == len(expected)
    verify.main([str(tiny_config()), '--quiet', '--workers', '2'])
    out = capsys.readouterr().out
    assert 'train_dataloader: 0 of 24' in out
    assert 'val_dataloader: 0 of 9' in out
    with pytest.raises(UserError, match=r'nowhere: no such config file or folder'):
        verify.main(['nowhere'])
