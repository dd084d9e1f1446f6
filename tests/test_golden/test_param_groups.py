"""Each recipe's optimizer treats every tensor as the official one does."""

import json

import pytest
import torch
from torch import nn

from mmssl.apis import load_config
from mmssl.checkpoint.layouts import LAYOUTS
from mmssl.optim.param_groups import param_effects
from mmssl.registry import MODELS

from ..helpers.configs import find, load, network
from ..helpers.paths import HERE
from ..helpers.recipe_names import BIG, BN, DEIT, LONG, MOCOV1, MOCOV2, SWIN, W2, W4, E

OPEN, CLOSED = {}, {'model.neck.train_scale': False}
UNSHARED = {**CLOSED, 'model.neck.shared': False, 'model.neck.patch_prototypes': 8192}
UNSHARED |= {'model.teacher_neck': dict(shared=True, patch_prototypes=None)}
# case, file and entry; config and what else it needs; tensors that decay and that do not
GROUPS = [
    ('esvit', ('', 'swin_tiny_w7_view_region_norm_last_false'),
     (f'{E}swin-tiny-w7_16xb32{LONG}', OPEN), (74, 113)),
    ('esvit', ('', 'swin_tiny_w7_view_norm_last_true'),
     (f'{E}swin-tiny-w7-v_16xb32{LONG}', CLOSED), (68, 110)),
    ('esvit', ('', 'vil_2262_view_region_norm_last_false'),
     (f'{E}vil-2262_16xb64', OPEN), (101, 120)),
    ('esvit', ('', 'cvt_tiny_view_region_norm_last_false'),
     (f'{E}cvt-tiny_16xb64', OPEN), (74, 140)),
    ('esvit', ('', 'resnet50_view_region_norm_last_false'),
     (f'{E}resnet50_16xb64', OPEN), (63, 112)),
    ('sere', ('_sere_vit_small', None), ('sere/sere_vit-small', OPEN), (146, 33)),
    ('sere', ('_sere_vit_base', None), ('sere/sere_vit-base', OPEN), (145, 33)),
    ('sere', ('_sere_vit_small_unshared_head_norm_last_true', None),
     ('sere/sere_vit-small', UNSHARED), (146, 33)),
    ('ibot', ('_ibot_vit_small', None), ('ibot/ibot_vit-small', OPEN), (57, 102)),
    ('ibot', ('_ibot_vit_base', None),
     ('ibot/ibot_vit-base-p16_32xb32-amp-mcrop-coslr', OPEN), (56, 102)),
    ('ibot', ('_ibot_vit_small_unshared_head_norm_last_true', None),
     ('ibot/ibot_vit-small', UNSHARED), (57, 102)),
]  # fmt: skip


@pytest.mark.parametrize(('layout', 'record', 'config', 'sizes'), GROUPS)
def test_the_optimizer_treats_every_tensor_as_the_official_one(layout, record, config, sizes):
    case = 'esvit' if layout == 'esvit' else 'sere'
    file, entry = record
    official = json.loads((HERE / f'golden/{case}_schedules_a/param_groups{file}.json').read_text())
    official = official[entry] if entry else official
    cfg = load_config(find(config[0]), dict(config[1]))
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    table = param_effects(model, cfg.optim_wrapper.paramwise_cfg.rules)
    names = {n: p for n, p in model.named_parameters() if n.startswith('student.')}
    decayed = {n for n, effects in table.items() if effects['decay_mult'] == 1}
    spared = {n for n, effects in table.items() if effects['decay_mult'] == 0}
    frozen = {n for n, p in names.items() if not p.requires_grad}
    target = set(model.state_dict())
    for group, ours in (('decay', decayed), ('no_decay', spared), ('frozen', frozen)):
        theirs = [LAYOUTS[layout].name_of(f'student.{n}', target) for n in official[group]]
        assert len(theirs) == len(set(theirs)) and set(theirs) == ours, group
    assert (len(decayed), len(spared)) == sizes
    if 'n_decay' in official:
        sums = [sum(names[n].numel() for n in part) for part in (decayed, spared)]
        assert sums == [official['n_decay'], official['n_no_decay']]
    for theirs, shape in official.get('shapes', {}).items():
        ours = names[LAYOUTS[layout].name_of(f'student.{theirs}', target)]
        assert list(ours.shape) == shape
    late = {n for n, effects in table.items() if effects['frozen_epochs']}
    assert late == {n for n in table if 'last_layer' in n} and late


