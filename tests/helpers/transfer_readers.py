"""How each key of the official tables is read from a config of mmdet or mmseg."""

import importlib
import inspect
import re
from collections.abc import Callable
from typing import Any

from mmengine.config import Config
from timm.models.vision_transformer import VisionTransformer as TimmViT

from mmssl import transfer  # noqa: F401, its types can be named

from .paths import REPO

Reader = Callable[[Any], Any]

# arguments of the official classes that the libraries have renamed since
RENAMED = {
    'model.backbone.ape': 'model.backbone.use_abs_pos_embed',
    'model.backbone.embed_dim': 'model.backbone.embed_dims',
    'model.backbone.use_checkpoint': 'model.backbone.with_cp',
}

# (key, note of the audit) -> why no value of a config can be compared
NOT_COMPARED = {
    ('model.backbone.img_size', 'class default or of no effect (any size is taken)'):
        'positions are resized to whatever image comes',
    ('model.backbone.with_fpn', 'class default or of no effect (any size is taken)'):
        'the pyramid is a neck here',
    ('model.decode_head.norm_cfg.requires_grad', 'no convolution, no norm'): 'there is no norm',
    ('model.decode_head.norm_cfg.type', 'no convolution, no norm'): 'there is no norm',
    **{(f'model.{part}.{key}', 'read by mmdet 2 only / default'): 'mmdet 3 has no such setting'
       for part in ('test_cfg.rpn', 'train_cfg.rpn_proposal')
       for key in ('nms_across_levels', 'nms_post')},
}  # fmt: skip


class TransferRecipe:
    """A config of mmdet or mmseg, with the defaults of the classes it names."""

    def __init__(self, config: str) -> None:
        self.path = REPO / config
        self.cfg: Config = Config.fromfile(self.path)
        self.scope = self.path.parent.name

    @property
    def vit(self) -> bool:
        """Whether the backbone is a plain vision transformer."""
        found: bool = self.cfg.model.backbone.type == 'mmssl.VisionTransformer'
        return found

    def default(self, kind: str, name: str) -> Any:
        """Return the default of an argument of a class, or of one it derives from."""
        importlib.import_module(f'{self.scope}.models')
        registry = importlib.import_module(f'{self.scope}.registry')
        for cls in (registry.MODELS.get(kind) or registry.TASK_UTILS.get(kind)).__mro__:
            known = inspect.signature(cls.__init__).parameters
            if name in known:
                return known[name].default
        raise KeyError(f'{kind} has no argument {name}')

    def at(self, path: str) -> Any:
        """Return the value at a path such as 'model.roi_head.bbox_head[0].type', or its default."""
        node: Any = self.cfg
        above: Any = None
        last: str | int = ''
        for name, index in re.findall(r'([^.\[\]]+)|\[(\d+)\]', path):
            last = int(index) if index else name
            above = node
            if isinstance(last, str) and last not in node:
                return self.default(above['type'], last)
            node = node[last]
        return node

    @property
    def schedulers(self) -> dict[str, Any]:
        """The schedulers by type."""
        return {s.type: s for s in self.cfg.param_scheduler}

    @property
    def optimizer(self) -> Any:
        """The optimizer's settings."""
        return self.cfg.optim_wrapper.optimizer

    def pipeline(self, part: str = 'train') -> list[Any]:
        """Return the transforms of a loader's data set."""
        found: list[Any] = self.cfg[f'{part}_dataloader'].dataset.pipeline
        return found

    def transform(self, kind: str, part: str = 'train') -> Any:
        """Return the one transform of a type."""
        (found,) = [t for t in self.pipeline(part) if t.type == kind]
        return found

    def rate_of_last_block(self) -> float:
        """Return the multiplier of the last block's learning rate: one layer lies above it."""
        (found,) = [r.layer_decay for r in self.rules if 'layer_decay' in r]
        result: float = found
        return result

    def rate_of_embedding(self) -> float:
        """Return the multiplier of the patch embedding's learning rate, below all blocks."""
        from mmssl.models.backbones.vit import ARCHS

        depth = ARCHS[self.cfg.model.backbone.arch][1]
        return self.rate_of_last_block() ** (depth + 1)

    @property
    def rules(self) -> list[Any]:
        """The rules of parameter groups."""
        found: list[Any] = self.cfg.optim_wrapper.paramwise_cfg.rules
        return found


def _policies(recipe: TransferRecipe) -> tuple[Any, ...]:
    """Return the transforms of which one is chosen: scales, and the size of a crop."""
    chosen = recipe.transform('RandomChoice').transforms
    return tuple(
        tuple(t.scales if 'scales' in t else t.crop_size for t in branch) if len(branch) > 1
        else (tuple(branch[0].scales),)
        for branch in chosen
    )  # fmt: skip


