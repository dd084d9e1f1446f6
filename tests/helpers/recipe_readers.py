"""How each key of the official tables is read from a resolved config of ours."""

import functools
import inspect
import json
import re
from collections.abc import Callable
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from mmssl import datasets, engine, evaluation, models  # noqa: F401, they fill the registries
from mmssl.models.heads.linear import LinearHead
from mmssl.models.heads.sweep import SweepHead
from mmssl.registry import MODELS, OPTIMIZERS, TRANSFORMS

from .configs import load, network
from .paths import REPO

Reader = Callable[['Recipe'], Any]
REGISTRIES = (MODELS, TRANSFORMS, OPTIMIZERS)


def default(kind: str, name: str) -> Any:
    """Return the default of an argument of a registered class, or of a class it derives from."""
    cls = next(found for r in REGISTRIES if (found := r.get(kind)) is not None)
    for each in cls.__mro__:
        known = inspect.signature(each).parameters
        if name in known:
            return known[name].default
    raise KeyError(f'{kind} has no argument {name}')


def arg(settings: dict[str, Any], name: str) -> Any:
    """Return an argument of the class that ``settings`` build: the config's, or its default."""
    return settings[name] if name in settings else default(settings['type'], name)


@functools.cache
def _backbone(settings: str) -> nn.Module:
    with torch.device('meta'):
        found: nn.Module = MODELS.build(json.loads(settings))
        return found


class Recipe:
    """The parts of a config that the readers look at."""

    def __init__(self, config: str) -> None:
        self.path = REPO / config
        self.cfg: Config = load(self.path)
        self.model: Any = self.cfg.model
        wrapper = self.cfg.get('optim_wrapper') or {}
        self.wrapper: Any = wrapper
        self.optimizer: Any = wrapper.get('optimizer')
        self.rules: list[Any] = list((wrapper.get('paramwise_cfg') or {}).get('rules', []))

    @property
    def backbone(self) -> Any:
        """The network, without memory for its weights."""
        return _backbone(json.dumps(self.model.backbone))

    def name_part(self, pattern: str) -> int:
        """Return the number that a pattern finds in the config's name."""
        found = re.search(pattern, self.path.stem)
        assert found, self.path.stem
        return int(found[1])

    def part(self, *names: str, default: Any = None) -> Any:
        """Return what the config says under names below ``model``, or a default."""
        node = self.model
        for name in names:
            if not isinstance(node, dict) or name not in node:
                return default
            node = node[name]
        return node

    def schedule(self, param: str = 'lr') -> dict[str, Any]:
        """Return the schedule of a parameter with the defaults of its class."""
        (found,) = [s for s in self.cfg.param_scheduler if s.param_name == param]
        return self.with_defaults(found)

    @staticmethod
    def with_defaults(schedule: dict[str, Any]) -> dict[str, Any]:
        """Return a schedule with the defaults of its class."""
        from mmssl.core import Schedule

        known = inspect.signature(Schedule).parameters
        return {n: p.default for n, p in known.items()} | dict(schedule)

    def teacher(self, name: str) -> dict[str, Any]:
        """Return the model's schedule of a name with the defaults of its class."""
        return self.with_defaults(self.model[name])

    @property
    def views(self) -> list[dict[str, Any]]:
        """The views of training, each as often as it is made."""
        transform = self.cfg.train_dataloader.dataset.pipeline[1]
        if transform.type != 'MultiView':
            return [transform]
        return [v for view in transform['views'] for v in [view] * view.get('repeat', 1)]

    def view(self, index: int, name: str) -> Any:
        """Return an argument of a view."""
        return arg(self.views[index], name)

    @property
    def eval_view(self) -> dict[str, Any]:
        """The view of evaluation."""
        found: dict[str, Any] = self.cfg.test_dataloader.dataset.pipeline[1]
        return found

    def normalisation(self, name: str) -> tuple[float, ...]:
        """Return the mean or std of the channels, as the model's preprocessor has it."""
        settings = self.model.get('data_preprocessor') or dict(type='ViewPreprocessor')
        values = MODELS.build(settings).get_buffer(name).flatten().tolist()
        return tuple(round(v, 6) for v in values)

    @property
    def milestones(self) -> tuple[Any, ...]:
        """The epochs at which a rate falls."""
        return tuple(self.schedule()['milestones'])


def crops(recipe: Recipe, keep: Callable[[int], bool] = lambda size: True) -> tuple[Any, ...]:
    """Return (size, smallest share, largest share) of the views whose size is kept."""
    found = [(arg(v, 'size'), *arg(v, 'scale')) for v in recipe.views]
    return tuple(crop for crop in found if keep(crop[0]))


