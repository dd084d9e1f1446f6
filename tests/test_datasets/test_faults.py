"""Damaged files in every storage: replaced, said once, and too many stop the run."""

import json
import os
import re
import shutil
import signal
import zipfile
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from mmssl.core import UserError, dist
from mmssl.core.faults import Faults
from mmssl.datasets import ImageFolder, ImageSet
from mmssl.datasets.image_set import TRIES
from mmssl.datasets.sources import UnreadableImage
from mmssl.engine import Runner
from mmssl.engine.faults import FILE, FaultHook
from mmssl.engine.workers import explain
from mmssl.evaluation.features import extract
from mmssl.evaluation.knn import accuracy, knn
from mmssl.evaluation.metrics import Accuracy

from ..tiny import log, losses, make_runner
from .packed import pack, tool

VIEW = dict(type='RandomView', size=8, jitter=(0.4, 0.4, 0.2, 0.1))
PIPELINE = [dict(type='LoadImage'), dict(type='MultiView', views=[VIEW, VIEW])]


def copy(pictures, out, broken=('red/3.png',)):
    """Copy the pictures and cut some files."""
    shutil.copytree(pictures, out)
    for name in broken:
        path = out / 'train' / name
        path.write_bytes(path.read_bytes()[:90])
    return out


def loader(dataset, workers=0, epoch=0):
    built = Runner.build_dataloader(
        dict(
            batch_size=6,
            num_workers=workers,
            sampler=dict(type='EpochSampler', shuffle=True, _scope_='mmssl'),
            dataset=dataset,
        ),
        seed=4,
    )
    built.sampler.set_epoch(epoch)
    return built


# replacing --------------------------------------------------------------------------------------
def test_a_bad_image_gives_way_to_another_whatever_the_workers(pictures, tmp_path):
    root = copy(pictures, tmp_path / 'a')
    data = ImageFolder(str(root), 'train', PIPELINE, seed=4)
    whole = ImageFolder(str(pictures), 'train', PIPELINE, seed=4)
    bad = 16 + 3
    for epoch in (0, 1):
        for i in range(24):
            ours, theirs = data[epoch, i], whole[epoch, i]
            samples = ours['data_samples']
            same = all(map(torch.equal, ours['inputs'], theirs['inputs']))
            assert same == (i != bad)
            assert samples['index'] == i
            assert bool(samples['fault']) == (i == bad)
    fault = data[0, bad]['data_samples']['fault']
    assert re.match(rf'{root}/train/red/3\.png: .*trunc', fault)
    assert '\n' not in fault
    # never the same views as the image has on its own turn
    boxes = {tuple(map(tuple, data[0, i]['data_samples']['box'].tolist())) for i in range(24)}
    assert len(boxes) == 24
    alone, shared = ([b for b in loader(data, n, epoch=2)] for n in (0, 2))
    for a, b in zip(alone, shared, strict=True):
        assert torch.equal(a['inputs'][1], b['inputs'][1])
        assert a['data_samples']['fault'] == b['data_samples']['fault']
    found = [f for batch in alone for f in batch['data_samples']['fault'] if f]
    assert found == [fault]


def test_the_label_is_that_of_the_image_shown(pictures, tmp_path):
    root = copy(pictures, tmp_path / 'a', [f'red/{i}.png' for i in range(7)])
    data = ImageFolder(str(root), 'train', PIPELINE, seed=1)
    labels = {data[e, 16]['data_samples']['label'] for e in range(20)}
    assert labels == {0, 1, 2}
    red = [data[e, 16]['data_samples'] for e in range(60)]
    # a draw may be bad as well: then both are said
    assert {len(s['fault'].splitlines()) for s in red} >= {1, 2}
    for sample in red:
        assert sample['fault'].splitlines()[0].startswith(f'{root}/train/red/0.png: ')


