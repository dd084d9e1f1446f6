"""The checks of `make gpu` themselves, as small as they can be, on the CPU."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mmssl.config.load import load_config
from mmssl.core import dist
from mmssl.gpu_check import compiling, golden_steps, learning, methods, profiling, speed
from mmssl.gpu_check.parts import Parts, near
from mmssl.gpu_check.processes import NotAlone
from mmssl.gpu_check.recipes import METHODS, ONE_GPU, SMALL, small_config, write_shapes
from mmssl.gpu_check.timing import union

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    return write_shapes(tmp_path_factory.mktemp('shapes'))


@pytest.fixture
def parts(tmp_path):
    return Parts(tmp_path / 'parts.json', 60.0, 'cpu', tmp_path)


def stored(parts):
    return json.loads(parts.file.read_text())['parts']


# parts --------------------------------------------------------------------------------------------
def test_a_part_that_raises_fails_alone_and_is_written(parts):
    with parts.part('first') as values:
        values['loss'] = torch.tensor(2.0).item()
        raise ValueError('off')
    assert [p['ok'] for p in stored(parts)] == [False]
    with parts.part('second') as values:
        values['loss'] = float('inf')  # which JSON has no word for
    first, second = stored(parts)
    assert (first['error'], first['loss']) == ('ValueError: off', 2.0)
    assert "raise ValueError('off')" in first['trace']
    assert (second['ok'], second['loss']) == (True, 'inf')


def test_parts_for_which_no_time_is_left_are_noted(parts, monkeypatch):
    times = iter([10.0, 10.0, 2.0, 2.0])
    monkeypatch.setattr(Parts, 'left', property(lambda _: next(times)))
    clock = iter([0.0, 3.0, 3.0, 6.0])  # each takes three seconds
    monkeypatch.setattr('mmssl.gpu_check.parts.time.monotonic', lambda: next(clock))
    assert list(parts.each('abcd')) == ['a', 'b']
    assert [(p['name'], p['ok']) for p in stored(parts)] == [('c', None), ('d', None)]


def test_relative_difference():
    assert near(101.0, 100.0, 0.02, 'loss') == pytest.approx(0.01)
    with pytest.raises(AssertionError, match=r'loss: 103 for 100, 3\.0e-02 off'):
        near(103.0, 100.0, 0.02, 'loss')
    with pytest.raises(AssertionError):
        near(float('nan'), 100.0, 0.02, 'loss')


# checks -------------------------------------------------------------------------------------------
def test_there_are_recipes_of_every_method():
    kinds = dict(
        mocov1='MoCo', mocov2='MoCo', mocov3='MoCoV3', moby='MoBY', swav='SwAV',
        dino='DINO', esvit='EsViT', ibot='iBOT', sere='SERE',
    )  # fmt: skip
    for recipes in (SMALL, ONE_GPU):
        assert {m: load_config(file).model.type for m, file in recipes.items()} == kinds
    assert set(METHODS) == set(kinds)


def test_a_method_is_stopped_resumed_and_compared(shapes, tmp_path, monkeypatch):
    options = methods.FORMATS['float16']  # of the CPU: device colours, with_cp
    found = methods.stop_and_resume('mocov3', shapes, tmp_path / 'good', options, 'cpu')
    assert 0 < found['last_loss'] < 10
    original = methods.train

    def other_losses(runner, *stop):
        return [loss + 1e-3 * bool(runner._resume) for loss in original(runner, *stop)]

    monkeypatch.setattr(methods, 'train', other_losses)
    with pytest.raises(AssertionError, match='loss of step 6, resumed and not'):
        methods.stop_and_resume('mocov3', shapes, tmp_path / 'bad', options, 'cpu')


def test_gradients_are_compared_with_those_of_the_cpu(shapes, monkeypatch):
    assert methods.difference_from_cpu('moby', shapes, 'cpu') == 0
    original, calls = methods._gradients, []

    def disturbed(model, batch):
        calls.append(original(model, batch))
        return {name: g * (1 + 1e-7 * (len(calls) - 1)) for name, g in calls[-1].items()}

    monkeypatch.setattr(methods, '_gradients', disturbed)
    with pytest.raises(AssertionError, match=r'1\.0e-07 off'):
        methods.difference_from_cpu('moby', shapes, 'cpu')


def test_a_number_of_processes_that_denies_being_one():
    number = NotAlone(1)
    assert (number == 1, number != 1, number > 1) == (False, True, True)
    assert (list(range(number)), 2 * number, NotAlone(2) == 2) == ([0], 2, True)


def test_with_it_no_collective_returns_early(monkeypatch):
    """Without a process group each then fails, where it would else be the identity."""
    calls = (dist.gather, dist.gather_uneven, dist.sum_over_ranks, dist.largest_over_ranks,
             dist.from_rank_zero, dist.object_from_rank_zero, dist.gather_objects)  # fmt: skip
    x = torch.ones(2)
    assert all(torch.equal(torch.as_tensor(call(x)), x) for call in calls[:-2])
    monkeypatch.setattr(dist, 'world_size', lambda: NotAlone(1))
    for call in calls:
        with pytest.raises((ValueError, RuntimeError), match='process group'):
            call(x)


def test_golden_cases_become_parts(parts, monkeypatch):
    folder = golden_steps.root() / 'tests' / 'golden'
    steps, others = golden_steps.cases()
    assert len(steps) == 10 and len(others) == 5
    cases = ([str(folder / 'mocov3_vit_a'), str(folder / 'sere_mask_a')], [])
    monkeypatch.setattr(golden_steps, 'cases', lambda: cases)
    golden_steps.check(parts)
    good, bad = stored(parts)
    assert (good['name'], good['ok']) == ('mocov3_vit_a float64', True)
    assert good['gradients:'] < 1e-9
    assert (bad['name'], bad['ok']) == ('sere_mask_a float64', False)
    assert 'not a recorded step' in bad['error']


def test_golden_cases_without_time_are_noted(parts, monkeypatch):
    folder = golden_steps.root() / 'tests' / 'golden'
    monkeypatch.setattr(golden_steps, 'cases', lambda: ([str(folder / 'mocov3_vit_a')], []))
    parts.ends = 0.0
    golden_steps.check(parts)
    assert [(p['name'], p['ok']) for p in stored(parts)] == [('1 more in float64', None)]


def test_compiled_loss_is_compared_with_eager(shapes):
    cfg = small_config('mocov3', shapes)
    found = compiling.compare(cfg, 'cpu', 4, {'backend': 'eager'})
    assert found['loss_off'] < 1e-5
    # a monitor runs the network as it is
    assert 1 <= found['graphs'] == found['graphs_with_monitor']


def test_time_memory_and_hooks_of_a_step(shapes, tmp_path):
    found = speed.step_of(small_config('swav', shapes), 'cpu', 4)
    assert found['batch'] == 4
    seconds = found['update_ms'] / 1e3
    assert found['images_a_second'] == pytest.approx(4 / seconds)
    hooks = speed.hook_cost('mocov3', tmp_path, 'cpu')
    assert hooks['hooks_ms'] == pytest.approx(hooks['runner_ms'] - hooks['bare_ms'])
    peak, operations = speed.prediction(SMALL['mocov3'], 64)
    assert 0 < peak < 1 and 0 < operations < 1e-2


def test_plan_beside_what_was_measured(parts):
    plan = SimpleNamespace(result=lambda _: (2.0, 0.5))
    measured = dict(images_a_second=10.0, peak_gib=3.0)
    speed.compare_with_plan(parts, 'swav', measured, plan, 20.0)
    (found,) = stored(parts)
    assert found['share_of_products'] == 0.25 and found['measured_over_predicted'] == 1.5


def test_summary_of_a_profile():
    def event(name, begin, end, kind='CUDA'):
        return SimpleNamespace(
            name=name,
            device_type=SimpleNamespace(name=kind),
            time_range=SimpleNamespace(start=begin, end=end),
        )

    events = [
        event('step', 0, 1000, 'CPU'),
        event('cudaLaunchKernel', 10, 20, 'CPU'),
        event('cudaLaunchKernelExC', 30, 40, 'CPU'),
        event('gemm', 100, 300),
        event('norm', 200, 400),  # at the same time on another stream
        event('Memcpy HtoD (Pageable -> Device)', 600, 700),
    ]
    found = profiling.summary(events, 2)
    assert found['busy_share'] == pytest.approx(0.4)
    assert (found['launches'], found['pageable_copies'], found['step_ms']) == (1, 0.5, 0.5)
    assert union([(0, 2), (1, 3), (5, 6)]) == 4 and union([]) == 0


def test_waits_are_counted_by_place():
    import warnings

    with profiling.waits() as found:
        warnings.warn('called a synchronizing CUDA operation', stacklevel=1)  # of no package
        warnings.warn('something else', stacklevel=1)
        _warn_as_if_in('/x/mmssl/core/host_values.py', 'read_together')
        _warn_as_if_in('/x/mmssl/gpu_check/recipes.py', 'note')  # float() of the check's own
    assert found == {'core/host_values.py read_together': 1}
    assert set(found) <= set(profiling.ALLOWED)


def _warn_as_if_in(file, name):
    code = (
        f'def {name}():\n import warnings; warnings.warn("called a synchronizing CUDA operation")\n'
    )
    space = {}
    exec(compile(code, file, 'exec'), space)
    space[name]()


def test_places_where_waits_are_allowed_exist():
    import mmengine

    import mmssl

    homes = [Path(package.__file__).parent for package in (mmssl, mmengine)]
    for place in profiling.ALLOWED:
        file, function = place.split()
        texts = [(home / file).read_text() for home in homes if (home / file).is_file()]
        assert any(f'def {function}(' in text for text in texts), place


def test_a_training_is_timed_and_measured_before_and_after(shapes, tmp_path):
    cfg = small_config('mocov3', shapes, train_cfg__val_at_start=True)
    images, rate = learning.time_steps(cfg, tmp_path / 'pilot')
    assert images == 32 and rate > 0
    cfg.train_cfg.val_at_start = True
    before, after = learning.knn_of(cfg, tmp_path / 'run')
    assert 0 <= before <= 100 and 0 <= after <= 100


def test_images_of_the_users_choose_the_recipe(parts, tmp_path):
    (tmp_path / 'train').mkdir()
    (tmp_path / 'test').mkdir()
    parts.data = tmp_path
    config, options = learning.choose(parts)
    assert 'cifar10' in str(config)
    cfg = learning.settings(config, options, 30)
    assert cfg.val_dataloader.dataset.split == 'test'
    assert cfg.optim_wrapper.amp == 'bfloat16' and cfg.param_scheduler[0].warmup == 3
    assert cfg.train_dataloader.dataset.pipeline[1].pixels == 'device'
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval) == (30, 30)
