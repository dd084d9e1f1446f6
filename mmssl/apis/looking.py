"""What the tools that look inside a network share: network, pictures, place to write."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from ..analysis.album import Plate, write
from ..core import UserError
from ..datasets import ImageFolder
from ..models.backbones import Backbone
from ..registry import TRANSFORMS
from .hub import ModelHub
from .images import Reader, open_image
from .model import get_model


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with MODEL, --weights, --size, --device and --out."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument('model', help='name of a published model, or config file')
    made.add_argument(
        '--weights', help="file, address or model name, or 'random'; default: the published ones"
    )
    made.add_argument('--size', type=int, help="side of the views in pixels; default: the model's")
    made.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    add_out(made)
    return made


def add_out(made: argparse.ArgumentParser) -> None:
    """Add --out."""
    made.add_argument('--out', required=True, type=Path, help='folder for the PNGs and the page')


def with_weights(name: str, weights: str | None, device: Any) -> BaseModel:
    """Return a model with its weights; a config alone has none, which must be on purpose."""
    if weights is None and not ModelHub.has(name):
        raise UserError(f'{name}: add --weights FILE, or --weights random if that is meant')
    if weights is None:
        return get_model(name, True, device)
    if weights == 'random':
        torch.manual_seed(0)  # the same pictures every time
        return get_model(name, False, device)
    return get_model(name, weights, device)


class Looker:
    """A network, and pictures made ready for it.

    ``size`` is the side of the square views, by default what the model is evaluated with;
    ``lead`` says which network it is.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        weights = args.weights or 'as published'
        self.lead = f'{args.model}, weights: {weights}.'
        self.model = with_weights(args.model, args.weights, args.device)
        self.reader = Reader(self.model)
        if args.size is not None:
            if args.size < 1:
                raise UserError(f'--size {args.size}: at least 1')
            step = dict(type='CenterView', size=args.size, resize=args.size)
            self.reader.transforms = [TRANSFORMS.build(step)]

    @property
    def backbone(self) -> Backbone:
        """The network that looks."""
        return self.model.backbone

    def view(self, image: Any) -> Tensor:
        """Return the view of a picture, uint8 (3, S, S). Raises UserError when it is too small."""
        view = self.reader.view(open_image(image))
        cell, side = self.backbone.strides[-1], min(view.shape[1:])
        if side < cell:
            raise UserError(
                f'{image}: a view of {side} px is smaller than a cell of the last map ({cell} px); '
                f'use --size {cell} or more'
            )
        return view

    def folder(self, root: str) -> ImageFolder:
        """Return the images of a folder as views, in class folders or not."""
        images = ImageFolder(root, pipeline=[dict(type='LoadImage')])
        images.transforms += self.reader.transforms
        return images

    def batch(self, views: Sequence[Tensor]) -> Tensor:
        """Return views as the network takes them, (B, 3, S, S) on its device."""
        return self.model.data_preprocessor(dict(inputs=torch.stack(list(views))))['inputs']


def publish(
    out: Path, subject: str, title: str, lead: str, plates: list[Plate], *extra: str
) -> Path:
    """Write pictures and page, print where, and return the page."""
    path = write(out, subject, title, lead, plates, ''.join(extra))
    print(f'{subject}: {path}' + (f' and {len(plates)} PNG' if plates else ''))
    return path
