"""MoCo v2 and MoCo v3: one step each, and what MoBY shares with them."""

import copy
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .case import LARS, SCALER, Block, Official, State, gradients, half_cosine, move, state
from .convnets import ResNet
from .nets import Swin, ViT


def encoder(b: Block) -> nn.Module:
    """Build the backbone of a case."""
    found: nn.Module = {'vit': ViT, 'swin': Swin, 'resnet': ResNet}[b['family']](b)
    return found


def features(net: nn.Module, x: Tensor) -> Tensor:
    """(B, 3, H, W) -> what the official backbone hands to its head (B, C)."""
    out = net(x)
    if isinstance(net, ViT):
        found: Tensor = out[1][:, 0]
        return found
    found = out.mean(1) if isinstance(net, Swin) else out
    return found


def wrapped(values: State, word: str) -> State:
    """Put the name of a data-parallel wrapper after the first word."""
    return {k.replace(word, f'{word}module.', 1): v for k, v in values.items()}


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean of -log softmax at the labels; scores (B, K)."""
    return -scores.log_softmax(1)[torch.arange(len(scores)), labels].mean()


class Contrastive(Official):
    """MoCo's common part: teacher momentum, cosine of the learning rate."""

    def used(self, at: int) -> dict[str, float]:
        clock, m = self.block['clock'], self.block['schedule']['momentum']
        total = clock['steps_per_epoch'] * clock['epochs']
        return dict(lr=self.rate(at), momentum=half_cosine(m['start'], m['final'], at / total))

    def rate(self, at: int) -> float:
        """Return the learning rate of an iteration."""
        raise NotImplementedError

    def file(self, **entries: Any) -> dict[str, Any]:
        """Return the checkpoint of MoCo's trainers."""
        names = {f'module.{k}': v for k, v in self.net.state_dict().items()}
        return dict(epoch=1, arch='x', state_dict=names, optimizer=self.optimizer.state_dict())

    def eval_features(self, net: nn.Module, views: list[Tensor]) -> State:
        """Features of the untouched backbone in eval mode."""
        frozen = copy.deepcopy(net).eval()
        with torch.no_grad():
            return {f'eval.backbone.view_{i}': features(frozen, v) for i, v in enumerate(views)}


