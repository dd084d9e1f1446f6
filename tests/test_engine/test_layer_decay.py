"""Layer-wise learning-rate decay against the names and formulas of the official codes."""

import re

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer as TimmViT
from timm.optim import param_groups_layer_decay
from torch import nn

from mmssl.engine import ParamGroupConstructor
from mmssl.engine.optim.scheduler import ScheduleParam
from mmssl.optim.param_groups import param_effects
from mmssl.registry import MODELS

from ..helpers.refusals import refuses

VIT = dict(type='VisionTransformer', arch=(16, 3, 2), img_size=16, patch_size=8)
SWIN = dict(type='SwinTransformer', arch=(8, (2, 3, 1), (1, 2, 4)), img_size=32, window_size=4)
RULES = [
    dict(layer_decay=0.65),
    dict(ndim=1, decay_mult=0.0),
    dict(match='cls_token|pos_embed', decay_mult=0.0),
]


def classifier(backbone, **settings):
    head = dict(type='LinearHead', num_classes=5, **settings.pop('head', {}))
    return MODELS.build(dict(type='Classifier', backbone=backbone, head=head, **settings))


def mae_id(name, depth):
    """Return the layer of a parameter of a ViT of ``depth`` blocks (MAE ``lr_decay.py``)."""
    if re.search(r'cls_token|pos_embed|patch_embed', name):
        return 0
    block = re.search(r'blocks\.(\d+)\.', name)
    return int(block[1]) + 1 if block else depth + 1


def test_each_parameter_of_a_vit_has_maes_scale():
    model = classifier(VIT, pool='mean', head=dict(norm='layer'))
    table = param_effects(model, RULES)
    assert len(table) == len(list(model.named_parameters())) == 1 + 1 + 2 + 3 * 12 + 2 + 2 + 2
    for name, effects in table.items():
        assert effects['lr_mult'] == pytest.approx(0.65 ** (4 - mae_id(name, 3)), rel=1e-15), name
    # the corners, by hand
    ends = {n: e['lr_mult'] for n, e in table.items()}
    assert ends['head.fc.weight'] == ends['head.norm.bias'] == ends['backbone.net.norm.bias'] == 1
    assert ends['backbone.net.blocks.2.attn.qkv.weight'] == 0.65
    assert ends['backbone.net.blocks.0.norm1.weight'] == pytest.approx(0.65**3)
    assert ends['backbone.net.patch_embed.proj.bias'] == pytest.approx(0.65**4)


def test_a_vit_is_scaled_as_timm_scales_it():
    """All but the last norm, which timm counts to the last block and MAE and BEiT to the head."""
    net = TimmViT(16, 8, embed_dim=16, depth=3, num_heads=2, num_classes=5)
    names = {id(p): n for n, p in net.named_parameters()}
    groups = param_groups_layer_decay(net, layer_decay=0.75)
    theirs = {names[id(p)]: g['lr_scale'] for g in groups for p in g['params']}
    ours = param_effects(classifier(VIT), [dict(layer_decay=0.75)])
    assert len(theirs) == len(ours)
    for name, scale in theirs.items():
        own = name.replace('head', 'head.fc') if 'head' in name else f'backbone.net.{name}'
        expected = 1 if name.startswith('norm.') else scale
        assert ours[own]['lr_mult'] == pytest.approx(expected, rel=1e-12), name


def test_each_parameter_of_a_swin_counts_blocks_over_all_stages():
    depths, table = (2, 3, 1), param_effects(classifier(SWIN), [dict(layer_decay=0.9)])
    seen = set()
    for name, effects in table.items():
        if 'patch_embed' in name:
            layer = 0
        elif found := re.search(r'layers\.(\d+)\.blocks\.(\d+)', name):
            layer = sum(depths[: int(found[1])]) + int(found[2]) + 1
        elif found := re.search(r'layers\.(\d+)\.downsample', name):
            layer = sum(depths[: int(found[1])])  # with the last block of the stage before
        else:
            layer = 7
        seen.add(layer)
        assert effects['lr_mult'] == pytest.approx(0.9 ** (7 - layer), rel=1e-15), name
    assert seen == set(range(8))


def test_other_networks_count_stages():
    table = param_effects(
        classifier(dict(type='ResNet', depth=18, width=4)), [dict(layer_decay=0.5)]
    )
    for name, effects in table.items():
        stage = re.search(r'layer(\d)', name)
        below = int(stage[1]) if stage else 0
        expected = 1 if name.startswith('head') else 0.5 ** (5 - below)
        assert effects['lr_mult'] == expected, name


def test_later_rules_refine_layer_decay_and_it_may_be_partial():
    rules = [dict(match='backbone', layer_decay=0.5), dict(match='^head', lr_mult=20.0)]
    table = param_effects(classifier(VIT), rules)
    assert table['head.fc.bias']['lr_mult'] == 20
    assert table['backbone.net.blocks.1.mlp.fc1.bias']['lr_mult'] == 0.25


@pytest.mark.parametrize('step', [0, 3, 19, 20, 21, 77, 99])
def test_rates_over_training_are_maes(step):
    """Linear from 0 over 2 of 10 epochs, then half a cosine; the minimum is scaled as the rest."""
    cfg = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05))
    model = classifier(VIT)
    wrapper = ParamGroupConstructor(cfg, dict(rules=RULES))(model)
    ScheduleParam(wrapper, 'lr', final=1e-6, warmup=2, per_epoch=10, end=10).seek(step)
    epoch = step / 10  # 0, 0.1, ...
    if epoch < 2:
        lr = 2e-3 * epoch / 2
    else:
        share = torch.tensor((epoch - 2) / 8, dtype=torch.float64)
        lr = 1e-6 + (2e-3 - 1e-6) * 0.5 * (1 + torch.cos(torch.pi * share).item())
    sizes = {n: p.ndim for n, p in model.named_parameters()}
    names = []
    for group in wrapper.optimizer.param_groups:
        for name in group['names']:
            names.append(name)
            scale = 0.65 ** (4 - mae_id(name, 3))
            assert group['lr'] == pytest.approx(lr * scale, rel=1e-12), name
            bare = sizes[name] == 1 or re.search('cls_token|pos_embed', name)
            assert group['weight_decay'] == (0 if bare else 0.05), name
    assert sorted(names) == sorted(sizes)
    assert wrapper.optimizer.param_groups[0]['lr'] == pytest.approx(lr), 'what the log shows'
    assert len(wrapper.optimizer.param_groups) == 2 * (3 + 2)  # decayed or not, in each layer


@pytest.mark.parametrize(
    ('rule', 'key', 'value'),
    [
        (dict(layer_decay=0.0), 'layer_decay', 0.0),
        (dict(layer_decay=1.5), 'layer_decay', 1.5),
        (dict(layer_decay='0.65'), 'layer_decay', '0.65'),
        (dict(layer_decay=0.65, lr_mult=2.0), 'lr_mult', 2.0),
        (dict(layerdecay=0.65), 'layerdecay', 0.65),
    ],
)
def test_mistakes_are_named(rule, key, value):
    with refuses(key, value) as caught:
        param_effects(classifier(VIT), [rule])
    assert ('did you mean layer_decay' in str(caught.value)) == (key == 'layerdecay')


def test_it_needs_one_network():
    backbone = MODELS.build(VIT)
    for model, count in ((nn.Linear(2, 2), 0), (nn.ModuleList([backbone, MODELS.build(VIT)]), 2)):
        with refuses('layer_decay', count) as caught:
            param_effects(model, [dict(layer_decay=0.65)])
        assert ('mmssl.VisionTransformer' in str(caught.value)) == (count == 0)
