"""Cases of other sizes and settings, made by the oracles, replay as the recorded ones do."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from mmssl.core import UserError

from ..helpers.official import METHODS, record
from ..helpers.replaying import BLOCKS, CVT, LARS, RESNET, VIT, changed, counts, failures, replay

pytestmark = pytest.mark.slow

MOBY_VIT = {'backbone': VIT, 'views.sizes': [24, 24], 'heads.projector': [16, 24, 16]}
V3_RESNET = {
    'backbone': RESNET,
    'heads.projector': [128, 24, 12],
    'heads.predictor_last_norm': False,
    'views.sizes': [32, 32],
    'loss.temperature': 1.0,
    'optimizer': LARS,
}
V1_STEPS = {'base': 0.03, 'shape': 'step', 'milestones': [2, 3, 7], 'gamma': 0.1, 'per': 'epoch'}
VIEW = {'heads.region': False, 'loss.view_weight': 1.0, 'loss.region_weight': 0.0}
UNSHARED = {'heads.student_shared': False}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    'mocov2-wrap': ('mocov2', {}),
    'mocov2-pointer-at-end': ('mocov2', {'loss.queue_ptr_before': 19}),
    'mocov2-v1-neck': ('mocov2', {'heads.projector': [128, 12]}),
    'mocov2-v1-steps': ('mocov2', {'schedule.lr': V1_STEPS, 'clock.step': 30}),
    'mocov2-deep': ('mocov2', {'backbone.layers': [2, 1, 2, 1], 'clock.step': 0}),
    'mocov3-vit': ('mocov3', {}),
    'mocov3-vit-first-step': ('mocov3', {'clock.step': 0, 'optimizer.state': 'fresh'}),
    'mocov3-vit-frozen': ('mocov3', {'backbone.frozen_patch_embed': True}),
    'mocov3-resnet-lars': ('mocov3', V3_RESNET),
    'mocov3-resnet-lars-warm': ('mocov3', {**V3_RESNET, 'clock.step': 30}),
    'moby-swin': ('moby', {}),
    'moby-odd-maps': ('moby', {'backbone.image_size': 36, 'views.sizes': [36, 36]}),
    'moby-batch-norm': ('moby', {'backbone.norm_before_mlp': 'batch'}),
    'moby-vit': ('moby', MOBY_VIT),
    'moby-shallow-heads': (
        'moby',
        {'heads.projector': [32, 16], 'heads.predictor': [16, 16], 'clip': None},
    ),
    'moby-deep-heads': (
        'moby',
        {'heads.projector': [32, 24, 20, 16], 'heads.predictor': [16, 24, 20, 16]},
    ),
    'moby-positions': (
        'moby',
        {
            'backbone.absolute_positions': True,
            'backbone.depths': [2, 1, 2, 2],
            'backbone.num_heads': [1, 2, 2, 4],
            'heads.projector': [64, 24, 16],
        },
    ),
    'moby-momentum-apart': ('moby', {'clock.momentum_step': 5, 'clock.momentum_total': 30}),
    'moby-first-step': ('moby', {'clock.step': 0, 'clock.momentum_step': 0}),
    'swav-queue-frozen': ('swav', {}),
    'swav-queue': ('swav', {'frozen_prototypes': {'iterations': 2, 'in_this_step': False}}),
    'swav-frozen': ('swav', {'loss.queue_length': 0}),
    'swav-two-crops': ('swav', {'views.sizes': [32, 32], 'clock.step': 30}),
    'swav-one-run': ('swav', {'views.sizes': [32, 32, 32], 'loss.epsilon': 0.03}),
    'swav-linear-head': ('swav', {'heads.projector': [128, 12], 'loss.assign': [0]}),
    'swav-deep': ('swav', {'backbone.layers': [1, 2, 1], 'heads.projector': [64, 24, 12]}),
    'esvit-region': ('esvit', {}),
    'esvit-view': ('esvit', VIEW),
    'esvit-view-no-locals': ('esvit', {**VIEW, 'views.sizes': [48, 48]}),
    'esvit-view-two-local-sizes': ('esvit', {**VIEW, 'views.sizes': [48, 48, 28, 28, 20]}),
    'esvit-view-equal-locals': ('esvit', {**VIEW, 'views.sizes': [48, 48, 48]}),
    'esvit-scale-fixed': ('esvit', {'heads.scale_trainable': False}),
    'esvit-fresh-frozen': (
        'esvit',
        {
            'optimizer.state': 'fresh',
            'frozen_last_layer': {'epochs': 3, 'in_this_step': True},
            'views.sizes': [48, 48, 28],
        },
    ),
    'esvit-cvt': ('esvit', {'backbone': CVT, 'heads.mlp': [24, 24, 12]}),
    'esvit-cvt-view': ('esvit', {**VIEW, 'backbone': CVT, 'heads.mlp': [24, 24, 24, 12]}),
    'sere': ('sere', {}),
    'sere-two-locals': ('sere', {'views.sizes': [32, 32, 16, 16]}),
    'sere-no-locals': ('sere', {'views.sizes': [32, 32]}),
    'sere-unshared-student': ('sere', UNSHARED),
    'sere-unshared': ('sere', {**UNSHARED, 'heads.teacher_shared': False}),
    'sere-unshared-other-patches': (
        'sere',
        {**UNSHARED, 'heads.teacher_shared': False, 'heads.patch_prototypes': 14},
    ),
    'sere-unshared-teacher': ('sere', {'heads.teacher_shared': False}),
    'sere-shared-other-patches': ('sere', {'heads.patch_prototypes': 14}),
    'sere-no-spatial': ('sere', {'loss.alpha_spatial': 0.0, 'loss.ibot_factor': 1.75}),
    'sere-no-channel': ('sere', {'loss.beta_channel': 0.0, 'loss.ibot_factor': 1.9}),
    'sere-neither': (
        'sere',
        {'loss.alpha_spatial': 0.0, 'loss.beta_channel': 0.0, 'loss.ibot_factor': 2.0},
    ),
    'sere-scale-fixed': ('sere', {'heads.scale_trainable': False, **UNSHARED}),
    'sere-first-step': (
        'sere',
        {
            'clock.step': 0,
            'optimizer.state': 'fresh',
            'frozen_last_layer': {'epochs': 1, 'in_this_step': True},
        },
    ),
    'sere-weights': ('sere', {'loss.cls_weight': 0.5, 'loss.patch_weight': 2.0}),
    'ibot': ('ibot', {}),
    'ibot-unshared': (
        'ibot',
        {**UNSHARED, 'heads.teacher_shared': False, 'heads.patch_prototypes': 14},
    ),
    'ibot-shared-other-patches': ('ibot', {'heads.patch_prototypes': 14}),
    'ibot-shared-teacher': ('ibot', {**UNSHARED, 'heads.scale_trainable': False}),
    'ibot-no-locals': ('ibot', {'views.sizes': [32, 32], 'clip': None}),
}
ROUNDING = {
    'its gradient is zero, the optimizer moves rounding',
    'some of its elements move by amplified rounding',
}
LIES: dict[str, dict[str, Any]] = {
    'mocov2': {'loss.temperature': 0.19},
    'mocov3': {'loss.temperature': 0.19},
    'moby': {'backbone.norm_eps': 1e-6},
    'swav': {'loss.epsilon': 0.04},
    'esvit': {'schedule.teacher_temp.final': 0.08},
    'sere': {'loss.alpha_spatial': 0.3},
    'ibot': {'loss.patch_weight': 1.1},
}


@pytest.mark.parametrize('name', VARIANTS)
def test_variant_replays(name: str, tmp_path: Path) -> None:
    method, changes = VARIANTS[name]
    official = METHODS[method](changed(BLOCKS[method], changes))
    folder = record(official, tmp_path)
    done = replay(folder)
    assert failures(done) == []
    assert done.ok
    # nothing is left out but what only rounding moves
    reasons = {line.split(': ', 1)[1] for line in done.skipped}
    assert reasons <= ROUNDING
    expected, used = load_file(folder / 'expect.safetensors'), done.block['used']
    assert sum(counts(done).values()) == len(expected) + len(used) - len(done.skipped)
    assert len(done.skipped) < 0.1 * len(expected)


@pytest.mark.parametrize('method', BLOCKS)
def test_variant_of_another_setting_fails(method: str, tmp_path: Path) -> None:
    """A case whose block does not say what made it must not pass."""
    folder = record(METHODS[method](BLOCKS[method]), tmp_path)
    path = folder / 'case.json'
    case = json.loads(path.read_text())
    case['replay'] = changed(case['replay'], LIES[method])
    path.write_text(json.dumps(case))
    done = replay(folder)
    assert done.groups['loss'].failures
    assert not done.ok


@pytest.mark.parametrize(
    ('method', 'lie', 'named'),
    [
        ('sere', {'views.sizes': [32, 32]}, 'student.neck.channel_local.projection.0.weight'),
        ('esvit', {'heads.region': False}, 'student.neck.region.mlp.0.weight'),
        ('esvit', {'heads.prototypes': 16}, 'head.center (1, 18) for (1, 16)'),
        ('moby', {'loss.queue_length': 24}, 'queue.bank0 (16, 20) for (16, 24)'),
    ],
)
def test_file_that_is_not_the_blocks_model(
    method: str, lie: dict[str, Any], named: str, tmp_path: Path
) -> None:
    folder = record(METHODS[method](BLOCKS[method]), tmp_path)
    path = folder / 'case.json'
    case = json.loads(path.read_text())
    case['replay'] = changed(case['replay'], lie)
    path.write_text(json.dumps(case))
    with pytest.raises(UserError, match='not the model of the replay block') as error:
        replay(folder)
    assert named in str(error.value)
