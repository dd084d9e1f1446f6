"""Plans against real steps, brute force and closed forms."""

import re

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from mmssl.apis import load_config
from mmssl.models.backbones.swin import _regions
from mmssl.planning import plan as plans
from mmssl.planning.cuda_emulation import EmulateCUDA
from mmssl.planning.fake_tensor_step import FakeTensorStep
from mmssl.planning.memory import Memory
from mmssl.planning.plan import GIB, RESERVE, Planner, largest_batch, read_memory
from mmssl.planning.standalone_step import StandaloneTraining, noise_batch
from mmssl.planning.timing import Probe
from mmssl.registry import MODELS

from ..helpers.command import call, refused
from ..helpers.paths import REPO
from ..helpers.refusals import refuses

pytestmark = pytest.mark.slow

COMPARE = REPO / 'configs/compare'
SCRIPT = 'tools/analysis_tools/plan.py'


def config(method: str, **options):
    """Return a config of the comparison with one block, which is enough to plan."""
    options = {'model.backbone.arch': (64, 1, 4), **options}
    return load_config(COMPARE / f'{method}_vit-conv_1xb64-16e_shapes.py', options)


SWITCHES = {
    'mocov3': {'model.backbone.with_cp': True},
    'esvit': {},
    'swav': {'optim_wrapper.accumulative_counts': 3},
    'sere': {
        'model.neck.chunk_size': 16
    },  # masked patches alone, whose number only real masks know
}


@pytest.mark.parametrize('method', SWITCHES)
def test_a_dry_step_takes_what_a_real_one_takes(method):
    cfg = config(method, **SWITCHES[method])
    predicted = FakeTensorStep(cfg, 'cpu').peak(12)
    batch = noise_batch(cfg, 12)
    with Memory() as memory:
        training = StandaloneTraining(cfg, MODELS.build(cfg.model))
        memory.peak = memory.now
        training.step(batch)
    assert predicted == pytest.approx(memory.peak, rel=0.05)


def test_the_fixed_part_is_model_and_state():
    """AdamW keeps two numbers for each parameter; students and teachers have one each."""
    cfg = config('mocov3')
    dry = FakeTensorStep(cfg, 'cpu')
    model = MODELS.build(cfg.model)
    own = sum(x.nbytes for x in [*model.parameters(), *model.buffers()])
    trained = [p for p in model.parameters() if p.requires_grad]
    state = sum(2 * p.nbytes + 4 for p in trained)  # and the number of the step
    assert dry.memory.now == pytest.approx(own + state, abs=2048)


def test_operations_of_an_image_by_hand():
    """Two views through a 4-channel stem of 3x3 and one of 1x1 blocks, a projection, 5 prototypes.

    The backward costs twice the forward, less the gradient of the first layer's input.
    """
    options = {
        'model.backbone': dict(type='ResNet', depth=18, layers=(1,), width=4, small_stem=True),
        'model.neck.dims': (4, 8, 6),
        'model.head.dim': 6,
        'model.head.prototypes': 5,
    }
    cfg = load_config(REPO / 'configs/cifar10/swav_resnet18_1xb512-coslr-200e_cifar10.py')
    cfg.merge_from_dict(options)
    cfg.model.backbone = options['model.backbone']
    stem, block = 3 * 4 * 9 * 32 * 32, 2 * 4 * 4 * 9 * 32 * 32
    head = 4 * 8 + 8 * 6 + 6 * 5
    forward, both = FakeTensorStep(cfg, 'cpu').operations(2)
    assert forward == 2 * (stem + block + head)
    assert both == 2 * (2 * stem + 3 * block + 3 * head)


