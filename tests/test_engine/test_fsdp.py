"""FSDP2 on two gloo processes is DDP: losses, weights, clipping and files."""

import pytest
import torch
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.testing import assert_close

from mmssl.checkpoint import read
from mmssl.core import UserError
from mmssl.engine.fsdp import BLOCKS, full_tensor

from ..helpers.tiny import losses, make_runner, scalars

SETTINGS = dict(
    launcher='pytorch',
    sync_bn='torch',
    train_dataloader__batch_size=3,
    train_cfg__max_epochs=2,
    optim_wrapper__clip_grad=dict(max_norm=0.5),
    optim_wrapper__optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05, eps=1e-4),
    train_cfg__val_at_start=True,  # 9 images in batches of 4: two for one rank, one for the other
)
SHARDED = dict(model_wrapper_cfg=dict(type='FullyShard'))


def _train(path, folder, options):
    runner = make_runner(path, folder, **(SETTINGS | options))
    found = losses(runner)
    inner = getattr(runner.model, 'module', runner.model)
    block = inner.student.backbone.net.blocks[0].attn.qkv.weight
    teacher = inner.teacher.backbone.net.blocks[0].attn.qkv.weight
    cut = (isinstance(inner, FSDPModule), isinstance(block, DTensor), isinstance(teacher, DTensor))
    accuracies = [line['knn/top1_k1'] for line in scalars(folder) if 'knn/top1_k1' in line]
    return (
        found,
        cut,
        {n: full_tensor(v).clone() for n, v in inner.state_dict().items()},
        accuracies,
    )


def _both(path, folder, each):
    clip = dict(optim_wrapper__clip_grad=dict(max_norm=0.5, each=each))
    plain = _train(path, folder / 'ddp', clip)
    return plain, _train(path, folder / 'fsdp', dict(clip, **SHARDED))


@pytest.mark.parametrize('each', [False, True])
def test_sharded_training_is_ddp_training(two_ranks, tiny_config, tmp_path, each):
    answers = two_ranks(_both, tiny_config(), tmp_path, each)
    for (expected, uncut, weights, _), (found, cut, ours, _) in answers:
        assert uncut == (False, False, False)
        assert cut == (True, True, True)
        assert found == pytest.approx(expected, rel=1e-5)
        for name, value in weights.items():
            assert_close(ours[name], value, rtol=1e-4, atol=1e-5, msg=name)
    (*_, monitored), (*_, same) = answers[0]  # the first rank writes
    assert len(same) == 3
    assert same == monitored
    ddp, fsdp = (read(tmp_path / kind / 'epoch_2.pth') for kind in ('ddp', 'fsdp'))
    shapes = [{n: v.shape for n, v in file['state_dict'].items()} for file in (ddp, fsdp)]
    assert shapes[0] == shapes[1]
    for i, entry in ddp['optimizer']['optimizer']['state'].items():
        for name, value in entry.items():
            other = fsdp['optimizer']['optimizer']['state'][i][name]
            assert type(other) is torch.Tensor
            assert_close(other, value, rtol=1e-2, atol=1e-5, msg=f'{i} {name}')


def _resume(path, folder, first, second):
    whole_run = _train(path, folder / 'a', first)
    file = str(folder / 'a' / 'epoch_1.pth')
    rest = _train(path, folder / 'b', dict(second, resume=True, load_from=file))
    start = _train(path, folder / 'c', dict(second, load_from=file))
    return whole_run[0], rest[0], start[0]


@pytest.mark.parametrize(('first', 'second'), [(SHARDED, SHARDED), (SHARDED, {}), ({}, SHARDED)])
def test_files_are_whole_and_go_both_ways(two_ranks, tiny_config, tmp_path, first, second):
    for expected, rest, start in two_ranks(_resume, tiny_config(), tmp_path, first, second):
        assert rest == pytest.approx(expected[4:], rel=0 if first is second else 1e-5, abs=0)
        assert len(start) == 8
        assert start[0] != expected[0]  # it began from the file's weights


def _refuse(path, folder):
    with pytest.raises(UserError) as caught:
        make_runner(path, folder, **SETTINGS, **SHARDED)
    return caught.value.key, caught.value.value


def test_a_network_without_blocks_is_refused(two_ranks, tiny_config, tmp_path):
    found = two_ranks(_refuse, tiny_config('resnet'), tmp_path)
    assert found == [('model_wrapper_cfg.blocks', BLOCKS)] * 2


def test_one_process_needs_no_shares(tiny_config, tmp_path):
    options = dict(SETTINGS, launcher='none', **SHARDED)
    assert len(losses(make_runner(tiny_config(), tmp_path, **options))) == 16