def test_when_nothing_can_be_read_it_says_so_at_once(pictures, tmp_path):
    names = [p.relative_to(pictures / 'train') for p in (pictures / 'train').rglob('*.png')]
    root = copy(pictures, tmp_path / 'a', names)
    data = ImageFolder(str(root), 'train', PIPELINE)
    with pytest.raises(
        UnreadableImage, match=f'{TRIES} images in a row could not be read'
    ) as found:
        data[0]
    assert str(found.value).count('truncated') == TRIES


# kinds of damage in every storage --------------------------------------------------------------
def folder_of_all(pictures, root):
    train = root / 'train/a'
    train.mkdir(parents=True)
    names = sorted((pictures / 'train').rglob('*.png'))
    for i, path in enumerate(names[:4]):
        shutil.copy(path, train / f'{i}.png')
    return train


def damaged_list(pictures, root):
    folder_of_all(pictures, root)
    (root / 'l.txt').write_text('a/0.png 0\na/missing.png 0\na/1.png 0\n')
    return dict(type='ListSource', ann_file='l.txt'), {1: 'train/a/missing.png: no such file'}


def damaged_zip(pictures, root):
    folder_of_all(pictures, root)
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


def damaged_tsv(pictures, root):
    folder_of_all(pictures, root)
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


def damaged_shards(pictures, root):
    folder_of_all(pictures, root)
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


def damaged_lmdb(pictures, root):
    folder_of_all(pictures, root)
    pack(root, root / 'base', '--to', 'lmdb', '--no-verify')
    import lmdb

    with lmdb.open(str(root / 'base'), map_size=2**30) as base, base.begin(write=True) as change:
        change.delete(b'train/a/1.png')
        change.put(b'train/a/2.png', b'')
    return dict(type='ListSource', data_root=f'lmdb://{root}/base'), {
        1: 'base/train/a/1.png: no such file',
        2: 'base/train/a/2.png: empty',
    }


@pytest.mark.parametrize(
    'damage', [damaged_list, damaged_zip, damaged_tsv, damaged_shards, damaged_lmdb]
)
def test_damage_in_a_storage_is_survived_and_named(pictures, tmp_path, damage, capsys):
    source, expected = damage(pictures, tmp_path)
    data = ImageSet(str(tmp_path), 'train', source, PIPELINE)
    for i in range(len(data)):
        fault = data[0, i]['data_samples']['fault']
        assert (expected.get(i, '') in fault) and bool(fault) == (i in expected), (i, fault)


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


# counting --------------------------------------------------------------------------------------
def test_faults_are_listed_once():
    faults = Faults(1000)
    assert faults.add(['a: x', '', 'b: y\nc: z'], 3) == ['a: x', 'b: y', 'c: z']
    assert faults.add(['a: x', 'd: w'], 2) == ['d: w']
    assert (faults.seen, len(faults.files)) == (5, 4)


@pytest.mark.parametrize(
    ('total', 'seen', 'bad', 'stops'),
    [
        (1000, 1000, 10, False),
        (1000, 1000, 11, True),
        (10**6, 1000, 26, False),  # 10 + 4 sqrt(10) + 4 = 26.6: beyond accident
        (10**6, 1000, 27, True),
        (10**6, 64, 5, False),
        (10**6, 64, 64, True),
        (24, 24, 1, True),
        (24, 24, 0, False),
    ],
)
def test_too_many_are_more_than_the_share_or_beyond_accident(total, seen, bad, stops):
    faults = Faults(total)
    faults.add([f'{i}.png: gone' for i in range(bad)], seen)
    if not stops:
        return faults.check()
    with pytest.raises(
        UserError, match=f'^{bad} unreadable images among the {seen} first'
    ) as found:
        faults.check()
    assert str(found.value).count('.png: gone') == min(bad, 20)
    return None


