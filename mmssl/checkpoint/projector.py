"""The first layer of the projector that a pretraining file holds beside its backbone."""

import re
from pathlib import Path

import torch
from torch import nn

from ..core import UserError
from .fetch.fetch import local_path
from .layouts import detect
from .load import exported
from .reader.read_file import read


@torch.no_grad()
def fill_first_layer(layer: nn.Linear, path: str | Path, branch: str = 'export') -> None:
    """Copy the first layer of a file's projector into ``layer``, of weight (H, C) and bias (H,).

    The file is of any layout. ``branch``: 'student', 'teacher' or 'export', the one meant for
    downstream use. Raises UserError when the file has no such layer, or one of another shape.
    """
    path = local_path(path)
    content = read(path)
    layout, foreign = detect(content, str(path))
    ours, _ = layout.translate(foreign)
    taken = exported(layout, content, ours) if branch == 'export' else branch
    start = re.compile(rf'{taken}\.neck\.view\.(mlp\.)?0\.(?=weight|bias)')
    found = {start.sub('', key): value for key, value in ours.items() if start.match(key)}
    target = layer.state_dict()
    shapes = {key: tuple(value.shape) for key, value in found.items()}
    wanted = {key: tuple(value.shape) for key, value in target.items()}
    if shapes != wanted:
        raise UserError(
            f"{path}: the first layer of the {taken}'s projector is {shapes or 'not there'}, the "
            f"head's {wanted}; give the whole pretraining file, set head.hidden, or use a "
            'LinearHead',
            key='model.head.hidden',
            value=layer.out_features,
        )
    for key, value in found.items():
        target[key].copy_(value)