# MoCo v2 ------------------------------------------------------------------------------------------
class MoCoV2(Contrastive):
    """builder.py's forward and one iteration of main_moco.py."""

    def build(self) -> nn.Module:
        dims, net = self.block['heads']['projector'], nn.Module()
        length = self.block['loss']['queue_length']
        net.register_buffer('queue', F.normalize(torch.randn(dims[-1], length), dim=0))
        start = self.block['loss']['queue_ptr_before'] - 2 * self.block['views']['batch']
        net.register_buffer('queue_ptr', torch.tensor([start % length]))
        net.encoder_q = encoder(self.block['backbone'])
        if len(dims) == 2:
            net.encoder_q.fc = nn.Linear(*dims)
        else:
            layers: list[nn.Module] = []
            for a, b in pairwise(dims):
                layers += [nn.Linear(a, b), nn.ReLU()]
            net.encoder_q.fc = nn.Sequential(*layers[:-1])
        net.encoder_k = copy.deepcopy(net.encoder_q).requires_grad_(False)
        return net

    def make_optimizer(self) -> torch.optim.Optimizer:
        o = self.block['optimizer']
        return torch.optim.SGD(
            self.net.parameters(), 1.0, o['momentum'], weight_decay=o['weight_decay']
        )

    def rate(self, at: int) -> float:
        clock, lr = self.block['clock'], self.block['schedule']['lr']
        if lr['shape'] == 'step':  # version 1
            passed = [m for m in lr['milestones'] if at // clock['steps_per_epoch'] >= m]
            found: float = lr['base'] * 0.1 ** len(passed)
            return found
        return half_cosine(
            lr['base'], lr['final'], at // clock['steps_per_epoch'] / clock['epochs']
        )

    def checkpoint(self) -> dict[str, Any]:
        return self.file()

    def batch(self) -> State:
        return {**super().batch(), 'idx_shuffle': torch.randperm(self.block['views']['batch'])}

    def step(self, batch: State, at: int) -> State:
        net, views, used = self.net, self.views(batch), self.used(at)
        out = self.eval_features(net.encoder_q, views)
        feat = features(net.encoder_q, views[0])
        q = net.encoder_q.fc(feat)
        move(net.encoder_q, net.encoder_k, used['momentum'])
        order = batch['idx_shuffle']
        with torch.no_grad():
            k = net.encoder_k.fc(features(net.encoder_k, views[1][order]))[order.argsort()]
        unit, key = F.normalize(q, dim=1), F.normalize(k, dim=1)
        scores = torch.cat([(unit * key).sum(1, keepdim=True), unit @ net.queue.clone()], 1)
        scores = scores / self.block['loss']['temperature']
        loss = cross_entropy(scores, torch.zeros(len(q), dtype=torch.long))
        for row in key:
            net.queue[:, int(net.queue_ptr)] = row
            net.queue_ptr[0] = (net.queue_ptr[0] + 1) % net.queue.shape[1]
        self.optimizer.zero_grad()
        loss.backward()
        grads = wrapped(gradients(net), 'grad.')
        self.optimizer.param_groups[0]['lr'] = used['lr']
        self.optimizer.step()
        out |= {'feat.q': feat, 'proj.q': q, 'proj.k': k, 'logits': scores, 'loss': loss}
        out['sched.lr'] = torch.tensor(used['lr'], dtype=torch.float64)
        return {k: v.detach() for k, v in {**out, **grads, **wrapped(state(net), 'after.')}.items()}


# MoCo v3 ------------------------------------------------------------------------------------------
def v3_mlp(dims: list[int], last_norm: bool) -> nn.Sequential:
    """Linear without bias, BN and ReLU in between, a BN without affine at the end."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(dims)):
        layers.append(nn.Linear(a, b, bias=False))
        if i < len(dims) - 2:
            layers += [nn.BatchNorm1d(b), nn.ReLU()]
    return nn.Sequential(*layers, *([nn.BatchNorm1d(dims[-1], affine=False)] if last_norm else []))


class MoCoV3(Contrastive):
    """builder.py's forward and one iteration of main_moco.py."""

    def build(self) -> nn.Module:
        heads, net = self.block['heads'], nn.Module()
        net.base_encoder = encoder(self.block['backbone'])
        self.head = 'fc' if self.block['backbone']['family'] == 'resnet' else 'head'
        projector = v3_mlp(heads['projector'], heads['projector_last_norm'])
        setattr(net.base_encoder, self.head, projector)
        net.momentum_encoder = copy.deepcopy(net.base_encoder).requires_grad_(False)
        net.predictor = v3_mlp(heads['predictor'], heads['predictor_last_norm'])
        return net

    def make_optimizer(self) -> torch.optim.Optimizer:
        o = self.block['optimizer']
        if o['type'] == 'AdamW':
            # one group of all parameters, the teacher's without gradients too
            return torch.optim.AdamW(self.net.parameters(), 1.0, o['betas'], o['eps'])
        names = ('momentum', 'trust_coefficient', 'weight_decay')
        return LARS(self.net.parameters(), dict(lr=1.0, **{n: o[n] for n in names}))

    def rate(self, at: int) -> float:
        clock, lr = self.block['clock'], self.block['schedule']['lr']
        epoch, rise = at / clock['steps_per_epoch'], lr['warmup_epochs']
        if epoch < rise:
            found: float = lr['base'] * epoch / rise
            return found
        return half_cosine(lr['base'], 0.0, (epoch - rise) / (clock['epochs'] - rise))

    def checkpoint(self) -> dict[str, Any]:
        return dict(self.file(), scaler=dict(SCALER))

    def step(self, batch: State, at: int) -> State:
        net, views, used, t = self.net, self.views(batch), self.used(at), self.block['loss']
        out = self.eval_features(net.base_encoder, views)
        for group in self.optimizer.param_groups:
            group['lr'] = used['lr']
            if self.block['optimizer']['type'] == 'AdamW':
                group['weight_decay'] = self.block['optimizer']['weight_decay']
        for i, view in enumerate(views):
            out[f'feat.base.view_{i}'] = feat = features(net.base_encoder, view)
            out[f'proj.base.view_{i}'] = proj = getattr(net.base_encoder, self.head)(feat)
            out[f'pred.base.view_{i}'] = net.predictor(proj)
        move(net.base_encoder, net.momentum_encoder, used['momentum'])
        with torch.no_grad():
            for i, view in enumerate(views):
                out[f'feat.momentum.view_{i}'] = feat = features(net.momentum_encoder, view)
                key = getattr(net.momentum_encoder, self.head)(feat)
                out[f'proj.momentum.view_{i}'] = key
        for i in (0, 1):
            q, k = (out[f'{n}.view_{j}'] for n, j in (('pred.base', i), ('proj.momentum', 1 - i)))
            scores = F.normalize(q, dim=1) @ F.normalize(k, dim=1).T / t['temperature']
            out[f'logits.q{i}_k{1 - i}'] = scores
            loss = 2 * t['temperature'] * cross_entropy(scores, torch.arange(len(q)))
            out[f'loss.q{i}_k{1 - i}'] = loss
        out['loss'] = out['loss.q0_k1'] + out['loss.q1_k0']
        self.optimizer.zero_grad()
        out['loss'].backward()
        grads = wrapped(gradients(net), 'grad.')
        self.optimizer.step()
        values = {'sched.lr': used['lr'], 'sched.moco_m': used['momentum']}
        out |= {k: torch.tensor(v, dtype=torch.float64) for k, v in values.items()}
        return {k: v.detach() for k, v in {**out, **grads, **wrapped(state(net), 'after.')}.items()}