def test_half_precision_is_cudas():
    """Fake tensors of CUDA know what autocast does there, though they cannot be differentiated."""
    kinds = {}
    calls = {
        'linear': lambda x: F.linear(x, x),
        'norm': lambda x: F.layer_norm(F.linear(x, x), (8,)),
        'softmax': lambda x: F.linear(x, x).softmax(-1),
        'gelu': lambda x: F.gelu(F.linear(x, x)),
        'power': lambda x: F.linear(x, x) ** 2,
    }
    for device in ('cuda', 'cpu'):
        torch.set_autocast_enabled(device, True)
        torch.set_autocast_dtype(device, torch.bfloat16)
        try:
            with FakeTensorMode(allow_non_fake_inputs=True), EmulateCUDA():
                x = torch.empty(8, 8, device=device)
                kinds[device] = {name: f(x).dtype for name, f in calls.items()}
        finally:
            torch.set_autocast_enabled(device, False)
    assert kinds['cpu'] == kinds['cuda']
    assert set(kinds['cpu'].values()) == {torch.bfloat16, torch.float32}


def test_no_table_without_numbers_is_remembered():
    with FakeTensorMode():
        _regions(12, 12, (4, 4), (2, 2))
    table = _regions(12, 12, (4, 4), (2, 2))
    assert type(table) is torch.Tensor and set(table.unique().tolist()) == {-100.0, 0.0}


def test_switches_save_memory_on_a_gpu_as_well():
    amp = {'optim_wrapper.amp': 'float16'}
    kinds = ({}, amp, {**amp, 'model.backbone.with_cp': True})
    found = [FakeTensorStep(config('mocov3', **kind), 'cuda').peak(64) for kind in kinds]
    assert found[0] > 1.3 * found[1] and found[1] > 1.1 * found[2]


def test_the_teacher_of_a_distillation_is_counted():
    """Its operations are those of the forward that the student's size does not explain."""
    path = 'distillation_resnet50_1xb32-coslr-20e_imagenette'
    small = dict(type='VisionTransformer', patch_size=16, _delete_=True)
    steps = []
    for depth in (1, 3):
        options = {'model.teacher': {**small, 'arch': (24, depth, 2)}, 'model.backbone.depth': 18}
        steps.append(FakeTensorStep(load_config(path, options), 'cpu'))
    forwards = [step.operations()[0] for step in steps]
    teachers = [step.teacher_operations(step.training.model.frozen_teacher) for step in steps]
    assert forwards[1] - forwards[0] == teachers[1] - teachers[0] > 0
    assert steps[1].peak(4) > steps[0].peak(4)


@pytest.mark.parametrize('slope', [1, 7, 1000])
@pytest.mark.parametrize('limit', [0, 40, 41, 200, 5000])
def test_the_largest_batch_is_that_of_brute_force(slope, limit):
    """Lines, lines with a corner, and a parabola."""
    for need in (
        lambda b: 30 + slope * b,
        lambda b: max(120, 3 + slope * b),
        lambda b: slope * b * b / 3,
    ):
        fitting = [b for b in range(2, 301) if need(b) <= limit]
        for start in (2, 17, 300, 999):
            assert largest_batch(need, limit, start, 300) == max(fitting, default=0)


def test_the_largest_batch_of_a_config_is_that_of_brute_force():
    planner = Planner(config('mocov2', **{'model.queue_length': 8}), 1, 'cpu')
    room = planner.peak(5) + 10_000
    fitting = [b for b in range(2, 9) if planner.peak(b) <= room]
    assert planner.largest(room + RESERVE) == max(fitting) < 8
    assert planner.largest(64 * GIB) == 8, 'the queue holds no more'
    with refuses('--memory', RESERVE + 1) as caught:
        planner.largest(RESERVE + 1)
    assert f'{planner.peak(2) / GIB:.2f} GiB' in str(caught.value)


