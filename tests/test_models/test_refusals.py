"""Networks, methods and their parts refuse bad settings and inputs with the key and the value."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from mmssl.models.backbones import (
    CvT,
    ResNet,
    SwinTransformer,
    TimmBackbone,
    ViL,
    VisionTransformer,
)
from mmssl.models.backbones.to_timm import twin
from mmssl.models.backbones.vit import sincos_positions
from mmssl.models.heads import (
    ContrastiveHead,
    DistillationHead,
    LinearHead,
    SwAVHead,
    SweepHead,
)
from mmssl.models.heads.relation import RelationLoss
from mmssl.models.mixup import BatchMixup
from mmssl.models.necks import MLP, DINONeck
from mmssl.models.queue import Queue
from mmssl.registry import MODELS

from ..helpers.methods import MODELS_BY_NAME, RELATION, RESNET, VIT, build, dino, mlp
from ..helpers.refusals import refuses

HEAD = dict(type='ContrastiveHead', temperature=0.2)
SMALL = dict(arch=(16, 3, 2), img_size=16, patch_size=8)
TIMM_VIT = dict(embed_dim=12, depth=1, num_heads=1)


class Case(NamedTuple):
    """A call, the key and value that it must be refused for, and facts that the line states."""

    call: Callable[[], object]
    key: str
    value: object
    facts: tuple[str, ...] = ()


def method(name: str, **changes: Any) -> Any:
    return MODELS.build(deepcopy({**MODELS_BY_NAME[name], **changes}))


def classifier(**settings: Any) -> Any:
    head = dict(type='LinearHead', num_classes=5)
    return MODELS.build(dict(type='Classifier', backbone=VIT, head=head, **settings))


def segmenter() -> Any:
    head = dict(type='LinearHead', num_classes=5)
    return MODELS.build(dict(type='Segmenter', backbone=VIT, head=head))


def encoder(**settings: Any) -> Any:
    return MODELS.build(dict(type='Encoder', **settings))


def resnet(**settings: Any) -> ResNet:
    return ResNet(18, width=4, **settings)


def vit(**settings: Any) -> VisionTransformer:
    return VisionTransformer(**{**SMALL, **settings})


def swin(**settings: Any) -> SwinTransformer:
    return SwinTransformer(**{'arch': (8, (1, 1), (1, 2)), 'img_size': 56, **settings})


def pixels(*size: int) -> Tensor:
    """Return one image (1, 3, H, W); square of one number."""
    return torch.zeros(1, 3, *(size * 2)[:2])


def masked(net: Any) -> object:
    """Encode an image with a mask (1, 4, 4)."""
    return net.encode(pixels(64), torch.zeros(1, 4, 4, dtype=torch.bool))


BUILT: dict[str, Case] = {
    'no queue': Case(lambda: method('moco', queue_length=0), 'model.queue_length', 0),
    'less than no queue': Case(lambda: Queue(4, -3), 'model.queue_length', -3),
    'no momentum': Case(lambda: method('moby', momentum=None), 'model.momentum', None, ('MoBY',)),
    'one width': Case(lambda: method('mocov3', neck=mlp(32)), 'dims', (32,)),
    'no width': Case(lambda: MLP(()), 'dims', ()),
    'neck width': Case(
        lambda: method('mocov3', neck=mlp(30, 16, 6)), 'model.neck', 30, ('gives 32',)
    ),
    'predictor width': Case(
        lambda: method('mocov3', head=dict(HEAD, predictor=mlp(8, 16, 6))),
        *('model.head.predictor', mlp(8, 16, 6), ('8 to 6',)),
    ),
    'predictor result': Case(
        lambda: method('moby', head=dict(HEAD, predictor=mlp(6, 16, 5))),
        *('model.head.predictor', mlp(6, 16, 5), ('6 to 5',)),
    ),
    'SwAV width': Case(
        lambda: method('swav', head=dict(type='SwAVHead', dim=5, prototypes=7)),
        *('model.neck', 6, ('takes 5',)),
    ),
    'prototypes': Case(
        lambda: method('esvit', head=dict(type='DistillationHead', prototypes=11)),
        *('model.neck', 10, ('takes 11',)),
    ),
    'masks on a ConvNet': Case(
        lambda: method('sere', backbone=RESNET), 'model.backbone.type', 'ResNet'
    ),
    'shared student': Case(
        lambda: method('sere', neck=dino(12, patch_prototypes=9, shared=True)),
        *('DINONeck.patch_prototypes', 9, ('prototypes=10',)),
    ),
    'shared teacher': Case(
        lambda: method('sere', neck=dino(12, patch_prototypes=9), teacher_neck=dict(shared=True)),
        *('DINONeck.patch_prototypes', 9, ('prototypes=10',)),
    ),
    'heads of a ViT': Case(
        lambda: method('ibot', backbone=dict(type='VisionTransformer', arch=(12, 1, 5))),
        *('arch', (12, 1, 5), ('width 12', '5 heads')),
    ),
    'local heads': Case(
        lambda: method('sere', relation=dict(RELATION, local_heads='count')),
        *('model.relation.local_heads', 'count', ("'kind' or 'official'",)),
    ),
    'overlap grid': Case(
        lambda: method('sere', relation=dict(RELATION, overlap_size=(1, 3))),
        *('model.relation.overlap_size', (1, 3), ('at least 2',)),
    ),
    'local grid': Case(
        lambda: method('sere', relation=dict(RELATION, local_grid=1)),
        *('model.relation.local_grid', 1, ('at least 2',)),
    ),
    'relation weights': Case(
        lambda: RelationLoss(alpha=3.5, beta=0.5), 'model.relation.alpha', 3.5, ('below 4',)
    ),
    'alpha': Case(lambda: RelationLoss(alpha=-0.1), 'model.relation.alpha', -0.1),
    'beta': Case(lambda: RelationLoss(beta=-0.2), 'model.relation.beta', -0.2),
    'one relation temperature': Case(
        lambda: RelationLoss(temperatures=(0.5,)), 'model.relation.temperatures', (0.5,)
    ),
    'relation temperature 0': Case(
        lambda: RelationLoss(temperatures=(0.5, 0.0)), 'model.relation.temperatures', (0.5, 0.0)
    ),
    'chunk': Case(lambda: DINONeck((6, 5), 7, chunk_size=0), 'model.neck.chunk_size', 0),
    'temperature': Case(lambda: ContrastiveHead(0.0), 'model.head.temperature', 0.0),
    'student temperature': Case(
        lambda: DistillationHead(7, student_temp=-1.0), 'model.head.student_temp', -1.0
    ),
    'centre': Case(
        lambda: DistillationHead(7, center_momentum=1.5), 'model.head.center_momentum', 1.5
    ),
    'SwAV temperature': Case(
        lambda: SwAVHead(temperature=0.0), 'model.head.temperature', 0.0, ('above 0',)
    ),
    'SwAV epsilon': Case(lambda: SwAVHead(epsilon=-0.05), 'model.head.epsilon', -0.05),
    'SwAV iterations': Case(lambda: SwAVHead(iterations=0), 'model.head.iterations', 0),
    'norm of a head': Case(
        lambda: LinearHead(4, norm='batch'), 'LinearHead.norm', 'batch', ("'layer'",)
    ),
    'no rates': Case(lambda: SweepHead(4, 3, ()), 'SweepHead.rates', ()),
    'a rate of 0': Case(lambda: SweepHead(4, 3, (0.1, 0.0)), 'SweepHead.rates', (0.1, 0.0)),
    'unknown mixup': Case(
        lambda: BatchMixup(dict(mixup=0.8), 5),
        *('model.mixup.mixup', 0.8, ('did you mean mixup_alpha',)),
    ),
    'no mixup': Case(
        lambda: classifier(mixup=dict(mixup_alpha=0.0)), 'model.mixup', dict(mixup_alpha=0.0)
    ),
    'no blocks': Case(lambda: classifier(blocks=0), 'model.blocks', 0, ('has 2 blocks',)),
    'three of two blocks': Case(lambda: classifier(blocks=3), 'model.blocks', 3, ('has 2 blocks',)),
    'no network': Case(lambda: encoder(), 'model.backbone', None),
    # backbones
    'ViT arch': Case(lambda: vit(arch='smal'), 'arch', 'smal', ('tiny, small, base, large, huge',)),
    'ViT heads': Case(lambda: vit(num_heads=3), 'num_heads', 3, ('width 16',)),
    'ViT width': Case(lambda: vit(arch=(16, 1, 3)), 'arch', (16, 1, 3), ('width 16', '3 heads')),
    'ViT stem': Case(
        lambda: vit(stem='convolution'), 'stem', 'convolution', ("'patch' or 'conv'",)
    ),
    'stride of the stem': Case(
        lambda: vit(img_size=32, stem='conv', patch_size=14), 'patch_size', 14, ('16, 8 or 4',)
    ),
    'ViT positions': Case(
        lambda: vit(positions='sine'), 'positions', 'sine', ('learned, sincos, rotary',)
    ),
    'width of positions': Case(lambda: sincos_positions(2, 2, 18, torch.float32), 'dim', 18),
    'ViT init': Case(lambda: vit(init='xavier'), 'init', 'xavier', ('moco, trunc_normal',)),
    'Swin arch': Case(lambda: swin(arch='smal'), 'arch', 'smal', ('tiny, small, base, large',)),
    'Swin norm': Case(
        lambda: swin(norm_before_mlp='group'), 'norm_before_mlp', 'group', ("'layer' or 'batch'",)
    ),
    'ResNet depth': Case(lambda: ResNet(20), 'depth', 20, ('[18, 34, 50',)),
    'ViL letter': Case(lambda: ViL('l1,z3,a0'), 'arch', 'l1,z3,a0', ("'z3'",)),
    'ViL number': Case(lambda: ViL('l1,h,a0'), 'arch', 'l1,h,a0', ("'h'",)),
    'ViL stage': Case(lambda: ViL('l2,a0'), 'arch', 'l2,a0', ('stage 1 is called l2',)),
    'ViL positions': Case(lambda: ViL('l1,h3'), 'arch', 'l1,h3', ('a1',)),
    'ViL keys': Case(lambda: ViL('l1,a0,r1'), 'arch', 'l1,a0,r1', ('r1',)),
    'timm name': Case(
        lambda: TimmBackbone('convnext_tny'),
        *('name', 'convnext_tny', ('did you mean convnext_tiny',)),
    ),
    'timm name with its library': Case(
        lambda: TimmBackbone('timm/convnext_tny'), 'name', 'timm/convnext_tny'
    ),
    'timm args': Case(
        lambda: TimmBackbone('regnety_002', dict(colour=1)),
        *('args', dict(colour=1), ('timm/regnety_002', "'colour'")),
    ),
    'frozen stages': Case(
        lambda: resnet(frozen_stages=5), 'frozen_stages', 5, ('ResNet has 4 stages',)
    ),
    'map 4 of 4': Case(
        lambda: resnet(out_indices=(4,)), 'out_indices', (4,), ('ResNet has maps 0 to 3',)
    ),
    'map -5 of 4': Case(
        lambda: resnet(out_indices=(-5, 0)), 'out_indices', (-5, 0), ('ResNet has maps 0 to 3',)
    ),
    'no maps': Case(lambda: resnet(out_indices=()), 'out_indices', (), ('ResNet has maps 0 to 3',)),
    'last norm of other maps': Case(
        lambda: swin(out_indices=(0, 1), out_norm='last'), 'out_norm', 'last', ('16 channels',)
    ),
}
X = pixels(16)
CALLED: dict[str, Case] = {
    **{
        f'one view for {name}': Case(
            lambda name=name: build(name)([X.double()], {}, mode='loss'),
            *('inputs', 1, ('needs 2 views',)),
        )
        for name in MODELS_BY_NAME
    },
    'mode of a method': Case(lambda: build('mocov3')(X, mode='predict'), 'mode', 'predict'),
    'mode of an encoder': Case(lambda: encoder(backbone=VIT)(X, mode='loss'), 'mode', 'loss'),
    'stage': Case(lambda: classifier().extract_feat(X, 'logits'), 'stage', 'logits'),
    'no labels': Case(lambda: classifier()(X, {}, mode='loss'), 'label', None),
    'no samples': Case(lambda: classifier()(X, mode='loss'), 'label', None),
    'no masks': Case(lambda: segmenter()(X, {}, mode='loss'), 'label', None),
    'labels for masks': Case(
        lambda: segmenter()(X, dict(label=torch.tensor([1])), mode='loss'), 'label', (1,)
    ),
    'odd batch': Case(
        lambda: BatchMixup(dict(mixup_alpha=0.8), 5)(torch.zeros(3, 3, 4, 4), torch.arange(3)),
        *('train_dataloader.batch_size', 3),
    ),
    'batch of a queue': Case(
        lambda: build('moby').check_batch(15), 'model.queue_length', 14, ('15',)
    ),
    'batch of a memory': Case(
        lambda: build('swav').check_batch(17), 'model.head.queue_length', 16, ('17',)
    ),
    # backbones
    'ResNet mask': Case(lambda: masked(resnet()), 'mask', (1, 4, 4)),
    'Swin mask without its token': Case(lambda: masked(swin()), 'mask_token', False),
    'Swin mask of half patches': Case(
        lambda: swin(mask_token=True).encode(pixels(40), torch.zeros(1, 4, 4, dtype=torch.bool)),
        *('mask', (1, 4, 4), ('4 x 4 cells', '10 x 10 patches')),
    ),
    'CvT mask': Case(lambda: masked(CvT((8,), (1,), (1,), (4,), ((7, 4, 2),))), 'mask', (1, 4, 4)),
    'ViL mask': Case(lambda: masked(ViL('l1,h1,d8,n1,g1,p4,f2,a0')), 'mask', (1, 4, 4)),
    'mask of a ConvNet of timm': Case(
        lambda: masked(TimmBackbone('regnety_002')), 'mask', (1, 4, 4), ('timm/regnety_002',)
    ),
    'mask of a ViT of timm': Case(
        lambda: masked(TimmBackbone('vit_tiny_patch16_224', TIMM_VIT)), 'mask', (1, 4, 4)
    ),
    'mask without its token': Case(
        lambda: masked(vit(img_size=64, patch_size=16)), 'mask_token', False
    ),
    'images too small for ViL': Case(
        lambda: ViL('l1,h1,d8,n1,g1,p4,f2,a0_l2,h1,d8,n1,g0,p8,f2,a0').encode(pixels(31, 64)),
        *('x', (1, 3, 31, 64), ('32 x 32 px', '31 x 64')),
    ),
    'size of absolute positions': Case(
        lambda: swin(absolute_positions=True).encode(pixels(48)), 'img_size', 56, ('48 x 48',)
    ),
    'size of a network of timm': Case(
        lambda: TimmBackbone('vit_tiny_patch16_224', TIMM_VIT).encode(pixels(96)),
        *('args', TIMM_VIT, ('(96)', 'dynamic_img_size')),
    ),
    'six of five blocks': Case(
        lambda: resnet(layers=(2, 3)).last_blocks_features(pixels(32), 6),
        *('blocks', 6, ('has 5 blocks',)),
    ),
    'features of no block': Case(
        lambda: vit().last_blocks_features(X, 0), 'blocks', 0, ('has 3 blocks',)
    ),
    'class tokens of a ConvNet': Case(
        lambda: resnet().last_blocks_features(pixels(64), 1, 'cls'), 'pool', 'cls', ('ResNet',)
    ),
    'unknown pool': Case(lambda: vit().last_blocks_features(X, 1, 'max'), 'pool', 'max'),
    'empty checkpoint': Case(
        lambda: resnet(init_cfg=dict(type='Pretrained', checkpoint='')).init_weights(),
        *('model.backbone.init_cfg.checkpoint', '', ('pretrained=PATH',)),
    ),
    'no checkpoint': Case(
        lambda: resnet(init_cfg=dict(type='Pretrained')).init_weights(),
        *('model.backbone.init_cfg.checkpoint', None),
    ),
    'attention of a ConvNet': Case(lambda: resnet().attention(pixels(32)), 'backbone', 'ResNet'),
    'attention of a ConvNet of timm': Case(
        lambda: TimmBackbone('regnety_002').attention(pixels(32)), 'backbone', 'timm/regnety_002'
    ),
    'attention of block 3 of 3': Case(lambda: vit().attention(X, 3), 'block', 3, ('has 3 blocks',)),
    'attention of block -4 of 3': Case(lambda: vit().attention(X, -4), 'block', -4),
}


def on_meta(make: Callable[[], Any]) -> object:
    """Look for timm's network of a backbone that takes no memory."""
    with torch.device('meta'):
        net = make()
    return twin(net)


