"""Interrupted runs of the official programs go on from their own training files."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mmssl.checkpoint import read
from mmssl.checkpoint.optimizer_state import RENAMED
from mmssl.core import UserError

from ..helpers.paths import GOLDEN
from ..helpers.refusals import check_refusal
from ..replay import run
from ..replay.names import OfficialNames
from ..replay.reduced import unpack

pytestmark = pytest.mark.slow

CASES = (
    *('dino_r50_traj_a', 'esvit_v_traj_a', 'ibot_vit_traj_a', 'moby_swin_traj_a'),
    *('mocov2_traj_a', 'mocov3_lars_traj_a', 'mocov3_vit_traj_a', 'sere_accumulate_traj_a'),
    'swav_traj_a',
)
NO_DEPTH = {'model.backbone.drop_path_rate': 0.0}  # its draws are in no official file
AT = 2  # epochs
SECTIONS = ('student', 'teacher', 'dino_loss', 'ibot_loss')


class Case:
    """A recorded case, unpacked, and what its run leaves."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = unpack(GOLDEN / name, folder / 'case')
        case = json.loads((self.folder / 'case.json').read_text())
        self.block = case['replay']
        self.parameters = [name for group in case['optimizer_param_names'] for name in group]
        self.views = folder / 'views.pth'
        self.scratch = folder
        run.write_views(self.block, self.folder, self.views)
        self.whole = self.train('whole')

    def train(self, where: str, resume: str = '', **options: Any) -> run.Outcome:
        still = NO_DEPTH if self.block['run']['drop_path'] else {}
        given = still | {key.replace('__', '.'): value for key, value in options.items()}
        return run.train(self.block, self.folder, self.views, self.scratch / where, given, resume)

    def official(self) -> dict[str, Any]:
        """Return the content of a file as the program would write it after `AT` epochs."""
        path = self.folder / 'official.pth'
        content = read(path)
        ours = read(self.scratch / 'whole' / f'epoch_{AT}.pth')
        state = ours['state_dict']
        name_of = OfficialNames(content, str(path), self.block['method'], state)
        for root in (*SECTIONS, 'state_dict', 'model'):
            for key, value in content.get(root, {}).items():
                name = name_of(f'{root}.{key}' if root in SECTIONS else key)
                content[root][key] = state.get(name, value)
        groups = ours['meta']['settings'] and ours['optimizer']['optimizer']
        names = [name for group in groups['param_groups'] for name in group['names']]
        stored = {name: groups['state'][i] for i, name in enumerate(names) if i in groups['state']}
        official = {ours: theirs for theirs, ours in RENAMED.items()}
        larc = self.block['optimizer']['type'] == 'LARS'
        content['optimizer']['state'] = {
            place: {
                official.get(key, key) if larc else key: value
                for key, value in stored[name_of(parameter)].items()
            }
            for place, parameter in enumerate(self.parameters)
            if name_of(parameter) in stored
        }
        content['epoch'] = AT - (self.block['method'] == 'moby')  # whose first epoch is 0
        content.pop('args', None)  # an object of Python
        return content

    def write(self, content: dict[str, Any], queue: bool = True) -> str:
        """Write a content, and SwAV's queue beside it."""
        path = self.scratch / 'official' / 'checkpoint.pth'
        path.parent.mkdir(exist_ok=True)
        torch.save(content, path)
        bank = read(self.scratch / 'whole' / f'epoch_{AT}.pth')['state_dict'].get(
            'head.memory.bank'
        )
        (path.parent / 'queue0.pth').unlink(missing_ok=True)
        if bank is not None and queue:
            torch.save({'queue': bank}, path.parent / 'queue0.pth')
        return str(path)


@pytest.fixture(scope='module')
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize('case', CASES, indirect=True)
def test_the_run_goes_on_as_if_it_had_not_stopped(case: Case) -> None:
    rest = case.train('rest', case.write(case.official()))
    steps = AT * case.block['run']['steps_per_epoch']
    for expected, found in zip(case.whole.trace[steps:], rest.trace, strict=True):
        assert found.values == pytest.approx(expected.values, rel=1e-11)
    assert rest.final.keys() == case.whole.final.keys()
    for name, expected_tensor in case.whole.final.items():
        expected64 = expected_tensor.double()
        error = float((rest.final[name].double() - expected64).abs().max())
        # biases before a batch norm move by rounding
        assert error <= 1e-9 * max(float(expected64.abs().max()), 1), name


@pytest.mark.parametrize('case', ['swav_traj_a'], indirect=True)
def test_without_its_queue_swav_starts_with_an_empty_one(case: Case) -> None:
    rest = case.train('empty', case.write(case.official(), queue=False))
    steps = AT * case.block['run']['steps_per_epoch']
    losses = [step.values['loss'] for step in rest.trace]
    expected = [step.values['loss'] for step in case.whole.trace[steps:]]
    assert losses[0] != pytest.approx(expected[0], rel=1e-6)


@pytest.mark.parametrize('case', ['dino_r50_traj_a'], indirect=True)
@pytest.mark.parametrize(
    ('damage', 'key'),
    [
        ('no optimizer', 'file'),
        ('no epoch', 'file'),
        ('no teacher', 'file'),
        ('finished', 'file'),
        ('other optimizer', 'optimizer'),
        ('schedule', 'resume'),
        ('epoch below zero', 'file'),
    ],
)
def test_what_cannot_go_on(case: Case, damage: str, key: str) -> None:
    content = case.official()
    options: dict[str, Any] = {}
    if damage == 'no optimizer':
        del content['optimizer']
    elif damage == 'no epoch':
        del content['epoch']
    elif damage == 'no teacher':
        del content['dino_loss']
    elif damage == 'finished':
        content['epoch'] = case.block['run']['epochs']
    elif damage == 'other optimizer':
        content['optimizer']['param_groups'][0]['params'].pop()
    elif damage == 'epoch below zero':
        content['epoch'] = -2
    else:
        options['param_scheduler'] = [dict(type='StepLR', step_size=2)]
    with pytest.raises(UserError) as caught:
        case.train('refused', case.write(content), **options)
    check_refusal(caught.value, key, caught.value.value)


@pytest.mark.parametrize('case', ['dino_r50_traj_a'], indirect=True)
def test_state_that_the_optimizer_does_not_keep(case: Case) -> None:
    """Momentum under another name would be left out, and the run begin with none."""
    content = case.official()
    entries = content['optimizer']['state'][0]
    entries['velocity'] = entries.pop('momentum_buffer')
    with pytest.raises(UserError) as caught:
        case.train('refused', case.write(content))
    check_refusal(caught.value, 'student.backbone.net.conv1.weight.momentum_buffer', None)