def test_a_run_goes_on_and_says_it_once(pictures, tmp_path, tiny_config):
    root = copy(pictures, tmp_path / 'a')
    options = dict(data_root=str(root), default_hooks__faults__share=0.05)
    options |= dict(train_dataloader__num_workers=2, default_hooks__checkpoint__interval=1)
    assert len(losses(make_runner(tiny_config(), tmp_path / 'w', **options))) == 12
    text = log(tmp_path / 'w')
    told = re.findall(r'unreadable image, another took its place: (\S+): ', text)
    assert told == [f'{root}/train/red/3.png']
    assert (tmp_path / 'w' / FILE).read_text().startswith(f'{root}/train/red/3.png: ')
    # a resumed run knows it already
    more = make_runner(
        tiny_config(), tmp_path / 'w', resume=True, **options, train_cfg__max_epochs=4
    )
    losses(more)
    assert log(tmp_path / 'w').count('another took its place') == 1


def test_what_was_known_before_resuming_does_not_stop_a_sound_run(tmp_path):
    (tmp_path / FILE).write_text(''.join(f'{i}.png: gone\n' for i in range(9)))
    loader = SimpleNamespace(dataset=range(1000), batch_size=10)
    hook = FaultHook()
    hook.before_train(SimpleNamespace(train_dataloader=loader, work_dir=tmp_path, iter=90))
    assert (len(hook.faults.files), hook.faults.seen) == (9, 900)
    hook.faults.check()
    assert hook.faults.add(['3.png: gone', 'new.png: gone']) == ['new.png: gone']


def test_too_many_stop_the_run_with_the_list(pictures, tmp_path, tiny_config):
    root = copy(pictures, tmp_path / 'a', ['red/3.png', 'red/4.png'])
    runner = make_runner(
        tiny_config(), tmp_path / 'w', data_root=str(root), default_hooks__faults__share=0.05
    )
    with pytest.raises(
        UserError, match=r'^2 unreadable images .*red/\d\.png: .*red/\d\.png: '
    ) as e:
        losses(runner)
    assert 'default_hooks.faults.share=SHARE' in str(e.value)


def test_images_the_monitor_cannot_read_are_left_out(pictures, tmp_path, tiny_config):
    root = copy(pictures, tmp_path / 'a', [])
    (root / 'val/red/1.png').write_bytes(b'')
    runner = make_runner(tiny_config(), tmp_path / 'w', data_root=str(root))
    with pytest.raises(UserError, match=r'^1 unreadable images .*val/red/1\.png: empty'):
        runner.val_loop.measure()
    runner.bad_share = 0.2
    bank, query = (
        extract(runner.model, part, share=0.2)
        for part in (runner.val_loop.bank, runner.val_loop.dataloader)
    )
    assert query.indices.tolist() == [0, 1, 2, 3, 4, 5, 6, 8]
    assert query.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 2
    votes = knn(bank.features, bank.labels, query.features, 5, 0.07, 3)
    assert runner.val_loop.measure()['knn/top1_k5'] == accuracy(votes, query.labels)
    paths = [record['path'] for record in runner.predictions]
    assert len(paths) == 8
    assert f'{root}/val/red/1.png' not in paths


def test_accuracy_leaves_out_what_was_replaced():
    metric = Accuracy(topk=(1,))
    samples = dict(label=torch.tensor([0, 1, 0]), fault=['', 'a.png: gone', ''])
    scores = [torch.tensor(s) for s in ([0.9, 0.1], [0.9, 0.1], [0.2, 0.8])]
    metric.process(dict(data_samples=samples), [dict(pred_scores=s) for s in scores])
    assert metric.evaluate(3) == {'accuracy/top1': 50.0}


