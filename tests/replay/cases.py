"""From the ``replay`` block of a case to the configs a user would write."""

from typing import Any

Block = dict[str, Any]


def backbone(block: Block) -> dict[str, Any]:
    """Config of the case's backbone."""
    # EsViT's code resizes positions by the plain ratio
    offset = 0.0 if block.get('method') == 'esvit' else 0.1
    b = dict(block['backbone'], interpolate_offset=offset)
    config = {'vit': _vit, 'resnet': _resnet, 'swin': _swin, 'cvt': _cvt}[b['family']](b)
    if block.get('run', {}).get('drop_path'):
        config['drop_path_rate'] = block['run']['drop_path']
    return config


def _vit(b: Block) -> dict[str, Any]:
    return dict(
        type='VisionTransformer',
        arch=(b['embed_dim'], b['depth'], b['num_heads']),
        img_size=b['image_size'],
        patch_size=b['patch_size'],
        mlp_ratio=b['mlp_ratio'],
        norm_eps=b['norm_eps'],
        positions=b['positions'],
        interpolate_offset=b['interpolate_offset'],
        freeze_patch_embed=b.get('frozen_patch_embed', False),
        mask_token=b.get('mask_token', False),
    )


def _resnet(b: Block) -> dict[str, Any]:
    return dict(type='ResNet', layers=b['layers'], width=b['stem_width'])


def _swin(b: Block) -> dict[str, Any]:
    return dict(
        type='SwinTransformer',
        arch=(b['embed_dim'], b['depths'], b['num_heads']),
        img_size=b['image_size'],
        patch_size=b['patch_size'],
        window_size=b['window_size'],
        mlp_ratio=b['mlp_ratio'],
        norm_eps=b['norm_eps'],
        absolute_positions=b.get('absolute_positions', False),
        norm_before_mlp=b.get('norm_before_mlp', 'layer'),
    )


def _cvt(b: Block) -> dict[str, Any]:
    names = ('patch_sizes', 'patch_strides', 'patch_paddings')
    return dict(
        type='CvT',
        widths=b['embed_dims'],
        depths=b['depths'],
        num_heads=b['num_heads'],
        windows=b['window_sizes'],
        embeds=list(zip(*(b[name] for name in names), strict=True)),
        mlp_ratio=b['mlp_ratio'],
        qkv_bias=b['qkv_bias'],
    )


def mocov3(block: Block) -> dict[str, Any]:
    """Config of the MoCo v3 model."""
    heads = block['heads']
    predictor = dict(
        type='MLP', dims=heads['predictor'], last_norm=heads.get('predictor_last_norm', True)
    )
    return dict(
        type='MoCoV3',
        backbone=backbone(block),
        neck=dict(
            type='MLP', dims=heads['projector'], last_norm=heads.get('projector_last_norm', True)
        ),
        head=dict(
            type='ContrastiveHead',
            temperature=block['loss']['temperature'],
            scaled=True,
            predictor=predictor,
        ),
        momentum=schedule(block, 'momentum'),
    )


def mlp(dims: list[int], last_norm: bool = False, hidden_norm: bool = True) -> dict[str, Any]:
    """Config of a projector or predictor with biases."""
    return dict(type='MLP', dims=dims, bias=True, last_norm=last_norm, hidden_norm=hidden_norm)


def mocov2(block: Block) -> dict[str, Any]:
    """Config of the MoCo model."""
    loss, heads = block['loss'], block['heads']
    return dict(
        type='MoCo',
        queue_length=loss['queue_length'],
        backbone=backbone(block),
        neck=mlp(heads['projector'], hidden_norm=heads.get('hidden_norm', False)),
        head=dict(type='ContrastiveHead', temperature=loss['temperature']),
        momentum=schedule(block, 'momentum'),
    )


def moby(block: Block) -> dict[str, Any]:
    """Config of the MoBY model."""
    loss, heads = block['loss'], block['heads']
    return dict(
        type='MoBY',
        queue_length=loss['queue_length'],
        backbone=backbone(block),
        neck=mlp(heads['projector'], heads.get('projector_last_norm', False)),
        head=dict(
            type='ContrastiveHead',
            temperature=loss['temperature'],
            predictor=mlp(heads['predictor'], heads.get('predictor_last_norm', False)),
        ),
        momentum=schedule(block, 'momentum'),
    )