def clip(recipe: Recipe) -> Any:
    """Return the bound of the gradient norm, or None."""
    return (recipe.wrapper.get('clip_grad') or {}).get('max_norm')


def images(recipe: Recipe) -> int:
    """Return the images of one update: processes times images, by name and loader."""
    gathered = recipe.wrapper.get('accumulative_counts', 1)
    found: int = recipe.name_part(r'_(\d+)xb') * recipe.cfg.train_dataloader.batch_size * gathered
    return found


def spared(recipe: Recipe) -> list[dict[str, Any]]:
    """Return the rules that spare parameters of weight decay."""
    return [r for r in recipe.rules if r.get('decay_mult') == 0.0]


def spares_one_dimensional(recipe: Recipe) -> bool:
    """Return whether a rule spares all that has one dimension."""
    return any(r.get('ndim') == 1 for r in spared(recipe))


def rule(recipe: Recipe, key: str) -> Any:
    """Return the value that the one rule with a key gives it."""
    (found,) = [r[key] for r in recipe.rules if key in r]
    return found


def head_init(recipe: Recipe) -> Any:
    """Return the std of a new classifier's weights, or 'default' for those of its layer."""
    settings = dict(recipe.model.head, in_features=64)
    found = MODELS.build(settings)
    assert isinstance(found, (LinearHead, SweepHead))
    if settings.get('init_std', 0.01) is None:
        return 'default'
    return arg(settings, 'init_std')


def bias_init(recipe: Recipe) -> str:
    """Return how a new classifier's biases begin: 'zero' or 'default'."""
    head = MODELS.build(dict(recipe.model.head, in_features=64))
    return 'default' if head.fc.bias.any() else 'zero'


def ends_low(recipe: Recipe) -> tuple[Any, ...]:
    """Return the shape of the rate, where it ends, and whether it changes once an epoch."""
    s = recipe.schedule()
    return s['shape'], s['final'], s['hold_epochs']


def no_drop_path_of_teacher(recipe: Recipe) -> float:
    """Return the highest rate of drop path in the teacher."""
    teacher: Any = network(recipe.path).teacher
    rates = (float(m.drop_prob) for m in teacher.modules() if hasattr(m, 'drop_prob'))
    return max(rates, default=0.0)


def knn(name: str) -> Reader:
    """Return the reader of an argument of kNN's loop."""
    return lambda r: r.cfg.test_cfg[name]


def view_readers(index: int) -> dict[str, Reader]:
    """Return the readers of one view of training."""
    words = {
        'size': 'size', 'scale': 'scale', 'ratio': 'ratio', 'aspect ratio': 'ratio',
        'interpolation': 'interpolation', 'flip': 'flip', 'flip p': 'flip', 'jitter': 'jitter',
        'jitter (b, c, s, h)': 'jitter', 'jitter p': 'jitter_p', 'grey': 'gray', 'grey p': 'gray',
        'grey before jitter': 'gray_first', 'blur p': 'blur', 'blur sigma': 'sigma',
        'blur radius': 'sigma', 'solarize': 'solarize', 'solarize p': 'solarize',
    }  # fmt: skip
    return {f'view {index}: {w}': view_reader(index, n) for w, n in words.items()}


def view_reader(index: int, name: str) -> Reader:
    """Return the reader of one argument of a view."""
    return lambda recipe: recipe.view(index, name)


def _neck_layers(recipe: Recipe, neck: Any) -> tuple[Any, ...]:
    return arg(neck, 'bias'), arg(neck, 'hidden_norm'), arg(neck, 'last_norm')


def _mixed(recipe: Recipe) -> bool:
    found: bool = recipe.wrapper.get('amp') == 'float16'
    return found


def _batch(recipe: Recipe) -> int:
    found: int = recipe.cfg.auto_scale_lr.base_batch_size
    return found


def _eval_view(recipe: Recipe) -> tuple[Any, ...]:
    view = recipe.eval_view
    return arg(view, 'resize'), arg(view, 'size'), arg(view, 'interpolation')


def _train_view(recipe: Recipe) -> tuple[Any, ...]:
    return recipe.view(0, 'size'), recipe.view(0, 'scale'), recipe.view(0, 'interpolation')


def _swin_parts(recipe: Recipe) -> tuple[Any, ...]:
    net = recipe.backbone.net
    block = net.layers[0].blocks[0]
    absolute = arg(recipe.model.backbone, 'absolute_positions')
    ratio = block.mlp.fc1.out_features // block.mlp.fc1.in_features
    patch_norm = isinstance(net.patch_embed.norm, nn.LayerNorm)
    return absolute, patch_norm, block.attn.qkv.bias is not None, ratio


