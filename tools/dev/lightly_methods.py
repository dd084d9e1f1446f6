"""MoCo v2, SwAV and DINO composed of lightly's modules and losses, started from ours.

Each takes the steps that lightly's documentation shows, with lightly's schedules set to the values
of our recipe. The network is a copy of ours, since lightly leaves it to the user. A form other than
DOCUMENTED changes one thing more into ours:

views joined    all views of a network in one pass; lightly shows one pass a view, so that batch
                norms see one view at a time
no bias         its prototypes of SwAV have a bias, which starts at 0 here; without it
exact temperature
                its DINO divides by a teacher temperature in float32; in float64
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from benchmarks.peers import library
from mmengine.config import Config
from torch import Tensor, nn

from mmssl.core import Progress
from mmssl.models.algorithms.base import Pretrainer

DOCUMENTED = 'as documented'
JOINED = 'views joined'
NO_BIAS = 'views joined, no bias'
EXACT = 'views joined, exact temperature'


def copy_layers(ours: nn.Module, theirs: nn.Module) -> None:
    """Copy linear layers and batch norms in their order; a bias that ours lacks becomes 0."""
    kinds = (nn.Linear, nn.BatchNorm1d)
    pairs = [[m for m in side.modules() if isinstance(m, kinds)] for side in (ours, theirs)]
    for own, other in zip(*pairs, strict=True):
        state = own.state_dict()
        for name, value in other.state_dict().items():
            value.copy_(state.get(name, torch.zeros(())))


class LightlyMethod:
    """A method's networks, optimizer and schedules; subclasses write `forward`.

    ``backbone`` is what is evaluated; ``taken`` are the scheduled values of the last step.
    """

    forms: tuple[str, ...]
    backbone: nn.Module

    def __init__(self, ours: Pretrainer, cfg: Config, progress: Progress, form: str) -> None:
        self.form = form
        self.progress = progress
        self.momentum = cfg.model.get('momentum')
        self.taken: dict[str, float | None] = {}
        self.modules = library('lightly.models.modules')
        self.losses = library('lightly.loss')
        self.utils = library('lightly.models.utils')
        self.schedules = library('lightly.utils.scheduler')
        self.student = deepcopy(ours.student.backbone)
        self.dtype = next(ours.parameters()).dtype
        self.head = self.make_head(ours).to(self.dtype)
        self.backbone = self.student
        self.build(ours, cfg)
        self.decay = cfg.optim_wrapper.optimizer.get('weight_decay', 0.0)
        decays = [s for s in cfg.param_scheduler if s.param_name == 'weight_decay']
        self.final_decay = decays[0].final if decays else self.decay
        self.optimizer = self.make_optimizer(dict(cfg.optim_wrapper.optimizer))
        self.rates = self.schedules.CosineWarmupScheduler(
            self.optimizer, warmup_epochs=0, max_epochs=progress.total + 1, end_value=0.0
        )

    def make_head(self, ours: Pretrainer) -> nn.Module:
        """Return lightly's head with our start weights."""
        raise NotImplementedError

    def build(self, ours: Pretrainer, cfg: Config) -> None:
        """Build the loss and what else the method has."""
        raise NotImplementedError

    def trained(self) -> list[nn.Module]:
        """Return the modules that the optimizer updates."""
        return [self.student, self.head]

    def make_optimizer(self, settings: dict[str, Any]) -> torch.optim.Optimizer:
        """Return torch's optimizer over all parameters alike."""
        params = [p for m in self.trained() for p in m.parameters() if p.requires_grad]
        kind: Any = getattr(torch.optim, settings.pop('type'))
        built: torch.optim.Optimizer = kind(params, **settings)
        return built

    def cosine(self, step: int, start: float, final: float) -> float:
        """Return lightly's cosine at a step; its last step is one after ours."""
        value: float = self.schedules.cosine_schedule(step, self.progress.total + 1, start, final)
        return value

    def teacher_momentum(self, step: int) -> float:
        """Return the momentum of a step."""
        start = self.momentum['start']
        return self.cosine(step, start, self.momentum.get('final', start))

    def embed(self, net: Callable[[Tensor], Tensor], views: list[Tensor]) -> list[Tensor]:
        """Return what a network makes of each view (B, 3, H, W)."""
        if self.form != DOCUMENTED:
            return list(net(torch.cat(views)).split(len(views[0])))
        return [net(view) for view in views]

    def forward(self, views: list[Tensor]) -> Tensor:
        """Return the loss () of views (B, 3, H, W)."""
        raise NotImplementedError

    def after_backward(self) -> None:
        """Change gradients before the update."""

    def step(self, views: list[Tensor]) -> float:
        """Take one training step and return its loss."""
        group = self.optimizer.param_groups[0]
        group['weight_decay'] = self.cosine(self.progress.step, self.decay, self.final_decay)
        momentum = self.teacher_momentum(self.progress.step) if self.momentum else None
        self.taken = dict(lr=group['lr'], decay=group['weight_decay'], momentum=momentum)
        loss = self.forward(views)
        loss.backward()
        self.after_backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.rates.step()
        self.progress = self.progress._replace(step=self.progress.step + 1)
        return float(loss.detach())


