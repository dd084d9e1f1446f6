"""Export a backbone to ONNX, torch.export or Hugging Face, and check the result.

    onnx         one .onnx file, checked with onnxruntime
    torch        one .pt2 file of torch.export
    huggingface  a folder that timm.create_model('local-dir:FOLDER', pretrained=True) loads, or
                 'hf-hub:NAME' once it is uploaded; checked in float64

CONFIG is any config with a backbone, CHECKPOINT any file that mmssl reads. The result takes images
(B, 3, size, size), B free, and gives pooled features (B, C), or maps with --maps.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..apis import load_config
from ..checkpoint import load
from ..core import UserError
from ..core.errors import at_least
from ..core.io import atomic_write
from ..models.backbones import Backbone
from ..models.backbones.to_timm import twin
from ..models.preprocessor import adopt_normalisation
from ..registry import MODELS
from .options import OptionAction

TOLERANCE = {'onnx': 1e-4, 'torch': 1e-5, 'huggingface': 1e-9}  # of the largest value
BIG = 1_800_000_000  # bytes; an .onnx file holds 2 GB, the rest goes beside it


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. Raises UserError for a --size below 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('kind', choices=list(TOLERANCE))
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help="file or address; 'random' exports untrained weights")
    parser.add_argument('out', help='file, or folder for huggingface')
    parser.add_argument('--size', type=int, default=224, help='pixels of a side (default: 224)')
    parser.add_argument(
        '--maps', type=int, nargs='+', metavar='I', help='give feature maps of these out_indices'
    )
    parser.add_argument('--branch', default='export', choices=['export', 'student', 'teacher'])
    parser.add_argument(
        '--tolerance', type=float, help='largest difference accepted, relative to the largest value'
    )
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, metavar='KEY=VALUE')
    args = parser.parse_args(argv)
    at_least('--size', args.size)
    return args


class ExportedNetwork(nn.Module):
    """The module that is exported: images in, pooled features or feature maps out."""

    def __init__(self, backbone: Backbone, maps: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.maps = maps

    def forward(self, image: Tensor) -> Any:
        """(B, 3, H, W) -> (B, C), or a tuple of (B, C, h, w)."""
        return self.backbone(image) if self.maps else self.backbone.encode(image).pooled


def read(args: argparse.Namespace) -> tuple[Backbone, dict]:
    """Return (backbone with weights, its config's preprocessing).

    Raises UserError when the config has no backbone or the file does not fit it.
    """
    model = load_config(args.config, args.cfg_options).model
    if 'backbone' not in model:
        raise UserError(
            f'{args.config}: has no model.backbone to export', key='model.backbone', value=None
        )
    wanted = {k: v for k, v in model.backbone.items() if k not in ('init_cfg', 'mask_token')}
    if args.maps:
        wanted['out_indices'] = tuple(args.maps)
    backbone = MODELS.build(wanted).eval()
    if args.checkpoint != 'random':
        load(backbone, args.checkpoint, part='backbone', branch=args.branch)
    return backbone, dict(model.get('data_preprocessor') or {})


def to_onnx(net: ExportedNetwork, example: Tensor, images: Tensor, out: Path) -> list[Tensor]:
    """Write an .onnx file; return its outputs for ``images`` (B, 3, H, W).

    Raises UserError when onnx or onnxruntime is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"kind onnx needs {error.name}: pip install 'mmssl[deploy]'", key='kind', value='onnx'
        ) from None
    count = len(net.backbone.out_channels) if net.maps else 1
    big = sum(p.numel() * p.element_size() for p in net.parameters()) > BIG
    torch.onnx.export(
        net,
        (example,),
        out,
        input_names=['image'],
        output_names=[f'map{i}' for i in range(count)] if net.maps else ['features'],
        dynamic_shapes={'image': {0: torch.export.Dim('batch')}},
        dynamo=True,
        external_data=big,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(out, providers=['CPUExecutionProvider'])
    return [torch.from_numpy(y) for y in session.run(None, {'image': images.numpy()})]


def to_program(net: ExportedNetwork, example: Tensor, images: Tensor, out: Path) -> list[Tensor]:
    """Write a .pt2 file; return its outputs for ``images`` (B, 3, H, W)."""
    program = torch.export.export(net, (example,), dynamic_shapes=({0: torch.export.Dim('batch')},))
    torch.export.save(program, out)
    found = torch.export.load(out).module()(images)
    return [found] if isinstance(found, Tensor) else list(found)


def _written(values: Tensor) -> list[float]:
    """Return mean or standard deviation (3, 1, 1) of pixels as a config writes them."""
    return [round(value, 6) for value in values.flatten().tolist()]


def to_huggingface(backbone: Backbone, size: int, pixels: dict, out: Path) -> str:
    """Write config.json and model.safetensors; return what timm computes otherwise, or ''."""
    name, args, differs = twin(backbone)
    out.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.contiguous() for k, v in backbone.net.state_dict().items()}
    save_file(tensors, out / 'model.safetensors', metadata={'format': 'pt'})
    known = timm.get_pretrained_cfg(name)
    # what the network was trained on, which is not what timm states of the network of this name
    seen = MODELS.build({'type': 'ViewPreprocessor', **pixels})
    adopt_normalisation(seen, backbone)
    pretrained = dict(
        tag='mmssl',
        custom_load=False,
        input_size=[3, size, size],
        fixed_input_size=known.fixed_input_size,
        crop_pct=0.875,
        mean=_written(seen.mean),
        std=_written(seen.std),
        num_classes=0,
        first_conv=known.first_conv,
        classifier=known.classifier,
    )
    config = dict(architecture=name, num_classes=0, num_features=backbone.num_features)
    config |= dict(model_args=args, pretrained_cfg=pretrained)
    atomic_write(out / 'config.json', json.dumps(config, indent=2) + '\n')
    return differs


