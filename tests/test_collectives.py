"""Host values on two processes whose group refuses them, as NCCL does; and whole runs.

Every call site of a collective is in a table here or in `helpers.emulated`, and is called alone.
"""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dist import dist as mmengine_dist
from torch import Tensor
from torch.distributed import distributed_c10d

from mmssl.checkpoint import read
from mmssl.core import UserError, cores, dist, launch, watchdog
from mmssl.core.host_values import as_number
from mmssl.engine import rank_check
from mmssl.engine.hooks.bad_samples_hook import FILE, BadSamplesHook
from mmssl.engine.hooks.checkpoint_hook import CheckpointHook
from mmssl.engine.hooks.health_hook import HealthHook
from mmssl.engine.hooks.non_finite_hook import NonFinite
from mmssl.engine.hooks.stream_hook import StreamHook
from mmssl.engine.optim.wrapper import OptimWrapper
from mmssl.engine.state import work_dir_files
from mmssl.evaluation import predictions
from mmssl.evaluation.metrics.accuracy import Accuracy
from mmssl.evaluation.metrics.mean_iou import MeanIoU, mean_iou, overlaps
from mmssl.functional import embedding_stats
from mmssl.models.mixup import BatchMixup
from mmssl.replay import StepRecorder, read_record

from .helpers.collectives import call_sites, recorded
from .helpers.command import free_port
from .helpers.emulated import DEVICE_SITES
from .helpers.paths import REPO
from .helpers.ranks import Ranks
from .helpers.refusals import check_refusal
from .helpers.tiny import Watch, losses, make_runner, weights
from .helpers.transfer_nets import NETS, OURS

pytestmark = pytest.mark.slow

# with a GPU too, these values are on the host; a test of `passes` calls each
HOST_SITES = {
    'core/bad_samples.py:joined',
    'core/cores.py:share_cores',
    'engine/hooks/checkpoint_hook.py:after_train',
    'engine/loop.py:_validate_again',
    'engine/hooks/non_finite_hook.py:_report',
    'engine/hooks/stream_hook.py:before_save_checkpoint',
    'engine/rank_check.py:check_same',
    'engine/runner.py:_resumed',
    'engine/state/work_dir_files.py:check_work_dir',
    'engine/state/work_dir_files.py:locked',
    'engine/state/work_dir_files.py:write_together',
    'engine/state/training_state.py:_random_states',
    'evaluation/cache.py:cached',
    'evaluation/metrics/accuracy.py:evaluate',
    'evaluation/metrics/mean_iou.py:evaluate',
    'evaluation/predictions.py:collect',
    'replay/recorder.py:after_train_iter',
    'replay/recorder.py:gathered',
    'replay/trace.py:averaged',
    'transfer/pretrained.py:start_from',
}
SMALL = dict(train_dataloader__batch_size=3, train_cfg__max_epochs=1)
PROBE = REPO / 'configs' / '_base_' / 'probe.py'
UNWATCHED = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)


def test_the_lists_of_call_sites_are_whole():
    """A new one belongs into a list, and into the test that calls it."""
    assert not HOST_SITES & DEVICE_SITES
    assert set(call_sites().values()) == HOST_SITES | DEVICE_SITES
    source = Path(__file__).read_text()
    assert all(source.count(f"'{site}'") > 1 for site in HOST_SITES)


@contextmanager
def without_gpus() -> Iterator[None]:
    """Let mmengine, which moves its time stamp and start weights to the GPU, use the host group."""
    with mock.patch.object(mmengine_dist, 'get_default_group', dist.host_group):
        yield


def _recorded(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, set[str]]:
    sites: set[str] = set()
    with without_gpus(), recorded(sites.add):
        return function(*args), sites