@pytest.mark.parametrize(
    'path', sorted((REPO / 'configs/one_gpu').glob('*.py')), ids=lambda path: path.stem
)
def test_a_recipe_for_one_gpu_fits_and_its_table_says_so(path):
    cfg = load_config(path)
    peak = FakeTensorStep(cfg).peak(cfg.train_dataloader.batch_size)
    assert peak < 24 * GIB - RESERVE
    row = re.compile(rf'\({re.escape(path.name)}\) \| [^|]* \| [^|]* \| ([\d.]+) \|')
    (told,) = row.findall((path.parent / 'README.md').read_text())
    assert float(told) == pytest.approx(peak / GIB, abs=0.1)


def test_the_rate_grows_with_the_images_of_an_update():
    """0.6 for 256 images: 8 GPUs of 24, three batches gathered, are 576."""
    cfg = load_config(
        REPO / 'configs/swav/swav_resnet50_4xb64-amp-mcrop-coslr-200e_in1k-224px-96px.py',
        {'optim_wrapper.accumulative_counts': 3},
    )
    assert plans.scaled_lr(cfg, 24 * 8 * 3) == pytest.approx(0.6 * 576 / 256)
    assert plans.devices(cfg) == 1 and plans.base_batch(cfg) == 256
    small = config('mocov3')  # names no base: its rate is for its own batch
    assert plans.scaled_lr(small, 96) == pytest.approx(2e-3 * 96 / 64)


def test_times_lie_on_a_line_and_hours_count_updates():
    timing = Probe([(2, 0.3), (4, 0.5), (8, 0.9)], 0)
    assert timing.seconds(32) == pytest.approx(0.1 + 0.1 * 32)
    assert Probe([(2, 5.0)], 0).seconds(8) == pytest.approx(20.0)
    timing = timing._replace(update=0.4)  # once, however many batches are gathered
    cfg = config('mocov3', **{'optim_wrapper.accumulative_counts': 2})
    planner = Planner(cfg, 4, 'cpu')
    planner.images = 6400
    found = planner.plan(32, timing)
    assert found.seconds == pytest.approx(2 * 3.3 + 0.4)
    assert found.hours == pytest.approx(16 * 6400 / (32 * 4 * 2) * 7.0 / 3600)
    buckets = sum(p.nbytes for p in planner.fake_step.training.parameters)
    assert found.peak == planner.fake_step.peak(32) + buckets


@pytest.mark.parametrize(
    ('text', 'size'), [('24G', 24 * 2**30), ('0.5GiB', 2**29), ('8000 MB', 8000 * 2**20)]
)
def test_sizes_are_read(text, size):
    assert read_memory(text) == size


def test_the_tool_prints_a_plan(capsys):
    path = COMPARE / 'mocov3_vit-conv_1xb64-16e_shapes.py'
    options = ['--cfg-options', 'model.backbone.arch=(64,1,4)', 'train_dataloader.batch_size=4']
    done = call(capsys, path, '--memory', '2G', '--device', 'cpu', *options, script=SCRIPT)
    assert done.code == 0, done.err
    for text in ('as written', 'most in 2G', 'learning rate', 'hours of the schedule', '4 x 1'):
        assert text in done.out


@pytest.mark.parametrize(
    ('words', 'value'),
    [
        (['--memory', '24 apples'], '24 apples'),
        (['--gpus', '0'], 0),
        (['--memory', '1G', '--no-probe'], GIB),
    ],
)
def test_what_cannot_be_planned_is_one_line(capsys, words, value):
    path = COMPARE / 'mocov3_vit-conv_1xb64-16e_shapes.py'
    refused(call(capsys, path, *words, script=SCRIPT), words[0], value)


def test_an_evaluation_is_no_pretraining(capsys):
    refused(call(capsys, REPO / 'configs/knn_in1k.py', script=SCRIPT), 'optim_wrapper')
    probe = REPO / 'configs/mocov3/benchmarks/resnet50_8xb128-linear-coslr-90e_in1k.py'
    steps = load_config(probe).train_dataloader.dataset.pipeline
    refused(call(capsys, probe, script=SCRIPT), 'pipeline', steps)
