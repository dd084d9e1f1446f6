"""Classifier checkpoints in the layout of every publisher."""

from pathlib import Path
from typing import Any

import torch

from mmssl.checkpoint.layouts import LAYOUTS
from mmssl.registry import MODELS

RESNET = dict(type='ResNet', layers=(1, 1, 1, 1), width=4)

VIT = dict(type='VisionTransformer', arch=(24, 2, 2), img_size=16, patch_size=8)

SWIN = dict(
    type='SwinTransformer', arch=(8, (1, 1, 1, 1), (1, 2, 4, 8)), img_size=64, window_size=4,
    norm_eps=1e-6,
)  # fmt: skip


def classifier(backbone: dict[str, Any], seed: int = 0, classes: int = 3, **more: Any) -> Any:
    """Build a classifier whose head is not zero anywhere."""
    torch.manual_seed(seed)
    head = dict(type='LinearHead', num_classes=classes)
    model = MODELS.build(dict(type='Classifier', backbone=backbone, head=head, **more)).double()
    torch.nn.init.normal_(model.head.fc.bias)
    return model.eval()


def optimizer(count: int) -> dict[str, Any]:
    """State of an optimizer that had ``count`` tensors."""
    return dict(state={}, param_groups=[dict(lr=0.1, params=list(range(count)))])


def renamed(model: Any, layout: str, wrap: str = '', head: str = '') -> dict[str, Any]:
    """Names of a layout for a classifier's tensors."""
    state = LAYOUTS[layout].restore(model.state_dict())
    if head:
        names = {'weight': model.head.fc.weight, 'bias': model.head.fc.bias}
        state = {k: v for k, v in state.items() if not k.startswith(('head.', 'fc.'))}
        state |= {f'{head}.{k}': v.detach() for k, v in names.items()}
    return {wrap + k: v for k, v in state.items()}


PROBE = dict(epoch=90, arch='x', best_acc1=torch.tensor(70.0), optimizer=optimizer(2))

WHOLE: dict[str, tuple[dict[str, Any], str, str, str, str]] = {
    # name: network, layout, wrapper, name of the head, entry of the file
    'MoCo v2, linear': (RESNET, 'torchvision', 'module.', 'fc', 'state_dict'),
    'MoCo v2, linear, one GPU': (RESNET, 'torchvision', '', 'fc', 'state_dict'),
    'MoCo v3 ResNet, linear': (RESNET, 'torchvision', 'module.', 'fc', 'state_dict'),
    'MoCo v3 ViT, linear': (VIT, 'timm', 'module.', 'head', 'state_dict'),
    'MoBY DeiT, linear': (VIT, 'timm', '', 'head', 'model'),
    'MoBY Swin, linear': (SWIN, 'swin', '', 'head', 'model'),
    'DeiT, fine-tuned': (VIT, 'timm', '', 'head', 'model'),
    'mmpretrain ResNet': (RESNET, 'mmpretrain', '', 'head.fc', 'state_dict'),
    'mmpretrain ViT': (VIT, 'mmpretrain', '', 'head.layers.head', 'state_dict'),
    'timm Swin': (SWIN, 'timm', '', 'head.fc', ''),
    'torchvision': (RESNET, 'torchvision', '', 'fc', ''),
    'ours': (VIT, 'mmssl', '', 'head.fc', 'state_dict'),
}


def saved(name: str, path: Path, seed: int = 5) -> tuple[Any, Path]:
    """Write a whole classifier's file; return its model."""
    net, layout, wrap, head, entry = WHOLE[name]
    model = classifier(net, seed)
    state = renamed(model, layout, wrap, head)
    if layout == 'mmpretrain' and net is RESNET:  # both of its networks have the prefix
        state = {k if k.startswith('head.') else f'backbone.{k}': v for k, v in state.items()}
        state = {k.replace('backbone.backbone.', 'backbone.'): v for k, v in state.items()}
    content = {entry: state, **(PROBE if 'linear' in name else {})} if entry else state
    torch.save(content, path)
    return model, path
