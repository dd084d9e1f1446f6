"""Every method continues bit-equal from the middle of an epoch, and on other process counts."""

from copy import deepcopy

import pytest
import torch
from mmengine.hooks import Hook
from torch.testing import assert_close

from mmssl.checkpoint import read
from mmssl.core import UserError
from mmssl.engine.state import work_dir_files
from mmssl.models.queue import FeatureBank
from mmssl.registry import DATA_SAMPLERS

from ..helpers.methods import LOCALS, MODELS_BY_NAME
from ..helpers.refusals import check_refusal, refuses
from ..helpers.tiny import log, losses, make_runner, precision
from ..helpers.training_state import everything, interrupt, smallest_file

pytestmark = pytest.mark.slow

METHODS = ['moco', 'mocov3', 'moby', 'swav', 'esvit', 'sere', 'ibot']


def options(name, **changes):
    """Settings of a run of ``name`` whose data, depth and memories could all be forgotten."""
    model = deepcopy(MODELS_BY_NAME[name])
    if model['backbone']['type'] in ('VisionTransformer', 'SwinTransformer'):
        model['backbone']['drop_path_rate'] = 0.3
    crop = dict(type='RandomView', scale=(0.3, 1.0), jitter=(0.4, 0.4, 0.2, 0.1), blur=0.5)
    views = [dict(crop, size=16, repeat=2)]
    if LOCALS.get(name):
        views.append(dict(crop, size=8, repeat=LOCALS[name]))
    multi = dict(type='MultiView', views=views)
    if name in ('sere', 'ibot'):
        multi['mask'] = dict(type='PatchMask', patch_size=4)
    return (
        dict(
            model=dict(model, _delete_=True),
            train_dataloader=dict(
                batch_size=6,
                num_workers=1,
                persistent_workers=True,
                dataset=dict(pipeline=[dict(type='LoadImage'), multi]),
            ),
            train_cfg__max_epochs=3,
            val_cfg=None,
            val_dataloader=None,
            val_evaluator=None,
            default_hooks__checkpoint__interval=9,
        )
        | changes
    )


@pytest.mark.parametrize('name', METHODS)
def test_every_method_resumes_bit_equal(tiny_config, tmp_path, name):
    whole = make_runner(tiny_config(), tmp_path / 'whole', **options(name))
    expected, final = losses(whole), everything(whole)
    first = make_runner(tiny_config(), tmp_path / 'cut', **options(name))
    seen = interrupt(first, 6)
    second = make_runner(tiny_config(), tmp_path / 'cut', **options(name), resume=True)
    torch.rand(3)
    assert seen + losses(second) == expected
    ours = everything(second)
    assert list(ours) == list(final)
    for key, value in final.items():
        assert torch.equal(ours[key], value), key


# other numbers of processes -----------------------------------------------------------------------
# no random depth, which each process draws for itself, and norms over the whole batch
SAME = dict(
    sync_bn='torch',
    optim_wrapper__optimizer=dict(type='SGD', lr=0.01, momentum=0.9),
    default_hooks__checkpoint__interval=1,
)


def same(name, batch, launcher):
    found = options(name, **SAME, launcher=launcher)
    found['model']['backbone'].pop('drop_path_rate', None)
    if name == 'moby':  # whole steps: else it is the order within a step that leaves first
        found['model']['queue_length'] = 12
    found['train_dataloader'].update(batch_size=batch, num_workers=0, persistent_workers=False)
    return found


def _run(path, folder, name, batch, resume):
    with precision(torch.float64):
        return losses(make_runner(path, folder, **same(name, batch, 'pytorch'), resume=resume))


