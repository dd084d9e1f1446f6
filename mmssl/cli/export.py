"""Export a backbone or a classifier to ONNX, torch.export or Hugging Face, and check the result.

    onnx         one .onnx file, checked with onnxruntime
    torch        one .pt2 file of torch.export
    huggingface  a folder that timm.create_model('local-dir:FOLDER', pretrained=True) loads, or
                 'hf-hub:NAME' once it is uploaded (--push NAME); checked in float64

The result takes normalised images (B, 3, size, size), B free, and gives pooled features (B, C), or
maps with --maps. With --classifier it takes RGB pixels of 0 to 255 and gives a share of each class.
A network of N channels takes (B, N, size, size) in the order of its channels; those of a
LoadImage(value_range=(low, high)) count from 0 at low to 255 at high for a classifier.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn

from ..apis.images import evaluation_size
from ..apis.model import get_model, read_config
from ..checkpoint import load
from ..core import UserError
from ..core.errors import at_least
from ..models.backbones import Backbone
from ..models.classifier import Classifier
from ..registry import MODELS
from . import hub_folder
from .options import OptionAction

TOLERANCE = {'onnx': 1e-4, 'torch': 1e-5, 'huggingface': 1e-9}  # of the largest value
BIG = 1_800_000_000  # bytes; an .onnx file holds 2 GB, the rest goes beside it


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. Raises UserError for a --size below 1 and options that do not fit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('kind', choices=list(TOLERANCE))
    parser.add_argument('model', help='name of a published model, config, or training file of ours')
    parser.add_argument('out', help='file, or folder for huggingface')
    parser.add_argument(
        '--weights', help="file, address or model name, or 'random'; default: the published ones"
    )
    parser.add_argument('--size', type=int, help="pixels of a side; default: the network's")
    parser.add_argument(
        '--classifier', action='store_true', help='pixels in, a share of each class out'
    )
    parser.add_argument('--push', metavar='USER/MODEL', help='upload the folder to the Hub')
    parser.add_argument('--private', action='store_true', help='what is uploaded')
    parser.add_argument(
        '--maps', type=int, nargs='+', metavar='I', help='give feature maps of these out_indices'
    )
    parser.add_argument('--branch', default='export', choices=['export', 'student', 'teacher'])
    parser.add_argument(
        '--tolerance', type=float, help='largest difference accepted, relative to the largest value'
    )
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, metavar='KEY=VALUE')
    args = parser.parse_args(argv)
    if args.size is not None:
        at_least('--size', args.size)
    for name, fits in (('push', args.kind == 'huggingface'), ('private', args.push)):
        if getattr(args, name) and not fits:
            raise UserError(
                f'--{name}: for export huggingface{"" if name == "push" else " --push"} only',
                key=f'--{name}',
                value=getattr(args, name),
            )
    if args.maps and args.kind == 'huggingface':
        raise UserError(
            '--maps: a Hugging Face folder holds the whole network; leave it out',
            key='--maps',
            value=args.maps,
        )
    if args.classifier and (args.maps or args.kind == 'huggingface'):
        other = '--maps' if args.maps else 'huggingface'
        raise UserError(
            f'--classifier: not with {other}, which has no classes', key='--classifier', value=True
        )
    return args


class ExportedNetwork(nn.Module):
    """The module that is exported: images in, pooled features or feature maps out."""

    def __init__(self, backbone: Backbone, maps: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.channels = backbone.in_channels
        self.maps = maps
        count = len(backbone.out_channels) if maps else 1
        self.outputs = [f'map{i}' for i in range(count)] if maps else ['features']

    def forward(self, image: Tensor) -> Any:
        """(B, N, H, W) -> (B, C), or a tuple of (B, C, h, w)."""
        return self.backbone(image) if self.maps else self.backbone.encode(image).pooled


class ExportedClassifier(nn.Module):
    """The module that is exported of a classifier: pixels in, shares of classes out."""

    outputs = ('scores',)

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model
        self.channels = model.backbone.in_channels

    def forward(self, image: Tensor) -> Tensor:
        """(B, N, H, W) of 0 to 255 -> (B, classes), which sum to 1."""
        pixels = self.model.data_preprocessor
        normal = (image / 255 - pixels.mean) / pixels.std
        return self.model.logits(normal).softmax(1)


class Source(NamedTuple):
    """What is exported: the network, its preprocessing, the size of images, classes, weights."""

    network: Any  # `ExportedNetwork` or `ExportedClassifier`
    pixels: dict[str, Any]
    size: int
    classes: tuple[str, ...]
    weights: str


def read(args: argparse.Namespace) -> Source:
    """Return the network with weights.

    Raises UserError when the config has no backbone, no weights are named, the file does not fit,
    or a model that is no classifier is to be exported as one.
    """
    cfg, info = read_config(args.model)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    if 'backbone' not in cfg.model:
        raise UserError(
            f'{args.model}: has no model.backbone to export', key='model.backbone', value=None
        )
    weights = args.weights
    if weights is None and info is None and not cfg.get('load_from'):
        raise UserError(
            f'{args.model}: add --weights FILE, or --weights random for an untrained network',
            key='--weights',
            value=None,
        )
    if args.classifier:
        model = get_model(cfg, {None: True, 'random': False}.get(weights, weights))
        if not isinstance(model, Classifier):
            raise UserError(
                f'{args.model}: predicts no classes; leave --classifier out',
                key='--classifier',
                value=True,
            )
        size = args.size or size_of(cfg)
        names = tuple(model._dataset_meta.get('classes', ()))
        return Source(ExportedClassifier(model).eval(), {}, size, names, str(weights))
    wanted = {k: v for k, v in cfg.model.backbone.items() if k not in ('init_cfg', 'mask_token')}
    if args.maps:
        wanted['out_indices'] = tuple(args.maps)
    backbone = MODELS.build(wanted).eval()
    if weights != 'random':
        file = weights or (info.fetch() if info else cfg.load_from)
        load(backbone, file, part='backbone', branch=args.branch)
    network = ExportedNetwork(backbone, bool(args.maps)).eval()
    pixels = dict(cfg.model.get('data_preprocessor') or {})
    return Source(network, pixels, args.size or size_of(cfg), (), str(weights))


def size_of(cfg: Any) -> int:
    """Return the pixels of a side that a network was built for, or else measured with."""
    return int(cfg.model.backbone.get('img_size') or evaluation_size(cfg))


def to_onnx(source: Source, example: Tensor, images: Tensor, out: Path) -> list[Tensor]:
    """Write an .onnx file; return its outputs for ``images`` (B, N, H, W).

    A classifier's names of classes are in its metadata, as JSON. Raises UserError when onnx or
    onnxruntime is not installed.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"kind onnx needs {error.name}: pip install 'mmssl[deploy]'", key='kind', value='onnx'
        ) from None
    net = source.network
    big = sum(p.numel() * p.element_size() for p in net.parameters()) > BIG
    torch.onnx.export(
        net,
        (example,),
        out,
        input_names=['image'],
        output_names=net.outputs,
        dynamic_shapes={'image': {0: torch.export.Dim('batch')}},
        dynamo=True,
        external_data=big,
        verbose=False,
    )
    if source.classes:
        model = onnx.load(out, load_external_data=False)
        onnx.helper.set_model_props(model, {'classes': json.dumps(source.classes)})
        onnx.save(model, out)
    session = onnxruntime.InferenceSession(out, providers=['CPUExecutionProvider'])
    return [torch.from_numpy(y) for y in session.run(None, {'image': images.numpy()})]


