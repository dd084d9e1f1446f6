"""The published detectors and segmentors: their configs build what the tables name."""

import ast
import functools
import re
from pathlib import Path
from unittest import mock

import pytest
import torch
import yaml
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmssl.models.backbones import vit
from mmssl.planning.complexity import count
from mmssl.zoo.hub import ModelHub

from ..helpers.cards import (
    ADE20K,
    CARDS,
    COCO,
    FILES,
    FOLDER,
    each,
    each_of_coco,
    library,
    load,
    network,
)
from ..helpers.paths import REPO

pytestmark = pytest.mark.transfer
META = yaml.safe_load((FOLDER / 'metafile.yml').read_text())


# files --------------------------------------------------------------------------------------------
def test_every_recipe_has_a_config():
    assert set(FILES) == set(CARDS)


@each
def test_a_config_is_short_and_starts_from_something(name):
    text, cfg = FILES[name].read_text(), load(name)
    tree = ast.parse(text)
    assert re.search('Recipe( and figures)?: ', ast.get_docstring(tree))
    assert sum(bool(s.strip()) for s in text.splitlines()[tree.body[0].end_lineno :]) <= 30
    assert cfg.default_scope == library(name)
    assert not cfg.model.backbone.get('init_cfg') and not cfg.model.get('pretrained')
    if '://' in cfg.pretrained:
        assert '-sup-' in name
        assert cfg.pretrained.endswith(('/swin_tiny_patch4_window7_224.pth', '-0676ba61.pth'))
        return
    info = ModelHub.get(cfg.pretrained)
    words = re.search(r'(swin-t|r50|vit-small|vit-base)\w*-(\w+)-pre', name.replace('tiny', 't'))
    kind, method = words.groups()
    kinds = {'swin-t': 'swin-tiny', 'r50': 'resnet50'}
    assert info.collection.lower() == method and kinds.get(kind, kind) in info.name
    assert {'moby': '300e', 'mocov2': '800e', 'swav': '800e'}.get(method, '') in info.name


def test_the_metafile_says_what_was_published():
    entries = {entry['Name']: entry for entry in META['Models']}
    assert set(entries) == {name for name, card in CARDS.items() if card.figures}
    unpublished = {Path(p).stem for p in META['Collections'][0]['Metadata']['Unpublished']}
    assert unpublished == set(CARDS) - set(entries)
    for name, entry in entries.items():
        card, meta = CARDS[name], entry['Metadata']
        found = [v for result in entry['Results'] for v in result['Metrics'].values()]
        assert tuple(found) == card.figures
        assert entry['Config'] == str(FILES[name].relative_to(REPO))
        assert (meta['Batch Size'], meta['Library']) == (card.gpus * card.per_gpu, library(name))
        assert meta.get('Epochs', meta.get('Iterations')) == card.length
        assert meta['Pretrained'] == load(name).pretrained
        assert (meta['Source'] == 'OpenMMLab') == ('_r50-' in name)
        assert bool(entry['Weights']) == ('swin' in name or '_r50-' in name)