def _network(recipe: Recipe) -> Any:
    """Return what names a network: layers, width, or a size."""
    b = recipe.model.backbone
    if b.type == 'ResNet':
        return 'ResNet', arg(b, 'depth'), arg(b, 'zero_init_residual')
    if b.type == 'VisionTransformer':
        return f'vit_{b.arch}'
    return arg(b, 'arch')


def _no_others_spared(recipe: Recipe) -> int:
    return len(spared(recipe))


def _sync_bn(recipe: Recipe) -> Any:
    return recipe.cfg.get('sync_bn')


def _mixup(name: str) -> Reader:
    return lambda r: (r.model.get('mixup') or {}).get(name, 0)


def _smoothing(recipe: Recipe) -> float:
    """Return how labels are smoothed: by the mixing, or by the head where nothing is mixed."""
    mixup = recipe.model.get('mixup')
    found: float = mixup['label_smoothing'] if mixup else arg(recipe.model.head, 'label_smoothing')
    return found


def _lr_of(name: str) -> Reader:
    """Return the reader of the rate of the trunk or the head, whose rule multiplies it."""
    return lambda r: r.optimizer.lr * (rule(r, 'lr_mult') if name == 'head' else 1)


BOTH_SPARED = [dict(ndim=1, decay_mult=0.0), dict(match='cls_token|pos_embed', decay_mult=0.0)]

# what the tables of all methods share
COMMON: dict[str, Reader] = {
    'epochs': lambda r: r.cfg.train_cfg.max_epochs,
    'GPUs': lambda r: r.name_part(r'_(\d+)xb'),
    'images per GPU': lambda r: r.cfg.train_dataloader.batch_size,
    'batch': _batch,
    'global batch': _batch,
    'batch for the rate': _batch,
    'global batch the rate is for': _batch,
    'GPUs x images': images,
    'GPUs x images = batch': images,
    'lr': lambda r: r.optimizer.lr,
    'lr (absolute)': lambda r: r.optimizer.lr,
    'lr (not scaled)': lambda r: r.optimizer.lr,
    'lr for 512 images': lambda r: r.optimizer.lr * 512 / _batch(r),
    'absolute lr': lambda r: r.optimizer.lr,
    'absolute lr = lr*batch/256': lambda r: r.optimizer.lr,
    'base lr (absolute)': lambda r: r.optimizer.lr,
    'lr of the trunk': _lr_of('trunk'),
    'lr of the head': _lr_of('head'),
    'weight decay': lambda r: arg(r.optimizer, 'weight_decay'),
    'momentum': lambda r: arg(r.optimizer, 'momentum'),
    'nesterov': lambda r: arg(r.optimizer, 'nesterov'),
    'dampening': lambda r: arg(r.optimizer, 'dampening'),
    'betas': lambda r: arg(r.optimizer, 'betas'),
    'eps': lambda r: arg(r.optimizer, 'eps'),
    'betas, eps': lambda r: (arg(r.optimizer, 'betas'), arg(r.optimizer, 'eps')),
    'optimizer': lambda r: r.optimizer.type,
    'optimizer, eps': lambda r: (r.optimizer.type, arg(r.optimizer, 'eps')),
    'trust coefficient': lambda r: arg(r.optimizer, 'trust'),
    'LARC clip': lambda r: arg(r.optimizer, 'clip'),
    'mixed precision': _mixed,
    'precision (amp)': _mixed,
    'amp': _mixed,
    'drop last': lambda r: r.cfg.train_dataloader.drop_last,
    'drop last batch': lambda r: r.cfg.train_dataloader.drop_last,
    'mean': lambda r: r.normalisation('mean'),
    'std': lambda r: r.normalisation('std'),
    'mean, std': lambda r: (r.normalisation('mean'), r.normalisation('std')),
    'clip': clip,
    'gradient clipping': clip,
    'gradient clipping (global norm)': clip,
    'clip each tensor': lambda r: bool(r.wrapper.clip_grad.get('each')),
    'clipping each tensor': lambda r: bool(r.wrapper.clip_grad.get('each')),
    'synchronised BN': _sync_bn,
    'synchronised BN (relation heads have BN)': _sync_bn,
    'prototypes': lambda r: r.model.head.prototypes,
    'temperature': lambda r: r.model.head.temperature,
    'final lr': lambda r: r.schedule()['final'],
    'min lr': lambda r: r.schedule()['final'],
    'warm-up': lambda r: r.schedule()['warmup'],
    'warm-up epochs': lambda r: r.schedule()['warmup'],
    'warm-up start': lambda r: r.schedule()['warmup_start'],
    'warm-up linspace': lambda r: r.schedule()['warmup_reaches'],
    'per iteration': lambda r: not r.schedule()['hold_epochs'],
    'held for an epoch': lambda r: r.schedule()['hold_epochs'],
    'per epoch': lambda r: r.schedule()['hold_epochs'],
    'cosine counts the warm-up': lambda r: not r.schedule()['after_warmup'],
    'cosine over what is left': lambda r: r.schedule()['after_warmup'],
    'milestones': lambda r: r.milestones,
    'step factor': lambda r: r.schedule()['gamma'],
    'gamma': lambda r: r.schedule()['gamma'],
    'schedule': lambda r: r.schedule()['shape'],
    'zero-init residual': lambda r: arg(r.model.backbone, 'zero_init_residual'),
    'drop path': lambda r: arg(r.model.backbone, 'drop_path_rate'),
    'window': lambda r: arg(r.model.backbone, 'window_size'),
    'norm eps': lambda r: arg(r.model.backbone, 'norm_eps'),
    'network': _network,
    'heads': lambda r: r.backbone.num_heads,
    'blocks': lambda r: arg(r.model, 'blocks'),
    'frozen': lambda r: arg(r.model, 'frozen'),
    'train crop': lambda r: (r.view(0, 'size'), r.view(0, 'scale')),
    'train interpolation': lambda r: r.view(0, 'interpolation'),
    'train view': _train_view,
    'eval resize': lambda r: arg(r.eval_view, 'resize'),
    'eval crop': lambda r: arg(r.eval_view, 'size'),
    'eval interpolation': lambda r: arg(r.eval_view, 'interpolation'),
    'eval': _eval_view,
    'eval view': _eval_view,
    'head init': head_init,
    **{k: f for i in (0, 1, 2, 5, 7) for k, f in view_readers(i).items()},
}  # fmt: skip

