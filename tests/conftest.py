"""Fixtures that several test files share."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import settings
from mmengine.registry import DefaultScope
from PIL import Image
from safetensors.torch import load_file

from .helpers import images, paths
from .helpers.ranks import Ranks
from .helpers.server import Server, serving

settings.register_profile('mmssl', deadline=None, max_examples=50, derandomize=True)
settings.load_profile('mmssl')
torch.set_num_threads(1)  # the networks here are smaller than what threads cost


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --golden."""
    parser.addoption('--golden', type=Path, help='recorded cases in place of the reduced ones')


def pytest_configure(config: pytest.Config) -> None:
    """Let test files find the cases, before any is imported."""
    if config.getoption('--golden'):
        paths.GOLDEN = config.getoption('--golden').resolve()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_scope_of_another_library(request: pytest.FixtureRequest) -> None:
    """A run of mmdet or mmseg leaves its scope behind, where later tests would look for names."""
    scope = DefaultScope.get_current_instance()
    outside = 'test_transfer' not in request.path.parts
    if outside and scope is not None and scope.scope_name in ('mmdet', 'mmseg'):
        DefaultScope._instance_dict.clear()


@pytest.fixture(scope='session')
def golden() -> Callable[[str], SimpleNamespace]:
    """Return a recorded case: folder, case (dict or None), batch and expect (tensors by name)."""

    def load(name: str) -> SimpleNamespace:
        folder = paths.GOLDEN / name
        tensors = {
            part: load_file(folder / f'{part}.safetensors')
            for part in ('batch', 'expect')
            if (folder / f'{part}.safetensors').is_file()
        }
        case = folder / 'case.json'
        return SimpleNamespace(
            folder=folder, case=json.loads(case.read_text()) if case.is_file() else None, **tensors
        )

    return load


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Return a web server on loopback; downloads go to an empty folder, pauses are short."""
    from mmssl.checkpoint.fetch import download

    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    for name in ('http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, 'PAUSE', 0.01)
    with serving() as found:
        yield found


@pytest.fixture(scope='session')
def two_ranks() -> Iterator[Ranks]:
    """Call a function on two gloo processes."""
    ranks = Ranks(2)
    yield ranks
    ranks.stop()


@pytest.fixture(scope='session')
def two_gpu_ranks() -> Iterator[Ranks]:
    """Call a function on two processes whose group refuses CPU tensors, as NCCL does."""
    ranks = Ranks(2, 'cuda:gloo')
    yield ranks
    ranks.stop()


@pytest.fixture(scope='session')
def make_image() -> Callable[..., Image.Image]:
    """Return `helpers.images.make_image`."""
    return images.make_image


CLASSES = {'blue': (40, 60, 200), 'green': (60, 190, 70), 'red': (210, 50, 40)}
COUNTS = {'train': 8, 'val': 3}


@pytest.fixture(scope='session')
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of images: 3 classes with 8 (train) and 3 (val) images each.

    The colour gives the class away, so that accuracy is neither chance nor always 100 %.
    """
    root = tmp_path_factory.mktemp('images')
    for split, count in COUNTS.items():
        for label, (name, colour) in enumerate(CLASSES.items()):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                image = np.asarray(
                    images.make_image((20 + i, 18), 100 * label + 10 * len(split) + i)
                )
                mixed = 0.6 * image + 0.4 * np.array(colour)
                Image.fromarray(mixed.astype(np.uint8)).save(folder / f'{i}.png')
    return root


@pytest.fixture(scope='session')
def tiny_config(
    tmp_path_factory: pytest.TempPathFactory, image_folder: Path
) -> Callable[[str], Path]:
    """Return the path of a tiny config, of 'vit' or 'resnet'."""
    from .helpers.tiny import write_config

    folder = tmp_path_factory.mktemp('configs')
    return lambda backbone='vit': write_config(folder, image_folder, backbone)
