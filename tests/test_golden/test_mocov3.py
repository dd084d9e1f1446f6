"""The recorded MoCo v3 step replays with the engine's own parts, and a changed record does not."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from ..helpers.replaying import counts, failures, replay
from ..replay import command
from ..replay.reduced import PREFIX


@pytest.fixture(scope='module')
def case(golden):
    return golden('mocov3_vit_a')


@pytest.fixture(scope='module')
def done(case):
    return replay(case.folder)


def test_every_tensor_agrees(done):
    assert failures(done) == []
    assert done.ok
    assert max(group.worst for group in done.groups.values()) < 1e-11


def test_nothing_is_left_out(done, case):
    assert counts(done) == {
        'schedule': 4,
        'loss': 1,
        'parts of the loss': 2,
        'features': 14,
        'gradients': 38,
        'state after the step': 101,
    }
    norm = 'after.module.base_encoder.norm.bias'
    assert done.skipped == [f'{norm}: its gradient is zero, the optimizer moves rounding']
    assert case.expect['grad.module.base_encoder.norm.bias'].abs().max() < 1e-12
    # `used` of the case adds two values of the schedule to the expectations
    assert sum(counts(done).values()) == len(case.expect) + 2 - 1


CHANGED = {
    'loss': ('loss', 'loss'),
    'loss.q0_k1': ('parts of the loss', 'loss.q0_k1'),
    'sched.moco_m': ('schedule', 'sched.moco_m'),
    'feat.momentum.view_1': ('features', 'feat.momentum.view_1'),
    'logits.q0_k1': ('features', 'logits.q0_k1'),
    'eval.backbone.view_0': ('features', 'eval.backbone.view_0'),
    'grad.module.predictor.0.weight': ('gradients', 'grad.module.predictor.0.weight'),
    'after.module.momentum_encoder.cls_token': (
        'state after the step',
        'after.module.momentum_encoder.cls_token',
    ),
    'after.module.base_encoder.head.4.running_var': (
        'state after the step',
        'after.module.base_encoder.head.4.running_var',
    ),
    'after.module.base_encoder.blocks.1.mlp.fc1.weight': (
        'state after the step',
        'after.module.base_encoder.blocks.1.mlp.fc1.weight',
    ),
}


def tampered(case, folder, change):
    """Copy the case with changed expectations."""
    for file in case.folder.iterdir():
        shutil.copy(file, folder)
    expect = load_file(folder / 'expect.safetensors')
    change(expect)
    save_file(expect, folder / 'expect.safetensors')
    return folder


def test_one_changed_element_is_found(case, tmp_path):
    """One element of each tensor moves by 1e-7 of the largest: exactly these tensors fail."""

    def change(expect):
        for name in CHANGED:
            stored = PREFIX + name if PREFIX + name in expect else name
            value = expect[stored].clone().double()
            largest = value[0] if stored != name else value.abs().max()
            value.view(-1)[value.numel() // 2] += 1e-7 * max(float(largest), 1e-12)
            expect[stored] = value

    broken = replay(tampered(case, tmp_path, change))
    assert not broken.ok
    found = {
        name: {line.rsplit(':', 1)[0] for line in group.failures}
        for name, group in broken.groups.items()
    }
    for group, names in found.items():
        assert names == {name for place, name in CHANGED.values() if place == group}, group


def test_what_has_no_counterpart_fails(case, tmp_path):
    def change(expect):
        expect['after.module.base_encoder.stranger'] = torch.ones(2)
        expect['grad.module.stranger'] = torch.ones(2)
        expect['feat.stranger'] = torch.ones(2)
        expect['after.module.base_encoder.head.4.running_var'] = torch.zeros(3)

    broken = replay(tampered(case, tmp_path, change))
    text = '\n'.join(failures(broken))
    assert text.count('stranger') == 3
    assert 'base_encoder.head.4.running_var: inf' in text
    assert len(failures(broken)) == 4


def test_the_command_says_ok_or_failed(case, tmp_path, capsys):
    assert command.main([str(case.folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == 'OK'
    assert any(line.startswith('gradients') and ' 38 tensors' in line for line in lines)
    assert command.main([str(case.folder), '--tol', '1e-18']) == 1
    assert capsys.readouterr().out.splitlines()[-1] == 'FAILED'
    assert command.main([str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('error: ')
    assert lines[-1] == 'FAILED'