def swav(block: Block) -> dict[str, Any]:
    """Config of the SwAV model."""
    loss, heads = block['loss'], block['heads']
    return dict(
        type='SwAV',
        backbone=backbone(block),
        neck=mlp(heads['projector']),
        head=dict(
            type='SwAVHead',
            dim=heads['projector'][-1],
            prototypes=heads['prototypes'],
            temperature=loss['temperature'],
            epsilon=loss['epsilon'],
            iterations=loss['sinkhorn_iterations'],
            assign=loss['assign'],
            queue_length=loss['queue_length'],
            queue_start=loss['queue_start'] if 'run' in block else 0,
        ),
    )


def esvit(block: Block) -> dict[str, Any]:
    """Config of the DINO or EsViT model."""
    loss, heads = block['loss'], block['heads']
    return dict(
        type='EsViT' if heads['region'] else 'DINO',
        backbone=backbone(block),
        neck=dict(
            type='DINONeck',
            dims=heads['mlp'],
            prototypes=heads['prototypes'],
            train_scale=heads['scale_trainable'],
            hidden_norm=heads.get('hidden_norm', False),
        ),
        head=dict(
            type='DistillationHead',
            prototypes=heads['prototypes'],
            student_temp=loss['student_temp'],
            center_momentum=loss['center_momentum'],
        ),
        teacher_temp=temperature(block, 'teacher_temp'),
        momentum=schedule(block, 'momentum'),
    )


def sere(block: Block) -> dict[str, Any]:
    """Config of the SERE or iBOT model."""
    loss, heads = block['loss'], block['heads']
    # a shared last layer, of either network, has the prototypes of the class token
    one_size = heads['student_shared'] or heads['teacher_shared']
    neck = dict(
        type='DINONeck',
        dims=heads['mlp'],
        prototypes=heads['prototypes'],
        patch_prototypes=heads['prototypes' if one_size else 'patch_prototypes'],
        train_scale=heads['scale_trainable'],
        shared=heads['student_shared'],
    )
    found = relation(block) if block['method'] == 'sere' else None
    return dict(
        type='SERE' if found else 'iBOT',
        backbone=backbone(block),
        neck=neck,
        teacher_neck=dict(shared=heads['teacher_shared']),
        head=dict(
            type='DistillationHead',
            prototypes=heads['prototypes'],
            student_temp=loss['student_temp'],
            center_momentum=loss['center_momentum'],
        ),
        patch_center_momentum=loss['patch_center_momentum'],
        teacher_temp=temperature(block, 'teacher_temp'),
        teacher_patch_temp=temperature(block, 'teacher_patch_temp'),
        momentum=schedule(block, 'momentum'),
        weights=(loss['cls_weight'], loss['patch_weight']),
        **(dict(relation=found) if found else {}),
    )


def relation(block: Block) -> dict[str, Any]:
    """Config of the relation losses; the recorded cases follow upstream's rule for local heads."""
    loss, views = block['loss'], block['views']
    return dict(
        alpha=loss['alpha_spatial'],
        beta=loss['beta_channel'],
        temperatures=(loss['spatial_temp'], loss['channel_temp']),
        overlap_size=loss['overlap_size'],
        local_grid=loss['local_grid_size'],
        divisor=(loss['head_divisor']['global'], loss['head_divisor']['local']),
        local_heads='official',
        local=len(views['sizes']) > views['global'],
    )


def temperature(block: Block, name: str) -> dict[str, Any]:
    """Config of a teacher temperature: a rise per epoch, then constant."""
    c = block['schedule'][name]
    return dict(
        start=c['final'],
        shape='constant',
        warmup=c['warmup_epochs'],
        warmup_start=c['start'],
        warmup_reaches=True,
        hold_epochs=True,
        delay=c.get('epochs_at_start_first', 0),
    )


MODELS = dict(
    mocov2=mocov2,
    mocov3=mocov3,
    moby=moby,
    swav=swav,
    dino=esvit,
    esvit=esvit,
    sere=sere,
    ibot=sere,
)


def schedule(block: Block, name: str) -> dict[str, Any]:
    """Config of a model's schedule."""
    c = block['schedule'][name]
    if c['start'] == c['final']:
        return dict(start=c['start'], shape='constant')
    return dict(start=c['start'], final=c['final'])


def model(block: Block) -> dict[str, Any]:
    """Config of the whole model."""
    return MODELS[block['method']](block)
