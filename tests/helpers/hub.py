"""A hub of two tiny models: a pretraining one and a classifier."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml

from mmssl.apis import ModelHub, get_model

from .paths import REPO
from .server import Server

CLASSIFIER = '''
"""A linear probe, as small as it can be."""

_base_ = '{repo}/configs/_base_/linear.py'

data_root = '{data}'
model = dict(
    backbone=dict(type='ResNet', depth=18, layers=(1, 1), width=4, small_stem=True),
    head=dict(num_classes={classes}))
view = dict(type='CenterView', size=16, resize=18)
test_dataloader = dict(
    batch_size=2, num_workers=0, dataset=dict(pipeline=[dict(type='LoadImage'), view]))
'''


def write_classifier(folder: Path, data: Path | str, classes: int = 3) -> Path:
    """Write a config of a tiny classifier; return its path."""
    path = folder / f'tiny_linear{classes}.py'
    path.write_text(CLASSIFIER.format(repo=REPO, data=data, classes=classes))
    return path


def weights(config: Path, seed: int) -> dict[str, torch.Tensor]:
    """Return random weights that fit a config's model, its statistics too."""
    torch.manual_seed(seed)
    state = get_model(config).state_dict()
    for key, value in state.items():
        if key.endswith(('running_mean', 'head.fc.weight')):
            value.normal_()
    found: dict[str, torch.Tensor] = state
    return found


def entry(
    config: Path, weights: str | None, task: str | None, **metadata: object
) -> dict[str, Any]:
    """Return a metafile's entry."""
    results = task and [dict(Task=task, Dataset='images', Metrics={'Top 1 Accuracy': 50.0})]
    return {
        'Name': config.stem.upper(),
        'In Collection': 'Tiny',
        'Metadata': metadata,
        'Results': results,
        'Config': config.name,
        'Weights': weights,
    }


@contextmanager
def registered(folder: Path, *entries: dict[str, Any]) -> Iterator[None]:
    """Let the hub know some models."""
    (folder / 'metafile.yml').write_text(yaml.safe_dump({'Models': list(entries)}))
    (folder / 'model-index.yml').write_text('Import: [metafile.yml]\n')
    ModelHub.register_model_index(folder / 'model-index.yml')
    try:
        yield
    finally:
        ModelHub._added.clear()


def put(server: Server, path: str, content: dict[str, Any], folder: Path) -> str:
    """Let the server have a checkpoint; return its address."""
    file = folder / 'upload.pth'
    torch.save(content, file)
    return server.put(path, file.read_bytes())