MOCO: dict[str, Reader] = {
    'backbone': lambda r: (
        r.model.backbone.type,
        arg(r.model.backbone, 'depth'),
        arg(r.model.backbone, 'width'),
    ),
    'depth': lambda r: arg(r.model.backbone, 'depth'),
    'views': lambda r: len(r.views),
    'dim': lambda r: r.model.neck.dims[-1],
    'MLP head': lambda r: len(r.model.neck.dims) == 3,
    'head bias': lambda r: arg(r.model.neck, 'bias'),
    # a single layer has no hidden norm
    'head hidden BN': lambda r: len(r.model.neck.dims) > 2 and arg(r.model.neck, 'hidden_norm'),
    'head last BN': lambda r: arg(r.model.neck, 'last_norm'),
    'queue length': lambda r: r.model.queue_length,
    'key momentum': lambda r: r.model.momentum.start,
    'momentum constant': lambda r: r.model.momentum.shape == 'constant',
    'key momentum start': lambda r: r.model.momentum.start,
    'key momentum end (cosine)': lambda r: r.teacher('momentum')['final'],
    'decay exclusions': lambda r: len(r.rules),
    '1-d parameters: no decay, no adaptation': lambda r: (
        r.rules == [dict(ndim=1, decay_mult=0.0, adapt=False)]
    ),
    'loss scaled by 2T': lambda r: arg(r.model.head, 'scaled'),
    'projector widths': lambda r: r.model.neck.dims,
    'projector bias': lambda r: arg(r.model.neck, 'bias'),
    'projector last BN': lambda r: arg(r.model.neck, 'last_norm'),
    'projector last BN affine': lambda r: (
        MODELS.build(dict(r.model.neck, dims=(2, 2, 2)))[-1].affine
    ),
    'predictor widths': lambda r: r.model.head.predictor.dims,
    'predictor bias': lambda r: arg(r.model.head.predictor, 'bias'),
    'predictor last BN': lambda r: arg(r.model.head.predictor, 'last_norm'),
    'positions': lambda r: arg(r.model.backbone, 'positions'),
    'stem': lambda r: arg(r.model.backbone, 'stem'),
    'blocks of the network': lambda r: len(r.backbone.net.blocks),
    'init': lambda r: arg(r.model.backbone, 'init'),
    'patch embedding frozen': lambda r: arg(r.model.backbone, 'freeze_patch_embed'),
    'frozen backbone in eval mode': lambda r: (
        arg(r.model, 'frozen') and not arg(r.model, 'backbone_train_mode')
    ),
    'head BN': lambda r: arg(r.model.head, 'norm'),
    'head init N(0, std)': head_init,
    'train crop': lambda r: r.view(0, 'size'),
    'train scale': lambda r: r.view(0, 'scale'),
    'flip': lambda r: r.view(0, 'flip'),
}

