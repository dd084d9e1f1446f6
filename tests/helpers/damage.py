"""Damaged copies of every storage: config of the source, and the expected error of each image."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

from .packed import pack

# config of the source, and the beginning of the error of each image that cannot be read
Damaged = tuple[dict[str, Any], dict[int, str]]


def folder_of_all(image_folder: Path, root: Path) -> Path:
    train = root / 'train/a'
    train.mkdir(parents=True)
    names = sorted((image_folder / 'train').rglob('*.png'))
    for i, path in enumerate(names[:4]):
        shutil.copy(path, train / f'{i}.png')
    return train


def damaged_list(image_folder: Path, root: Path) -> Damaged:
    folder_of_all(image_folder, root)
    (root / 'l.txt').write_text('a/0.png 0\na/missing.png 0\na/1.png 0\n')
    return dict(type='ListSource', ann_file='l.txt'), {1: 'train/a/missing.png: no such file'}


def damaged_zip(image_folder: Path, root: Path) -> Damaged:
    folder_of_all(image_folder, root)
    pack(root, root, '--to', 'zip', '--no-verify')
    with (root / 'train_map.txt').open('a') as lines:
        lines.write('a/gone.png\t0\n')
    path = root / 'train.zip'
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo('a/2.png').header_offset + 200
    content = bytearray(path.read_bytes())
    content[at] ^= 255
    path.write_bytes(content)
    return dict(type='ZipSource'), {
        2: 'train.zip@/a/2.png: damaged member: its check sum is wrong',
        4: 'train.zip@/a/gone.png: no such file',
    }


def damaged_tsv(image_folder: Path, root: Path) -> Damaged:
    folder_of_all(image_folder, root)
    pack(root, root, '--to', 'tsv', '--no-verify')
    index = root / 'train.lineidx'
    offsets = index.read_text().split()
    offsets[1] = str(int(offsets[1]) + 7)
    index.write_text('\n'.join([*offsets, '99999999']))
    rows = (root / 'train.tsv').read_bytes()
    (root / 'train.tsv').write_bytes(rows[:-50])  # the last row is cut
    return dict(type='TsvSource'), {
        1: f'train.tsv, row 1: the index points to byte {offsets[1]}, where no row begins',
        3: 'train.tsv@a/3.png: ',
        4: 'train.tsv, row 4: the index points to byte 99999999, where no row begins',
    }


def damaged_shards(image_folder: Path, root: Path) -> Damaged:
    folder_of_all(image_folder, root)
    pack(root, root, '--to', 'shards', '--per-file', 2, '--no-verify')
    shard = root / 'train-000001.tar'
    shard.write_bytes(shard.read_bytes()[:2048])  # in the middle of its first image
    (root / 'train.json').write_text(
        json.dumps(
            dict(
                shardlist=[
                    dict(url='train-000000.tar', nsamples=3),  # one more than there is
                    dict(url='train-000001.tar', nsamples=2),
                    dict(url='train-000002.tar', nsamples=1),
                ]
            )
        )
    )
    return dict(type='ShardSource'), {
        2: 'train-000000.tar, sample 2: the shard ends after 2 samples, its index promises more',
        3: 'train-000001.tar, sample 0: the shard cannot be read (unexpected end of data)',
        4: 'train-000001.tar, sample 1: the shard cannot be read (unexpected end of data)',
        5: 'train-000002.tar, sample 0: the shard cannot be read (',
    }


def damaged_lmdb(image_folder: Path, root: Path) -> Damaged:
    folder_of_all(image_folder, root)
    pack(root, root / 'base', '--to', 'lmdb', '--no-verify')
    import lmdb

    with lmdb.open(str(root / 'base'), map_size=2**30) as base, base.begin(write=True) as change:
        change.delete(b'train/a/1.png')
        change.put(b'train/a/2.png', b'')
    return dict(type='ListSource', data_root=f'lmdb://{root}/base'), {
        1: 'base/train/a/1.png: no such file',
        2: 'base/train/a/2.png: empty',
    }
