"""EsViT: one iteration of main_esvit.py, and the head that iBOT shares with it."""

import copy
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .case import (
    ARGS,
    DECAYED,
    SCALER,
    Official,
    State,
    adamw,
    clip_each,
    dino_schedule,
    gradients,
    move,
    state,
    teacher_temp,
)
from .contrastive import wrapped
from .convnets import CvT
from .nets import Swin


class LastLayer(nn.Module):
    """Weight-normalised Linear without bias."""

    def __init__(self, dim: int, count: int, train_scale: bool) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(count, 1), requires_grad=train_scale)
        self.weight_v = nn.Parameter(torch.randn(count, dim) / dim**0.5)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = (
            x @ (self.weight_g * self.weight_v / self.weight_v.norm(dim=1, keepdim=True)).T
        )
        return found


class DINOHead(nn.Module):
    """GELU MLP, unit rows, last layer; a second last layer for patches, or the same again."""

    def __init__(
        self,
        dims: list[int],
        prototypes: int,
        train_scale: bool,
        patch: int | None = None,
        shared: bool = False,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in pairwise(dims):
            linear = nn.Linear(a, b)
            nn.init.normal_(linear.weight, std=0.3)
            layers += [linear, nn.GELU()]
        self.mlp = nn.Sequential(*layers[:-1])
        self.last_layer = LastLayer(dims[-1], prototypes, train_scale)
        if patch is not None:
            own = None if shared else LastLayer(dims[-1], patch, train_scale)
            self.last_layer2 = own or self.last_layer

    def unit(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., D)."""
        return F.normalize(self.mlp(x), dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last_layer(self.unit(x))
        return found


def soft_cross_entropy(targets: Tensor, scores: Tensor) -> Tensor:
    """-sum targets log softmax(scores) over the last axis."""
    return -(targets * scores.log_softmax(-1)).sum(-1)


class Distillation(Official):
    """What EsViT and iBOT share: schedules, groups, clipping, the order of the update."""

    def used(self, at: int) -> dict[str, float]:
        found = {}
        for name, c in self.block['schedule'].items():
            schedule = teacher_temp if name.startswith('teacher') else dino_schedule
            found[name] = schedule(c, at, self.block)
        return found

    def make_optimizer(self) -> torch.optim.Optimizer:
        decayed = DECAYED[self.block['optimizer']['decay']]
        found: torch.optim.Optimizer = adamw(self.net.student, decayed, self.block)
        return found

    def update(self, loss: Tensor, used: dict[str, float], at: int) -> State:
        """Backward, clip, cancel, AdamW, teacher; return what is recorded."""
        student = self.net.student
        self.optimizer.zero_grad()
        loss.backward()
        out = wrapped(gradients(student), 'grad.')
        if self.block['clip']:
            clip_each(student, self.block['clip']['max_norm'])
        freeze = self.block['frozen_last_layer']['epochs'] * self.block['clock']['steps_per_epoch']
        if at < freeze:
            for name, p in student.named_parameters():
                if 'last_layer' in name:
                    p.grad = None
        out |= wrapped(gradients(student, 'grad_clipped.'), 'grad_clipped.')
        for group, decay in zip(self.optimizer.param_groups, (1, 0), strict=True):
            group['lr'], group['weight_decay'] = used['lr'], decay * used['weight_decay']
        self.optimizer.step()
        move(student, self.net.teacher, used['momentum'])
        return out

    def sides(self, module: str) -> dict[str, dict[str, Tensor]]:
        """Return both networks' tensors, the teacher's behind ``module``."""
        names = {'student': 'module.', 'teacher': module}
        return {
            side: {
                start + k: v
                for k, v in getattr(self.net, side).state_dict().items()
                if not k.startswith('loss.')
            }
            for side, start in names.items()
        }

    def after(self, module: str) -> State:
        """Return both networks after the step."""
        out = state(self.net.student, 'after.student.module.')
        return out | state(self.net.teacher, f'after.teacher.{module}')


class EsViT(Distillation):
    """Views, and regions where the case has them."""

    def build(self) -> nn.Module:
        b, heads, net = self.block['backbone'], self.block['heads'], nn.Module()
        self.convolutional = b['family'] == 'cvt'
        self.module = 'module.' if self.convolutional else ''
        net.student = CvT(b) if self.convolutional else Swin(b)
        shape = (heads['mlp'], heads['prototypes'], heads['scale_trainable'])
        net.student.head = DINOHead(*shape)
        if heads['region']:
            net.student.head_dense = DINOHead(*shape)
        net.teacher = copy.deepcopy(net.student).requires_grad_(False)
        net.register_buffer('center', torch.zeros(1, heads['prototypes']))
        net.register_buffer('center_grid', torch.zeros(1, heads['prototypes']))
        return net

    def centres(self) -> State:
        """Return the buffers of the loss."""
        found = {'center': self.net.center}
        if self.block['heads']['region']:
            found['center_grid'] = self.net.center_grid
        return found

    def checkpoint(self) -> dict[str, Any]:
        return dict(
            **self.sides(self.module),
            optimizer=self.optimizer.state_dict(),
            epoch=1,
            args=ARGS,
            dino_loss=self.centres(),
            fp16_scaler=dict(SCALER),
        )

    def regions(self, net: nn.Module, views: list[Tensor]) -> list[Tensor]:
        """Region features (B, N, C) of each view, one pass per run of equal widths."""
        found: list[Tensor] = []
        at = 0
        while at < len(views):
            end = at + 1
            while end < len(views) and views[end].shape[-1] == views[at].shape[-1]:
                end += 1
            found += net(torch.cat(views[at:end])).chunk(end - at)
            at = end
        return found

    def step(self, batch: State, at: int) -> State:
        net, views, used, t = self.net, self.views(batch), self.used(at), self.block['loss']
        temp, dense = used['teacher_temp'], self.block['heads']['region']
        with torch.no_grad():
            f_t = self.regions(net.teacher, views[:2])
            v_t = [net.teacher.head(f.mean(1)) for f in f_t]
            r_t = [net.teacher.head_dense(f) for f in f_t] if dense else []
        f_s = self.regions(net.student, views)
        v_s = [net.student.head(f.mean(1)) for f in f_s]
        r_s = [net.student.head_dense(f) for f in f_s] if dense else []
        pair_view = torch.zeros(2, len(views), dtype=torch.float64)
        pair_region = torch.zeros(2, len(views), dtype=torch.float64)
        out: State = {}
        for i in (0, 1):
            for v in range(len(views)):
                if v == i:
                    continue
                q = ((v_t[i] - net.center) / temp).softmax(-1)
                pair_view[i, v] = soft_cross_entropy(q, v_s[v] / t['student_temp']).mean()
                if dense:
                    loss, index = self.region_pair(f_s[v], f_t[i], r_s[v], r_t[i], temp)
                    pair_region[i, v], out[f'match.t{i}.s{v}'] = loss, index
        count = 2 * len(views) - 2
        out['loss.view'], out['loss.pair_view'] = pair_view.sum() / count, pair_view
        out['loss'] = t['view_weight'] * out['loss.view']
        out['logits.student.view'], out['logits.teacher.view'] = torch.cat(v_s), torch.cat(v_t)
        if dense:
            out['loss.region'], out['loss.pair_region'] = pair_region.sum() / count, pair_region
            out['loss'] = out['loss'] + t['region_weight'] * out['loss.region']
            for side, f, r in (('student', f_s, r_s), ('teacher', f_t, r_t)):
                out[f'logits.{side}.region'] = torch.cat([x.flatten(0, 1) for x in r])
                out[f'feat.{side}.region'] = torch.cat([x.flatten(0, 1) for x in f])
        keep = t['center_momentum']
        net.center.mul_(keep).add_((1 - keep) * torch.cat(v_t).mean(0, keepdim=True))
        if dense:
            rows = torch.cat(r_t).flatten(0, 1)
            net.center_grid.mul_(keep).add_((1 - keep) * rows.mean(0, keepdim=True))
        out |= self.update(out['loss'], used, at) | self.after(self.module)
        out |= {f'after.dino_loss.{k}': v.clone() for k, v in self.centres().items()}
        return {k: v.detach() for k, v in out.items()}

    def region_pair(
        self, f_s: Tensor, f_t: Tensor, r_s: Tensor, r_t: Tensor, temp: float
    ) -> tuple[Tensor, Tensor]:
        """Loss of one pair of views and the matched teacher regions (B, N)."""
        index = torch.empty(f_s.shape[:2], dtype=torch.long)
        losses = []
        for n in range(len(f_s)):
            for a in range(f_s.shape[1]):
                near = F.cosine_similarity(f_s[n, a].detach()[None], f_t[n], dim=1)
                index[n, a] = near.argmax()
                target = ((r_t[n, index[n, a]] - self.net.center_grid[0]) / temp).softmax(-1)
                scores = r_s[n, a] / self.block['loss']['student_temp']
                losses.append(soft_cross_entropy(target, scores))
        return torch.stack(losses).mean(), index
