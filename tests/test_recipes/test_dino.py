"""DINO: every recipe has the published sizes, trains when shrunk, and its files load by name."""

import numpy as np
import pytest
import torch
import yaml

from mmssl.apis.model import read_config
from mmssl.checkpoint import load
from mmssl.checkpoint.layouts import LAYOUTS
from mmssl.registry import MODELS

from ..helpers.configs import CONFIGS, find, network  # fmt: skip
from ..helpers.configs import load as config
from ..helpers.paths import REPO
from ..helpers.tiny import losses, make_runner

D = 'dino/dino_'
# config: one student, what of it is trained, one backbone
COUNTS = {
    f'{D}vit-small-p16_8xb64-amp': (44_017_792, 43_952_256, 21_665_664),
    f'{D}vit-small-p16_16xb64-amp': (44_017_792, 44_017_792, 21_665_664),
    f'{D}vit-small-p16_16xb64-mcrop': (44_017_792, 44_017_792, 21_665_664),
    f'{D}vit-small-p8_': (44_022_400, 44_022_400, 21_670_272),
    f'{D}vit-base-p16_16xb64': (108_937_216, 108_871_680, 85_798_656),
    f'{D}vit-base-p16_32xb32': (108_937_216, 108_871_680, 85_798_656),
    f'{D}vit-base-p8_': (108_946_432, 108_880_896, 85_807_872),
    f'{D}resnet50_8xb64': (49_268_032, 49_202_496, 23_508_032),
    f'{D}resnet50_80xb51': (47_853_472, 47_793_472, 23_508_032),
}
DECAYED = {  # values that decay, of the published networks
    f'{D}vit-small-p16_16xb64-mcrop': 43_952_384,
    f'{D}vit-small-p8_': 43_956_992,
    f'{D}vit-base-p16_32xb32': 108_745_216,
    f'{D}vit-base-p8_': 108_754_432,
    f'{D}resnet50_80xb51': 47_727_808,
    f'{D}resnet50_8xb64': 49_145_024,
}


def test_no_recipe_is_left_out():
    assert {find(s) for s in COUNTS} == {p for p in CONFIGS if p.parent.name == 'dino'}


def total(parameters):
    return sum(p.numel() for p in parameters)


@pytest.mark.parametrize('short', COUNTS)
def test_parameters(short):
    model = network(find(short))
    trained = total(p for p in model.parameters() if p.requires_grad)
    found = total(model.student.parameters()), trained, total(model.student.backbone.parameters())
    assert found == COUNTS[short]


@pytest.mark.parametrize('short', DECAYED)
def test_what_decays(short):
    from mmssl.optim.param_groups import param_effects

    model = network(find(short))
    effects = param_effects(model, config(find(short)).optim_wrapper.paramwise_cfg.rules)
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    decayed = sum(sizes[n] for n, e in effects.items() if e.get('decay_mult', 1.0) != 0.0)
    assert decayed == DECAYED[short]


# one short run of each, networks and images shrunk ------------------------------------------------
TINY = {
    'vit': (dict(arch=(16, 2, 2), img_size=32, patch_size=8), 16),
    'resnet': (dict(layers=(1, 1), width=4, small_stem=True), 32),
}


@pytest.mark.parametrize('short', COUNTS)
def test_a_shrunken_recipe_trains(short, image_folder, tmp_path):
    cfg = config(find(short))
    backbone, width = TINY['resnet' if 'resnet' in short else 'vit']
    crop = dict(type='RandomView', size=32, scale=(0.4, 1.0))
    views = [dict(crop, repeat=2), dict(crop, size=16, repeat=2)]
    options = {f'model__backbone__{k}': v for k, v in backbone.items()}
    options |= dict(
        data_root=str(image_folder), val_cfg=None, val_dataloader=None, val_evaluator=None,
        train_dataloader__batch_size=6, train_dataloader__num_workers=0,
        train_dataloader__dataset__pipeline__1=dict(type='MultiView', views=views),
        model__neck__dims=(width, 12, 12, 6), model__neck__prototypes=10,
        model__head__prototypes=10, train_cfg__max_epochs=2, param_scheduler__0__warmup=1,
        default_hooks__logger__interval=1,
    )  # fmt: skip
    options['model__teacher_temp__warmup'] = min(1, cfg.model.teacher_temp.get('warmup', 0))
    runner = make_runner(find(short), tmp_path, **options)
    before = {name: value.clone() for name, value in runner.model.named_parameters()}
    seen = losses(runner)
    assert len(seen) == 8 and np.isfinite(seen).all()
    moved = {n for n, p in runner.model.named_parameters() if not torch.equal(p, before[n])}
    scale = 'student.neck.view.last_layer.weight_g'
    assert (scale in moved) == (cfg.model.neck.train_scale and frozen_epochs(cfg) < 2)
    assert any(n.startswith('teacher.backbone') for n in moved)
    assert torch.count_nonzero(runner.model.head.center)


def frozen_epochs(cfg):
    """Return for how many epochs the last layer stays as it is."""
    (found,) = [r.frozen_epochs for r in cfg.optim_wrapper.paramwise_cfg.rules if 'match' in r]
    return found


# published files by name --------------------------------------------------------------------------
META = yaml.safe_load((REPO / 'configs/dino/metafile.yml').read_text())
BACKBONES = [e for e in META['Weights'] if e['Name'].startswith('dino_')]


@pytest.mark.parametrize('entry', BACKBONES, ids=lambda e: e['Name'])
def test_a_backbones_name_builds_what_its_file_fills(entry, tmp_path):
    """A file as the authors write it: the names of timm or torchvision, without head."""
    cfg, _ = read_config(entry['Name'])
    small = dict(cfg.model.backbone, layers=(1, 1), width=4)
    if 'resnet' not in entry['Name']:
        small = dict(cfg.model.backbone, arch=(24, 2, 3), img_size=32, patch_size=8)
    source, target = (MODELS.build(dict(cfg.model, backbone=small)) for _ in range(2))
    for parameter in source.parameters():
        parameter.data.normal_()
    state = LAYOUTS[entry['Metadata']['Layout']].restore(source.state_dict())
    torch.save(state, tmp_path / 'backbone.pth')
    report = load(target, tmp_path / 'backbone.pth', branch=entry['Metadata']['Branch'])
    assert not (report.missing or report.mismatched or report.unexpected)
    for key, value in source.state_dict().items():
        torch.testing.assert_close(target.state_dict()[key], value, rtol=0, atol=0)


HEADS = [e for e in META['Models'] if e['Metadata']['Layout'] == 'linear']


@pytest.mark.parametrize('entry', HEADS, ids=lambda e: e['Name'])
def test_the_order_of_a_published_head(entry):
    """ViT-B's files were trained on class token and mean patch by turns."""
    model = network(REPO / entry['Config'])
    kind = entry['Name'].partition('_')[0]
    order = {'vit-base': ('interleaved', 1), 'vit-smal': ('cls', 4), 'resnet50': ('auto', 1)}
    assert (model.pool, model.blocks) == order[kind[:8]]
    assert model.head.fc.in_features == (2048 if kind == 'resnet50' else 1536)