MOBY: dict[str, Reader] = {
    'network': lambda r: tuple(len(stage.blocks) for stage in r.backbone.net.layers),
    'heads, positions': lambda r: (r.backbone.num_heads, arg(r.model.backbone, 'positions')),
    'norm before MLP': lambda r: arg(r.model.backbone, 'norm_before_mlp'),
    'online drop path': lambda r: arg(r.model.backbone, 'drop_path_rate'),
    'target drop path': no_drop_path_of_teacher,
    'projector widths': lambda r: r.model.neck.dims,
    'projector layers': lambda r: len(r.model.neck.dims) - 1,
    'projector: bias, hidden BN, last BN': lambda r: _neck_layers(r, r.model.neck),
    'predictor widths': lambda r: r.model.head.predictor.dims,
    'predictor layers': lambda r: len(r.model.head.predictor.dims) - 1,
    'predictor: bias, hidden BN, last BN': lambda r: _neck_layers(r, r.model.head.predictor),
    'queue': lambda r: r.model.queue_length,
    'momentum start': lambda r: r.model.momentum.start,
    'momentum end': lambda r: r.teacher('momentum')['final'],
    'loss scaled by 2T': lambda r: arg(r.model.head, 'scaled'),
    'no decay for': lambda r: spared(r),
    'rate lags one step': lambda r: r.schedule()['lag'],
    'lag': lambda r: r.schedule()['lag'],
    'min lr and warm-up start scaled': lambda r: r.schedule()['scale'],
    'min lr and warm-up start scaled with the batch': lambda r: r.schedule()['scale'],
    'optimizer': lambda r: (
        (r.optimizer.type, r.optimizer.momentum, r.optimizer.nesterov)
        if r.optimizer.type == 'SGD'
        else r.optimizer.type
    ),
    'network in train mode': lambda r: arg(r.model, 'backbone_train_mode'),
    'label smoothing': lambda r: arg(r.model.head, 'label_smoothing'),
    'head init std (trunc normal .02)': head_init,
}

SWAV: dict[str, Reader] = {
    'network': lambda r: (
        f'{r.model.backbone.type}-{r.model.backbone.depth}',
        arg(r.model.backbone, 'width'),
    ),
    'width': lambda r: arg(r.model.backbone, 'width'),
    'crops (size, scale)': crops,
    'crops that assign': lambda r: arg(r.model.head, 'assign'),
    'decay exclusions': lambda r: spared(r),
    'epsilon': lambda r: arg(r.model.head, 'epsilon'),
    'sinkhorn iterations': lambda r: arg(r.model.head, 'iterations'),
    'feature dim': lambda r: r.model.head.dim,
    'projection widths': lambda r: r.model.neck.dims,
    'projection bias, hidden BN, last BN': lambda r: _neck_layers(r, r.model.neck),
    'frozen iterations of prototypes': lambda r: rule(r, 'frozen_iters'),
    'queue length (a multiple of the batch)': lambda r: arg(r.model.head, 'queue_length'),
    'queue starts at epoch': lambda r: arg(r.model.head, 'queue_start'),
    'warm-up reaches the rate at its last step (linspace)': lambda r: r.schedule()[
        'warmup_reaches'
    ],
}

