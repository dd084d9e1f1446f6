"""The loops of docs/examples/loops: one run by plain torch, accelerate, Lightning and DDP."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mmssl

from ..helpers.paths import REPO
from ..replay.run import processes

pytestmark = pytest.mark.slow

LOOPS = REPO / 'docs' / 'examples' / 'loops'
EPOCHS, STEPS, BATCH, SIZE = 3, 2, 8, 16


def example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, LOOPS / f'{name}.py')
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Net(nn.Module):
    """Features (B, 6) of images."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.ReLU(), nn.Flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).unflatten(1, (6, -1)).mean(2)


def method(name: str = 'mocov3') -> Any:
    torch.manual_seed(0)
    sizes = dict(img_size=SIZE, batch_size=BATCH, epochs=EPOCHS, steps_per_epoch=STEPS)
    built = mmssl.build_method(name, Net(), **sizes)
    built.recipe.optimizer['lr'] *= 100  # so that a missing update is seen
    return built


class Sampler:
    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


class Batches:
    """The same batches in each epoch, of bytes, the rows of one process."""

    def __init__(self, views: int = 2, rank: int = 0, world: int = 1) -> None:
        draw = torch.Generator().manual_seed(1)
        shape = (STEPS, views, BATCH, 3, SIZE, SIZE)
        rows = torch.randint(0, 256, shape, generator=draw, dtype=torch.uint8)
        self.rows = rows[:, :, rank::world]
        self.sampler = Sampler()

    def __len__(self) -> int:
        return STEPS

    def __iter__(self) -> Any:
        for views in self.rows:
            yield dict(inputs=list(views), data_samples={})


@pytest.fixture(scope='module')
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    file = tmp_path_factory.mktemp('plain') / 'run.pth'
    found = dict(example('plain').train(method(), Batches(), EPOCHS, file))
    assert list(found) == list(range(EPOCHS * STEPS))
    assert len(set(found.values())) == len(found)
    return found


def test_a_stopped_run_goes_on(expected: dict[int, float], tmp_path: Path) -> None:
    train, file = example('plain').train, tmp_path / 'run.pth'
    first = dict(train(method(), Batches(), 1, file))
    rest = dict(train(method(), Batches(), EPOCHS, file))
    assert list(rest) == list(range(STEPS, EPOCHS * STEPS))
    assert first | rest == expected


def test_accelerate(expected: dict[int, float], monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate import Accelerator

    for name in ('LOCAL_RANK', 'RANK', 'WORLD_SIZE'):  # tools leave them
        monkeypatch.delenv(name, raising=False)
    run = example('with_accelerate').train(method(), Batches(), Accelerator(cpu=True), EPOCHS)
    assert dict(run) == expected


def test_lightning(expected: dict[int, float]) -> None:
    from lightning import Trainer

    module = example('with_lightning').Training(method())
    seen: list[float] = []
    module.log_dict = lambda losses, **_: seen.append(float(losses['loss'].detach()))
    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer = Trainer(max_epochs=EPOCHS, accelerator='cpu', enable_model_summary=False, **quiet)
    trainer.fit(module, Batches())
    assert dict(enumerate(seen)) == expected


def losses_of_rank(rank_of: int, world: int) -> dict[int, float]:
    from mmssl.core import dist

    loader = Batches(10, dist.rank(), dist.world_size())
    return dict(example('ddp').train(method('dino'), loader, EPOCHS))


def test_two_processes(tmp_path: Path) -> None:
    """DINO has no batch norm: the mean of both losses is that of the whole batch."""
    file = tmp_path / 'run.pth'
    whole = dict(example('plain').train(method('dino'), Batches(10), EPOCHS, file))
    parts = processes(2)(losses_of_rank, 0, 2)
    for step, loss in whole.items():
        assert sum(part[step] for part in parts) / 2 == pytest.approx(loss, abs=1e-5)
    assert parts[0] != parts[1]


@pytest.mark.parametrize('name', ['plain', 'ddp', 'with_accelerate', 'with_lightning'])
def test_an_example_is_short(name: str) -> None:
    assert len((LOOPS / f'{name}.py').read_text().splitlines()) <= 40