class MoCo(LightlyMethod):
    """Momentum encoder and memory bank; each network sees one view."""

    forms = (DOCUMENTED,)

    def make_head(self, ours: Pretrainer) -> nn.Module:
        """Return MoCo v2's projection."""
        neck = ours.student.neck['project']
        head: nn.Module = self.modules.MoCoProjectionHead(*neck.dims)
        copy_layers(neck, head)
        return head

    def build(self, ours: Any, cfg: Config) -> None:
        """Build the momentum encoder, and the loss with our queue's random start."""
        self.teacher = deepcopy(self.student)
        self.teacher_head = deepcopy(self.head)
        for module in (self.teacher, self.teacher_head):
            self.utils.deactivate_requires_grad(module)
        size = (ours.queue.length, ours.student.neck['project'].out_dim)
        self.loss = self.losses.NTXentLoss(cfg.model.head.temperature, size).to(self.dtype)
        self.loss.memory_bank.bank.copy_(ours.queue.bank0.T)

    def forward(self, views: list[Tensor]) -> Tensor:
        """Move the momentum encoder, then contrast view 0 with view 1."""
        momentum = self.teacher_momentum(self.progress.step)
        self.utils.update_momentum(self.student, self.teacher, momentum)
        self.utils.update_momentum(self.head, self.teacher_head, momentum)
        query = self.head(self.student.encode(views[0]).pooled)
        with torch.no_grad():
            key = self.teacher_head(self.teacher.encode(views[1]).pooled)
        loss: Tensor = self.loss(query, key)
        return loss


class SwAV(LightlyMethod):
    """Prototypes without a queue."""

    forms = (DOCUMENTED, JOINED, NO_BIAS)

    def make_head(self, ours: Pretrainer) -> nn.Module:
        """Return the projection."""
        neck: Any = ours.student.neck['project']
        head: nn.Module = self.modules.SwaVProjectionHead(*neck.dims)
        copy_layers(neck, head)
        return head

    def build(self, ours: Pretrainer, cfg: Config) -> None:
        """Build prototypes, which are frozen for the first epoch, and the loss."""
        settings = cfg.model.head
        self.prototypes = self.modules.SwaVPrototypes(
            settings.dim, settings.prototypes, n_steps_frozen_prototypes=self.progress.per_epoch
        ).to(self.dtype)
        copy_layers(ours.head.prototypes, self.prototypes)
        if self.form == NO_BIAS:
            self.prototypes.heads[0].bias = None
        self.loss = self.losses.SwaVLoss(settings.temperature, sinkhorn_epsilon=settings.epsilon)

    def trained(self) -> list[nn.Module]:
        """Return network, projection and prototypes."""
        return [*super().trained(), self.prototypes]

    def project(self, view: Tensor) -> Tensor:
        """Return the scores (B, K) of views (B, 3, H, W)."""
        z = nn.functional.normalize(self.head(self.student.encode(view).pooled), dim=1)
        scores: Tensor = self.prototypes(z, self.progress.step)
        return scores

    def forward(self, views: list[Tensor]) -> Tensor:
        """Normalise the prototypes, then predict the codes of the other view."""
        self.prototypes.normalize()
        loss: Tensor = self.loss(self.embed(self.project, views), [])
        return loss.sum()


class DINO(LightlyMethod):
    """Teacher, centre and weight-normalised last layer."""

    forms = (DOCUMENTED, JOINED, EXACT)

    def make_head(self, ours: Pretrainer) -> nn.Module:
        """Return the projection, whose last layer is frozen for the first epoch."""
        neck: Any = ours.student.neck['view']
        widths = [layer.out_features for layer in neck.mlp if isinstance(layer, nn.Linear)]
        norms = any(isinstance(layer, nn.BatchNorm1d) for layer in neck.mlp)
        head: nn.Module = self.modules.DINOProjectionHead(
            neck.in_dim, widths[0], widths[-1], neck.out_dim, norms, freeze_last_layer=1
        )
        copy_layers(neck.mlp, head.layers)
        head.last_layer.weight_v.data.copy_(neck.last_layer.weight_v.data)
        return head

    def build(self, ours: Pretrainer, cfg: Config) -> None:
        """Build the teacher, which is evaluated, and the loss."""
        self.backbone = self.teacher = deepcopy(self.student)
        self.teacher_head = self.make_head(ours).to(self.dtype)
        for module in (self.teacher, self.teacher_head):
            self.utils.deactivate_requires_grad(module)
        temperature = cfg.model.teacher_temp.start
        self.loss = self.losses.DINOLoss(
            cfg.model.head.prototypes,
            teacher_temp=np.float64(temperature) if self.form == EXACT else temperature,
            student_temp=cfg.model.head.student_temp,
        ).to(self.dtype)

    def make_optimizer(self, settings: dict[str, Any]) -> torch.optim.Optimizer:
        """Return torch's optimizer; biases and norms do not decay."""
        decayed, others = self.utils.get_weight_decay_parameters(self.trained())
        groups = [dict(params=decayed), dict(params=others, weight_decay=0.0)]
        kind: Any = getattr(torch.optim, settings.pop('type'))
        built: torch.optim.Optimizer = kind(groups, **settings)
        return built

    def forward(self, views: list[Tensor]) -> Tensor:
        """Move the teacher by the momentum of the step before, then distil."""
        momentum = self.teacher_momentum(max(self.progress.step - 1, 0))
        self.utils.update_momentum(self.student, self.teacher, momentum)
        self.utils.update_momentum(self.head, self.teacher_head, momentum)
        with torch.no_grad():
            targets = self.embed(lambda v: self.teacher_head(self.teacher.encode(v).pooled), views)
        scores = self.embed(lambda v: self.head(self.student.encode(v).pooled), views)
        loss: Tensor = self.loss(targets, scores)
        return loss

    def after_backward(self) -> None:
        """Drop gradients of the last layer in the first epoch."""
        self.head.cancel_last_layer_gradients(self.progress.step // self.progress.per_epoch)


METHODS: dict[str, type[LightlyMethod]] = dict(mocov2=MoCo, swav=SwAV, dino=DINO)