DISTILLATION: dict[str, Reader] = {
    'network': _network,
    'act in head': lambda r: type(MODELS.build(dict(r.model.neck, prototypes=2)).mlp[1]).__name__,
    'norm in head': lambda r: 'bn' if arg(r.model.neck, 'hidden_norm') else None,
    'BN in head': lambda r: arg(r.model.neck, 'hidden_norm'),
    'head widths': lambda r: r.model.neck.dims,
    'head layers 3, hidden 2048, bottleneck 256': lambda r: r.model.neck.dims[1:],
    'width of head input': lambda r: r.model.neck.dims[0],
    'patch prototypes': lambda r: r.model.neck.get('patch_prototypes') or r.model.neck.prototypes,
    'shared head': lambda r: arg(r.model.neck, 'shared'),
    'shared head of teacher': lambda r: {**r.model.neck, **(r.part('teacher_neck') or {})}[
        'shared'
    ],
    'norm_last_layer (scale frozen)': lambda r: not arg(r.model.neck, 'train_scale'),
    'student temp': lambda r: arg(r.model.head, 'student_temp'),
    'centre momentum': lambda r: arg(r.model.head, 'center_momentum'),
    'centre momenta': lambda r: (
        arg(r.model.head, 'center_momentum'),
        arg(r.model, 'patch_center_momentum'),
    ),
    'loss weights': lambda r: arg(dict(r.model, type='iBOT'), 'weights'),
    'alpha': lambda r: r.model.relation.alpha,
    'beta': lambda r: r.model.relation.beta,
    'relation temperatures': lambda r: r.model.relation.temperatures,
    'overlap size': lambda r: r.model.relation.overlap_size,
    'teacher momentum': lambda r: r.model.momentum.start,
    'momentum end': lambda r: r.teacher('momentum')['final'],
    'momentum end, cosine': lambda r: (
        r.teacher('momentum')['final'],
        r.teacher('momentum')['shape'],
    ),
    'momentum cosine per iteration': lambda r: (
        r.teacher('momentum')['shape'] == 'cosine' and not r.teacher('momentum')['hold_epochs']
    ),
    'teacher temp': lambda r: r.model.teacher_temp.start,
    'warm-up temp': lambda r: r.model.teacher_temp.warmup_start,
    'teacher patch temp': lambda r: _patch_temp(r)['start'],
    'warm-up patch temp': lambda r: _patch_temp(r)['warmup_start'],
    'temp warm-up epochs': lambda r: r.teacher('teacher_temp')['warmup'],
    'temp linspace per epoch': lambda r: (
        r.teacher('teacher_temp')['warmup_reaches'] and r.teacher('teacher_temp')['hold_epochs']
    ),
    'crops': crops,
    'big crops': lambda r: crops(r, lambda size: size == 224),
    'small crops': lambda r: crops(r, lambda size: size == 96),
    'mask ratio': lambda r: arg(_mask(r), 'ratio'),
    'mask variance': lambda r: arg(_mask(r), 'var'),
    'mask shape': lambda r: arg(_mask(r), 'shape'),
    'mask start epoch': lambda r: arg(_mask(r), 'start_epoch'),
    'mask cell': lambda r: arg(_mask(r), 'patch_size'),
    'no decay for 1-d': spares_one_dimensional,
    'no decay for biases and 1-d': spares_one_dimensional,
    'biases decay': lambda r: dict(match=r'\.bias$', decay_mult=1.0) in r.rules,
    'nothing else spared': _no_others_spared,
    'freeze last layer epochs': lambda r: rule(r, 'frozen_epochs'),
    'final weight decay': lambda r: r.schedule('weight_decay')['final'],
    'wd schedule': lambda r: tuple(r.schedule('weight_decay')[k] for k in ('shape', 'warmup')),
    'wd cosine, no warm-up': lambda r: tuple(
        r.schedule('weight_decay')[k] for k in ('shape', 'warmup')
    ),
    'warm-up start (linspace)': lambda r: (
        r.schedule()['warmup_start'],
        r.schedule()['warmup_reaches'],
    ),
    'cosine over what is left, per iteration': lambda r: (
        r.schedule()['after_warmup'] and not r.schedule()['hold_epochs']
    ),
    'region task': lambda r: r.model.type == 'EsViT',
    'continues: heads, centres, schedules at the epoch': lambda r: (
        r.cfg.load_part == 'all' and r.cfg.continue_epoch
    ),
    'continued from epoch': lambda r: r.name_part(r'-v(\d+)-'),
    'absolute positions, patch norm, qkv bias, mlp ratio': _swin_parts,
    'DEPTH': lambda r: arg(r.model.backbone, 'depths'),
    'DIM_EMBED': lambda r: arg(r.model.backbone, 'widths'),
    'NUM_HEADS': lambda r: arg(r.model.backbone, 'num_heads'),
    'WINDOW_SIZE': lambda r: arg(r.model.backbone, 'windows'),
    'patch embeds (size, stride, padding)': lambda r: arg(r.model.backbone, 'embeds'),
    'mlp ratio': lambda r: arg(r.model.backbone, 'mlp_ratio'),
    'qkv bias': lambda r: arg(r.model.backbone, 'qkv_bias'),
    'arch string': lambda r: arg(r.model.backbone, 'arch'),
    'mode': lambda r: arg(r.model.backbone, 'mode'),
    'n_last_blocks': lambda r: arg(r.model, 'blocks'),
    'pool of tokens': lambda r: arg(r.model, 'pool'),
    'patch size': lambda r: arg(r.model.backbone, 'patch_size'),
    'train crop': lambda r: (*_train_view(r), r.view(0, 'flip')),
}

