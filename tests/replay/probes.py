"""Map each recorded tensor to its place in a training step of this package."""

from typing import Any

import torch
from torch import Tensor

from mmssl.functional import assign, batch_shuffle, contrast, distill, relation

from .recorder import Recorder

Found = dict[str, Tensor]
Calls = dict[str, list[Any]]


def watch(model: Any, recorder: Recorder) -> None:
    """Watch branches, heads and objectives of any method."""
    for which in ('student', 'teacher'):
        branch = getattr(model, which, None)
        if branch is not None:
            for passes in ('encode', 'encode_together'):
                recorder.function(branch.backbone, passes, f'{which}.{passes}')
            for name, neck in branch.neck.items():
                recorder.module(neck, f'{which}.{name}')
    recorder.module(model.head, 'head')
    for name in ('predictor', 'prototypes'):
        if hasattr(model.head, name):
            recorder.module(getattr(model.head, name), name)
    _methods(recorder, model.head, ('codes', 'normalize_prototypes', 'table'))
    _methods(recorder, model, ('token_losses',))
    if getattr(model, 'region_head', None) is not None:
        _methods(recorder, model.region_head, ('table',), 'region_head.')
    if getattr(model, 'relation', None) is not None:
        _methods(recorder, model.relation, ('forward', 'relations', 'combine'), 'relation.')
    for owner, names in (
        (contrast, ('logits', 'unit')),
        (assign, ('sinkhorn',)),
        (distill, ('match_views', 'mean_of_pairs')),
        (relation, ('sample_relation', 'sample_relations')),
        (batch_shuffle, ('unshuffle',)),
    ):
        _methods(recorder, owner, names)


def _methods(recorder: Recorder, owner: Any, names: tuple[str, ...], prefix: str = '') -> None:
    for name in names:
        if hasattr(owner, name):
            recorder.function(owner, name, prefix + name)


def mocov3(model: Any, calls: Calls, inputs: Calls) -> Found:
    """Names of the MoCo v3 cases."""
    found: Found = {}
    for i in (0, 1):
        found[f'feat.base.view_{i}'] = calls['student.encode'][i].pooled
        found[f'feat.momentum.view_{i}'] = calls['teacher.encode'][i].pooled
        found[f'proj.base.view_{i}'] = calls['student.project'][i]
        found[f'proj.momentum.view_{i}'] = calls['teacher.project'][i]
        found[f'pred.base.view_{i}'] = calls['predictor'][i]
        found[f'logits.q{i}_k{1 - i}'] = calls['logits'][i]
        found[f'loss.q{i}_k{1 - i}'] = calls['head'][i]
    return found


def mocov2(model: Any, calls: Calls, inputs: Calls) -> Found:
    """Names of the MoCo cases."""
    return {
        'feat.q': calls['student.encode'][0].pooled,
        'proj.q': calls['student.project'][0],
        'proj.k': calls['unshuffle'][0],
        'logits': calls['logits'][0],
    }


def moby(model: Any, calls: Calls, inputs: Calls) -> Found:
    """Names of the MoBY cases; each call of logits makes unit vectors of query, then key."""
    units = calls['unit']
    found: Found = {
        'pred.view_0': units[0],
        'proj_k.view_1': units[1],
        'pred.view_1': units[2],
        'proj_k.view_0': units[3],
        'logits.q1_k2': calls['logits'][0],
        'logits.q2_k1': calls['logits'][1],
        'loss_q1_k2': calls['head'][0],
        'loss_q2_k1': calls['head'][1],
    }
    for i in (0, 1):
        found[f'feat.view_{i}'] = calls['student.encode'][i].pooled
        found[f'feat_k.view_{i}'] = calls['teacher.encode'][i].pooled
        found[f'proj.view_{i}'] = calls['student.project'][i]
    return found


def swav(model: Any, calls: Calls, inputs: Calls) -> Found:
    """Names of the SwAV cases; all crops stacked crop-major."""
    (embeddings, _), crops = inputs['head'][0], len(inputs['head'][0][0])
    found: Found = {
        'feat.all': torch.cat([f.pooled for f in encoded(calls, 'student')]),
        'emb.all': torch.cat(embeddings),
        'prototypes.normalised': calls['normalize_prototypes'][0],
        'scores.all': calls['prototypes'][0],
    }
    for at, crop in enumerate(model.head.assign):
        found[f'assign.crop_{crop}'] = calls['codes'][at]
        found[f'sinkhorn_in.crop_{crop}'] = inputs['sinkhorn'][at][0]
        for v in range(crops):
            if v != crop:
                found[f'loss.assign_{crop}_pred_{v}'] = calls['table'][0][at, v]
    return found


