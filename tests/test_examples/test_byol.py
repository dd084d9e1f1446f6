"""The method of docs/examples/byol, which lives outside the package."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mmssl.apis import load_config
from mmssl.checkpoint import Layout, load, register_layout
from mmssl.checkpoint.layouts import LAYOUTS
from mmssl.core import Progress, UserError
from mmssl.registry import MODELS

from ..helpers.paths import REPO

CONFIG = REPO / 'docs/examples/byol/byol_resnet18_1xb128-20e_shapes.py'
TINY = {
    'model.backbone.width': 4,
    'model.neck.dims': (32, 24, 8),
    'model.head.dims': (8, 24, 8),
}


@pytest.fixture(scope='module')
def byol():
    """Return a function that builds the tiny model in float64, as the config registers it."""
    cfg = load_config(CONFIG, TINY)
    return lambda: MODELS.build(cfg.model).double()


def views(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(6, 3, 16, 16, generator=generator, dtype=torch.float64) for _ in range(2)]


def test_loss_is_the_papers(byol):
    model, (a, b) = byol(), views()
    for p in model.teacher.parameters():
        p.data += 0.01 * torch.randn_like(p)  # not the student, so that sides cannot be confused
    with torch.no_grad():
        p1, p2 = (model.head(model.student(v)).numpy() for v in (a, b))
        z1, z2 = (model.teacher(v).numpy() for v in (a, b))

    def squared_distance(x, y):
        x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
        return ((x - y) ** 2).sum(1).mean()

    expected = squared_distance(p1, z2) + squared_distance(p2, z1)
    assert float(model([a, b], mode='loss')['loss'].detach()) == pytest.approx(expected, rel=1e-10)


def test_health_reference_is_the_loss_of_unrelated_predictions(byol):
    distance = sys.modules['byol'].distance
    x = torch.eye(4)
    assert float(2 * distance(x, x.roll(1, 0))) == byol().uniform_loss(4) == 4
    assert float(2 * distance(x, 3 * x)) == 0


def test_gradients_reach_the_online_side_only(byol):
    model = byol()
    model(views(), mode='loss')['loss'].backward()
    for name, p in model.named_parameters():
        assert (p.grad is not None) == (not name.startswith('teacher.')), name


def test_target_follows_after_the_update(byol):
    model = byol()
    assert type(model).teacher_update == 'after'
    with torch.no_grad():
        for p in model.student.parameters():
            p += torch.randn_like(p)
    step, total = 30, 100
    tau = 1 - (1 - 0.996) * (math.cos(math.pi * step / total) + 1) / 2
    old = {n: p.clone() for n, p in model.teacher.named_parameters()}
    model.progress = Progress(step, total, 10)
    model.update_teacher()
    online = dict(model.student.named_parameters())
    for name, p in model.teacher.named_parameters():
        assert_close(p, tau * old[name] + (1 - tau) * online[name], rtol=0, atol=1e-12)


def foreign(model):
    """Name a model's tensors as the file layout does."""
    names = {}
    for key, value in model.state_dict().items():
        (name,) = {t for pair in LAYOUTS['byol'].pairs if (t := pair.to_foreign(key))}
        names[name] = value
    return names


def in_sections(state):
    parts = ('online_network', 'target_network', 'predictor')
    return {p: {k[len(p) + 1 :]: v for k, v in state.items() if k.startswith(p)} for p in parts}


@pytest.mark.parametrize('layout', [in_sections, lambda state: dict(state_dict=state, epoch=3)])
def test_files_of_its_layout_come_back_whole(byol, tmp_path, layout):
    model, fresh = byol(), byol()
    model(views(), mode='loss')  # moves batch norms
    state = foreign(model)
    assert 'online_network.encoder.conv1.weight' in state
    assert 'target_network.projector.0.weight' in state
    assert 'predictor.0.weight' in state
    torch.save(layout(state), tmp_path / 'byol.pth')
    report = load(fresh, tmp_path / 'byol.pth', verbose=False)
    assert report.layout == 'byol'
    assert not report.missing + report.unexpected + report.dropped
    assert all(torch.equal(v, fresh.state_dict()[k]) for k, v in model.state_dict().items())
    single = byol().student.backbone
    assert load(single, tmp_path / 'byol.pth', part='backbone', verbose=False).branch == 'student'
    assert torch.equal(single.net.conv1.weight, model.student.backbone.net.conv1.weight)


def test_a_name_belongs_to_one_dialect(byol):
    known = LAYOUTS['byol']
    assert register_layout(known) is known
    with pytest.raises(UserError, match="'moby'"):
        register_layout(Layout('moby', sign='x', pairs=()))
    assert LAYOUTS['byol'] is known


@pytest.mark.slow
def test_trains_from_the_command_line(image_folder, tmp_path):
    options = {
        **TINY,
        'data_root': str(image_folder),
        'train_dataloader.batch_size': 6,
        'train_dataloader.num_workers': 0,
        'val_dataloader.num_workers': 0,
        'train_cfg.max_epochs': 2,
        'train_cfg.val_interval': 1,
        'param_scheduler.0.warmup': 1,
        'val_cfg.k': (5,),
        'default_hooks.health.interval': 1,
    }
    pairs = [f'{k}={str(v).replace(" ", "")}' for k, v in options.items()]
    command = [sys.executable, str(REPO / 'tools/train.py'), str(CONFIG), '--work-dir', 'run']
    found = subprocess.run(
        [*command, '--cfg-options', *pairs],
        cwd=tmp_path,  # the module is found from anywhere, because it lies beside the config
        env=dict(PYTHONPATH=str(REPO), PATH='/usr/bin:/bin', OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
        check=False,
    )
    said = found.stdout + found.stderr
    assert found.returncode == 0, said
    assert 'uniform 4.000' in said
    assert 'health:' not in said
    assert 'kNN top-1' in said
    assert (tmp_path / 'run/epoch_2.pth').is_file()
