"""tools/dist_train.sh on a transfer config: two processes train one model."""

import pytest
import torch
from torch.testing import assert_close

from mmssl.checkpoint import read

from ..helpers.command import call, free_port, start
from ..helpers.transfer_nets import SMALL, VIT

pytestmark = [pytest.mark.transfer, pytest.mark.slow]
# nothing that depends on who sees which image: no batch norm, dropout or flips
CONFIG = f"""
_base_ = {str(SMALL / 'fpn_vit-conv_300i_shapes.py')!r}
model = dict(
    backbone=dict(_delete_=True, type='mmssl.VisionTransformer', **{VIT!r}),
    neck=dict(in_channels=24),
    decode_head=dict(
        dropout_ratio=0.0, norm_cfg=dict(_delete_=True, type='GN', num_groups=8)))
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
                           dict(type='PackSegInputs')]))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='SGD', lr=0.01))
param_scheduler = None
train_cfg = dict(max_iters=2, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2))
"""
BOTH = """
_base_ = './one.py'
custom_imports = dict(imports=['mmssl.transfer', 'keep_ranks'])
custom_hooks = [dict(type='KeepRanks')]
train_dataloader = dict(batch_size=1)
"""
HOOK = """
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class KeepRanks(Hook):
    def after_train(self, runner):
        state = runner.model.module.state_dict()
        torch.save({'state_dict': state}, f'{runner.work_dir}/rank{runner.rank}.pth')
"""


def test_two_processes_train_as_one(pretrained, scenes, tmp_path, capsys):
    for name, text in {'one.py': CONFIG, 'both.py': BOTH, 'keep_ranks.py': HOOK}.items():
        (tmp_path / name).write_text(text)
    file = pretrained('vit')
    options = ('--no-validate', '--cfg-options', f'pretrained={file}', f'data_root={scenes}')
    done = call(capsys, tmp_path / 'one.py', '--work-dir', tmp_path / 'one', *options)
    assert done.code == 0, done.err
    words = (tmp_path / 'both.py', 2, '--work-dir', tmp_path / 'two', *options)
    done = start(*words, cwd=tmp_path, script='tools/dist_train.sh', PORT=free_port())
    assert done.code == 0, done.err
    first, second = (read(tmp_path / 'two' / f'rank{i}.pth')['state_dict'] for i in range(2))
    alone = read(tmp_path / 'one' / 'iter_2.pth')['state_dict']
    before = read(file)['state_dict']
    assert first.keys() == second.keys() == alone.keys() > before.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
        assert_close(value, alone[name], rtol=1e-5, atol=1e-6, msg=name)
    stayed = {name for name in before if torch.equal(before[name], first[name])}
    assert stayed == {'backbone.net.norm.weight', 'backbone.net.norm.bias'}  # maps do not use it
