"""Both routes train alike: the same heads over either backbone begin with the same loss."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, DefaultScope

from mmssl import transfer
from mmssl.checkpoint.export import export, network

from ..helpers.transfer_nets import SMALL, SWIN, THEIRS, VIT

pytestmark = pytest.mark.transfer
MAPS = dict(out_indices=(0, 1, 2, 3))
OURS = {
    'swin': dict(type='mmssl.SwinTransformer', out_norm=True, **SWIN, **MAPS),
    'vit': dict(type='mmssl.VisionTransformer', **VIT, **MAPS),
}
NECKS = {
    'swin': dict(type='FPN', in_channels=[12, 24, 48, 96], out_channels=64, num_outs=4),
    'vit': [
        dict(type='Feature2Pyramid', embed_dim=24, rescales=[2, 1, 0.5, 0.25],
             norm_cfg=dict(type='BN')),
        dict(type='FPN', in_channels=[24] * 4, out_channels=64, num_outs=4),
    ],
}  # fmt: skip


def first_loss(model, batch):
    """Return the loss of a batch, dropout and sampling drawn alike."""
    np.random.seed(0)
    torch.manual_seed(0)
    model.train()
    found = model(**model.data_preprocessor(batch, True), mode='loss')
    return sum(torch.as_tensor(v).mean() for values in found.values()
               for v in (values if isinstance(values, list) else [values]))  # fmt: skip


@pytest.mark.parametrize(
    ('library', 'kind', 'base'),
    [
        ('mmdet', 'swin', 'mask-rcnn_vit-conv_simple-fpn_10e_shapes.py'),
        ('mmseg', 'swin', 'fpn_vit-conv_300i_shapes.py'),
        ('mmseg', 'vit', 'fpn_vit-conv_300i_shapes.py'),
    ],
)
def test_the_first_loss(library, kind, base, pretrained, scenes, tmp_path):
    cfg = transfer.settings.read_transfer_config(str(SMALL / base), {'data_root': str(scenes)})
    written = export(network(pretrained(kind)).state, library).state
    torch.save({'state_dict': written}, tmp_path / 'converted.pth')
    routes = [(THEIRS[kind], tmp_path / 'converted.pth'), (OURS[kind], pretrained(kind))]
    # mmcv's suppression of boxes knows single precision only
    precision, tolerance = (torch.float32, 1e-5) if library == 'mmdet' else (torch.float64, 1e-9)
    heads, losses = None, []
    for backbone, file in routes:
        init = dict(type='Pretrained', checkpoint=str(file))
        backbone = dict(backbone, drop_path_rate=0.0, init_cfg=init)
        model = Config(dict(cfg.model, backbone=backbone, neck=NECKS[kind]))._cfg_dict
        with DefaultScope.overwrite_default_scope(library):
            data = DATASETS.build(cfg.train_dataloader.dataset)
            np.random.seed(0)
            batch = pseudo_collate([data[i] for i in range(2)])
            built = MODELS.build(model)
        built.init_weights()
        state = {k: v for k, v in built.state_dict().items() if not k.startswith('backbone.')}
        heads = heads or {k: v.clone() for k, v in state.items()}
        assert list(heads) == list(state)
        built.load_state_dict(heads, strict=False)
        built.to(precision)
        losses.append(float(first_loss(built, batch)))
    assert losses[0] == pytest.approx(losses[1], rel=tolerance), json.dumps(losses)
    assert losses[0] > 1
