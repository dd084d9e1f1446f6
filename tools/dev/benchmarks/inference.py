"""Images per second of the networks of the published tables, beside timm's and torchvision's.

Forward only, no gradients, one batch of random images of 224 px, float32, or bfloat16 on a GPU.
Printed: parameters, img/s of ours and of the library's network (medians), the rounds' ratios of
times (ours / library), and the img/s that MoBY's README publishes: a V100's, so that only the
order of networks may be compared with it.
"""

import argparse
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import timm
import torch
import torchvision
from rich.console import Console
from rich.table import Table
from torch import nn
from turns import DEVICE, in_turns, ratio

from mmssl.cli.options import run_tool, select_by_prefix
from mmssl.core import UserError
from mmssl.planning.complexity import count
from mmssl.registry import MODELS


class Entry(NamedTuple):
    """A backbone's config, the same network of a library, and published img/s."""

    backbone: dict
    library: str | None = None
    published: str = ''


def _swin(arch: str, window: int = 7) -> dict:
    return dict(type='SwinTransformer', arch=arch, window_size=window)


NETWORKS = {
    'ResNet-50': Entry(dict(type='ResNet', depth=50), 'torchvision/resnet50'),
    'ResNet-50 w2': Entry(dict(type='ResNet', depth=50, width=128)),
    'ResNet-50 w4': Entry(dict(type='ResNet', depth=50, width=256)),
    'ViT-S/16': Entry(
        dict(type='VisionTransformer', arch='small'), 'vit_small_patch16_224', '940.4 (DeiT-S)'
    ),
    'ViT-B/16': Entry(dict(type='VisionTransformer', arch='base'), 'vit_base_patch16_224'),
    'Swin-T': Entry(_swin('tiny'), 'swin_tiny_patch4_window7_224', '755.2'),
    'Swin-T, window 14': Entry(_swin('tiny', 14)),
    'Swin-S': Entry(_swin('small'), 'swin_small_patch4_window7_224'),
    'Swin-B': Entry(_swin('base'), 'swin_base_patch4_window7_224'),
    'CvT': Entry(dict(type='CvT')),
    'ViL': Entry(dict(type='ViL', mode=0)),
}


def library(name: str) -> nn.Module:
    """Build a library's network without its classifier."""
    if name.startswith('torchvision/'):
        net = torchvision.models.get_model(name.removeprefix('torchvision/'))
        net.fc = nn.Identity()
        return net
    return timm.create_model(name, num_classes=0)


def measure(name: str, batch: int, rounds: int) -> list[str]:
    """Return the cells of a network."""
    entry = NETWORKS[name]
    nets: dict[str, Any] = dict(ours=MODELS.build(entry.backbone))
    if entry.library:
        nets['library'] = library(entry.library)
        if count(nets['library']) != count(nets['ours']):
            raise UserError(f'{name}: {entry.library} is another network')
    images = torch.randn(batch, 3, 224, 224, device=DEVICE)
    nets = {k: net.to(DEVICE).eval() for k, net in nets.items()}

    @torch.no_grad()
    def look(form: str) -> float:
        with torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == 'cuda'):
            net = nets[form]
            return float((net.encode(images).pooled if form == 'ours' else net(images)).sum())

    taken = in_turns({form: lambda form=form: look(form) for form in nets}, rounds)
    speeds = {form: f'{batch / statistics.median(times):.1f}' for form, times in taken.items()}
    return [
        name,
        f'{count(nets["ours"]) / 1e6:.1f} M',
        speeds['ours'],
        speeds.get('library', ''),
        ratio(taken['ours'], taken['library']) if entry.library else '',
        entry.published,
    ]


COLUMNS = ('network', 'parameters', 'img/s', 'img/s, library', 'ours / library', 'published, V100')


def main(argv: Sequence[str] | None = None) -> list[list[str]]:
    """Measure, print the table and return its rows."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--batch', type=int, default=256 if DEVICE == 'cuda' else 16)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--networks', nargs='+', default=list(NETWORKS), help='beginnings of names')
    args = parser.parse_args(argv)
    chosen = select_by_prefix('--networks', args.networks, NETWORKS)
    table, rows = Table(*COLUMNS), []
    for name in chosen:
        torch.manual_seed(0)
        rows.append(measure(name, args.batch, args.rounds))
        table.add_row(*rows[-1])
    console = Console(width=110)
    console.print(table)
    threads = torch.get_num_threads()
    console.print(f'batch {args.batch}, {DEVICE}, {threads} threads, torch {torch.__version__}')
    return rows


if __name__ == '__main__':
    run_tool(main)