def to_program(source: Source, example: Tensor, images: Tensor, out: Path) -> list[Tensor]:
    """Write a .pt2 file; return its outputs for ``images`` (B, N, H, W)."""
    net = source.network
    program = torch.export.export(net, (example,), dynamic_shapes=({0: torch.export.Dim('batch')},))
    torch.export.save(program, out)
    found = torch.export.load(out).module()(images)
    return [found] if isinstance(found, Tensor) else list(found)


@torch.no_grad()
def main(argv: Sequence[str] | None = None) -> float:
    """Export, print the check, and return the largest absolute difference.

    Raises UserError for a result that differs.
    """
    args = parse(argv)
    out = Path(args.out)
    source = read(args)
    out.parent.mkdir(parents=True, exist_ok=True)
    net, size, differs = source.network, source.size, ''
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, net.channels, size, size, generator=generator)
    if args.classifier:
        images = images.mul(64).add(128).clamp(0, 255)
    if args.kind == 'huggingface':
        images = images.double()
        trained = f'weights {source.weights}'
        differs = hub_folder.write(net.backbone, size, source.pixels, trained, out)
        theirs = timm.create_model(f'local-dir:{out}', pretrained=True).double().eval()
        try:
            found = [theirs(images)]
        except AssertionError as error:
            raise UserError(
                f'--size {size}: {error} Give --size the size that the network has in timm',
                key='--size',
                value=size,
            ) from None
        net.double()
    else:
        export = to_onnx if args.kind == 'onnx' else to_program
        found = export(source, images[:2] * 0.5, images, out)
    expected = net(images)
    expected = [expected] if isinstance(expected, Tensor) else list(expected)
    worst = check(args, size, differs, found, expected)
    if args.push:
        print(f'{args.out}: at {hub_folder.push(out, args.push, args.private)}')
    return worst


def check(
    args: argparse.Namespace, size: int, differs: str, found: list[Tensor], expected: list[Tensor]
) -> float:
    """Print the largest absolute difference of the outputs ``found`` and ``expected``; return it.

    Outputs are (B, C) or maps (B, C, h, w). Raises UserError when it is too large.
    """
    worst = max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True))
    largest = max(float(b.abs().max()) for b in expected)
    tolerance = args.tolerance or (1e-3 if differs else TOLERANCE[args.kind])
    text = (
        f'{args.out}: largest absolute difference {worst:.1e}, of values up to {largest:.1e} '
        f'(3 images of {size} px; tolerance {tolerance:g} of the largest)'
    )
    print(f'{text}; {differs}' if differs else text)
    if not worst <= tolerance * largest:
        raise UserError(
            f'{args.out}: does not equal the network it was made from; do not use it',
            key='folder' if args.kind == 'huggingface' else 'file',
            value=args.out,
        )
    return worst
