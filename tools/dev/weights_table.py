"""Print the table of docs/weights.md: features compared, from every layout to every library.

For each source a file is written in its layout, with random weights and two different branches;
its backbone is exported, loaded into the library's own network, and both see one image in
float64. A cell is the largest relative difference, '-' where a library has no such network.
"""

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmssl.checkpoint.architecture import family, sizes
from mmssl.checkpoint.export import TARGETS, export, network
from mmssl.checkpoint.layouts import LAYOUTS
from mmssl.cli.options import run_tool
from mmssl.core import UserError
from mmssl.models.backbones import CvT, ResNet, SwinTransformer, ViL, VisionTransformer

VIL = 'l1,h1,d8,n1,s1,g1,p4,f3,a0_l2,h2,d12,n1,s1,g1,p2,f3,a0_l3,h2,d16,n1,s0,g0,p2,f3,a0'
NETS: dict[str, Any] = {
    'resnet': partial(ResNet, layers=(1, 1, 1, 1)),
    'vit': partial(VisionTransformer, (48, 3, 3), img_size=48, patch_size=8),
    'swin': partial(
        SwinTransformer, (24, (2, 2, 2, 2), (1, 2, 4, 8)), img_size=64, patch_size=2, window_size=4
    ),
    'cvt': partial(CvT, (8, 16, 24, 32), (1, 1, 2, 2), (1, 2, 3, 4), (4, 4, 4, 4)),
    'vil': partial(ViL, VIL, img_size=48),
}
ROWS = [
    *(('mocov2', 'resnet'), ('mocov3', 'resnet'), ('mocov3', 'vit'), ('swav', 'resnet')),
    *(('moby', 'swin'), ('moby', 'vit'), ('esvit', 'swin'), ('esvit', 'resnet')),
    *(('esvit', 'cvt'), ('esvit', 'vil'), ('dino', 'vit'), ('ibot', 'vit'), ('ibot', 'swin')),
    *(('sere', 'vit'), ('openselfsup_mocov2', 'resnet'), ('mm_mocov2', 'resnet')),
    *(('mm_mocov3', 'resnet'), ('mm_mocov3', 'vit')),
    *(('mm_swav', 'resnet'), ('mmpretrain', 'resnet'), ('mmpretrain', 'vit')),
    *(('torchvision', 'resnet'), ('timm', 'vit'), ('timm', 'swin'), ('swin', 'swin')),
    *(('mmseg', 'vit'), ('mmdet', 'swin'), *(('mmssl', kind) for kind in NETS)),
]
ODD = (70, 93)  # pixels, for networks that take any size
NATIVE = {'vit': (48, 48), 'swin': (64, 64), 'cvt': (64, 64), 'vil': (48, 48)}


def eps(layout: str, kind: str) -> dict[str, float]:
    """Return the epsilon of layer norms where a Swin of this source has its own."""
    return dict(norm_eps=1e-6) if kind == 'swin' and layout in ('esvit', 'ibot') else {}


def write(layout: str, kind: str, path: Path) -> nn.Module:
    """Write a file of the layout; return the network it exports, in float64 and eval."""
    table = LAYOUTS[layout]
    branches = {}
    for seed, branch in enumerate(('student', 'teacher')):
        torch.manual_seed(seed)
        branches[branch] = NETS[kind](**eps(layout, kind)).double().eval()
        for name, value in branches[branch].state_dict().items():
            if value.is_floating_point():  # no layer at its initial zeros and ones
                value.add_(0.1 * torch.rand_like(value) * (1 + name.endswith('running_var')))
    ours: dict[str, Tensor] = {}
    single = not any('student.' in (pair.ours or '') for pair in table.pairs)
    for branch, net in branches.items():
        prefix = 'backbone.' if single else f'{branch}.backbone.'
        if not single or branch == 'student':
            ours |= {prefix + k: v for k, v in net.state_dict().items()}
    if not single:
        relations = ['channel.projection.0'] if layout == 'sere' else []
        for neck in ('project.0', 'view.mlp.0', *relations):
            ours[f'student.neck.{neck}.weight'] = torch.ones(2, 2)
        ours['student.backbone.mask_token'] = torch.ones(1, 2)
    state = table.restore(ours) if layout != 'mmssl' else ours
    content: dict[str, Any] = {table.roots[0]: state} if table.roots else {}
    for section in table.sections:
        start = f'{section}.'
        content[section] = {k.removeprefix(start): state[k] for k in state if k.startswith(start)}
    torch.save(content, path)
    return branches['student' if single else table.export]