@pytest.fixture
def passes(two_gpu_ranks: Ranks) -> Callable[..., list[Any]]:
    """Call a function on both ranks; each must pass the call sites whose names are given."""

    def call(sites: set[str], function: Callable[..., Any], *args: Any) -> list[Any]:
        answers = two_gpu_ranks(_recorded, function, args)
        for _, found in answers:
            assert sites <= found, sites - found
        return [answer for answer, _ in answers]

    return call


# training -----------------------------------------------------------------------------------------
class Cut(Exception):
    """The end of a run in the middle."""


def _until(runner: Any, step: int, then: Callable[[Any], Any]) -> None:
    """Train until ``step`` iterations are done, call ``then`` and stop."""

    def look(runner: Any, _: Any) -> None:
        if runner.iter + 1 == step:
            then(runner)
            raise Cut

    runner.register_hook(Watch(look))
    with pytest.raises(Cut):
        runner.train()


def _save(path: Path, folder: Path) -> Any:
    """Return two numbers that the rank would draw after saving."""
    runner = make_runner(path, folder, **SMALL, **UNWATCHED)
    _until(runner, 2, lambda runner: runner.save_checkpoint(runner.work_dir, 'iter_2.pth'))
    return torch.rand(2)


def test_save(passes, tiny_config, tmp_path):
    sites = {
        'engine/state/training_state.py:_random_states',
        'engine/state/work_dir_files.py:write_together',
        'engine/state/work_dir_files.py:check_work_dir',
    }
    draws = passes(sites, _save, tiny_config(), tmp_path)
    content = read(tmp_path / 'iter_2.pth')
    assert content['progress'] | dict(best=0) == dict(
        iter=2, per_epoch=4, batch=6, batch_size=3, processes=2, best=0
    )
    for state, expected in zip(content['random']['torch'], draws, strict=True):
        generator = torch.Generator()
        generator.set_state(state.clone())
        assert torch.equal(torch.rand(2, generator=generator), expected)
    assert not torch.equal(*draws)


def _streams() -> list[str]:
    """Return what a training file gets when each rank has read of one stream."""
    hook, runner = StreamHook(), SimpleNamespace()
    text = json.dumps(dict(stream=dist.rank(), epoch=0, begin=5))
    hook.after_train_iter(runner, 0, dict(data_samples=dict(stream=[text, ''])))
    content: dict[str, Any] = {}
    hook.before_save_checkpoint(runner, content)
    return content['streams']


def test_states_of_streams(passes):
    expected = [json.dumps(dict(stream=rank, epoch=0, begin=5)) for rank in (0, 1)]
    sites = {'engine/hooks/stream_hook.py:before_save_checkpoint'}
    assert passes(sites, _streams) == [expected, expected]


def _record(path: Path, folder: Path) -> Any:
    runner = make_runner(path, folder, **SMALL, **UNWATCHED)
    runner.register_hook(StepRecorder(folder / 'run.pth', 2))
    seen: list[Any] = []
    runner.register_hook(Watch(lambda _, outputs: seen.append(as_number(outputs['loss']))))
    _until(runner, 3, lambda runner: None)
    return seen