def _pyramid(recipe: TransferRecipe) -> str:
    neck = recipe.cfg.model.neck
    first = neck[0] if isinstance(neck, list) else neck
    assert first.type.endswith('Feature2Pyramid')
    assert tuple(first.get('rescales', (4, 2, 1, 0.5))) == (4, 2, 1, 0.5)
    norm = first.norm_cfg.type
    return f'deconv-{norm}-GELU-deconv, deconv, identity, max-pool'


def _fpn(recipe: TransferRecipe) -> tuple[Any, ...]:
    fpn = recipe.cfg.model.neck[1]
    return tuple(fpn.in_channels), fpn.out_channels, fpn.num_outs


def _vit(name: str) -> Reader:
    def read(recipe: TransferRecipe) -> Any:
        from mmssl.models.backbones.vit import ARCHS

        width, depth, heads = ARCHS[recipe.cfg.model.backbone.arch]
        return dict(depth=depth, embed_dim=width, num_heads=heads)[name]

    return read


def _mixed(recipe: TransferRecipe) -> bool:
    found: bool = recipe.cfg.optim_wrapper.type == 'AmpOptimWrapper'
    return found


def _gpus(recipe: TransferRecipe) -> Any:
    found = re.search(r'_(\d+)xb', recipe.path.stem)
    base = recipe.cfg.get('auto_scale_lr', {}).get('base_batch_size')
    return int(found[1]) if found else base // recipe.cfg.train_dataloader.batch_size


def _test_scale(recipe: TransferRecipe) -> Any:
    return recipe.transform('Resize', 'test').scale


def _resize(recipe: TransferRecipe) -> tuple[Any, ...]:
    t = recipe.transform('RandomResize')
    return t.scale, t.ratio_range


def _channels(name: str) -> Reader:
    return lambda r: r.cfg.model.data_preprocessor[name]


READERS: dict[str, Reader] = {
    'GPUs': _gpus,
    'images per GPU': lambda r: r.cfg.train_dataloader.batch_size,
    'lr': lambda r: r.optimizer.lr,
    'weight decay': lambda r: r.optimizer.weight_decay,
    'betas': lambda r: r.optimizer.betas,
    'optimizer': lambda r: r.optimizer.type,
    'gradient clipping': lambda r: r.cfg.optim_wrapper.get('clip_grad'),
    'mixed precision': _mixed,
    'decay exclusions': lambda r: r.cfg.optim_wrapper.paramwise_cfg.get('custom_keys', {}),
    '1-d no decay': lambda r: dict(ndim=1, decay_mult=0.0) in r.rules,
    'layer decay': lambda r: r.rate_of_last_block(),
    'embedding = decay^13': lambda r: r.rate_of_embedding(),
    'mean': _channels('mean'),
    'std': _channels('std'),
    'epochs': lambda r: r.cfg.train_cfg.max_epochs,
    'iterations': lambda r: r.cfg.train_cfg.max_iters,
    'milestones': lambda r: r.schedulers['MultiStepLR'].milestones,
    'gamma': lambda r: r.schedulers['MultiStepLR'].gamma,
    'warm-up iterations': lambda r: r.schedulers['LinearLR'].end,
    'warm-up ratio': lambda r: r.schedulers['LinearLR'].start_factor,
    'poly power, min': lambda r: (r.schedulers['PolyLR'].power, r.schedulers['PolyLR'].eta_min),
    'multi-scale policies': _policies,
    'flip': lambda r: r.transform('RandomFlip').prob,
    'test scale': _test_scale,
    'resize, ratio': _resize,
    'crop': lambda r: tuple(r.transform('RandomCrop')[k] for k in ('crop_size', 'cat_max_ratio')),
    'photometric distortion': lambda r: bool(r.transform('PhotoMetricDistortion')),
    'zero label reduced': lambda r: r.transform('LoadAnnotations').reduce_zero_label,
    'pyramid': _pyramid,
    'FPN': _fpn,
    'norm on the maps': lambda r: r.cfg.model.backbone.get('out_norm') == 'last',
}  # fmt: skip

VIT: dict[str, Reader] = {
    'model.backbone.type': lambda r: r.cfg.model.backbone.type.removeprefix('mmssl.'),
    'model.backbone.depth': _vit('depth'),
    'model.backbone.embed_dim': _vit('embed_dim'),
    'model.backbone.num_heads': _vit('num_heads'),
    'model.backbone.qkv_bias': lambda r: inspect.signature(TimmViT).parameters['qkv_bias'].default,
    'model.backbone.use_checkpoint': lambda r: r.at('model.backbone.with_cp'),
}


def reader_of(recipe: TransferRecipe, key: str) -> Reader | None:
    """Return how a key is read, or None when no reader is known."""
    if recipe.vit and key in VIT:
        return VIT[key]
    if key in READERS:
        return READERS[key]
    return (lambda r: r.at(RENAMED.get(key, key))) if '.' in key else None