def recorded(case, file='param_groups'):
    """Return a list of names or shapes recorded from the official code."""
    return json.loads((HERE / 'golden' / case / f'{file}.json').read_text())


def ours(layout, names, model):
    """Translate official names."""
    target = set(model.state_dict())
    return {LAYOUTS[layout].name_of(name, target) for name in renamed(names)}


def renamed(names):
    """Return names as they are when tables are applied: MoBY's last linear layer is numbered."""
    return [name.replace('linear_out', 'linear_hidden.4') for name in names]


def split(short):
    """Return our names of decayed and spared tensors, and the table they stand in."""
    path = find(short)
    rules = (load(path).optim_wrapper.get('paramwise_cfg') or {}).get('rules', [])
    table = param_effects(network(path), rules)
    decayed = {name for name, effects in table.items() if effects['decay_mult'] == 1}
    assert all(table[name]['decay_mult'] == 0 for name in table.keys() - decayed)
    return decayed, table.keys() - decayed, table


def same_tensors(layout, shapes, model, none=()):
    """Check that an official file of these shapes fills the model, nothing left over."""
    state = model.state_dict()
    shapes = dict(zip(renamed(shapes), shapes.values(), strict=True))
    names = {key: LAYOUTS[layout].name_of(key, set(state)) for key in shapes}
    assert {name for name in names.values() if name} == set(state)
    assert all(key.endswith(tuple(none)) for key, name in names.items() if name is None)
    for key, name in names.items():
        assert name is None or tuple(state[name].shape) == tuple(shapes[key]), key


@pytest.mark.parametrize(
    ('short', 'name'),
    [(f'{SWIN}8xb64-amp-coslr-300e', 'swin_tiny'), (DEIT, 'deit_small')],
)
def test_moby_spares_what_the_official_code_spares(short, name):
    case, model = 'moby_schedules_a', network(find(short))
    official, stats = recorded(case, f'param_groups_{name}'), recorded(case, 'model_stats')[name]
    decayed, spared, _ = split(short)
    assert decayed == ours('moby', official['weight_decay'], model)
    assert spared == ours('moby', official['no_weight_decay'], model)
    assert (len(decayed), len(spared)) == (stats['decay_tensors'], stats['no_decay_tensors'])
    sizes = {n: p.numel() for n, p in model.named_parameters()}
    assert sum(sizes[n] for n in decayed) == stats['decay_numel']
    assert sum(sizes[n] for n in spared) == stats['no_decay_numel']
    shapes = recorded(case, f'state_dict_shapes_{name}')
    same_tensors('moby', shapes, model, none=('relative_position_index', 'attn_mask'))


@pytest.mark.parametrize(('short', 'name'), [(MOCOV1, 'mocov1'), (f'{MOCOV2}200e', 'mocov2')])
def test_moco_decays_everything(short, name):
    official, model = recorded('mocov2_schedules_a')[name], network(find(short))
    decayed, spared, _ = split(short)
    assert decayed == ours('mocov2', official['single_group_all_decayed'], model)
    assert not spared and not official['no_weight_decay']
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert frozen == ours('mocov2', official['frozen_no_grad'], model)
    same_tensors('mocov2', official['state_dict_shapes'], model)


@pytest.mark.parametrize(
    ('short', 'name'),
    [(f'{BIG}800e', 'resnet50'), (W2, 'resnet50w2'), (W4, 'resnet50w4')],
)
def test_swav_decays_everything_and_freezes_prototypes(short, name):
    official, model = recorded('swav_schedules_a')[name], network(find(short))
    decayed, spared, table = split(short)
    assert decayed == ours('swav', official['single_group_all_decayed'], model)
    assert not spared and not official['no_weight_decay']
    frozen = {n for n, effects in table.items() if effects['frozen_iters']}
    assert frozen == ours('swav', official['frozen_by_grad_none_first_niters'], model)
    shapes = dict(official['state_dict_shapes'])
    if model.head.memory is not None:  # theirs lies in a file of its own
        shapes['queue'] = model.head.memory.bank.shape
    same_tensors('swav', shapes, model)


def test_moby_with_batch_norm_spares_as_many():
    decayed, spared, _ = split(f'{BN}8xb64-amp-coslr-300e')
    assert (len(decayed), len(spared)) == (68, 115)
    backbone = network(find(f'{BN}8xb64-amp-coslr-300e')).backbone
    for stage in backbone.net.layers:
        for block in stage.blocks:
            assert isinstance(block.norm2, nn.BatchNorm1d) and block.norm2.affine
            assert block.norm2.track_running_stats