def test_record(passes, tiny_config, tmp_path):
    sites = {
        'replay/recorder.py:after_train_iter',
        'replay/recorder.py:gathered',
        'replay/trace.py:averaged',
    }
    first, second = passes(sites, _record, tiny_config(), tmp_path)
    found = read_record(tmp_path / 'run.pth')
    means = [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    assert [step.values['loss'] for step in found.trace] == pytest.approx(means[:2], rel=1e-6)
    indices = torch.cat([batch['data_samples']['index'] for batch in found.batches])
    assert len(indices) == len(indices.unique()) == 12


@contextmanager
def averaging() -> Iterator[None]:
    """Average gradients as DDP does, which cannot be built here."""

    def backward(wrapper: Any, loss: Tensor) -> None:
        plain(wrapper, loss)
        for group in wrapper.optimizer.param_groups:
            for parameter in group['params']:
                parameter.grad = dist.sum_over_ranks(parameter.grad) / dist.world_size()

    plain = OptimWrapper.backward
    with mock.patch.object(OptimWrapper, 'backward', backward):
        yield


def _resume(path: Path, folder: Path) -> tuple[list[float], list[float]]:
    options = dict(SMALL, **UNWATCHED, model__backbone__drop_path_rate=0.4)
    with averaging():
        whole = losses(make_runner(path, folder / 'whole', **options))
        cut = make_runner(path, folder / 'cut', **options)
        _until(cut, 2, lambda runner: runner.save_checkpoint(runner.work_dir, 'iter_2.pth'))
        rest = losses(make_runner(path, folder / 'cut', **options, resume=True))
    return whole, rest


def test_resume(passes, tiny_config, tmp_path):
    """Each rank goes on bit for bit: it has its own images and its own drop path."""
    answers = passes({'engine/runner.py:_resumed'}, _resume, tiny_config(), tmp_path)
    for whole, rest in answers:
        assert len(rest) == 2 and rest == whole[2:]
    assert answers[0] != answers[1]


def _wait_for_validation(path: Path, folder: Path) -> list[float | None]:
    """Return the best value at the start of an epoch, in a run and in one that goes on there."""
    found: list[float | None] = []
    measured = dict(default_hooks__checkpoint__save_best='knn/top1', train_cfg__max_epochs=2)
    for resume in (False, True):
        runner = make_runner(path, folder, **SMALL | measured, resume=resume)
        _until(runner, 5, lambda runner: found.append(runner.train_loop.best))
    return found


def test_validations_that_have_ended(passes, tiny_config, tmp_path):
    sites = {'engine/loop.py:_validate_again'}
    for first, second in passes(sites, _wait_for_validation, tiny_config(), tmp_path):
        assert first == second and first is not None


def _refused(folders: list[str]) -> Any:
    try:
        work_dir_files.check_work_dir(folders[dist.rank()], resume=False, overwrite=False)
    except UserError as error:
        check_refusal(error, 'folder', folders[dist.rank()])
        return str(error)
    return None


def test_used_work_dir(passes, tmp_path):
    for name in ('used', 'empty'):
        (tmp_path / name).mkdir()
    (tmp_path / 'used' / 'iter_7.pth').touch()
    sites = {'engine/state/work_dir_files.py:check_work_dir'}
    said = passes(sites, _refused, [str(tmp_path / 'used'), str(tmp_path / 'empty')])
    assert all('(iter_7.pth)' in text for text in said)


def _compared(values: list[Any]) -> str | None:
    try:
        rank_check.check_same(dict(same=1, value=values[dist.rank()]))
    except UserError as error:
        check_refusal(error, 'value', values[1])
        return str(error)
    return None


def test_ranks_compare_what_they_run(passes):
    sites = {'engine/rank_check.py:check_same'}
    assert passes(sites, _compared, ['a', 'a']) == [None, None]
    first, second = passes(sites, _compared, ['a', 'b'])
    assert first == second and 'rank 1' in first


def _lock(folder: Path) -> tuple[str, bool]:
    with work_dir_files.locked(folder):
        dist.wait()
        owner = (folder / work_dir_files.OWNER).read_text()
        dist.wait()
    return owner, (folder / work_dir_files.OWNER).is_file()


def test_lock_of_a_work_dir(passes, tmp_path):
    """The first rank holds it for all; it writes who that is."""
    (first, _), (second, _) = passes({'engine/state/work_dir_files.py:locked'}, _lock, tmp_path)
    assert first == second and first.startswith('process ')
    assert not (tmp_path / work_dir_files.OWNER).exists()


def _end(folders: list[Path]) -> list[str]:
    runner = SimpleNamespace(work_dir=str(folders[dist.rank()]), epoch=1)
    saved: list[str] = []
    with mock.patch.object(CheckpointHook, '_save', lambda _, runner, name: saved.append(name)):
        CheckpointHook().after_train(runner)
    return saved


def test_end_of_training(passes, tmp_path):
    """The first rank says whether the last file is missing: saving takes all ranks."""
    for name in ('missing', 'there'):
        (tmp_path / name).mkdir()
    (tmp_path / 'there' / 'epoch_1.pth').touch()
    folders = [tmp_path / 'missing', tmp_path / 'there']
    sites = {'engine/hooks/checkpoint_hook.py:after_train'}
    assert passes(sites, _end, folders) == [['epoch_1.pth']] * 2
    assert passes(sites, _end, folders[::-1]) == [[]] * 2


def _stop_by_signal(path: Path, folder: Path) -> tuple[int, Any]:
    def arrive(runner: Any, _: Any) -> None:
        if runner.iter == 1 and dist.rank() == 1:
            runner.step_status.signal_received = signal.SIGTERM

    runner = make_runner(path, folder, **SMALL, **UNWATCHED)
    runner.register_hook(Watch(arrive))
    with pytest.raises(SystemExit) as end:
        runner.train()
    return runner.iter, end.value.code


def test_stop_by_signal(passes, tiny_config, tmp_path):
    """The agreement travels with the losses, on the model's device."""
    sites = {'engine/optim/wrapper.py:_agree', 'engine/state/work_dir_files.py:write_together'}
    assert passes(sites, _stop_by_signal, tiny_config(), tmp_path) == [(2, 143)] * 2
    assert read(tmp_path / 'iter_3.pth')['progress']['iter'] == 3


def _stop_by_nan(path: Path, folder: Path) -> str:
    def spoil(runner: Any, _: Any) -> None:
        if dist.rank() == 1:  # the predictor has no teacher, so that the other's loss stays finite
            next(runner.model.head.parameters()).data.fill_(math.nan)

    runner = make_runner(path, folder, **SMALL, **UNWATCHED)
    runner.register_hook(Watch(spoil))
    with pytest.raises(NonFinite) as end:
        runner.train()
    return str(end.value)


def test_stop_by_nan(passes, tiny_config, tmp_path):
    first, second = passes(
        {'engine/hooks/non_finite_hook.py:_report'}, _stop_by_nan, tiny_config(), tmp_path
    )
    assert first == second
    assert 'the loss of rank 1 is nan' in first
    ranks = json.loads((tmp_path / 'non_finite_iter_2.json').read_text())['ranks']
    assert [r['rank'] for r in ranks] == [0, 1]
    assert [math.isfinite(r['losses']['loss']) for r in ranks] == [True, False]
    assert len({*ranks[0]['files'], *ranks[1]['files']}) == 6


def _meet_bad_images(folder: Path) -> tuple[list[str], int, list[str]]:
    loader = SimpleNamespace(dataset=range(100), batch_size=2)
    warned: list[str] = []
    runner = SimpleNamespace(
        train_dataloader=loader,
        work_dir=folder,
        iter=0,
        logger=SimpleNamespace(warning=warned.append),
    )
    hook = BadSamplesHook(share=0.5, interval=1)
    hook.before_train(runner)
    name = f'{dist.rank()}.png: empty'
    with mock.patch.object(hook, 'end_of_epoch', lambda *_: False):
        hook.after_train_iter(runner, 0, dict(data_samples=dict(unreadable=['', name])))
        return warned, hook.bad_samples.seen, list(hook.bad_samples.files)


def test_bad_images(passes, tmp_path):
    first, second = passes({'core/bad_samples.py:joined'}, _meet_bad_images, tmp_path)
    assert first[1:] == second[1:] == (4, ['0.png', '1.png'])
    assert len(first[0]) == 2 and not second[0]  # one rank tells
    assert (tmp_path / FILE).read_text() == '0.png: empty\n1.png: empty\n'


def _share_cores() -> int:
    """Return this rank's cores; both ranks may run on the same three, the first on one more."""
    own = ('host', (0, 1, 2, 3) if dist.rank() == 0 else (0, 1, 2))
    with mock.patch.object(cores, 'usable', lambda: own), mock.patch.object(cores, '_share', None):
        cores.share_cores()
        return cores.own_cores()


def test_cores(passes):
    """3/2 + 1 and 3/2 cores, rounded down."""
    assert passes({'core/cores.py:share_cores'}, _share_cores) == [2, 1]


def _health_statistics() -> tuple[dict[str, float], Any]:
    generator = torch.Generator().manual_seed(dist.rank())
    logged = {name: torch.randn(5, 4, generator=generator) for name in ('student', 'teacher')}
    found = HealthHook().statistics(SimpleNamespace(logged_embeddings=logged))
    return {name: value.item() for name, value in found.items()}, logged


def test_health(passes):
    answers = passes({'engine/hooks/health_hook.py:statistics'}, _health_statistics)
    student, teacher = (torch.cat([a[1][name] for a in answers]) for name in ('student', 'teacher'))
    unit = student / student.norm(dim=1, keepdim=True)
    expected = dict(
        embedding_std=2 * float(unit.std(0, correction=0).mean()),
        rankme=embedding_stats.rankme(student).item(),
        teacher_cosine=float(torch.cosine_similarity(student, teacher).mean()),
    )
    (first, _), (second, _) = answers
    assert first == pytest.approx(expected, rel=1e-5)
    del expected['rankme']  # one process solves for all
    assert second == pytest.approx(expected, rel=1e-5)


def _watch() -> tuple[list[int], str]:
    watchdog.start(60)
    dog = watchdog._watchdog
    dog._publish()
    dist.wait()
    ranks = sorted(dog.places())
    watchdog.stop()
    return ranks, watchdog.suspects()


def test_watchdog(passes):
    """It asks the launcher's store, not the group."""
    told = 'which one, this process cannot tell'
    assert passes(set(), _watch) == [([0, 1], told)] * 2


def _mix() -> tuple[list[float], float]:
    dist.seed_streams(7)
    mix = BatchMixup(dict(mixup_alpha=0.8, label_smoothing=0.0), 2)
    images, labels = torch.zeros(2, 3, 4, 4), torch.tensor([0, 1])
    return [float(mix(images, labels)[1][0, 0]) for _ in range(3)], float(torch.rand(()))


def test_mixup(passes):
    """Ranks draw numbers of their own, without a word to each other."""
    answers = passes(set(), _mix)
    for rank, (found, _) in enumerate(answers):
        draw = np.random.RandomState(7 + rank)
        # before each share timm draws whether to mix at all
        expected = [(draw.rand(), draw.beta(0.8, 0.8))[1] for _ in range(3)]
        assert found == pytest.approx(expected, rel=1e-6)
    assert answers[0][1] != answers[1][1]


def _refuse_gpus(problem: str) -> Any:
    store = distributed_c10d._get_default_store()
    report = dict(problem=problem) if dist.rank() else {}
    try:
        launch.agree(store, dist.rank(), dist.world_size(), 'GPUs', lambda: report, 30)
    except (UserError, SystemExit) as error:
        return str(error)
    return None


def test_agreement_at_launch(passes):
    """Before there is a group the launcher's store carries what each rank has found."""
    assert passes(set(), _refuse_gpus, 'no driver') == ['rank 1: no driver', '2']


JOIN = """
from datetime import timedelta
import torch
from torch import distributed as td
from mmssl.core import dist, launch
from mmssl.core.sync_bn import sync_group

launch.init_distributed('pytorch', 'cuda:gloo', timeout=40)
host = dist.host_group()
assert host is not td.group.WORLD
groups = (td.group.WORLD, 'cuda'), (host, 'cpu'), (sync_group(1), 'cuda')
limits = [group._get_backend(torch.device(kind)).options._timeout for group, kind in groups]
assert limits == [timedelta(seconds=78)] * 3, limits
print(dist.gather_objects(dist.rank()), dist.sum_over_ranks(torch.ones(2)).tolist())
launch.leave()
"""


def test_joining():
    """All groups have the limit that lets the watchdog speak first."""
    world = dict(WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=free_port())
    ranks = [
        subprocess.Popen(
            [sys.executable, '-c', JOIN],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPO,
            env=os.environ | world | dict(RANK=str(rank), LOCAL_RANK=str(rank)),
        )
        for rank in range(2)
    ]
    for rank in ranks:
        out, err = rank.communicate(timeout=90)
        assert rank.returncode == 0, err
        assert out == '[0, 1] [2.0, 2.0]\n'


# evaluation ---------------------------------------------------------------------------------------
def _monitor(path: Path, folder: Path) -> tuple[dict[str, float], int]:
    torch.manual_seed(3)
    runner = make_runner(path, folder, **SMALL)
    for parameter in runner.model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return runner.val(), len(runner.val_loop.dataloader.sampler)


def test_knn_monitor(passes, tiny_config, tmp_path):
    """Of 9 queries one rank has 5 and the other 4; buffers come from the first."""
    alone, count = _monitor(tiny_config(), tmp_path / 'one')
    assert count == 9
    sites = {
        'engine/hooks/method_hook.py:before_val',
        'evaluation/feature_extraction.py:extract',
        'core/bad_samples.py:joined',
    }
    (first, most), (second, least) = passes(sites, _monitor, tiny_config(), tmp_path / 'two')
    assert (most, least) == (5, 4)
    assert first == second == pytest.approx(alone, abs=1e-9)
    assert 30 < alone['knn/top1'] <= 100


def _probe(data: Path, folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Return the metrics of two probes, of which the second finds the features of the first."""
    view = [dict(type='LoadImage'), dict(type='CenterView', size=16, resize=16)]
    options = dict(
        pretrained='random',
        features_cache=str(folder / 'features'),
        model__backbone=dict(type='ResNet', depth=18, layers=(1, 1), width=4, small_stem=True),
        data_root=str(data),
        test_cfg__probe=dict(rates=(0.1, 1.0), decays=(0.0,), held_out=0.25, epochs=20),
        test_dataloader__dataset__pipeline=view,
        test_dataloader__batch_size=4,
        test_dataloader__num_workers=0,
        test_dataloader__pin_memory=False,
    )
    found = []
    for name in ('made', 'read'):
        torch.manual_seed(0)
        found.append(make_runner(PROBE, folder / name, **options).test())
    return found[0], found[1]


def test_probe(passes, image_folder, tmp_path):
    """Its features are made by both ranks, kept by the first, and found by both."""
    alone, _ = _probe(image_folder, tmp_path / 'one')
    sites = {'evaluation/feature_extraction.py:extract', 'evaluation/cache.py:cached'}
    for made, kept in passes(sites, _probe, image_folder, tmp_path / 'two'):
        assert made == kept == pytest.approx(alone, abs=1e-4)
    assert len(list((tmp_path / 'two' / 'features').iterdir())) == 2


def _accuracy() -> dict[str, float]:
    metric = Accuracy(topk=(1,))
    labels = [0, 1, 1] if dist.rank() == 0 else [1]
    outputs = [dict(pred_scores=torch.tensor([0.9, 0.1])) for _ in labels]
    metric.process(dict(data_samples=dict(label=torch.tensor(labels))), outputs)
    return metric.evaluate(4)


def test_accuracy(passes):
    """Of three images and one, one is right: 25 %, not the mean of 33 and 0."""
    sites = {'evaluation/metrics/accuracy.py:evaluate'}
    assert passes(sites, _accuracy) == [{'accuracy/top1': 25.0}] * 2


def _masks(rank: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rank)
    predicted, true = torch.randint(0, 3, (2, 2 + rank, 4, 4), generator=generator)  # (N, 4, 4)
    return predicted, true


def _miou() -> dict[str, float]:
    metric = MeanIoU()
    metric.dataset_meta = dict(classes=('a', 'b', 'other'))
    predicted, true = _masks(dist.rank())
    outputs = [dict(pred_mask=mask) for mask in predicted]
    metric.process(dict(data_samples=dict(label=true)), outputs)
    return metric.evaluate(5)


def test_miou(passes):
    predicted, true = (torch.cat(parts) for parts in zip(*map(_masks, (0, 1)), strict=True))
    expected = mean_iou(overlaps(predicted, true, 3, 1000))
    for found in passes({'evaluation/metrics/mean_iou.py:evaluate'}, _miou):
        assert found == {'segmentation/miou': pytest.approx(expected)}


def _predictions() -> list[dict[str, Any]]:
    paths = ['b', 'c'] if dist.rank() == 0 else ['a']
    return predictions.collect([dict(path=path, pred_label=dist.rank()) for path in paths])


def test_predictions(passes):
    expected = [dict(path=path, pred_label=rank) for path, rank in (('a', 1), ('b', 0), ('c', 0))]
    assert passes({'evaluation/predictions.py:collect'}, _predictions) == [expected] * 2


# transfer -----------------------------------------------------------------------------------------
def _start(file: Path, folder: Path) -> str:
    from mmssl import transfer  # noqa: F401, its types can be named
    from mmssl.transfer.pretrained import start_from

    model = dict(backbone=dict(OURS['vit']))
    settings = dict(model=model, work_dir=str(folder), pretrained=str(file))
    return start_from(Config(settings, filename=folder / 'config.py'), 'mmdet').line


@pytest.mark.transfer
def test_transfer(passes, tmp_path):
    file = tmp_path / 'vit.pth'
    state = {f'backbone.{k}': v for k, v in NETS['vit']().state_dict().items()}
    torch.save({'state_dict': state}, file)
    (tmp_path / 'config.py').touch()
    lines = passes({'transfer/pretrained.py:start_from'}, _start, file, tmp_path)
    assert all('54 of 54 tensors' in line for line in lines)
    written = read(tmp_path / 'pretrained' / 'vit-mmdet.pth')['state_dict']
    assert len(written) == 54


# whole runs ---------------------------------------------------------------------------------------
@pytest.fixture(scope='module')
def two_mixed_ranks() -> Iterator[Ranks]:
    """Call a function on two processes with a group that names a backend for each device."""
    ranks = Ranks(2, 'cpu:gloo,cuda:gloo')
    yield ranks
    ranks.stop()


def _whole(path: Path, folder: Path) -> tuple[Any, ...]:
    options = dict(SMALL, launcher='pytorch', sync_bn='torch', model__backbone__drop_path_rate=0.4)
    runner = make_runner(path, folder, **options)
    seen = losses(runner)
    more = options | dict(train_cfg__max_epochs=2)
    resumed = make_runner(path, folder, **more, resume=True)
    seen += losses(resumed)
    content = read(folder / 'epoch_2.pth')
    generators = {k: v for k, v in content['random'].items() if k != 'numpy_rest'}
    return seen, weights(resumed), resumed.val_loop.measure(), generators


@pytest.mark.slow
def test_whole_runs_by_a_backend_for_each_device(two_ranks, two_mixed_ranks, tiny_config, tmp_path):
    """Training, monitor, saving and resuming: bit for bit what they are with gloo alone."""
    expected = two_ranks(_whole, tiny_config(), tmp_path / 'gloo')
    found = two_mixed_ranks(_whole, tiny_config(), tmp_path / 'mixed')
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours[0]) == 8 and ours[0] == theirs[0]
        assert ours[1].keys() == theirs[1].keys()
        assert all(torch.equal(value, theirs[1][name]) for name, value in ours[1].items())
        assert ours[2] == theirs[2]
        assert ours[3].keys() == theirs[3].keys()
        assert all(torch.equal(value, theirs[3][name]) for name, value in ours[3].items())
    assert found[0][0] != found[1][0]  # the ranks have images of their own
