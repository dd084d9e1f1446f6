"""Command-line options and session of the analysis tools: model, weights, views, batches."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from ..apis.images import ImageReader, open_image
from ..apis.model import get_model, is_training_file
from ..core import UserError
from ..datasets import ImageDataset
from ..models.backbones import Backbone
from ..registry import TRANSFORMS
from ..zoo.hub import ModelHub


def analysis_parser(description: str | None) -> argparse.ArgumentParser:
    """Return an argument parser with MODEL, --weights, --size, --device and --out."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument('model', help='published model, config, or training file of ours')
    made.add_argument(
        '--weights', help="file, address or model name, or 'random'; default: the published ones"
    )
    made.add_argument('--size', type=int, help="side of the views in pixels; default: the model's")
    made.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    add_out_option(made)
    return made


def add_out_option(made: argparse.ArgumentParser) -> None:
    """Add --out."""
    made.add_argument('--out', required=True, type=Path, help='folder for the PNGs and the page')


def model_with_weights(name: str, weights: str | None, device: Any) -> BaseModel:
    """Build a model and load its weights.

    A training file of ours has its own. Raises UserError for a config without ``weights``: a random
    network must be requested.
    """
    if weights is None and is_training_file(name):
        return get_model(name, device=device)
    if weights is None and not ModelHub.has(name):
        raise UserError(
            f'{name}: add --weights FILE, or --weights random for an untrained network',
            key='--weights',
            value=None,
        )
    if weights is None:
        return get_model(name, True, device)
    if weights == 'random':
        torch.manual_seed(0)  # the same figures every time
        return get_model(name, False, device)
    return get_model(name, weights, device)


class AnalysisSession:
    """A model, and the views and batches it takes.

    ``size`` is the side of the square views, by default what the model is evaluated with;
    ``lead`` says which network it is. Raises UserError for a size below 1.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        weights = args.weights or 'as published'
        self.lead = f'{args.model}, weights: {weights}.'
        self.model = model_with_weights(args.model, args.weights, args.device)
        self.reader = ImageReader(self.model)
        if args.size is not None:
            if args.size < 1:
                raise UserError(f'--size {args.size}: at least 1', key='--size', value=args.size)
            step = dict(type='CenterView', size=args.size, resize=args.size)
            self.reader.transforms = [TRANSFORMS.build(step)]

    @property
    def backbone(self) -> Backbone:
        """The backbone that is analysed."""
        found: Backbone = self.model.backbone
        return found

    def view(self, image: Any) -> Tensor:
        """Return the view of an image, uint8 (3, S, S).

        Raises UserError for an unreadable image and for a view that is too small for the network.
        """
        view = self.reader.view(open_image(image, self.reader.load))
        cell, side = self.backbone.strides[-1], min(view.shape[1:])
        if side < cell:
            raise UserError(
                f'{image}: a view of {side} px is smaller than a cell of the last map ({cell} px); '
                f'use --size {cell} or more',
                key='--size',
                value=side,
            )
        return view

    def folder(self, root: str) -> ImageDataset:
        """Return the images of a folder as views, in class folders or not."""
        images = ImageDataset(root, pipeline=[dict(type='LoadImage')])
        images.transforms += self.reader.transforms
        return images

    def batch(self, views: Sequence[Tensor]) -> Tensor:
        """Return views as the network takes them, (B, 3, S, S) on its device."""
        found: Tensor = self.model.data_preprocessor(dict(inputs=torch.stack(list(views))))[
            'inputs'
        ]
        return found