def test_an_evaluation_names_its_bad_images_and_has_a_limit():
    said = []
    runner = SimpleNamespace(logger=SimpleNamespace(warning=said.append))
    hook = FaultHook(share=0.5)
    hook.before_test_epoch(runner)
    for faults in (['', 'a.png: gone'], ['', '']):
        hook.after_test_iter(runner, 0, dict(data_samples=dict(fault=faults)))
    hook.after_test_epoch(runner)
    assert said == ['unreadable image, not counted: a.png: gone']
    hook = FaultHook()
    hook.before_val_epoch(runner)
    hook.after_val_iter(runner, 0, dict(data_samples=dict(fault=['', 'a.png: gone'])))
    with pytest.raises(UserError, match='1 unreadable images among the 2 first read of 2'):
        hook.after_val_epoch(runner)


def _two(path, root, folder, share):
    options = dict(data_root=root, train_dataloader__batch_size=3, launcher='pytorch')
    runner = make_runner(path, folder, default_hooks__faults__share=share, **options)
    try:
        losses(runner)
    except UserError as error:
        return str(error), dist.rank()
    return 'done', dist.rank()


def test_two_ranks_stop_together(pictures, tmp_path, tiny_config, two_ranks):
    root = copy(pictures, tmp_path / 'a')
    answers = two_ranks(_two, tiny_config(), str(root), tmp_path / 'w', 0.0)
    assert answers[0][0] == answers[1][0]
    assert answers[0][0].startswith('1 unreadable images among the 24 first read of 24')
    assert two_ranks(_two, tiny_config(), str(root), tmp_path / 'v', 0.05) == [
        ('done', 0),
        ('done', 1),
    ]


# workers ----------------------------------------------------------------------------------------
class Die:
    """Kill the process at one image."""

    def __call__(self, item):
        if item['path'].endswith('red/3.png'):
            os.kill(os.getpid(), signal.SIGKILL)
        return dict(inputs=torch.zeros(1), data_samples=dict(index=item['index']))


def test_a_dead_worker_is_named_with_its_image(pictures, tmp_path, tiny_config):
    runner = make_runner(tiny_config(), tmp_path, train_dataloader__num_workers=2)
    runner.train_dataloader.dataset.transforms = [Die()]
    runner.train_loop.run_iter = lambda idx, batch: None
    with pytest.raises(UserError) as caught:
        runner.train()
    message = str(caught.value)
    assert re.match(r'loader worker \d+ \(reading \S+/train/red/3\.png\) ', message), message
    assert message.endswith('continue with --resume')


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        (
            'DataLoader worker (pid 12) is killed by signal: Killed. ',
            'loader worker 12 is killed by signal: Killed: the system ran out of memory',
        ),
        (
            'DataLoader worker (pid 12) is killed by signal: Bus error. It is possible that',
            r'loader worker 12 is killed by signal: Bus error: shared memory \(/dev/shm\) is full',
        ),
        (
            'DataLoader worker (pid(s) 12, 13) exited unexpectedly',
            'loader worker 12, 13 exited unexpectedly: see the lines above, or run with num_',
        ),
        ('CUDA error: out of memory', None),
    ],
)
def test_what_torch_says_is_put_plainly(text, expected):
    found = explain(RuntimeError(text), [DataLoader([1])])
    assert (found is None) if expected is None else re.match(expected, str(found))


def test_animals_of_every_kind_are_read(tmp_path, make_picture):
    """Modes that are no damage: nothing is reported."""
    (tmp_path / 'train').mkdir()
    image = make_picture((40, 30))
    for mode, ending in (
        ('L', 'jpg'),
        ('CMYK', 'jpg'),
        ('RGBA', 'png'),
        ('P', 'png'),
        ('1', 'png'),
    ):
        image.convert(mode).save(tmp_path / f'train/{mode}.{ending}')
    image.save(tmp_path / 'train/png.jpg', 'PNG')  # another ending
    image.save(tmp_path / 'train/x.gif', save_all=True, append_images=[Image.new('RGB', (40, 30))])
    data = ImageFolder(str(tmp_path), 'train', PIPELINE)
    assert len(data) == 7
    assert not any(data[i]['data_samples']['fault'] for i in range(7))
