"""Record a run and replay it: the same numbers here, and the first step that departs elsewhere."""

import copy

import pytest
import torch

from mmssl.cli import replay as command
from mmssl.replay import StepRecorder, read_record, replay
from mmssl.replay.compare import compare
from mmssl.replay.record_file import rows_of
from mmssl.replay.trace import ELEMENTS, Step, elements, fingerprint, flattened

from ..helpers.refusals import refuses
from ..helpers.tiny import losses, make_runner

pytestmark = pytest.mark.slow

QUIET = dict(val_cfg=None)
DOUBLE = dict(QUIET, dtype='float64')


def record(config, folder, steps=3, **options):
    """Record a run of the tiny config; return the file and the run's losses."""
    runner = make_runner(config, folder / 'run', **options)
    runner.register_hook(StepRecorder(folder / 'run.pth', steps))
    return folder / 'run.pth', losses(runner)


@pytest.fixture(scope='module')
def recorded(tiny_config, tmp_path_factory):
    """A run in float64 with random depth and its record, from the sixth step on."""
    folder = tmp_path_factory.mktemp('recorded')
    options = dict(DOUBLE, model__backbone__drop_path_rate=0.3)
    whole = losses(make_runner(tiny_config(), folder / 'whole', **options))
    start = dict(options, resume=True, load_from=str(folder / 'whole' / 'epoch_1.pth'))
    file, rest = record(tiny_config(), folder, 5, **start)
    return file, whole, rest


def test_a_record_holds_the_run(recorded):
    file, whole, rest = recorded
    found = read_record(file)
    assert (found.first, found.images, found.per_epoch) == (4, 6, 4)
    assert [step.values['loss'] for step in found.trace] == whole[4:9] == rest[:5]
    assert [len(batch['inputs']) for batch in found.batches] == [2] * 5
    assert found.batches[0]['inputs'][0].shape == (6, 3, 16, 16)
    kinds = {'loss', 'lr', 'weight_decay', 'smallest_weight_decay', 'momentum', 'grad_norm'}
    assert set(found.trace[0].values) == kinds
    assert torch.load(file, weights_only=True)['format'] == 'mmssl-record-1'


def test_a_replay_is_the_run(recorded, capsys):
    done = replay(recorded[0])
    assert done.departure == []
    assert len(done.largest) == 5
    assert {kind: row.error for step in done.largest for kind, row in step.items()} == dict(
        value=0.0, gradient=0.0, state=0.0
    )
    command.main([str(recorded[0]), '--steps', '2'])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == 'all 2 steps agree within 1e-09'


@pytest.mark.parametrize(
    ('option', 'value', 'kinds', 'name'),
    [
        ('model.head.temperature', 0.2 * (1 + 1e-6), ['value', 'gradient', 'state'], 'loss'),
        ('optim_wrapper.optimizer.eps', 1e-7, ['state'], None),
        ('optim_wrapper.optimizer.weight_decay', 0.06, ['value', 'state'], 'weight_decay'),
    ],
)
def test_the_first_departure_is_named(recorded, option, value, kinds, name):
    done = replay(recorded[0], options={option: value})
    assert [found.kind for found in done.departure] == kinds
    assert {found.step for found in done.departure} == {1}
    if name:
        assert done.departure[0].name == name


def test_a_departure_has_status_one(recorded, capsys):
    with pytest.raises(SystemExit) as caught:
        command.main([str(recorded[0]), '--cfg-options', 'model.momentum.start=0.95'])
    assert caught.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    at = lines.index('the first step that departs by more than 1e-09:')
    assert all(line.startswith('  step 1, ') for line in lines[at + 1 :])


def test_float32_and_float64_agree_as_far_as_float32_goes(tiny_config, tmp_path):
    file, _ = record(tiny_config(), tmp_path, **QUIET)
    same = replay(file)
    assert same.departure == []
    assert same.limit == 1e-3
    finer = replay(file, options={'dtype': 'float64'})
    largest = {kind: row.error for kind, row in finer.largest[0].items()}
    assert all(1e-9 < error < 1e-3 for error in largest.values())


# two processes ------------------------------------------------------------------------------------
def _record(config, folder):
    settings = dict(DOUBLE, launcher='pytorch', sync_bn='torch', train_dataloader__batch_size=3)
    return record(config, folder, 2, **settings)[1]


def _replay(file):
    return replay(file, launcher='pytorch').departure


def test_two_processes_are_replayed_by_two_and_by_one(two_ranks, tiny_config, tmp_path):
    answers = two_ranks(_record, tiny_config(), tmp_path)
    found = read_record(tmp_path / 'run.pth')
    assert found.images == 6
    means = [(a + b) / 2 for a, b in zip(answers[0], answers[1], strict=True)]
    assert [step.values['loss'] for step in found.trace] == pytest.approx(means[:2], rel=1e-12)
    assert two_ranks(_replay, tmp_path / 'run.pth') == [[], []]
    assert replay(tmp_path / 'run.pth').departure == []


