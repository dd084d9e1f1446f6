"""A backbone with a classifier of tokens."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from mmssl.registry import MODELS

VIT = dict(type='VisionTransformer', arch=(16, 2, 2), img_size=32, patch_size=8, last_norm=False)


def segmenter(backbone=VIT, **settings):
    head = dict(type='LinearHead', num_classes=5, norm='layer', init_std=0.5)
    return MODELS.build(dict(type='Segmenter', backbone=backbone, head=head, **settings)).double()


def test_the_head_is_a_1x1_convolution_over_normed_tokens():
    model, x = segmenter().eval(), torch.randn(2, 3, 32, 24).double()
    tokens = list(model.backbone.iter_blocks(x))[-1].grid  # (B, h, w, C), no norm
    normed = (tokens - tokens.mean(-1, keepdim=True)) / (
        tokens.var(-1, unbiased=False, keepdim=True) + 1e-6
    ).sqrt()
    weight = model.head.fc.weight[:, :, None, None]
    assert_close(model(x), F.conv2d(normed.permute(0, 3, 1, 2), weight, model.head.fc.bias))
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters()), 'DDP wants all of them'


def test_patches_over_the_edge_are_left_out():
    model, x = segmenter().eval(), torch.randn(1, 3, 39, 33).double()
    assert model(x).shape == (1, 5, 4, 4)
    assert_close(model(x), model(x[..., :32, :32]))


def test_the_loss_is_the_mean_over_judged_cells():
    """Logits 4x4 become 8x8, masks 32x32 lose all but every fourth row and column."""
    model, x = segmenter(), torch.randn(2, 3, 32, 32).double()
    mask = torch.randint(0, 5, (2, 32, 32))
    mask[0, :20] = 1000
    found = model(x, dict(label=mask), mode='loss')['loss'].item()
    logits = F.interpolate(model(x), (8, 8), mode='bilinear', align_corners=False)
    losses = []
    for b in range(2):
        for i in range(8):
            for j in range(8):
                truth = int(mask[b, 4 * i, 4 * j])
                if truth != 1000:
                    scores = logits[b, :, i, j].tolist()
                    losses.append(math.log(sum(map(math.exp, scores))) - scores[truth])
    assert len(losses) == 8 * 8 + 3 * 8
    assert found == pytest.approx(sum(losses) / len(losses), rel=1e-12)


def test_a_batch_that_nobody_judged_teaches_nothing():
    loss = segmenter()(
        torch.randn(1, 3, 32, 32).double(), dict(label=torch.full((1, 32, 32), 1000)), mode='loss'
    )
    assert loss['loss'].item() == 0


def test_predictions_have_the_size_of_the_mask():
    model, x = segmenter().eval(), torch.randn(1, 3, 32, 48).double()
    mask = torch.zeros(1, 50, 71, dtype=torch.int64)
    (found,) = model(x, dict(label=mask), mode='predict')
    scores = F.interpolate(model(x).float(), (50, 71), mode='bilinear')
    assert torch.equal(found['pred_mask'], scores.argmax(1)[0])
    (alone,) = model(x, mode='predict')
    assert alone['pred_mask'].shape == (32, 48)


def test_large_images_are_decided_at_a_bounded_size():
    model, x = segmenter(max_side=20).eval(), torch.randn(1, 3, 32, 32).double()
    (found,) = model(x, dict(label=torch.zeros(1, 30, 40)), mode='predict')
    small = F.interpolate(model(x).float(), (15, 20), mode='bilinear').argmax(1)[0]
    assert torch.equal(found['pred_mask'], small.repeat_interleave(2, 0).repeat_interleave(2, 1))
