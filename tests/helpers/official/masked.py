"""iBOT and SERE: one iteration of main_sere.py on one process."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from .case import ARGS, SCALER, State
from .distillation import DINOHead, Distillation, soft_cross_entropy
from .nets import ViT
from .relations import RelationHead, channel_relation, grids, resample, spatial_relation

SIZE = 64  # of the source image that boxes lie in


class IBOT(Distillation):
    """iBOT, and SERE where the case names it as its method."""

    def build(self) -> nn.Module:
        b, net = self.block['backbone'], nn.Module()
        self.sere = self.block['method'] == 'sere'
        self.module = 'module.' if self.sere else ''
        self.local = len(self.block['views']['sizes']) > 2
        net.student, net.teacher = nn.Module(), nn.Module()
        net.student.backbone = ViT(b, masks=True)
        net.student.head = self.head('student')
        if self.sere:
            ends = ('', '_local') if self.local else ('',)
            for name in (f'{kind}_sere{end}' for end in ends for kind in ('channel', 'pixel')):
                setattr(net.student.backbone, name, RelationHead(b['embed_dim']))
        net.teacher.backbone = copy.deepcopy(net.student.backbone)
        del net.teacher.backbone.masked_embed
        net.teacher.head = self.head('teacher')
        net.teacher.load_state_dict(net.student.state_dict(), strict=False)
        net.teacher.requires_grad_(False)
        heads = self.block['heads']
        shared = heads['student_shared'] or heads['teacher_shared']
        rows = heads['prototypes' if shared else 'patch_prototypes']
        net.register_buffer('center', torch.zeros(1, heads['prototypes']))
        net.register_buffer('center2', torch.zeros(1, 1, rows))
        return net

    def head(self, side: str) -> DINOHead:
        """Make one network's head."""
        h = self.block['heads']
        shared, patch = h[f'{side}_shared'], h['patch_prototypes']
        if shared:  # the argument is then without effect
            patch = h['prototypes']
        return DINOHead(h['mlp'], h['prototypes'], h['scale_trainable'], patch, shared)

    def centres(self) -> State:
        """Return the buffers of the loss."""
        found = {'center': self.net.center, 'center2': self.net.center2}
        if self.sere:
            found |= {f'{k}_accum': torch.zeros_like(v) for k, v in list(found.items())}
        return found

    def checkpoint(self) -> dict[str, Any]:
        return dict(
            **self.sides(self.module),
            optimizer=self.optimizer.state_dict(),
            epoch=1,
            args=ARGS,
            ibot_loss=self.centres(),
            fp16_scaler=dict(SCALER),
        )

    def batch(self) -> State:
        out, views = super().batch(), self.block['views']
        side = self.block['backbone']['image_size'] // self.block['backbone']['patch_size']
        for i in (0, 1):
            out[f'mask_{i}'] = torch.rand(views['batch'], side, side) < 0.3
        out['mask_0'][0] = False
        for i in range(len(views['sizes'])):
            small, large = (30, 44) if i < 2 else (8, 16)
            size = torch.randint(small, large, (views['batch'], 2))
            at = (torch.rand(views['batch'], 2) * (SIZE - size)).long()
            flip = torch.randint(0, 2, (views['batch'], 1))
            out[f'box_{i}'] = torch.cat([at, size, flip], 1)
        return out

    def step(self, batch: State, at: int) -> State:
        net, views, used = self.net, self.views(batch), self.used(at)
        masks = torch.cat([batch['mask_0'], batch['mask_1']])
        with torch.no_grad():
            raw_t, tokens_t = net.teacher.backbone(torch.cat(views[:2]))
            rel_t = self.relations(net.teacher, raw_t, 0, 2) if self.sere else None
            cls_t, patch_t = self.scores(net.teacher, tokens_t)
        raw_s, tokens_s = net.student.backbone(torch.cat(views[:2]), masks)
        rel_s = self.relations(net.student, raw_s, 1, 2) if self.sere else None
        cls_s, patch_s = self.scores(net.student, tokens_s)
        out = {
            'feat.student_global_tokens': tokens_s,
            'feat.teacher_global_tokens': tokens_t,
            'feat.student_global_prenorm_img0': raw_s[:1],
            'feat.teacher_global_prenorm_img0': raw_t[:1],
            'logits.student_cls': cls_s,
            'logits.teacher_cls': cls_t,
            'logits.student_patch': patch_s,
            'logits.teacher_patch': patch_t,
        }
        rel_l, every = None, list(cls_s.chunk(2))
        if self.local:
            raw_l, tokens_l = net.student.backbone(torch.cat(views[2:]))
            rel_l = self.relations(net.student, raw_l, 1, len(views) - 2) if self.sere else None
            local = net.student.head.last_layer(net.student.head.unit(tokens_l[:, 0]))
            out |= {'feat.student_local_tokens': tokens_l, 'logits.student_local_cls': local}
            every += list(local.chunk(len(views) - 2))
        out |= self.ibot(every, cls_t, patch_s, patch_t, masks, used)
        out['loss'] = out['loss.ibot']
        if self.sere:
            boxes = [batch[f'box_{i}'] for i in range(len(views))]
            out |= self.relation_losses(rel_s, rel_t, rel_l, boxes)
            t = self.block['loss']
            a, b = t['alpha_spatial'], t['beta_channel']
            out['loss'] = out['loss.ibot'] * (4 - a - b) / 2
            out['loss'] = out['loss'] + a * out['loss.sere_spatial'] + b * out['loss.sere_channel']
        agree = cls_t.chunk(2)[0].argmax(1) == cls_s.chunk(2)[1].argmax(1)
        out['metric.acc'] = agree.double().mean()
        self.move_centres(cls_t, patch_t)
        out |= self.update(out['loss'], used, at) | self.after(self.module)
        out |= {f'after.ibot_loss.{k}': v.clone() for k, v in self.centres().items()}
        return {k: v.detach() for k, v in {**out, **self.moments()}.items()}

    def scores(self, side: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Class and patch scores of normed tokens (2B, 1 + N, C)."""
        rows = side.head.unit(tokens)
        return side.head.last_layer(rows[:, 0]), side.head.last_layer2(rows[:, 1:])

    def ibot(
        self,
        student: list[Tensor],
        teacher: Tensor,
        patch_s: Tensor,
        patch_t: Tensor,
        masks: Tensor,
        used: dict[str, float],
    ) -> State:
        """Both losses of iBOT."""
        t, terms = self.block['loss'], []
        for i, rows in enumerate(teacher.chunk(2)):
            target = ((rows - self.net.center) / used['teacher_temp']).softmax(-1)
            terms += [
                soft_cross_entropy(target, s / t['student_temp']).mean()
                for v, s in enumerate(student)
                if v != i
            ]
        target = ((patch_t - self.net.center2) / used['teacher_patch_temp']).softmax(-1)
        each = soft_cross_entropy(target, patch_s / t['student_temp'])  # (2B, N)
        hidden = masks.flatten(1)
        means = [(e[m].sum() / max(1, int(m.sum()))) for e, m in zip(each, hidden, strict=True)]
        cls = t['cls_weight'] * torch.stack(terms).mean()
        patch = t['patch_weight'] * torch.stack(means).mean()
        return {'loss.ibot_cls': cls, 'loss.ibot_patch': patch, 'loss.ibot': cls + patch}

    def move_centres(self, cls: Tensor, patch: Tensor) -> None:
        """Take in this step's teacher scores."""
        t = self.block['loss']
        for center, rows, keep in (
            (self.net.center, cls.mean(0), t['center_momentum']),
            (self.net.center2, patch.mean(1).mean(0), t['patch_center_momentum']),
        ):
            center.mul_(keep).add_((1 - keep) * rows)

    def relations(
        self, side: nn.Module, raw: Tensor, predicted: int, views: int
    ) -> tuple[Tensor, Tensor]:
        """Channel and spatial relations; more than two views take the local heads."""
        b, t = self.block['backbone'], self.block['loss']
        local = views > 2
        grid = round((raw.shape[1] - 1) ** 0.5)
        maps = raw[:, 1:].transpose(1, 2).unflatten(2, (grid, grid))  # (B, C, h, w)
        end = '_local' if local else ''
        x = getattr(side.backbone, f'channel_sere{end}')(maps)[predicted]
        y = getattr(side.backbone, f'pixel_sere{end}')(maps)[predicted]
        divisor = t['head_divisor']['local' if local else 'global']
        return channel_relation(x, divisor), spatial_relation(y, b['num_heads'])

    def relation_losses(
        self, student: Any, teacher: Any, local: Any, boxes: list[Tensor]
    ) -> dict[str, Tensor]:
        """Both relation losses and what is recorded of them."""
        t = self.block['loss']
        channel = [t['channel_temp'], *(x.chunk(2) for x in (teacher[0], student[0]))]
        spatial_t, spatial_s = teacher[1].chunk(2), student[1].chunk(2)
        places = [grids(boxes[0], boxes[1], size) for size in t['overlap_size']]
        aligned_t, aligned_s = (
            [resample(r, places[0][i], places[1][i]) for i, r in enumerate(rel)]
            for rel in (spatial_t, spatial_s)
        )
        out = {
            'rel.student_channel': student[0],
            'rel.teacher_channel': teacher[0],
            'rel.student_spatial_sampled': torch.cat(aligned_s),
            'rel.teacher_spatial_sampled': torch.cat(aligned_t),
            'rel.student_spatial_img0': torch.stack([x[0] for x in spatial_s]),
            'rel.teacher_spatial_img0': torch.stack([x[0] for x in spatial_t]),
        }
        pixels = [(aligned_t[q], aligned_s[1 - q]) for q in (0, 1)]
        channels = [(channel[1][q], channel[2][1 - q]) for q in (0, 1)]
        if local is not None:
            out |= {'rel.student_channel_local': local[0], 'rel.student_spatial_local': local[1]}
            count = len(boxes) - 2
            for q in (0, 1):
                for v in range(count):
                    small, large = grids(boxes[2 + v], boxes[q], t['local_grid_size'])
                    whole = resample(spatial_t[q], large, large)
                    part = resample(local[1].chunk(count)[v], small, small)
                    pixels.append((whole, part))
                    channels.append((channel[1][q], local[0].chunk(count)[v]))
                    if (q, v) == (1, 0):
                        out['rel.sampled_global_t1_l0'] = whole[:2] / t['spatial_temp']
                        out['rel.sampled_local_t1_l0'] = part[:2]
        for name, pairs, temp in (
            ('spatial', pixels, t['spatial_temp']),
            ('channel', channels, t['channel_temp']),
        ):
            terms = [soft_cross_entropy((a / temp).softmax(-1), b).mean() for a, b in pairs]
            out[f'loss.sere_{name}'] = torch.stack(terms).mean()
        return out

    def moments(self) -> State:
        """Adam's moments after the step."""
        out: State = {}
        for name, p in self.net.student.named_parameters():
            for entry in ('exp_avg', 'exp_avg_sq'):
                if p in self.optimizer.state:
                    value = self.optimizer.state[p][entry]
                    out[f'after.optimizer.{entry}.module.{name}'] = value.clone()
        return out
