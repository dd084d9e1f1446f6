"""Distillation of a frozen encoder's features into another network (Romero et al., ICLR 2015)."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from ...core import UserError
from ...functional.distill import FEATURE_LOSSES, feature_loss
from ...functional.resize import average
from ...registry import MODELS
from ..backbones import Backbone, Features, build_backbone
from ..preprocessor import IMAGENET_MEAN, IMAGENET_STD
from .base import Pretrainer

Gibibytes = Annotated[float, Field(ge=0, description='a number of GiB, 0 or more')]
Weight = Annotated[float, Field(ge=0, description='a number of at least 0')]


class Target(NamedTuple):
    """Features of a teacher's view: pooled (B, C), maps (B, h, w, C)."""

    pooled: Tensor
    maps: Tensor


@MODELS.register_module()
class Distillation(Pretrainer):
    """A student learns to give a frozen teacher's features of the same views.

    ``teacher`` are the settings of a backbone with its ``init_cfg``, or a module as it is; of a
    config also anything that ``pretrained=`` takes. ``neck`` maps the student's features to the
    teacher's, once for pooled ones and once for those of patches; by default a linear layer. Patch
    features are compared on the coarser of both grids. ``loss``: 'cosine', or 'smooth_l1' against
    the teacher's features of mean 0 and variance 1 over channels. ``weights`` are those of pooled
    and patch features. Where views are fixed, ``cache_gib`` GiB of each process keep features of
    the teacher from one epoch to the next. The teacher is in no training file. Raises UserError
    for another loss, weights of zero, a neck that does not lead to the teacher's width, and a
    teacher for images of other channels.
    """

    export, teacher_update, min_views = 'student', None, 1

    def __init__(
        self,
        *,
        backbone: dict[str, Any] | nn.Module,
        teacher: dict[str, Any] | nn.Module,
        neck: dict[str, Any] | None = None,
        loss: str = 'cosine',
        weights: tuple[Weight, Weight] = (1.0, 1.0),
        cache_gib: Gibibytes = 0.0,
        **parts: Any,
    ) -> None:
        student = build_backbone(backbone)
        network: Any = build_backbone(teacher)
        if neck is None:
            neck = dict(type='MLP', dims=(student.num_features, network.num_features), bias=True)
        super().__init__(backbone=student, neck={'view': neck, 'patch': neck}, **parts)
        given = self.student.neck['view'].out_dim
        if given != network.num_features:
            raise UserError(
                f'model.neck gives {given} values, but the teacher has {network.num_features} '
                'channels; make them equal, or leave model.neck out',
                key='model.neck',
                value=given,
            )
        if loss not in FEATURE_LOSSES:
            raise UserError(
                f"model.loss='{loss}' is unknown; use {' or '.join(FEATURE_LOSSES)}",
                key='model.loss',
                value=loss,
            )
        if not max(weights) > 0:
            raise UserError(
                f'model.weights={weights}: nothing is learnt; give one above 0',
                key='model.weights',
                value=weights,
            )
        self.kind = loss
        self.weights = weights
        self.cache = FeatureCache(cache_gib)
        self._is_loaded = isinstance(teacher, nn.Module)
        # no submodule: it is in no training file, no optimizer and no exchange between processes
        self._teachers = [network.requires_grad_(False).eval()]
        channels = network.in_channels
        if channels != student.in_channels:
            raise UserError(
                f'model.teacher is for images of {channels} channels, the student for '
                f'in_channels={student.in_channels}; both see the same views',
                key='model.teacher',
                value=channels,
            )
        self.register_buffer('scale', torch.ones(channels, 1, 1), persistent=False)
        self.register_buffer('shift', torch.zeros(channels, 1, 1), persistent=False)
        self._set_normalisation(network)

    @property
    def frozen_teacher(self) -> Backbone:
        """Return the network whose features are learnt."""
        network: Backbone = self._teachers[0]
        return network

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> 'Distillation':
        """Move or convert the teacher with the model."""
        super()._apply(fn, recurse)
        self.frozen_teacher._apply(fn)
        return self

    def _set_normalisation(self, network: Backbone) -> None:
        """Set ``scale`` and ``shift``, which turn the student's pixels into the teacher's."""
        mean, std = (getattr(self.data_preprocessor, name, None) for name in ('mean', 'std'))
        stated = network.normalisation or (IMAGENET_MEAN, IMAGENET_STD)
        # a preprocessor of the user's own, or images of other channels than RGB
        if mean is None or std is None or len(stated[0]) != network.in_channels:
            return
        theirs = [torch.tensor(values).view(-1, 1, 1) for values in stated]
        self.scale.copy_(std / theirs[1])
        self.shift.copy_((mean - theirs[0]) / theirs[1])

    # refusals -------------------------------------------------------------------------------
    @classmethod
    def check_recipe(
        cls, model: dict[str, Any], views: list[dict[str, Any]], mask: dict[str, Any] | None
    ) -> None:
        """Check a config as `Pretrainer.check_recipe` does, its teacher too, and cached views.

        Raises UserError for sizes that the teacher's patches do not divide, and for views with
        random numbers where features are cached.
        """
        super().check_recipe(model, views, mask)
        if isinstance(model.get('teacher'), dict):
            cls.check_patches(model['teacher'], views)
        if model.get('cache_gib') and not all(map(is_fixed, views)):
            raise UserError(
                f'model.cache_gib={model["cache_gib"]}: features are kept of fixed views only, '
                'and these are random; set flip=0, gray=0, scale=(1, 1), ratio=(1, 1), or 0 GiB',
                key='model.cache_gib',
                value=model['cache_gib'],
            )

    @classmethod
    def check_order(cls, views: list[dict[str, Any]], leading: Sequence[int]) -> None:
        """Check nothing: all views are alike."""

    # a step of training ---------------------------------------------------------------------
    def init_weights(self) -> None:
        """Load the student's ``init_cfg``, if it has one, and the teacher's."""
        super().init_weights()
        self.load_teacher()

    def load_teacher(self) -> None:
        """Load the teacher's weights, once. Raises UserError when no file is named."""
        if self._is_loaded:
            return
        init = self.frozen_teacher.init_cfg or {}
        if not init.get('checkpoint'):
            raise UserError(
                'model.teacher has no weights: name its file, such as '
                'model.teacher.init_cfg.checkpoint=PATH',
                key='model.teacher.init_cfg.checkpoint',
                value=init.get('checkpoint'),
            )
        self.frozen_teacher.init_weights()
        self._is_loaded = True

    def begin_step(self, step: int, *args: Any, **options: Any) -> None:
        """Begin an iteration; of a resumed run, whose file has no teacher, the first loads it."""
        self.load_teacher()
        super().begin_step(step, *args, **options)

    def loss(self, views: list[Tensor], info: dict[str, Any]) -> dict[str, Tensor]:
        """Return the losses () of views (B, 3, H, W): 'pooled', 'patch' and their sum."""
        student = self.student.encode(views)
        targets = self.targets(views, info)
        pooled = self.student.project('view', [f.pooled for f in student])  # (B, C) each
        patches = [self.student.project('patch', [f.tokens])[0] for f in student]  # (B, N, C)
        parts = {'pooled': [], 'patch': []}  # type: dict[str, list[Tensor]]
        for feature, vector, patch, target in zip(student, pooled, patches, targets, strict=True):
            ours, theirs = on_one_grid(patch.unflatten(1, feature.grid), target.maps)
            parts['pooled'].append(feature_loss(vector, target.pooled, self.kind))
            parts['patch'].append(feature_loss(ours, theirs, self.kind))
        self.log_embeddings(student=pooled[0], teacher=targets[0].pooled)
        losses = {
            name: weight * torch.stack(values).mean()
            for (name, values), weight in zip(parts.items(), self.weights, strict=True)
        }
        return {'loss': losses['pooled'] + losses['patch'], **losses}

    def uniform_loss(self, batch: int) -> float | None:
        """Return the loss of features that have nothing in common with the teacher's."""
        return sum(self.weights) if self.kind == 'cosine' else None

    @torch.no_grad()
    def targets(self, views: list[Tensor], info: dict[str, Any]) -> list[Target]:
        """Return the teacher's features of each view (B, 3, H, W).

        With a cache those of images whose ``info['index']`` was seen before are taken from it.
        """
        index, names = info.get('index'), info.get('unreadable')
        keys = index.tolist() if self.cache.limit and isinstance(index, Tensor) else []
        if names is not None and any(names):  # another image took the place of one
            keys = []
        found = [self.cache.find(view, keys) for view in range(len(views))] if keys else []
        if found and all(target is not None for target in found):
            kept = [target for target in found if target is not None]
            return [Target(*(part.to(self.scale.device) for part in target)) for target in kept]
        targets = [self._target(view) for view in views]
        for view, target in enumerate(targets if keys else ()):
            self.cache.keep(view, keys, target)
        return targets

    def _target(self, view: Tensor) -> Target:
        """Return the teacher's features of a view (B, 3, H, W) of the student's normalisation."""
        features: Features = self.frozen_teacher.encode(view * self.scale + self.shift)
        return Target(features.pooled, features.tokens.unflatten(1, features.grid))