def theirs(target: str, state: dict[str, Tensor], size: dict[str, Any], kind: str, e: float) -> Any:
    """Build the target's own network with the sizes found in ``state``."""
    norm = partial(nn.LayerNorm, eps=e)
    if kind == 'resnet' and target in ('torchvision', 'timm'):
        import timm.models.resnet
        import torchvision.models.resnet

        if target == 'timm':
            return timm.models.resnet.ResNet(
                timm.models.resnet.Bottleneck, size['layers'], num_classes=0
            )
        net = torchvision.models.resnet.ResNet(torchvision.models.resnet.Bottleneck, size['layers'])
        net.fc = nn.Identity()
        return net
    if target == 'timm' and kind == 'swin':
        import timm.models.swin_transformer as swin

        return swin.SwinTransformer(
            64, size['patch_size'], num_classes=0, embed_dim=size['width'], depths=size['depths'],
            num_heads=size['heads'], window_size=max(size['windows']), norm_layer=norm,
        )  # fmt: skip
    if target == 'timm':
        import timm.models.vision_transformer as vit

        return vit.VisionTransformer(
            size['img_size'], size['patch_size'], num_classes=0, embed_dim=size['width'],
            depth=size['depth'], num_heads=3, norm_layer=norm,
        )  # fmt: skip
    return _openmmlab(target, size, kind, e)


def _openmmlab(target: str, size: dict[str, Any], kind: str, e: float) -> Any:
    import mmdet.models.backbones as det
    import mmseg.models.backbones as seg

    library = det if target == 'mmdet' else seg
    if kind == 'resnet':
        base = library.ResNet
        block = base.arch_settings[50][0]
        tiny = type('Tiny', (base,), dict(arch_settings={50: (block, size['layers'])}))
        return tiny(50)
    cfg = dict(type='LN', eps=e)
    if kind == 'vit':
        return seg.VisionTransformer(
            size['img_size'], size['patch_size'], embed_dims=size['width'], norm_cfg=cfg,
            num_layers=size['depth'], num_heads=3, patch_bias=True, final_norm=True,
        )  # fmt: skip
    return library.SwinTransformer(
        patch_size=size['patch_size'], embed_dims=size['width'], depths=size['depths'],
        num_heads=size['heads'], window_size=max(size['windows']), norm_cfg=cfg,
        strides=(size['patch_size'], 2, 2, 2),
    )  # fmt: skip


def fill(net: Any, state: dict[str, Tensor], target: str, kind: str) -> Any:
    """Load an exported file; nothing may be left over, nor missing but norms of single outputs."""
    state = {k.removeprefix('backbone.') if target == 'mmdet' else k: v for k, v in state.items()}
    net.double().eval()  # mmdet's eval returns nothing
    missing, unexpected = net.load_state_dict(state, strict=False)
    if target.startswith('mm') and kind == 'swin':
        missing = [key for key in missing if not key.startswith('norm')]
    if missing or unexpected:
        raise UserError(f'{target} {kind}: missing {missing[:3]}, unexpected {unexpected[:3]}')
    return net


# of the official DINOv2 and DINOv3 timm is the reader: tests/test_checkpoint/test_dinov2.py
LIBRARIES = [target for target in TARGETS if target not in ('dinov2', 'dinov3')]


@torch.no_grad()
def difference(path: Path, target: str, net: Any, layout: str) -> float | None:
    """Return the largest relative difference of features, None where there is no such network."""
    found = network(path)
    kind, size = family(found.state), sizes(found.state)
    if kind not in TARGETS[target]:
        return None
    state = export(found.state, target).state
    image = torch.rand(2, 3, *NATIVE.get(kind, ODD)).double()
    if target == 'mmssl' or TARGETS[target][kind] == 'mmssl':
        other = fill(NETS[kind](**eps(layout, kind)), state, 'mmssl', kind)
        return relative(other.encode(image).tokens, net.encode(image).tokens)
    e = 1e-6 if kind == 'vit' or eps(layout, kind) else 1e-5
    other = fill(theirs(target, state, size, kind, e), state, target, kind)
    if target in ('timm', 'torchvision'):
        return relative(other(image), net.encode(image).pooled)
    net.out_indices = None if kind == 'vit' else (0, 1, 2, 3)
    image = image if kind == 'vit' else torch.rand(2, 3, *ODD).double()
    maps, expected = other(image), net(image)
    if kind == 'vit':
        done = net.encode(image)
        expected = [done.tokens.mT.unflatten(2, done.grid)]
    if kind == 'swin':  # a norm of each output, as at the start of training
        expected = [
            nn.functional.layer_norm(m.movedim(1, -1), m.shape[1:2], eps=e).movedim(-1, 1)
            for m in expected
        ]
    return max(relative(a, b) for a, b in zip(maps, expected, strict=True))


def relative(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, in units of the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--to', nargs='+', choices=TARGETS, default=LIBRARIES)
    targets = parser.parse_args(argv).to
    print(f'| source | network | {" | ".join(targets)} |')
    print(f'|---|---|{"---|" * len(targets)}')
    with tempfile.TemporaryDirectory() as folder:
        for layout, kind in ROWS:
            path = Path(folder) / 'x.pth'
            net = write(layout, kind, path)
            lone = layout == 'mmdet'  # without the last norm
            found = [
                None if lone and to in ('timm', 'mmssl') else difference(path, to, net, layout)
                for to in targets
            ]
            cells = ['-' if d is None else f'{d:.0e}' if d else '0' for d in found]
            print(f'| {layout} | {kind} | {" | ".join(cells)} |', flush=True)


if __name__ == '__main__':
    run_tool(main)