@pytest.mark.parametrize('name', ['mocov3', 'moby', 'swav', 'esvit', 'sere', 'ibot'])
def test_another_number_of_processes_continues(two_ranks, tiny_config, tmp_path, name):
    """One process, then two from its first epoch on; and the other way round, to 1e-4."""
    with precision(torch.float64):
        alone = losses(make_runner(tiny_config(), tmp_path / 'a', **same(name, 6, 'none')))
    for epoch in (2, 3):
        (tmp_path / 'a' / f'epoch_{epoch}.pth').unlink()
    first, second = two_ranks(_run, tiny_config(), tmp_path / 'a', name, 6, True)
    means = [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    assert means == pytest.approx(alone[4:], rel=1e-4)
    assert '2 processes instead of 1: each takes 3 images instead of 6' in log(tmp_path / 'a')
    for epoch in (1, 3):
        (tmp_path / 'a' / f'epoch_{epoch}.pth').unlink()
    again = dict(same(name, 6, 'none'), resume=True)
    with precision(torch.float64):
        back = losses(make_runner(tiny_config(), tmp_path / 'a', **again))
    assert back == pytest.approx(alone[8:], rel=1e-4)


def test_a_batch_that_cannot_be_shared_is_refused(two_ranks, tiny_config, tmp_path):
    settings = same('mocov3', 3, 'none') | dict(train_cfg__max_epochs=1)
    make_runner(tiny_config(), tmp_path, **settings).train()
    assert two_ranks(_refuse, tiny_config(), tmp_path, 3) == [('batch', 3)] * 2


def test_one_image_for_each_batch_norm_is_refused(two_ranks, tiny_config, tmp_path):
    """Two images make statistics on one process, or on two that share them."""
    settings = same('mocov3', 2, 'none') | dict(train_cfg__max_epochs=1, sync_bn=None)
    make_runner(tiny_config(), tmp_path, **settings).train()
    assert two_ranks(_refuse, tiny_config(), tmp_path, 2, None) == [('batch', 2)] * 2
    with pytest.raises(AssertionError, match='DID NOT RAISE'):
        two_ranks(_refuse, tiny_config(), tmp_path, 2, 'torch')


def _refuse(path, folder, batch, sync_bn='torch'):
    settings = same('mocov3', batch, 'pytorch') | dict(sync_bn=sync_bn, train_cfg__max_epochs=1)
    runner = make_runner(path, folder, **settings, resume=True)
    with pytest.raises(UserError) as caught:
        runner.train()
    check_refusal(caught.value, 'batch', batch)
    return caught.value.key, caught.value.value


@pytest.mark.parametrize(('before', 'after'), [(1, 2), (2, 1), (2, 3), (3, 2)])
def test_a_memory_keeps_each_places_rows(before, after):
    """Row values tell step and place; each layout is built from the sampler's rule."""
    batch, steps, length = 6, 2, 14

    def layout(world):
        rows = torch.zeros(length)
        at = iter(range(length))
        for rank in range(world):
            for step in range(steps):
                for place in range(rank, batch, world):
                    rows[next(at)] = 100 * (step + 1) + place
        return rows[None, :, None].repeat(2, 1, 3)

    memory = FeatureBank(3, length)
    memory.bank.copy_(layout(before))
    memory.reorder(batch, before, after)
    assert_close(memory.bank, layout(after), rtol=0, atol=0)


# files --------------------------------------------------------------------------------------------
def test_a_changed_number_is_noticed(tmp_path):
    """Whole for every reader, but not what was written."""
    path = tmp_path / 'a.pth'
    whole = smallest_file() | dict(a=torch.ones(3), b=[1, {'c': 'x'}])
    work_dir_files.write(whole, path)
    for key, value in [('a', torch.tensor([1, 1, 1.0000001])), ('b', [1, {'c': 'y'}]), ('d', 0)]:
        content = read(path) | {key: value}
        torch.save(content, tmp_path / 'b.pth')
        with refuses('file', str(tmp_path / 'b.pth')):
            work_dir_files.open_training(tmp_path / 'b.pth')
    assert torch.equal(work_dir_files.open_training(path)['a'], torch.ones(3))


def test_halves_of_a_killed_run_are_swept(tiny_config, tmp_path):
    (tmp_path / '.epoch_1.pth.77').write_bytes(b'half')
    settings = same('mocov3', 6, 'none') | dict(train_cfg__max_epochs=1)
    make_runner(tiny_config(), tmp_path, **settings).train()
    assert [p.name for p in tmp_path.glob('.*')] == ['.lock']


def test_within_an_epoch_only_the_newest_file_stays(tiny_config, tmp_path):
    kept = []

    class Look(Hook):
        priority = 'LOWEST'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            kept.append(sorted(p.stem for p in tmp_path.glob('*.pth')))

    settings = same('mocov3', 6, 'none') | dict(
        default_hooks__checkpoint=dict(type='CheckpointHook', interval=1, iterations=3),
        train_cfg__max_epochs=2,
    )
    runner = make_runner(tiny_config(), tmp_path, **settings)
    runner.register_hook(Look())
    runner.train()
    assert kept == [
        [],
        [],
        ['iter_3'],
        ['iter_3'],
        ['epoch_1'],
        ['epoch_1', 'iter_6'],
        ['epoch_1', 'iter_6'],
        ['epoch_1', 'iter_6'],
    ]
    assert sorted(p.stem for p in tmp_path.glob('*.pth')) == ['epoch_1', 'epoch_2']


# samplers of others -------------------------------------------------------------------------------
def _indices(runner):
    seen = []
    runner.register_hook(Batches(seen))
    return seen


class Batches(Hook):
    def __init__(self, seen):
        self.seen = seen

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen += data_batch['data_samples']['index'].tolist()


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize(
    'sampler',
    [
        dict(type='DefaultSampler', shuffle=True),
        dict(type='DefaultSampler', shuffle=False),
        dict(type='InfiniteSampler', shuffle=True),
        dict(type='RepeatAugSampler', repeats=3),
    ],
    ids=lambda s: f'{s["type"]}-{s.get("shuffle", True)}',
)
def test_runs_with_other_samplers_resume_exactly(tiny_config, tmp_path, sampler, workers):
    """Within an epoch; batches of 5 leave images over that prefetching must not lose."""
    settings = same('mocov3', 5, 'none') | dict(
        train_dataloader__sampler=dict(sampler, _delete_=True),
        train_dataloader__num_workers=workers,
        train_dataloader__drop_last=True,
        train_cfg__max_epochs=3,
    )
    whole = make_runner(tiny_config(), tmp_path / 'whole', **deepcopy(settings))
    expected_indices = _indices(whole)
    expected = losses(whole)
    assert len(expected) == 12  # of 24 images 4 batches of 5
    first = make_runner(tiny_config(), tmp_path / 'cut', **deepcopy(settings))
    seen = interrupt(first, 6)
    again = dict(settings, resume=True, load_from=str(tmp_path / 'cut' / 'cut.pth'))
    second = make_runner(tiny_config(), tmp_path / 'cut', **again)
    indices = _indices(second)
    assert seen + losses(second) == expected
    assert indices == expected_indices[30:]
    epochs = [expected_indices[i : i + 20] for i in (0, 20, 40)]
    assert (epochs[0] == epochs[1]) == (not sampler.get('shuffle', True))
    assert 'will not meet the same images' not in log(tmp_path)


def test_an_unknown_sampler_is_said_not_to_resume_exactly(tiny_config, tmp_path):
    @DATA_SAMPLERS.register_module(force=True)
    class Backwards(torch.utils.data.Sampler):
        def __init__(self, dataset, seed=None):
            self.dataset = dataset

        def __iter__(self):
            return iter(range(len(self.dataset) - 1, -1, -1))

        def __len__(self):
            return len(self.dataset)

    settings = same('mocov3', 6, 'none') | dict(
        train_dataloader__sampler=dict(type='Backwards', _delete_=True), train_cfg__max_epochs=1
    )
    runner = make_runner(tiny_config(), tmp_path, **settings)
    indices = _indices(runner)
    runner.train()
    assert indices == list(range(23, -1, -1))
    told = [line for line in log(tmp_path).splitlines() if 'will not meet the same images' in line]
    assert len(told) == 1 and 'Backwards' in told[0]