KNN: dict[str, Reader] = {
    'k': lambda r: sorted(r.cfg.test_cfg.k),
    'temperature': knn('temperature'),
    'blocks': lambda r: r.cfg.test_cfg.feature.blocks,
    'feature': lambda r: r.cfg.test_cfg.feature.pool,
    'bank': lambda r: r.cfg.test_cfg.bank.split,
    'resize': lambda r: arg(r.eval_view, 'resize'),
    'crop': lambda r: arg(r.eval_view, 'size'),
    'interpolation': lambda r: arg(r.eval_view, 'interpolation'),
}

BENCH: dict[str, Reader] = {
    'width': lambda r: arg(r.model.backbone, 'width'),
    'EMA': lambda r: (r.cfg.default_hooks.get('ema') or {}).get('type'),
    'weights measured': lambda r: (
        'averaged' if r.cfg.default_hooks.ema.type == 'EMAHook' else 'trained'
    ),
    'EMA decay': lambda r: 1 - r.cfg.default_hooks.ema.momentum,
    'RandAugment': lambda r: r.view(0, 'augment'),
    'erasing': lambda r: r.view(0, 'erase'),
    'mixup': _mixup('mixup_alpha'),
    'cutmix': _mixup('cutmix_alpha'),
    'smoothing': _smoothing,
    'layer decay': lambda r: rule(r, 'layer_decay'),
    'no decay': lambda r: spared(r),
    'no decay for': lambda r: spared(r),
    'BN before head': lambda r: arg(r.model.head, 'norm'),
    'frozen, eval mode': lambda r: (
        arg(r.model, 'frozen') and not arg(r.model, 'backbone_train_mode')
    ),
    'whole network trains': lambda r: not arg(r.model, 'frozen'),
    'global pool with fc_norm': lambda r: (
        r.model.pool,
        arg(r.model.backbone, 'last_norm'),
        r.model.head.norm,
    ),
    'head init (trunc normal)': head_init,
    'head init .02*.001': head_init,
    'head init std': head_init,
    'head bias init': bias_init,
    'head norm': lambda r: (r.model.head.norm, arg(r.model.backbone, 'last_norm')),
    'pool': lambda r: (
        (r.model.pool, arg(r.model.backbone, 'last_norm'))
        if 'mixup' in r.model
        else arg(r.model, 'pool')
    ),
    'repeated augmentation': lambda r: (
        r.cfg.train_dataloader.sampler == dict(type='RepeatAugSampler', repeats=3)
    ),
    'rate held for an epoch': lambda r: r.schedule()['hold_epochs'],
    'per iteration, cosine after warm-up': lambda r: (
        not r.schedule()['hold_epochs'] and r.schedule()['after_warmup']
    ),
    'schedule per epoch': lambda r: tuple(
        r.schedule()[k] for k in ('shape', 'hold_epochs', 'final')
    ),
    'layers of the projector kept': lambda r: int(r.model.head.type == 'ProjectorHead'),
    'hidden width': lambda r: arg(r.model.head, 'hidden'),
    'classes': lambda r: r.model.head.num_classes,
    'crop': lambda r: (r.view(0, 'size'), r.view(0, 'scale')),
    'jitter': lambda r: r.view(0, 'jitter'),
    'jitter p, grey': lambda r: (r.view(0, 'jitter_p'), r.view(0, 'gray')),
    'blur p': lambda r: r.view(0, 'blur'),
    'max res': lambda r: arg(r.model, 'max_side'),
    'list': lambda r: r.cfg.train_dataloader.dataset.subset,
}


def _patch_temp(recipe: Recipe) -> dict[str, Any]:
    found: dict[str, Any] = recipe.model.get('teacher_patch_temp') or recipe.model.teacher_temp
    return found


def _mask(recipe: Recipe) -> dict[str, Any]:
    found: dict[str, Any] = recipe.cfg.train_dataloader.dataset.pipeline[1].mask
    return found


