"""Many layers trained at once, and the choice among them."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from mmssl.core import UserError, dist
from mmssl.evaluation import Accuracy, SweepHook
from mmssl.models.heads.sweep import RATES, SweepHead
from mmssl.registry import MODELS

VIT = dict(type='VisionTransformer', arch=(16, 3, 2), img_size=16, patch_size=8)


def test_the_rates_are_ibots_45():
    assert len(RATES) == 45
    wanted = [1e-4, 2e-4, 3e-4, 4e-4, 5e-4, 6e-4, 7e-4, 8e-4, 9e-4, 1e-3]
    assert RATES[:10] == pytest.approx(wanted) and RATES[-1] == pytest.approx(9)


def test_each_layer_learns_as_if_alone_at_its_own_rate():
    """Against one torch layer and one SGD for each rate, momentum and schedule included."""
    rates = (0.003, 0.5, 9.0)
    head = SweepHead(6, 4, rates).double()
    alone = [nn.Linear(6, 4).double() for _ in rates]
    for g, layer in enumerate(alone):
        layer.weight.data.copy_(head.fc['weight'][g])
        layer.bias.data.zero_()
    optimizer = torch.optim.SGD(head.parameters(), lr=0.4, momentum=0.9)
    others = [
        torch.optim.SGD(layer.parameters(), lr=0.4 * rate, momentum=0.9)
        for layer, rate in zip(alone, rates, strict=True)
    ]
    for step in range(4):
        x, target = torch.randn(5, 6).double(), torch.randint(4, (5,))
        for o in (optimizer, *others):
            o.zero_grad()
            o.param_groups[0]['lr'] *= 1 - 0.1 * step
        head.loss(head(x), target).backward()
        optimizer.step()
        for layer, o in zip(alone, others, strict=True):
            F.cross_entropy(layer(x), target).backward()
            o.step()
    for g, layer in enumerate(alone):
        assert_close(head.fc['weight'][g], layer.weight, rtol=1e-10, atol=1e-12)
        assert_close(head.fc['bias'][g], layer.bias, rtol=1e-10, atol=1e-12)


def test_the_best_layer_answers():
    head = dict(type='SweepHead', num_classes=5, rates=(0.1, 1.0, 2.0))
    model = MODELS.build(dict(type='Classifier', backbone=VIT, frozen=True, blocks=3, head=head))
    model.eval().head.best.fill_(1)
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        feature = model.backbone.last_blocks_features(x, 3)
        logits = F.linear(feature, model.head.fc['weight'][1], model.head.fc['bias'][1])
        assert_close(model(x), logits)
        answers = model(x, mode='predict')
    assert_close(answers[1]['pred_scores'], logits[1].softmax(0))
    assert answers[1]['rates'] == pytest.approx([0.1, 1.0, 2.0])
    assert_close(answers[1]['all_scores'][1], logits[1])


def measured(unreadable=''):
    """Return the figures of three images, two layers and three classes."""
    metric = Accuracy(topk=(1, 2))
    scores = [
        [[3.0, 2, 1], [1.0, 2, 3]],  # label 0: first, last
        [[3.0, 2, 1], [1.0, 2, 3]],  # label 2: last, first
        [[1.0, 1, 0], [0.0, 2, 1]],  # label 1: tied with another, first
    ]
    answers = [dict(all_scores=torch.tensor(s), rates=[0.1, 2.0]) for s in scores]
    samples = dict(label=torch.tensor([0, 2, 1]))
    if unreadable:
        samples['unreadable'] = ['', unreadable, '']
    metric.process(dict(data_samples=samples), answers)
    return metric.evaluate(3)


def test_figures_of_every_layer_and_of_the_best():
    found = measured()
    assert found == pytest.approx(
        {
            'sweep/top1_best': 200 / 3,
            'sweep/top2_best': 200 / 3,
            'sweep/best_rate': 2.0,
            'sweep/top1_rate0.1': 100 / 3,
            'sweep/top1_rate2': 200 / 3,
        }
    )


def _two():
    """Return the figures; rank 0 has seen the images, rank 1 none."""
    return measured() if dist.rank() == 0 else Accuracy(topk=(1, 2)).evaluate(3)


def test_an_image_that_could_not_be_read_does_not_count():
    assert measured('damaged')['sweep/top1_rate0.1'] == 50


def test_a_process_without_images_knows_the_figures(two_ranks):
    first, second = two_ranks(_two)
    assert first == second == pytest.approx(measured())


def test_the_hook_writes_the_best_into_the_head():
    model, lines = nn.Module(), []
    model.head = SweepHead(4, 3, (0.1, 0.5, 2.0))
    runner = SimpleNamespace(model=model, logger=SimpleNamespace(info=lines.append))
    SweepHook().after_val_epoch(runner, {'sweep/best_rate': 0.5})
    assert int(model.head.best) == 1
    assert 'rate 0.5' in lines[0] and 'best of 3 on the images that it is reported on' in lines[0]


def test_only_plain_sgd_trains_a_sweep():
    head = SweepHead(4, 3, (0.1, 0.5))

    def start(optimizer, clip=None):
        wrapper = SimpleNamespace(optimizer=optimizer, clip_grad_kwargs=clip)
        SweepHook().before_train(SimpleNamespace(optim_wrapper=wrapper))

    plain = torch.optim.SGD(head.parameters(), lr=1, momentum=0.9)
    start(plain)
    decayed = torch.optim.SGD(head.parameters(), lr=1, weight_decay=1e-4)
    adam = torch.optim.Adam(head.parameters())
    for optimizer, clip in ((decayed, None), (adam, None), (plain, dict(max_norm=1.0))):
        with pytest.raises(UserError, match='SGD'):
            start(optimizer, clip)