class FeatureCache:
    """A teacher's features of fixed views by image, in at most ``gib`` GiB of this process."""

    BYTES: ClassVar[int] = 2**30

    def __init__(self, gib: float) -> None:
        self.limit = gib * self.BYTES
        self.used = 0
        self.rows: dict[tuple[int, int], Target] = {}

    def find(self, view: int, keys: list[int]) -> Target | None:
        """Return the features of images, pooled (B, C) and maps (B, h, w, C), or None."""
        rows = [self.rows.get((view, key)) for key in keys]
        if any(row is None for row in rows):
            return None
        parts = zip(*(row for row in rows if row is not None), strict=True)
        return Target(*(torch.stack(part) for part in parts))

    def keep(self, view: int, keys: list[int], target: Target) -> None:
        """Keep features of images, pooled (B, C) and maps (B, h, w, C), as far as they fit."""
        pooled, maps = (part.cpu() for part in target)
        size = (pooled.nbytes + maps.nbytes) // max(len(keys), 1)
        for i, key in enumerate(keys):
            if (view, key) in self.rows or self.used + size > self.limit:
                continue
            self.rows[view, key] = Target(pooled[i].clone(), maps[i].clone())
            self.used += size


def is_fixed(view: dict[str, Any]) -> bool:
    """Whether a view of these settings of RandomView is the same at every time."""
    scale, ratio = view.get('scale', (0.08, 1.0)), view.get('ratio', (3 / 4, 4 / 3))
    random = [view.get('flip', 0.5), view.get('gray', 0.2), view.get('jitter')]
    random += [view.get('blur'), view.get('solarize')]
    return tuple(scale) == (1, 1) and ratio[0] == ratio[1] and not any(random)


def on_one_grid(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Average maps (B, h, w, C) and (B, y, x, C) over the cells of the coarser grid."""
    height, width = (min(x, y) for x, y in zip(a.shape[1:3], b.shape[1:3], strict=True))
    return average(a, height, width), average(b, height, width)
