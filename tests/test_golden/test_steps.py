"""Every recorded training step, replayed through layout, registries and engine."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ..helpers.paths import GOLDEN, HERE, REPO
from ..helpers.replaying import counts, failures, replay
from ..replay import command
from ..replay.reduced import PREFIX

GROUPS = (
    'schedule',
    'loss',
    'parts of the loss',
    'features',
    'gradients',
    'state after the step',
)
# number of compared tensors per group
STEPS = {
    'dino_r50_a': (4, 1, 2, 4, 124, 299),
    'dino_vit_a': (4, 1, 2, 25, 76, 153),
    'esvit_cvt_vr_a': (4, 1, 4, 14, 38, 52),
    'esvit_swin_vr_a': (4, 1, 4, 14, 56, 62),
    'moby_swin_a': (6, 1, 2, 12, 135, 256),
    'mocov2_r50_a': (3, 1, 0, 6, 55, 214),
    'mocov3_vit_a': (4, 1, 2, 14, 38, 101),
    'sere_vit_a': (5, 1, 5, 36, 49, 163),
    'sere_vit_local_a': (5, 1, 5, 21, 47, 151),
    'swav_r50_a': (2, 1, 8, 10, 104, 111),
}
ROUNDING = 'its gradient is zero, the optimizer moves rounding'
SKIPPED = {
    'dino_r50_a': [
        f'after.{branch}.module.head.mlp.{i}.bias: {ROUNDING}'
        for branch in ('student', 'teacher')
        for i in (0, 3)
    ],
    'dino_vit_a': [
        f'teacher.{image}.{tensor}: no probe for this inner tensor'
        for image in ('eval_image', 'eval_image_large', 'eval_image_wide')
        for tensor in ('last_attention', 'n1_avgpool_true')
    ],
    'mocov3_vit_a': [f'after.module.base_encoder.norm.bias: {ROUNDING}'],
    'swav_r50_a': [f'after.module.projection_head.0.bias: {ROUNDING}'],
}


@pytest.mark.parametrize('name', STEPS)
def test_step_replays(name: str) -> None:
    done = replay(GOLDEN / name)
    assert failures(done) == []
    assert done.ok
    # far below the limit of the recordings, so that a slow drift is seen too
    assert max(group.worst for group in done.groups.values()) < 2e-12
    assert counts(done) == {g: n for g, n in zip(GROUPS, STEPS[name], strict=True) if n}
    assert done.skipped == SKIPPED.get(name, [])


def test_every_recorded_step_is_here() -> None:
    kinds = {f.parent.name: json.loads(f.read_text())['kind'] for f in GOLDEN.glob('*/case.json')}
    assert {name for name, kind in kinds.items() if kind == 'step'} == set(STEPS)


def test_every_case_has_a_test_in_this_folder() -> None:
    files = [*(HERE / 'test_golden').glob('*.py'), HERE / 'replay' / 'whole.py']
    texts = ''.join(path.read_text() for path in files)
    assert [path.name for path in GOLDEN.iterdir() if f"'{path.name}'" not in texts] == []


# what must fail -----------------------------------------------------------------------------------
def copied(name: str, folder: Path) -> Path:
    """Copy a recorded case to a place where it may be edited."""
    to = folder / name
    shutil.copytree(GOLDEN / name, to)
    return to


def edit(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    """Change the expected tensors of a case."""
    path = folder / 'expect.safetensors'
    expect = load_file(path)
    change(expect)
    path.unlink()
    save_file(expect, path)
    return folder


@pytest.mark.parametrize(
    ('name', 'key', 'group'),
    [
        ('mocov2_r50_a', 'loss', 'loss'),
        ('mocov2_r50_a', 'proj.k', 'features'),
        ('mocov2_r50_a', 'after.module.queue', 'state after the step'),
        ('mocov2_r50_a', 'after.module.encoder_k.bn1.running_var', 'state after the step'),
        ('mocov3_vit_a', 'loss.q1_k0', 'parts of the loss'),
        ('mocov3_vit_a', 'sched.moco_m', 'schedule'),
        ('mocov3_vit_a', 'grad.module.predictor.0.weight', 'gradients'),
        ('moby_swin_a', 'gradnorm.encoder.layers.0.blocks.0.attn.proj.bias', 'gradients'),
        ('moby_swin_a', 'grad_total_norm', 'gradients'),
        ('moby_swin_a', 'afternorm.encoder_k.norm.weight', 'state after the step'),
        ('moby_swin_a', 'lr_after_step', 'schedule'),
        ('swav_r50_a', 'grad_after_larc.module.bn1.bias', 'gradients'),
        ('swav_r50_a', 'assign.crop_1', 'features'),
        ('esvit_swin_vr_a', 'loss.pair_region', 'parts of the loss'),
        ('esvit_swin_vr_a', 'grad_clipped.module.head.mlp.2.bias', 'gradients'),
        ('esvit_cvt_vr_a', 'after.dino_loss.center_grid', 'state after the step'),
        ('sere_vit_a', 'rel.student_spatial_sampled', 'features'),
        ('sere_vit_a', 'after.ibot_loss.center2', 'state after the step'),
        (
            'sere_vit_local_a',
            'after.optimizer.exp_avg_sq.module.backbone.blocks.0.attn.qkv.bias',
            'state after the step',
        ),
    ],
)
def test_one_changed_element_fails(name: str, key: str, group: str, tmp_path: Path) -> None:
    def change(expect: dict[str, torch.Tensor]) -> None:
        if PREFIX + key in expect:  # the largest element comes first
            expect[PREFIX + key][0] *= 1 + 1e-7
            return
        flat = expect[key].reshape(-1)
        flat[flat.abs().argmax()] *= 1 + 1e-7
        expect[key] = flat.view_as(expect[key])

    done = replay(edit(copied(name, tmp_path), change))
    assert not done.ok
    (line,) = done.groups[group].failures
    assert line.startswith(f'{key}: 1e-07')
    assert failures(done) == [line]


def test_tensor_of_another_shape_fails(tmp_path: Path) -> None:
    folder = edit(
        copied('mocov2_r50_a', tmp_path), lambda e: e.update({'proj.q': e['proj.q'][:2].clone()})
    )
    assert failures(replay(folder)) == ['proj.q: inf']


@pytest.mark.parametrize(
    'key', ['loss.unheard_of', 'feat.unheard_of', 'grad.module.no_such', 'after.module.no_such']
)
def test_mandatory_tensor_nobody_finds_fails(key: str, tmp_path: Path) -> None:
    folder = edit(copied('mocov2_r50_a', tmp_path), lambda e: e.update({key: torch.zeros(2)}))
    done = replay(folder)
    assert not done.ok
    assert failures(done) == [f'{key} (not found): inf']


def test_unknown_inner_tensor_is_named(tmp_path: Path) -> None:
    folder = edit(copied('mocov2_r50_a', tmp_path), lambda e: e.update(inner=torch.zeros(2)))
    done = replay(folder)
    assert done.ok
    assert done.skipped == ['inner: no probe for this inner tensor']


def test_wrong_schedule_value_fails(tmp_path: Path) -> None:
    folder = copied('esvit_swin_vr_a', tmp_path)
    path = folder / 'case.json'
    case = json.loads(path.read_text())
    case['replay']['used']['teacher_temp'] += 1e-6
    path.write_text(json.dumps(case))
    assert [line.split(':')[0] for line in failures(replay(folder))] == ['teacher_temp']


def test_listed_as_irreproducible_is_left_out(tmp_path: Path) -> None:
    folder = copied('mocov2_r50_a', tmp_path)
    path = folder / 'case.json'
    case = json.loads(path.read_text())
    case['replay']['irreproducible'] = ['module.queue']
    path.write_text(json.dumps(case))
    edit(folder, lambda e: e[f'{PREFIX}after.module.queue'].add_(1))
    done = replay(folder)
    assert done.ok
    assert done.skipped == ['after.module.queue: irreproducible, says the case']


# how tensors are compared -------------------------------------------------------------------------
def test_relative_error() -> None:
    relative, expected = command.relative, torch.tensor([2.0, -4.0], dtype=torch.float64)
    assert relative(expected + torch.tensor([0.0, 1e-6]), expected) == pytest.approx(2.5e-7)
    assert relative(torch.full((2,), 1e-20), torch.zeros(2)) == pytest.approx(1e-8)
    assert relative(torch.tensor([2.0, float('nan')]), expected) == float('inf')
    assert relative(expected[:1], expected) == float('inf')


@pytest.mark.parametrize(
    ('ours', 'expected', 'passes'),
    [
        (3e-16, -2e-16, True),  # rounding on both sides
        (9e-13, 0.0, True),
        (1.1e-12, 0.0, False),
        (2e-12, 2.1e-12, False),  # large enough to be compared relatively
        (float('nan'), 0.0, False),
    ],
)
def test_gradients_of_pure_rounding(ours: float, expected: float, passes: bool) -> None:
    group = command.Group('gradients')
    values = (torch.tensor([v], dtype=torch.float64) for v in (ours, expected))
    group.add('x', command.gradient_error(*values, 1e-9), 1e-9)
    assert (not group.failures) is passes


# other number formats -----------------------------------------------------------------------------
LOWER = ('float32', 'tf32', 'bfloat16')
LARGEST = 'grad.module.base_encoder.head.0.weight'  # of MoCo v3's gradients


@pytest.mark.parametrize('dtype', LOWER)
@pytest.mark.parametrize('name', ['mocov3_vit_a', 'sere_vit_a'])
def test_step_in_another_format_is_within_its_limit(name: str, dtype: str) -> None:
    done = replay(GOLDEN / name, None, dtype=dtype)
    assert failures(done) == []
    lower = done.groups['gradients']
    # single precision parts in every tensor, and half precision further from the recording
    assert lower.worst > {'float32': 1e-7, 'tf32': 1e-16, 'bfloat16': 1e-5}[dtype]
    assert lower.count == (1 if dtype != 'float32' else STEPS[name][GROUPS.index('gradients')])
    assert done.step.model.student.backbone.net.pos_embed.dtype is torch.float32


@pytest.mark.parametrize(
    ('dtype', 'key', 'change', 'group'),
    [
        ('float32', 'feat.base.view_0', lambda x: x * 1.002, 'features'),
        ('float32', 'grad.module.predictor.0.weight', lambda x: x * 1.03, 'gradients'),
        ('tf32', 'loss', lambda x: x * 1.03, 'loss'),
        ('bfloat16', 'loss', lambda x: x * 0.9, 'loss'),
        ('bfloat16', LARGEST, lambda x: -x, 'gradients'),
    ],
)
def test_what_is_beyond_the_limit_of_a_format_fails(dtype, key, change, group, tmp_path) -> None:
    folder = edit(copied('mocov3_vit_a', tmp_path), lambda e: e.update({key: change(e[key])}))
    done = replay(folder, None, dtype=dtype)
    (line,) = done.groups[group].failures
    assert failures(done) == [line]
    assert line.startswith(key if group != 'gradients' or dtype == 'float32' else '1 - cosine')


@pytest.mark.slow
@pytest.mark.parametrize('name', ['mocov3_vit_a', 'sere_vit_a', 'swav_r50_a'])
def test_step_on_another_device_mixes_none(name: str, tmp_path: Path) -> None:
    words = [sys.executable, '-W', 'ignore', '-m', 'tests.helpers.python_device']
    done = subprocess.run(
        [*words, str(GOLDEN / name)], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    model, left, count = done.stdout.splitlines()[-1].split()
    assert (model, left) == ('emu', 'cpu')  # whatever is compared with the recording
    assert int(count) > 30


def test_several_cases_and_formats_leave_their_outcome(tmp_path, capsys) -> None:
    bad = edit(copied('mocov3_vit_a', tmp_path), lambda e: e['loss'].mul_(2))
    out = tmp_path / 'out.json'
    words = [str(GOLDEN / 'moby_linear_a'), str(bad), '--dtype', 'float64', 'bfloat16']
    assert command.main([*words, '--out', str(out)]) == 1
    found = json.loads(out.read_text())
    assert [(f['case'], f['dtype'], len(f['failures'])) for f in found] == [
        ('moby_linear_a', 'float64', 0),
        ('mocov3_vit_a', 'float64', 1),
        ('moby_linear_a', 'bfloat16', 1),  # probes are not replayed in it
        ('mocov3_vit_a', 'bfloat16', 1),
    ]
    assert '--dtype bfloat16: only steps' in found[2]['failures'][0]
    assert found[1]['errors']['loss'] == pytest.approx(0.5)
    assert capsys.readouterr().out.count('FAILED') == 3


def test_a_device_that_is_not_there_is_said(monkeypatch, capsys) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert command.main([str(GOLDEN / 'mocov3_vit_a'), '--device', 'cuda']) == 1
    assert '--device cuda: no GPU is visible' in capsys.readouterr().out


# the command --------------------------------------------------------------------------------------
def test_tol_is_the_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = edit(copied('mocov2_r50_a', tmp_path), lambda e: e['loss'].mul_(1 + 1e-7))
    assert command.main([str(folder)]) == 1
    assert command.main([str(folder), '--tol', '1e-8']) == 1
    assert capsys.readouterr().out.rstrip().endswith('FAILED')
    assert command.main([str(folder), '--tol', '1.1e-7']) == 0
    assert capsys.readouterr().out.rstrip().endswith('OK')


def test_output_has_one_line_per_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(GOLDEN / 'swav_r50_a')]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if 'mmengine' not in line]
    found = [(g, n) for g, n in zip(GROUPS, STEPS['swav_r50_a'], strict=True) if n]
    for line, (group, count) in zip(lines, found, strict=False):
        assert line.startswith(group)
        assert f' {count} tensors, largest error ' in line
    assert lines[len(found) :] == [
        'skipped                   1 tensors',
        f'    {SKIPPED["swav_r50_a"][0]}',
        'OK',
    ]


def test_verbose_names_every_tensor(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(GOLDEN / 'mocov3_vit_a'), '--verbose']) == 0
    out = capsys.readouterr().out
    for name in load_file(GOLDEN / 'mocov3_vit_a' / 'expect.safetensors'):
        key = name.removeprefix(PREFIX)
        assert f' {key}\n' in out or f'    {key}: ' in out, key


def test_failing_line_names_tensor_and_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = edit(copied('mocov2_r50_a', tmp_path), lambda e: e['proj.q'].add_(1))
    assert command.main([str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith('    proj.q: ') for line in lines)


@pytest.mark.parametrize(
    ('name', 'kind'),
    [
        ('mocov3_lars_a', 'function'),
        ('esvit_cvt_a', 'forward'),
        ('sere_mask_a', 'statistics'),
        ('swav_schedules_a', 'schedule'),
    ],
)
def test_case_that_is_no_step(name: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(GOLDEN / name)]) == 1
    said, last = capsys.readouterr().out.splitlines()
    assert f'not a recorded step (kind: {kind})' in said and 'tests/test_golden compares' in said
    assert last == 'FAILED'


def test_folder_that_is_no_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert 'case.json' in out
    assert out.rstrip().endswith('FAILED')


def test_checkpoint_of_another_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied('mocov2_r50_a', tmp_path)
    shutil.copy(GOLDEN / 'swav_r50_a' / 'official.pth', folder / 'official.pth')
    assert command.main([str(folder)]) == 1
    assert "not a 'mocov2' file" in capsys.readouterr().out