# networks -----------------------------------------------------------------------------------------
@functools.cache
def operations(name: str) -> dict[str, int]:
    """Return multiplications by kind: for COCO with 1000 boxes and 100 masks.

    Positions are resized for nothing, as in every published figure.
    """
    model = network(name).eval()
    with (
        mock.patch.object(vit, 'resize', lambda x, h, w, *_: x.new_zeros(*x.shape[:2], h, w)),
        torch.device('meta'),
        torch.no_grad(),
        FlopCounterMode(display=False) as counter,
    ):
        if name in ADE20K:
            model.encode_decode(torch.zeros(1, 3, 512, 2048), [dict(img_shape=(512, 2048))])
        else:
            model.rpn_head(model.extract_feat(torch.zeros(1, 3, 800, 1280)))
            head = model.roi_head
            for part, rois in ((head.bbox_head, (1000, 256, 7, 7)),
                               (head.mask_head, (100, 256, 14, 14))):  # fmt: skip
                for one in part if isinstance(part, nn.ModuleList) else [part]:
                    one(torch.zeros(rois))
    return {str(k): v // 2 for k, v in counter.get_flop_counts()['Global'].items()}


@pytest.mark.parametrize('entry', META['Models'], ids=lambda e: e['Name'])
def test_size_and_cost_are_those_of_the_tables(entry):
    """FLOPs within 0.7 G of the published ones: 266.6, 744.8 and 944.4 for 267, 745 and 945."""
    name, meta = entry['Name'], entry['Metadata']
    assert count(network(name)) == meta['Parameters']
    assert sum(operations(name).values()) == meta['FLOPs']
    if CARDS[name].size:
        millions, billions = CARDS[name].size
        assert round(meta['Parameters'] / 1e6) == millions
        assert abs(meta['FLOPs'] / 1e9 - billions) < 0.7


def test_the_pyramid_of_one_map_costs_less_than_that_of_four():
    four, one = (f'cascade-mask-rcnn_vit-small-ibot-pre_{n}_8xb4-amp-ms-crop-1x_coco'
                 for n in ('fpn', 'sfp'))  # fmt: skip
    assert count(network(four)) - count(network(one)) == 81570738 - 80342930
    assert len(network(one).backbone.out_channels) == 1


@each_of_coco
def test_heads_of_detectors(name):
    model = network(name)
    boxes = model.roi_head.bbox_head
    if not name.startswith('cascade'):
        assert type(boxes).__name__ == 'Shared2FCBBoxHead'
        assert type(boxes.loss_bbox).__name__ == type(model.rpn_head.loss_bbox).__name__ == 'L1Loss'
        assert not any('Norm' in type(m).__name__ for m in [*model.roi_head.modules(),
                                                            *model.neck.modules()])  # fmt: skip
        return
    assert model.rpn_head.loss_bbox.beta == pytest.approx(1 / 9)
    stds = [(0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1), (0.033, 0.033, 0.067, 0.067)]
    for head, wanted in zip(boxes, stds, strict=True):
        assert tuple(head.bbox_coder.stds) == wanted
        assert (len(head.shared_convs), len(head.shared_fcs)) == (4, 1)
        assert all(isinstance(c.bn, nn.SyncBatchNorm) for c in head.shared_convs)
        assert head.reg_decoded_bbox and not head.reg_class_agnostic
        assert (type(head.loss_bbox).__name__, head.loss_bbox.loss_weight) == ('GIoULoss', 10.0)
    train = model.roi_head.train_cfg
    assert [stage.assigner.pos_iou_thr for stage in train] == [0.5, 0.6, 0.7]
    assert list(model.roi_head.stage_loss_weights) == [1, 0.5, 0.25]


@each
def test_drop_path_rises_to_its_rate(name):
    net, rate = network(name).backbone, CARDS[name].drop
    if rate is None:
        assert '_r50-' in name or net.frozen_stages == 12
        return
    rates = [m.drop_prob for m in net.modules() if type(m).__name__ == 'DropPath']
    assert max(rates, default=0.0) == pytest.approx(rate)


def test_what_stays_frozen():
    """frozen_stages=0 freezes the stem and its norm; supervised, all norms are in eval mode."""
    for name in (n for n in COCO if '_r50-' in n):
        net = network(name).backbone
        net.train()
        fixed = {n.split('.')[0] for n, p in net.named_parameters() if not p.requires_grad}
        norms = {
            n: m for n, m in net.named_modules() if isinstance(m, nn.modules.batchnorm._NormBase)
        }
        moving = {n for n, m in norms.items() if m.training}
        if '-sup-' in name:
            assert fixed == {'conv1', 'bn1', 'layer1'} and not moving
        else:
            assert fixed == {'conv1', 'bn1'} and moving == set(norms) - {'bn1'}
            assert all(isinstance(m, nn.SyncBatchNorm) for m in norms.values())
    for name in (n for n in ADE20K if '_linear_' in n):
        trained = [n for n, p in network(name).named_parameters() if p.requires_grad]
        assert trained == ['decode_head.conv_seg.weight', 'decode_head.conv_seg.bias']
    for name in (n for n in CARDS if 'swin' in n):
        assert all(p.requires_grad for p in network(name).parameters())