@torch.no_grad()
def main(argv: Sequence[str] | None = None) -> float:
    """Export, print the check, and return the largest absolute difference.

    Raises UserError for --maps with a Hugging Face folder, and for a result that differs.
    """
    args = parse(argv)
    out = Path(args.out)
    differs = ''
    backbone, pixels = read(args)
    out.parent.mkdir(parents=True, exist_ok=True)
    net = ExportedNetwork(backbone, bool(args.maps)).eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 3, args.size, args.size, generator=generator)
    if args.kind == 'huggingface':
        if args.maps:
            raise UserError(
                '--maps: a Hugging Face folder holds the whole network; leave it out',
                key='--maps',
                value=args.maps,
            )
        images = images.double()
        differs = to_huggingface(backbone, args.size, pixels, out)
        found = [timm.create_model(f'local-dir:{out}', pretrained=True).double().eval()(images)]
        net.double()
    else:
        write = to_onnx if args.kind == 'onnx' else to_program
        found = write(net, images[:2] * 0.5, images, out)
    expected = net(images)
    expected = [expected] if isinstance(expected, Tensor) else list(expected)
    return check(args, differs, found, expected)


def check(
    args: argparse.Namespace, differs: str, found: list[Tensor], expected: list[Tensor]
) -> float:
    """Print the largest absolute difference of the outputs ``found`` and ``expected``; return it.

    Outputs are (B, C) or maps (B, C, h, w). Raises UserError when it is too large.
    """
    worst = max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True))
    largest = max(float(b.abs().max()) for b in expected)
    tolerance = args.tolerance or (1e-3 if differs else TOLERANCE[args.kind])
    text = (
        f'{args.out}: largest absolute difference {worst:.1e}, of values up to {largest:.1e} '
        f'(3 images of {args.size} px; tolerance {tolerance:g} of the largest)'
    )
    print(f'{text}; {differs}' if differs else text)
    if not worst <= tolerance * largest:
        raise UserError(
            f'{args.out}: does not equal the network it was made from; do not use it',
            key='folder' if args.kind == 'huggingface' else 'file',
            value=args.out,
        )
    return worst
