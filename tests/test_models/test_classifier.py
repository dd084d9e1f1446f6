"""A backbone with a classifier layer."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from mmssl.models.heads import LinearHead
from mmssl.registry import MODELS

VIT = dict(type='VisionTransformer', arch=(16, 3, 2), img_size=16, patch_size=8)
RESNET = dict(type='ResNet', depth=18, width=4)
X = torch.randn(4, 3, 32, 32)


def classifier(backbone=VIT, **settings):
    head = settings.pop('head', dict(type='LinearHead', num_classes=5))
    return MODELS.build(dict(type='Classifier', backbone=backbone, head=head, **settings))


@pytest.mark.parametrize(
    ('backbone', 'settings', 'width'),
    [
        (VIT, {}, 16),
        (VIT, dict(blocks=3), 48),
        (VIT, dict(blocks=2, pool='cls+mean'), 48),
        (VIT, dict(pool='interleaved'), 32),
        (RESNET, {}, 32),
        (RESNET, dict(blocks=3), 80),
    ],
)
def test_the_layer_is_as_wide_as_the_descriptor(backbone, settings, width):
    model = classifier(backbone, **settings).eval()
    assert model.head.fc.in_features == width
    x = model.backbone.last_blocks_features(X, model.blocks, model.pool)
    assert x.shape == (4, width)
    assert_close(model(X), x @ model.head.fc.weight.T + model.head.fc.bias)


def test_linear_head_starts_small_and_may_norm_without_scale():
    head = LinearHead(400, 100, norm=True)
    assert head.fc.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert (head.fc.bias == 0).all()
    assert not list(head.norm.parameters())
    x = 3 + 2 * torch.randn(8, 400)
    normed = (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt()
    assert_close(head(x), normed @ head.fc.weight.T, rtol=1e-4, atol=1e-5)


def test_label_smoothing_mixes_in_the_uniform_distribution():
    head, logits = LinearHead(3, 4, label_smoothing=0.1), torch.randn(5, 4)
    target = torch.tensor([0, 1, 2, 3, 0])
    shares = 0.9 * F.one_hot(target, 4) + 0.1 / 4
    expected = -(shares * logits.log_softmax(1)).sum(1).mean()
    assert_close(head.loss(logits, target), expected)
    hard = LinearHead(3, 4)
    assert_close(hard.loss(logits, shares), expected)  # shares of classes as target


def test_a_frozen_backbone_neither_learns_nor_moves():
    model = classifier(RESNET, frozen=True).train()
    assert model.head.training
    assert not any(m.training for m in model.backbone.modules())
    before = {n: v.clone() for n, v in model.backbone.state_dict().items()}
    samples = dict(label=torch.tensor([0, 1, 2, 3]))
    loss = model(X, samples, mode='loss')['loss']
    expected = F.cross_entropy(model(X), samples['label'])
    assert_close(loss, expected)
    loss.backward()
    learned = {n for n, p in model.named_parameters() if p.grad is not None}
    assert learned == {'head.fc.weight', 'head.fc.bias'}
    assert all(torch.equal(v, before[n]) for n, v in model.backbone.state_dict().items())
    tuned = classifier(RESNET).train()
    tuned(X, samples, mode='loss')['loss'].backward()
    assert all(p.grad is not None for p in tuned.parameters())


def test_a_noisy_backbone_drops_paths_and_learns_nothing():
    net = dict(VIT, drop_path_rate=0.5)
    model = classifier(net, frozen=True, backbone_train_mode=True).train()
    assert model.backbone.training
    x = X.repeat(8, 1, 1, 1)  # equal images, unequal paths
    with torch.no_grad():
        found = model(x)
        assert not torch.allclose(found[:4], found[4:8])
    model(X, dict(label=torch.tensor([0, 1, 2, 3])), mode='loss')['loss'].backward()
    learned = {n for n, p in model.named_parameters() if p.grad is not None}
    assert learned == {'head.fc.weight', 'head.fc.bias'}
    still = model.eval()(x)
    assert_close(still[:4], still[4:8])
    assert not classifier(net, frozen=True).train().backbone.training


def test_predictions_are_softmax_scores():
    model = classifier().eval()
    with torch.no_grad():
        scores = model(X).softmax(1)
        answers = model(X, mode='predict')
    for i, found in enumerate(answers):
        assert_close(found['pred_scores'], scores[i])
        assert found['pred_label'] == int(scores[i].argmax())
        assert found['pred_score'] == pytest.approx(float(scores[i].max()))


def test_features_of_each_stage():
    model = classifier(RESNET, head=dict(type='LinearHead', num_classes=5, norm=True)).eval()
    (final,) = model.extract_feat(X, 'backbone')
    (pooled,) = model.extract_feat(X)
    assert final.shape == (4, 32, 1, 1)
    assert_close(pooled, final.mean((2, 3)))
    assert_close(model.extract_feat(X, 'pre_logits'), pooled / (1 + 1e-5) ** 0.5)


def test_mixup_pairs_images_with_shares_of_labels():
    model = classifier(mixup=dict(mixup_alpha=0.8, label_smoothing=0.0))
    seen = {}
    model.head.loss = lambda logits, target: seen.update(target=target) or logits.sum()
    model(X.clone(), dict(label=torch.tensor([0, 1, 2, 3])), mode='loss')
    assert seen['target'].shape == (4, 5)
    assert_close(seen['target'].sum(1), torch.ones(4))


@pytest.mark.parametrize(('std', 'zero_bias'), [(None, False), (2e-5, False), (0.3, True)])
def test_a_heads_start(std, zero_bias):
    """torch's own start is uniform in +- 1 / sqrt(in_features)."""
    torch.manual_seed(3)
    head = MODELS.build(
        dict(type='LinearHead', in_features=64, num_classes=500, init_std=std, zero_bias=zero_bias)
    )
    weight, bias = head.fc.weight.detach(), head.fc.bias.detach()
    bound = 1 / 8
    assert float(weight.std()) == pytest.approx(bound / 3**0.5 if std is None else std, rel=0.02)
    assert (float(weight.abs().max()) <= bound) == (std != 0.3)
    if zero_bias:
        assert not bias.any()
    else:
        assert bound * 0.98 < float(bias.abs().max()) <= bound
