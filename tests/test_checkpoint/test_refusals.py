"""Refusals of mmssl.checkpoint: each error has the key and the value at fault."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from httpx2 import URL

from mmssl.checkpoint import Layout, load, local_path, read, register_layout, save
from mmssl.checkpoint.architecture import sizes
from mmssl.checkpoint.export import export, network
from mmssl.checkpoint.fetch import web
from mmssl.checkpoint.layouts import detect
from mmssl.checkpoint.load import content_state
from mmssl.checkpoint.matching import match_branches
from mmssl.checkpoint.resize import resize_table
from mmssl.models.backbones import ResNet, SwinTransformer, VisionTransformer

from ..helpers.methods import build
from ..helpers.paths import GOLDEN
from ..helpers.refusals import refuses

ESVIT = str(GOLDEN / 'esvit_swin_vr_a' / 'official.pth')
SWAV = str(GOLDEN / 'swav_r50_a' / 'official.pth')
LINEAR = str(GOLDEN / 'esvit_linear_a' / 'linear_checkpoint.pth.tar')
VIT = {'net.blocks.0.attn.qkv.weight': torch.zeros(6, 2)}  # what a ViT is recognised by
small_swin = partial(SwinTransformer, (8, (1, 1, 1, 2), (1, 2, 4, 8)))


def written(folder: Path, content: Any) -> Path:
    torch.save(content, folder / 'x.pth')
    return folder / 'x.pth'


# id: (what is done in a folder, key, value, a fact that the message names)
CASES: dict[str, tuple[Callable[[Path], Any], str, Any, str]] = {
    # arguments
    'part': (lambda _: load(build('mocov3'), ESVIT, part='neck'), 'part', 'neck', 'all, backbone'),
    'branch': (
        lambda _: load(build('mocov3'), ESVIT, branch='both'),
        'branch', 'both', 'export, student, teacher',
    ),
    'branch that the file lacks': (
        lambda _: match_branches(['student.backbone.net.w'], ['net.w'], 'teacher', 'export'),
        'branch', 'export', "branch='student'",
    ),
    'branch of a method without a teacher': (
        lambda _: network(SWAV, branch='teacher'), 'branch', 'teacher', "branch='student'",
    ),
    'layout': (lambda _: load(build('mocov3'), SWAV, layout='mobi'), 'layout', 'mobi', ' moby,'),
    'layout that exists': (
        lambda _: register_layout(Layout('moby', roots=('x',), sign='y', pairs=())),
        'layout', 'moby', '',
    ),
    'target': (lambda _: export(ResNet(18).state_dict(), 'keras'), 'target', 'keras', 'timm, '),
    'target without such networks': (
        lambda _: export(VisionTransformer((32, 1, 2)).state_dict(), 'torchvision'),
        'target', 'torchvision', 'mmssl, timm, mmdet, mmseg',
    ),
    'target without small stems': (
        lambda _: export(ResNet(18, small_stem=True).state_dict(), 'mmdet'),
        'target', 'mmdet', 'a 7x7 stem, this network a 3x3 one',
    ),
    'target without convolutional stems': (
        lambda _: export(VisionTransformer((32, 1, 2), stem='conv').state_dict(), 'timm'),
        'target', 'timm', 'convolutional stem',
    ),
    'target without batch norms': (
        lambda _: export(small_swin(norm_before_mlp='batch').state_dict(), 'mmseg'),
        'target', 'mmseg', 'batch norm',
    ),
    'target without positions': (
        lambda _: export(small_swin(absolute_positions=True).state_dict(), 'mmdet'),
        'target', 'mmdet', 'absolute positions',
    ),
    # tensors
    'part of a network': (lambda _: sizes(VIT), 'net.cls_token', None, 'vit'),
    'shapes of no network': (
        lambda _: sizes(VIT | {'net.cls_token': torch.zeros(())}), 'state', 'vit', '',
    ),
    'position biases': (lambda _: resize_table(torch.zeros(170, 1), 14), 'table', (170, 1), '170'),
    # files
    'no file': (lambda folder: read(folder / 'x.pth'), 'file', '{folder}/x.pth', ''),
    'a folder': (read, 'file', '{folder}', ''),
    'a list': (lambda folder: read(written(folder, [torch.ones(2)])), 'file', '{folder}/x.pth',
               'a list'),
    'a file that cannot be written': (
        lambda folder: save.write({'w': torch.ones(2)}, written(folder, {}) / 'y.pth'),
        'file', '{folder}/x.pth/y.pth', 'Errno',
    ),
    'another layout': (
        lambda _: load(build('mocov3'), SWAV, layout='moby'), 'file', SWAV, "a 'moby' file",
    ),
    'not our own layout': (
        lambda _: content_state(read(ESVIT), 'x'), 'file', 'x', "a 'mmssl' file",
    ),
    'no layout': (lambda _: detect({'net': {'x': 1}, 'step': 3}, 'f'), 'file', 'f', 'net.x, step'),
    'another width': (
        lambda _: load(ResNet(layers=(1, 1, 1, 1), width=8), SWAV), 'file', SWAV,
        'net.conv1.weight (6, 3, 7, 7) for (8, 3, 7, 7)',
    ),
    'a classifier without its network': (
        lambda _: load(ResNet(layers=(1, 1, 1, 1)), LINEAR), 'file', LINEAR, 'linear.weight',
    ),
    'a fine-tuned network': (
        lambda folder: load(ResNet(18), written(folder, {
            'state_dict': {'backbone.net.conv1.weight': torch.ones(2)},
            'meta': {'model': 'Classifier'},
        })),
        'file', '{folder}/x.pth', 'fine-tuned',
    ),
    'another family': (
        lambda _: load(VisionTransformer((16, 1, 2)), SWAV), 'file', SWAV, 'net.cls_token',
    ),
    # addresses
    'ftp': (lambda _: local_path('ftp://a.org/b.pth'), 'file', 'ftp://a.org/b.pth', ''),
    'data': (lambda _: local_path('data://x'), 'file', 'data://x', ''),
    's3': (lambda _: local_path('s3://bucket/x'), 'file', 's3://bucket/x', ''),
    "another machine's file": (
        lambda _: local_path('file://other.org/etc/passwd'),
        'file', 'file://other.org/etc/passwd', '',
    ),
    'https to http': (
        lambda _: web.check_redirect(
            'https://a.org/x.pth?key=1', URL('https://a.org/y'), URL('http://b.org/x')
        ),
        'file', 'https://a.org/x.pth?...', 'http://b.org/x',
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', CASES)
def test_key_and_value_are_named(name: str, tmp_path: Path) -> None:
    call, key, value, fact = CASES[name]
    if isinstance(value, str):
        value = value.replace('{folder}', str(tmp_path))
    with refuses(key, value) as caught:
        call(tmp_path)
    assert fact in str(caught.value)
    if key == 'file':  # the word alone would not help
        assert value in str(caught.value)
