"""What a training step asks of a GPU: budgets of launches, one wait, no copies that hold it up."""

import pytest
import torch

from mmssl.apis import load_config
from mmssl.core.host_values import read_together
from mmssl.core.table_cache import remembered
from mmssl.planning.device_counts import DeviceCounts
from mmssl.planning.fake_tensor_step import FakeTensorStep

from ..helpers.paths import REPO
from ..helpers.tiny import make_runner

# launches of one update at the published size and in its precision (docs/benchmarks.md)
BUDGETS = {
    'mocov3/mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k.py': 1608,
    'mocov3/mocov3_resnet50_8xb512-amp-coslr-100e_in1k.py': 1721,
    'mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py': 1401,
    'swav/swav_resnet50_8xb32-amp-mcrop-coslr-400e_in1k-224px-96px.py': 1488,
    'moby/moby_swin-tiny_8xb64-amp-coslr-100e_in1k.py': 2509,
    'dino/dino_vit-small-p16_16xb64-amp-mcrop-coslr-300e_in1k.py': 1086,
    'esvit/esvit_swin-tiny-w7_16xb32-amp-mcrop-coslr-300e_in1k.py': 2494,
    'ibot/ibot_vit-small-p16_16xb64-amp-mcrop-coslr-800e_in1k.py': 1235,
    'sere/sere_vit-small-p16_8xb128-amp-mcrop-coslr-100e_in1k.py': 1706,
    'distillation/distillation_vit-small-p14_8xb128-amp-coslr-100e_in1k.py': 1075,
}
SLACK = 1.1


@pytest.mark.parametrize('path', BUDGETS)
def test_a_step_stays_within_its_budget(path):
    cfg = load_config(REPO / 'configs' / path)
    counts = FakeTensorStep(cfg).counts(2)  # launches do not depend on the batch
    assert sum(counts.launches.values()) <= SLACK * BUDGETS[path]
    assert counts.waits == {'core/host_values.py read_together': 1}


def waits_of(function):
    """Waits of a function, by place."""
    with DeviceCounts() as counts:
        function()
    return dict(counts.waits)


def test_a_list_of_tensors_is_one_launch_and_one_of_other_shapes_many():
    x, y = [torch.ones(3) for _ in range(150)], [torch.ones(3) for _ in range(150)]
    with DeviceCounts() as counts:
        torch._foreach_add_(x, y)
        torch._foreach_mul_(x[:5], [torch.tensor(2.0)] * 5)
        x[0].view(3, 1).transpose(0, 1)
    assert counts.launches['_foreach_add_'] == 2
    assert counts.launches['_foreach_mul_'] == 5
    assert not {'view', 'transpose'} & counts.launches.keys()
    assert counts.bytes['_foreach_add_'] == 2 * 150 * 3 * 4


def test_waits_and_tables():
    @remembered
    def table():
        return torch.arange(4).float() * 2

    x = torch.ones(3)
    assert waits_of(lambda: x.sum().item()) == {'elsewhere': 1}
    assert waits_of(lambda: read_together(x, x[:1])) == {}  # of the CPU nothing is waited for
    with DeviceCounts() as counts:
        table()
    assert not counts.launches


@pytest.mark.parametrize('kind', ['vit', 'resnet'])
def test_a_run_waits_nowhere_else(tiny_config, tmp_path, kind):
    """Through the runner, with all hooks: on a CPU `tolist` is no wait, any other would show."""
    runner = make_runner(
        tiny_config(kind),
        tmp_path,
        train_cfg__max_epochs=2,
        default_hooks__health__interval=3,
        val_cfg=None,
        val_dataloader=None,
        val_evaluator=None,
        optim_wrapper__clip_grad=dict(max_norm=1.0),
    )
    step, found = runner.train_loop.run_iter, {}

    def counted(*args):
        for place, count in waits_of(lambda: step(*args)).items():
            found[place] = found.get(place, 0) + count

    runner.train_loop.run_iter = counted
    runner.train()
    # iterations 3, 4, 6 and 8: every third, and the ends of both epochs
    assert (runner.max_iters, found) == (8, {'functional/embedding_stats.py rankme': 4})
