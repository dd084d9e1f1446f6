"""Which files a run leaves."""

import pytest

from mmssl.checkpoint import read

from ..tiny import make_runner, scalars


def files(folder):
    return sorted(p.name for p in folder.glob('*.pth'))


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        (dict(interval=2, max_keep_ckpts=-1), ['epoch_2.pth', 'epoch_3.pth']),
        (dict(interval=1, max_keep_ckpts=2), ['epoch_2.pth', 'epoch_3.pth']),
        (dict(interval=9, max_keep_ckpts=1), ['epoch_3.pth']),
    ],
)
def test_interval_end_and_pruning(tiny_config, tmp_path, settings, expected):
    runner = make_runner(
        tiny_config(),
        tmp_path,
        **{f'default_hooks__checkpoint__{k}': v for k, v in settings.items()},
        val_cfg=None,
        val_dataloader=None,
        val_evaluator=None,
    )
    runner.train()
    assert files(tmp_path) == expected
    assert [read(tmp_path / f)['progress']['iter'] for f in expected] == [
        4 * int(f[6]) for f in expected
    ]


def test_pruning_counts_epochs_not_letters(tiny_config, tmp_path):
    """epoch_10 is younger than epoch_9."""
    runner = make_runner(
        tiny_config(),
        tmp_path,
        train_cfg=dict(max_epochs=10, val_interval=99),
        default_hooks__checkpoint__max_keep_ckpts=2,
        train_dataloader__batch_size=24,
    )
    runner.train()
    assert files(tmp_path) == ['epoch_10.pth', 'epoch_9.pth']


def test_the_best_is_kept(tiny_config, tmp_path):
    runner = make_runner(
        tiny_config(), tmp_path, default_hooks__checkpoint__save_best='knn/top1_k5'
    )
    runner.train()
    accuracies = [line['knn/top1_k5'] for line in scalars(tmp_path) if 'knn/top1_k5' in line]
    assert len(accuracies) == 3
    best = read(tmp_path / 'best.pth')['progress']
    assert best['best'] == max(accuracies)
    assert best['iter'] == 4 * (1 + accuracies.index(max(accuracies)))
