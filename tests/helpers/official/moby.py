"""MoBY: one iteration of moby_main.py on one process."""

import argparse
import copy
import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .case import DECAYED, State, adamw, clip_whole, gradients, half_cosine, move, state
from .contrastive import Contrastive, cross_entropy, encoder, features


class MoBYMLP(nn.Module):
    """Hidden layers behind an Identity, then a Linear without norm."""

    def __init__(self, dims: list[int]) -> None:
        super().__init__()
        hidden: list[nn.Module] = [nn.Identity()]
        for a, b in pairwise(dims[:-1]):
            hidden += [nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU()]
        self.linear_hidden = nn.Sequential(*hidden)
        self.linear_out = nn.Linear(dims[-2], dims[-1])

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.linear_out(self.linear_hidden(x))
        return found


class MoBY(Contrastive):
    """moby.py's forward and one iteration of moby_main.py."""

    def build(self) -> nn.Module:
        heads, net = self.block['heads'], nn.Module()
        shape = (heads['projector'][-1], self.block['loss']['queue_length'])
        for name in ('queue1', 'queue2'):
            net.register_buffer(name, F.normalize(torch.randn(shape), dim=0))
        net.register_buffer('queue_ptr', torch.zeros(1, dtype=torch.long))
        net.encoder = encoder(self.block['backbone'])
        net.encoder_k = copy.deepcopy(net.encoder).requires_grad_(False)
        net.projector = MoBYMLP(heads['projector'])
        net.projector_k = copy.deepcopy(net.projector).requires_grad_(False)
        net.predictor = MoBYMLP(heads['predictor'])
        return net

    def make_optimizer(self) -> torch.optim.Optimizer:
        found: torch.optim.Optimizer = adamw(self.net, DECAYED['not_1d_nor_bias'], self.block)
        return found

    def rate(self, at: int) -> float:
        """Value of the schedule array at an index."""
        clock, lr = self.block['clock'], self.block['schedule']['lr']
        rise = lr['warmup_epochs'] * clock['steps_per_epoch']
        if at < rise:
            found: float = lr['warmup_start'] + at * (lr['base'] - lr['warmup_start']) / rise
            return found
        total = clock['epochs'] * clock['steps_per_epoch']
        return half_cosine(lr['base'], lr['final'], at / total)

    def used(self, at: int) -> dict[str, float]:
        clock, m = self.block['clock'], self.block['schedule']['momentum']
        k = clock['momentum_step'] - clock['step'] + at
        share = (math.cos(math.pi * k / clock['momentum_total']) + 1) / 2
        momentum = 1 - (1 - m['start']) * share
        return dict(lr=self.rate(max(at - 1, 0)), lr_next=self.rate(at), momentum=momentum)

    def checkpoint(self) -> dict[str, Any]:
        return dict(
            model=self.net.state_dict(),
            optimizer=self.optimizer.state_dict(),
            lr_scheduler=dict(lr_min=1e-5, base_values=[0.1, 0.1]),
            max_accuracy=0.0,
            epoch=0,
            config=argparse.Namespace(AUG=1),
            amp=dict(loss_scaler0=dict(loss_scale=65536.0, unskipped=1)),
        )

    def step(self, batch: State, at: int) -> State:
        net, views, used = self.net, self.views(batch), self.used(at)
        out: State = {}
        queries, keys = [], []
        for i, view in enumerate(views[:2]):
            out[f'feat.view_{i}'] = feat = features(net.encoder, view)
            out[f'proj.view_{i}'] = proj = net.projector(feat)
            out[f'pred.view_{i}'] = F.normalize(net.predictor(proj), dim=1)
            queries.append(out[f'pred.view_{i}'])
        move(net.encoder, net.encoder_k, used['momentum'])
        move(net.projector, net.projector_k, used['momentum'])
        with torch.no_grad():
            for i, view in enumerate(views[:2]):
                out[f'feat_k.view_{i}'] = feat = features(net.encoder_k, view)
                out[f'proj_k.view_{i}'] = F.normalize(net.projector_k(feat), dim=1)
                keys.append(out[f'proj_k.view_{i}'])
        queues = [net.queue1, net.queue2]
        for i, name in ((0, 'q1_k2'), (1, 'q2_k1')):
            own = (queries[i] * keys[1 - i]).sum(1, keepdim=True)
            scores = torch.cat([own, queries[i] @ queues[1 - i].clone()], 1)
            out[f'logits.{name}'] = scores / self.block['loss']['temperature']
            zeros = torch.zeros(len(own), dtype=torch.long)
            out[f'loss_{name}'] = cross_entropy(out[f'logits.{name}'], zeros)
        out['loss'] = out['loss_q1_k2'] + out['loss_q2_k1']
        for row1, row2 in zip(*keys, strict=True):
            at_column = int(net.queue_ptr)
            net.queue1[:, at_column], net.queue2[:, at_column] = row1, row2
            net.queue_ptr[0] = (at_column + 1) % net.queue1.shape[1]
        self.optimizer.zero_grad()
        out['loss'].backward()
        grads = gradients(net)
        norms = {f'gradnorm.{k.removeprefix("grad.")}': v.norm() for k, v in grads.items()}
        limit = self.block['clip']['max_norm'] if self.block['clip'] else float('inf')
        out['grad_total_norm'] = clip_whole(net, limit)
        for group, decay in zip(self.optimizer.param_groups, (1, 0), strict=True):
            group['lr'] = used['lr']
            group['weight_decay'] = decay * self.block['optimizer']['weight_decay']
        self.optimizer.step()
        values = dict(momentum=used['momentum'], lr_used=used['lr'], lr_after_step=used['lr_next'])
        out |= {k: torch.tensor(v, dtype=torch.float64) for k, v in values.items()}
        after = state(net)
        sizes = {
            k.replace('after.', 'afternorm.', 1): v.norm()
            for k, v in after.items()
            if v.is_floating_point()
        }
        return {k: v.detach() for k, v in {**out, **grads, **norms, **after, **sizes}.items()}