# recipe -> the config it is compared with, where that is not the one of the audit's time
MOVED = {
    **{f'EsViT kNN {net}': 'configs/knn_in1k.py' for net in (
        'swin-tiny-w7', 'swin-tiny-w14', 'swin-small-w7', 'swin-small-w14', 'swin-base-w7',
        'swin-base-w14', 'vil-2262', 'cvt-tiny', 'resnet50')},
    **{f'iBOT kNN ViT-{size}': 'configs/knn_in1k.py' for size in 'SBL'},
    'mocov2 kNN (mmselfsup)': 'configs/knn_mmselfsup_in1k.py',
    'swav kNN (mmselfsup)': 'configs/knn_mmselfsup_in1k.py',
    'README single node 8 GPUs (400 epochs, fp16)':
        'configs/swav/swav_resnet50_8xb32-amp-mcrop-coslr-400e_in1k-224px-96px.py',
    **{f'MoCo v3 fine-tuning ViT-{size[0].upper()}':
        f'configs/mocov3/benchmarks/vit-{size}-p16_8xb64-amp-coslr-150e_in1k.py'
       for size in ('small', 'base')},
    **{f'iBOT fine-tuning ViT-{size[0].upper()}':
        f'configs/ibot/benchmarks/vit-{size}-p16_{how}_in1k.py'
       for size, how in (('small', '8xb128-amp-coslr-200e'), ('base', '8xb128-amp-coslr-100e'),
                         ('large', '16xb64-amp-coslr-50e'))},
    **{f'SERE fine-tuning ViT-{size[0].upper()} (MAE ViT-B command)':
        f'configs/sere/benchmarks/vit-{size}-p16_8xb128-amp-coslr-100e_in1k.py'
       for size in ('small', 'base')},
    **{f'ImageNet-S{count}, SERE ViT-S':
        f'configs/sere/benchmarks/vit-small-p16_8xb32-amp-coslr-100e_imagenet-s{count}.py'
       for count in (50, 300, 919)},
}  # fmt: skip

# the table of a recipe by its config's folder and, in benchmarks, what it does
FOLDERS = dict(
    mocov1=MOCO, mocov2=MOCO, mocov3=MOCO, moby=MOBY, swav=SWAV, esvit=DISTILLATION,
    sere=DISTILLATION, ibot=DISTILLATION, dino=DISTILLATION,
)  # fmt: skip

# an official word -> the value that the reader of this key gives
WORDS: dict[tuple[str, str], Any] = {
    ('schedule', 'cosine to 0'): ('cosine', 0.0, True),
    ('schedule', 'cosine to 0 per epoch'): ('cosine', 0.0, True),
    ('schedule', '(cosine, 0, True)'): ('cosine', 0.0, True),
    ('schedule', '(cosine, per iteration, over what is left)'): ('cosine', 'iteration', 'left'),
    ('decay exclusions', 'False'): 0,
    ('decay exclusions', 'none'): [],
    ('init', 'moco (xavier, qkv split)'): 'moco',
    ('norm before MLP', 'ln'): 'layer',
    ('norm before MLP', 'bn'): 'batch',
    ('optimizer', 'LARC(SGD)'): 'LARC',
    ('gradient clipping', "{'max_norm': 5.0}"): 5.0,
    ('synchronised BN', 'apex (groups of 8)'): dict(group_size=8),
    ('synchronised BN', 'pytorch (all processes)'): 'torch',
    ('head init', 'nn.Linear default: U(+-1/sqrt(2048)) (std 0.0128), bias the same'): 'default',
    ('head bias init', 'conv default (uniform +-1/sqrt(384))'): 'default',
    ('network', '(ResNet-50, 64)'): ('ResNet-50', 64),
    ('drop last', 'None'): False,  # the loader's default
}

# schedules in several words, by the official text
SCHEDULES: dict[str, Reader] = {
    '(cosine, 0, True)': ends_low,
    'cosine to 0': ends_low,
    'cosine to 0 per epoch': ends_low,
    '(cosine, per iteration, over what is left)': lambda r: (
        r.schedule()['shape'],
        'epoch' if r.schedule()['hold_epochs'] else 'iteration',
        'left' if r.schedule()['after_warmup'] else 'all',
    ),
}


# (key, official text) -> why no value of a config can be compared
NOT_COMPARED = {
    ('shuffling BN', 'yes'): 'the method itself does it',
    ('amp', 'AmpOptimWrapper? see file'): 'the row was not read',
}


def reader_of(config: str, key: str, official: str) -> Reader | None:
    """Return how a key is read from a config, or None when no reader is known."""
    if key == 'schedule' and official in SCHEDULES:
        return SCHEDULES[official]
    method = FOLDERS.get(config.split('/')[1], {})
    tables = [method, COMMON]
    if '/benchmarks/' in config:
        tables = [method, COMMON, BENCH]
        if 'imagenet-s' in config or (method is DISTILLATION and 'linear' not in config):
            tables = [BENCH, COMMON]
    if 'knn' in config:
        tables = [KNN, COMMON]
    return next((table[key] for table in tables if key in table), None)
