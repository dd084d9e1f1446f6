"""SwAV: one iteration of main_swav.py on one process."""

import copy
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .case import Official, State, dino_schedule, gradients, state
from .contrastive import wrapped
from .convnets import ResNet


def sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Balanced codes (B, K) of scores (B, K): equal columns, then rows of sum 1."""
    q = torch.exp(scores / epsilon).T  # (K, B)
    q = q / q.sum()
    for _ in range(iterations):
        q = q / q.sum(1, keepdim=True) / q.shape[0]
        q = q / q.sum(0, keepdim=True) / q.shape[1]
    return (q * q.shape[1]).T


class SwAV(Official):
    """ResNet, projection head and prototypes in one module; LARC around SGD."""

    def build(self) -> nn.Module:
        b, heads = self.block['backbone'], self.block['heads']
        net = ResNet(b)
        layers: list[nn.Module] = []
        dims = heads['projector']
        for i, (a, c) in enumerate(pairwise(dims)):
            layers.append(nn.Linear(a, c))
            if i < len(dims) - 2:
                layers += [nn.BatchNorm1d(c), nn.ReLU()]
        net.projection_head = nn.Sequential(*layers) if len(layers) > 1 else layers[0]
        net.prototypes = nn.Linear(dims[-1], heads['prototypes'], bias=False)
        self.queue: Tensor | None = None
        return net

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.net.parameters(), 1.0, self.block['optimizer']['momentum'])

    def used(self, at: int) -> dict[str, float]:
        return dict(lr=dino_schedule(self.block['schedule']['lr'], at, self.block))

    def checkpoint(self) -> dict[str, Any]:
        stored = self.optimizer.state_dict()
        for group in stored['param_groups']:
            group.update(lr=np.float64(0.3), weight_decay=self.block['optimizer']['weight_decay'])
        names = {f'module.{k}': v for k, v in self.net.state_dict().items()}
        return dict(epoch=1, state_dict=names, optimizer=stored, amp={})

    def batch(self) -> State:
        out, loss = super().batch(), self.block['loss']
        if loss['queue_length']:
            dim = self.block['heads']['projector'][-1]
            rows = torch.randn(len(loss['assign']), loss['queue_length'], dim)
            out['queue'] = F.normalize(rows, dim=2)
        return out

    def step(self, batch: State, at: int) -> State:
        net, views, used, t = self.net, self.views(batch), self.used(at), self.block['loss']
        rows = self.block['views']['batch']
        frozen = copy.deepcopy(net).eval()
        with torch.no_grad():
            out = {f'eval.backbone.view_{i}': frozen(v) for i, v in enumerate(views)}
            net.prototypes.weight.copy_(F.normalize(net.prototypes.weight, dim=1))
        out['prototypes.normalised'] = net.prototypes.weight.detach().clone()
        runs: list[list[Tensor]] = []
        for view in views:
            if runs and runs[-1][0].shape[-1] == view.shape[-1]:
                runs[-1].append(view)
            else:
                runs.append([view])
        out['feat.all'] = torch.cat([net(torch.cat(run)) for run in runs])
        out['emb.all'] = F.normalize(net.projection_head(out['feat.all']), dim=1)
        out['scores.all'] = net.prototypes(out['emb.all'])
        crops = [slice(i * rows, (i + 1) * rows) for i in range(len(views))]
        queue = batch['queue'].double() if 'queue' in batch else None
        loss = out['feat.all'].new_zeros(())
        for at_queue, i in enumerate(t['assign']):
            given = out['scores.all'][crops[i]].detach()
            if queue is not None:
                given = torch.cat([queue[at_queue] @ net.prototypes.weight.detach().T, given])
                fresh = out['emb.all'][crops[i]].detach()
                queue[at_queue] = torch.cat([fresh, queue[at_queue][:-rows]])
            codes = sinkhorn(given, t['epsilon'], t['sinkhorn_iterations'])[-rows:]
            out[f'sinkhorn_in.crop_{i}'], out[f'assign.crop_{i}'] = given, codes
            for v, crop in enumerate(crops):
                if v != i:
                    scores = (out['scores.all'][crop] / t['temperature']).log_softmax(1)
                    term = -(codes * scores).sum(1).mean()
                    out[f'loss.assign_{i}_pred_{v}'] = term
                    loss = loss + term / (len(views) - 1) / len(t['assign'])
        out['loss'] = loss
        self.optimizer.zero_grad()
        loss.backward()
        out |= wrapped(gradients(net), 'grad.')
        self._update(used['lr'], at)
        out |= wrapped(gradients(net, 'grad_after_larc.'), 'grad_after_larc.')
        if queue is not None:
            out['after.queue'] = queue
        out['sched.lr'] = torch.tensor(used['lr'], dtype=torch.float64)
        return {k: v.detach() for k, v in {**out, **wrapped(state(net), 'after.')}.items()}

    def _update(self, lr: float, at: int) -> None:
        net, o = self.net, self.block['optimizer']
        if at < self.block['frozen_prototypes']['iterations']:
            net.prototypes.weight.grad = None
        with torch.no_grad():
            for p in net.parameters():
                if p.grad is None or p.norm() == 0 or p.grad.norm() == 0:
                    continue
                below = p.grad.norm() + o['weight_decay'] * p.norm() + o['eps']
                ratio = o['trust_coefficient'] * p.norm() / below
                p.grad.add_(o['weight_decay'] * p).mul_(ratio)
        # LARC has added the decay
        self.optimizer.param_groups[0].update(lr=lr, weight_decay=0.0)
        self.optimizer.step()