def esvit(model: Any, calls: Calls, inputs: Calls) -> Found:
    """Names of the EsViT cases; rows are view-major."""
    student, teacher = encoded(calls, 'student'), encoded(calls, 'teacher')
    found: Found = {
        'logits.student.view': calls['student.view'][0],
        'logits.teacher.view': calls['teacher.view'][0],
        'loss.pair_view': calls['table'][0],
        'loss.view': calls['mean_of_pairs'][0],
        'feat.student.view': torch.cat([f.pooled for f in student]),
        'feat.teacher.view': torch.cat([f.pooled for f in teacher]),
    }
    if not calls['region_head.table']:
        return found
    found |= {
        'logits.student.region': calls['student.region'][0],
        'logits.teacher.region': calls['teacher.region'][0],
        'loss.pair_region': calls['region_head.table'][0],
        'loss.region': calls['mean_of_pairs'][1],
        'feat.student.region': torch.cat([f.tokens.flatten(0, 1) for f in student]),
        'feat.teacher.region': torch.cat([f.tokens.flatten(0, 1) for f in teacher]),
    }
    found['npatch.student'] = torch.tensor([f.tokens.shape[1] for f in student])
    found['npatch.teacher'] = torch.tensor([f.tokens.shape[1] for f in teacher])
    for i, matches in enumerate(calls['match_views'][0]):
        for v, match in enumerate(matches):
            if v != i:
                found[f'match.t{i}.s{v}'] = match
    return found


def sere(model: Any, calls: Calls, inputs: Calls) -> Found:
    """Names of the SERE and iBOT cases; views are stacked on the batch axis."""
    student, teacher = encoded(calls, 'student'), encoded(calls, 'teacher')
    rows, logits, parts = len(student[0].pooled), calls['student.view'][0], calls['token_losses'][0]
    found: Found = {
        'loss.ibot_cls': parts['cls'],
        'loss.ibot_patch': parts['patch'],
        'loss.ibot': sum(parts.values()),
        'logits.student_cls': logits[:rows],
        'logits.student_local_cls': logits[rows:],
        'logits.teacher_cls': calls['teacher.view'][0],
        'logits.student_patch': torch.cat(calls['student.view.patches']),
        'logits.teacher_patch': torch.cat(calls['teacher.view.patches']),
        'feat.student_global_tokens': tokens(student[0]),
        'feat.teacher_global_tokens': tokens(teacher[0]),
    }
    # the class token before the last norm is not part of Features: patches alone
    found['feat.student_global_prenorm_img0 (patches)'] = student[0].raw[:1]
    found['feat.teacher_global_prenorm_img0 (patches)'] = teacher[0].raw[:1]
    agree = calls['teacher.view'][0][: rows // 2].argmax(1) == logits[rows // 2 : rows].argmax(1)
    found['metric.acc'] = agree.double().mean()
    if len(student) > 1:
        found['feat.student_local_tokens'] = tokens(student[1])
    if calls['relation.forward']:
        found |= relations(model, calls, rows // 2)
    return found


def relations(model: Any, calls: Calls, batch: int) -> Found:
    """Names of the self-relations."""
    spatial, channel = calls['relation.forward'][0]
    found: Found = {'loss.sere_spatial': spatial, 'loss.sere_channel': channel}
    sampled = calls['sample_relation']
    for at, branch in enumerate(('student', 'teacher')):
        spatial, channel = calls['relation.relations'][at]
        found[f'rel.{branch}_channel'] = channel.flatten(0, 1)
        found[f'rel.{branch}_spatial_img0'] = spatial[:, 0]
        found[f'rel.{branch}_spatial_sampled'] = sampled[at]
    if len(calls['relation.relations']) > 2:
        spatial, channel = calls['relation.relations'][2]
        found['rel.student_spatial_local'] = spatial.flatten(0, 1)
        found['rel.student_channel_local'] = channel.flatten(0, 1)
        whole, own = calls['sample_relations']  # (L, 2 B, ...) of the teacher, (2, L B, ...)
        second = whole[0][batch : batch + 2]
        found['rel.sampled_global_t1_l0'] = second / model.relation.spatial_temp
        found['rel.sampled_local_t1_l0'] = own[1][:2]
    return found


def encoded(calls: Calls, branch: str) -> list[Any]:
    """Return the features of each group of views of one size, however they were computed."""
    together = [group for groups in calls[f'{branch}.encode_together'] for group in groups]
    return calls[f'{branch}.encode'] + together


def tokens(features: Any) -> Tensor:
    """Class token and patch tokens (B, 1 + N, C) after the last norm."""
    return torch.cat([features.pooled[:, None], features.tokens], 1)


PROBES = dict(
    mocov3=mocov3,
    mocov2=mocov2,
    moby=moby,
    swav=swav,
    dino=esvit,
    esvit=esvit,
    sere=sere,
    ibot=sere,
)