NOT_IN_TIMM: dict[str, Case] = {
    'CvT': Case(lambda: on_meta(CvT), 'backbone', 'CvT'),
    'ViL': Case(lambda: on_meta(ViL), 'backbone', 'ViL'),
    'wide ResNet': Case(
        lambda: on_meta(lambda: ResNet(width=128)), 'width', 128, ('128 channels and stride 2',)
    ),
    'small stem': Case(
        lambda: on_meta(lambda: ResNet(small_stem=True)),
        *('small_stem', True, ('64 channels and stride 1',)),
    ),
    'convolutional stem': Case(
        lambda: on_meta(lambda: VisionTransformer('small', stem='conv')), 'stem', 'conv'
    ),
    'no last norm': Case(
        lambda: on_meta(lambda: VisionTransformer('small', last_norm=False)), 'last_norm', False
    ),
    'batch norm': Case(
        lambda: on_meta(lambda: SwinTransformer(norm_before_mlp='batch')),
        *('norm_before_mlp', 'batch'),
    ),
    'absolute positions': Case(
        lambda: on_meta(lambda: SwinTransformer(absolute_positions=True)),
        *('absolute_positions', True),
    ),
}
CASES = {
    **{f'build, {name}': case for name, case in BUILT.items()},
    **{f'call, {name}': case for name, case in CALLED.items()},
    **{f'export to timm, {name}': case for name, case in NOT_IN_TIMM.items()},
}


@pytest.mark.parametrize('name', CASES)
def test_refused(name: str) -> None:
    case = CASES[name]
    with refuses(case.key, case.value) as caught:
        case.call()
    for fact in case.facts:
        assert fact in str(caught.value)