def test_rows_go_to_their_processes():
    """Rank by rank (0, 2, 4 of one and 1, 3, 5 of the other) become 0 to 5."""
    ranks = torch.tensor([0, 2, 4, 1, 3, 5])
    made = rows_of(dict(inputs=[ranks], data_samples=dict(index=ranks)), 2)
    assert made['inputs'][0].tolist() == made['data_samples']['index'].tolist() == list(range(6))


# what is compared ---------------------------------------------------------------------------------
def test_numbers_that_stand_for_a_tensor():
    x = torch.arange(12, dtype=torch.float32).view(3, 4)
    flat = flattened(x)
    assert torch.equal(flat, x.flatten().double())
    norm, product = fingerprint('a', flat)
    assert float(norm) == pytest.approx(506**0.5, rel=1e-12)
    assert float(product) == int(product)
    assert (int(product) - 66) % 2 == 0
    assert not torch.equal(fingerprint('a', flat), fingerprint('b', flat))
    assert torch.equal(elements('a', flat), x.flatten().double())
    large = torch.arange(1000.0)
    kept = elements('student.w', large)
    assert len(kept) == len(set(kept.tolist())) == ELEMENTS
    assert torch.equal(kept, elements('teacher.w', large))


def step(loss=1.0, slope=(2.0, 2.0, 1e-12), weight=(1.0, 2.0, 3.0)):
    """A step of one tensor of three elements, the last of whose gradients is rounding."""
    slopes = torch.tensor([max(slope), *slope], dtype=torch.float64)
    return Step(
        {'loss': loss},
        {'student.w': torch.tensor([8**0.5, 4.0], dtype=torch.float64)},
        {'student.w': slopes},
        {'student.w': torch.tensor(weight, dtype=torch.float64)},
    )


@pytest.mark.parametrize(
    ('changed', 'departs'),
    [
        (dict(), []),
        (dict(loss=1 + 2e-9), ['value']),
        (dict(loss=float('nan')), ['value']),
        (dict(weight=(1.0, 2.0, 9.0)), []),  # moved by rounding
        (dict(weight=(1.0, 2.0 + 1e-8, 3.0)), ['state']),
    ],
)
def test_what_departs(changed, departs):
    done = compare([step()], [step(**changed)], 'float64')
    assert [found.kind for found in done.departure] == departs


def test_an_element_stays_out_after_one_step_of_rounding():
    recorded = [step(), step(slope=(2.0, 2.0, 2.0))]
    replayed = copy.deepcopy(recorded)
    replayed[1].state['student.w'][2] += 1
    assert compare(recorded, replayed, 'float64').departure == []
    replayed[1].state['student.w'][1] += 1
    (found,) = compare(recorded, replayed, 'float64').departure
    assert (found.step, found.kind, found.recorded, found.replayed) == (2, 'state', 2.0, 3.0)


# refusals -----------------------------------------------------------------------------------------
def test_a_file_of_weights_is_no_record(tmp_path):
    torch.save({'state_dict': {'a': torch.ones(1)}}, tmp_path / 'a.pth')
    with refuses('file', str(tmp_path / 'a.pth')):
        read_record(tmp_path / 'a.pth')


def test_an_existing_file_is_not_overwritten(tmp_path):
    (tmp_path / 'a.pth').touch()
    with refuses('--record', str(tmp_path / 'a.pth')):
        StepRecorder(tmp_path / 'a.pth')


@pytest.mark.parametrize('kind', ['os.system', 'subprocess.Popen', 'torch.nn.Linear', 'NoSuch'])
@pytest.mark.parametrize('place', ['model', 'optim_wrapper', 'param_scheduler'])
def test_settings_of_a_file_name_no_foreign_code(recorded, tmp_path, place, kind):
    found = read_record(recorded[0])
    settings = found.start['meta']['settings']
    inner = dict(type=kind, command='touch x')
    settings[place] = [inner] if place == 'param_scheduler' else dict(settings[place], head=inner)
    found.start.pop('content_hash', None)
    found.write(tmp_path / 'bad.pth')
    with refuses('type', kind):
        replay(tmp_path / 'bad.pth')


@pytest.mark.parametrize('damage', ['trace', 'batches', 'short'])
def test_a_record_that_is_not_whole(recorded, tmp_path, damage):
    found = read_record(recorded[0])
    if damage == 'trace':
        found.trace.pop()
    elif damage == 'batches':
        found.batches[0] = dict(found.batches[0], inputs=[])
    else:
        found.batches[0]['inputs'] = [view[:3] for view in found.batches[0]['inputs']]
    found.write(tmp_path / 'bad.pth')
    with refuses('file', str(tmp_path / 'bad.pth')):
        read_record(tmp_path / 'bad.pth')


def test_transfer_takes_no_record(tmp_path):
    from mmssl.cli.train import parse
    from mmssl.cli.transfer import prepare_config

    args = parse(['x.py', '--record', str(tmp_path / 'a.pth')])
    with refuses('--record', str(tmp_path / 'a.pth')):
        prepare_config(args, ())
