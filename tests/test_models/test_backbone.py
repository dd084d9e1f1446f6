"""The contract of backbones, on two real families and a transparent one."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mmssl.models.backbones import Backbone, ResNet, Tokens, VisionTransformer

from ..helpers.refusals import refuses


class Counting(Backbone):
    """Two stages of two and three blocks; block i yields i + 1, `final_norm` adds 100."""

    def __init__(self, cls=False, **settings):
        super().__init__(**settings)
        self.stage_ends, self.widths, self.num_features, self.cls = (1, 4), (2, 3), 3, cls

    def iter_blocks(self, x, mask=None):
        for i in range(5):
            side, width = (4, 2) if i < 2 else (2, 3)
            grid = torch.full((len(x), side, side, width), float(i + 1))
            token = torch.full((len(x), 1, width), -float(i + 1)) if self.cls else None
            yield Tokens(token, grid)

    def final_norm(self, tokens):
        return Tokens(None if tokens.cls is None else tokens.cls + 100, tokens.grid + 100)


X = torch.zeros(2, 3, 8, 8)


def vit(**settings):
    return VisionTransformer((16, 3, 2), img_size=16, patch_size=8, **settings)


def resnet(**settings):
    return ResNet(18, width=4, **settings)


def test_encode_pools_the_class_token_or_the_mean():
    features = Counting().encode(X)
    assert features.pooled.tolist() == [[105.0] * 3] * 2
    assert features.tokens.tolist() == [[[105.0] * 3] * 4] * 2
    assert features.raw.tolist() == [[[5.0] * 3] * 4] * 2
    assert features.grid == (2, 2)
    assert Counting(cls=True).encode(X).pooled.tolist() == [[95.0] * 3] * 2


def test_features_split_into_views():
    net = vit().eval()
    x = torch.randn(6, 3, 16, 16)
    whole = net.encode(x)
    parts = whole.split(2)
    assert len(parts) == 3
    for i, part in enumerate(parts):
        assert_close(part.tokens, whole.tokens[2 * i : 2 * i + 2], rtol=0, atol=0)
        assert_close(part.raw, whole.raw[2 * i : 2 * i + 2], rtol=0, atol=0)
        assert_close(part.pooled, whole.pooled[2 * i : 2 * i + 2], rtol=0, atol=0)
        assert part.grid == (2, 2)


def test_descriptor_norms_the_last_stage_only():
    row = [2.0] * 2 + [103.0] * 3 + [104.0] * 3 + [105.0] * 3
    assert Counting().last_blocks_features(X, blocks=4).tolist() == [row] * 2
    assert Counting().last_blocks_features(X, blocks=1).tolist() == [[105.0] * 3] * 2
    assert (
        Counting(cls=True).last_blocks_features(X, blocks=2).tolist()
        == [[96.0] * 3 + [95.0] * 3] * 2
    )
    row = [96.0] * 3 + [95.0] * 3 + [105.0] * 3
    assert Counting(cls=True).last_blocks_features(X, 2, 'cls+mean').tolist() == [row] * 2
    row = [95.0, 105.0] * 3
    assert Counting(cls=True).last_blocks_features(X, 1, 'interleaved').tolist() == [row] * 2
    with refuses('blocks', 2):
        Counting(cls=True).last_blocks_features(X, 2, 'interleaved')
    row = [104.0] * 3 + [105.0] * 3
    assert Counting(cls=True).last_blocks_features(X, 2, 'mean').tolist() == [row] * 2


def test_descriptor_of_a_vit_is_made_of_normed_blocks():
    net, x = vit().eval(), torch.randn(2, 3, 16, 16)
    raw = list(net.iter_blocks(x))
    expected = torch.cat([net.net.norm(t.cls[:, 0]) for t in raw[1:]], 1)
    assert_close(net.last_blocks_features(x, blocks=2), expected, rtol=0, atol=0)
    mean = net.net.norm(raw[-1].grid).mean((1, 2))
    assert_close(net.last_blocks_features(x, pool='mean'), mean)


def test_forward_returns_the_maps_at_out_indices():
    """Stages for several-stage networks, blocks for a ViT; channels first."""
    maps = Counting(out_indices=(0, 1))(X)
    assert [m.shape for m in maps] == [(2, 2, 4, 4), (2, 3, 2, 2)]
    assert [m.unique().tolist() for m in maps] == [[2.0], [5.0]]
    assert Counting()(X)[0].unique().tolist() == [5.0]
    net, x = vit(out_indices=(0, 2)).eval(), torch.randn(2, 3, 16, 24)
    blocks = list(net.iter_blocks(x))
    for ours, block in zip(net(x), (blocks[0], blocks[2]), strict=True):
        assert_close(ours, block.grid.permute(0, 3, 1, 2), rtol=0, atol=0)
    negative = vit(out_indices=(-1,)).eval()
    negative.load_state_dict(net.state_dict())
    assert_close(negative(x)[0], net(x)[1], rtol=0, atol=0)


def test_summary_is_the_class_token_or_the_final_map():
    net, x = vit().eval(), torch.randn(2, 3, 16, 16)
    assert_close(net.summary(x), net.encode(x).pooled, rtol=0, atol=0)
    net, x = resnet().eval(), torch.randn(2, 3, 64, 64)
    assert_close(net.summary(x), net(x)[0], rtol=0, atol=0)
    assert_close(net.summary(x).mean((2, 3)), net.encode(x).pooled)


def trainable(net):
    return {n.split('.', 1)[1] for n, p in net.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ('stages', 'first'),
    [(-1, 'conv1.'), (0, 'layer1.'), (1, 'layer2.'), (3, 'layer4.'), (4, None)],
)
def test_frozen_stages_of_a_resnet(stages, first):
    net = resnet(frozen_stages=stages).train()
    left = trainable(net)
    assert {n for n in left if n.startswith('layer4.')} if stages < 4 else not left
    order = ['conv1.', 'bn1.', 'layer1.', 'layer2.', 'layer3.', 'layer4.']
    alive = order[order.index(first) :] if first else []
    for part in order:
        some = any(n.startswith(part) for n in left)
        assert some == (part in alive), part
        assert getattr(net.net, part[:-1]).training == (part in alive)


@pytest.mark.parametrize('stages', [-1, 0, 2, 3])
def test_frozen_stages_of_a_vit(stages):
    net = vit(frozen_stages=stages).train()
    left = trainable(net)
    for name in ('cls_token', 'pos_embed', 'patch_embed.proj.weight'):
        assert (name in left) == (stages < 0)
    for i in range(3):
        assert (f'blocks.{i}.attn.qkv.weight' in left) == (i >= stages)
        assert net.net.blocks[i].training == (i >= stages)
    assert ('norm.weight' in left) == (stages < 3)


def test_frozen_parts_do_not_move_in_training():
    net = resnet(frozen_stages=2).train()
    before = {n: v.clone() for n, v in net.state_dict().items()}
    net.encode(torch.randn(2, 3, 64, 64)).pooled.sum().backward()
    after = net.state_dict()
    moved = {n.split('.')[1] for n, v in after.items() if not torch.equal(v, before[n])}
    assert moved == {'layer3', 'layer4'}  # running statistics


def test_norm_eval_stops_every_batch_norm():
    net = resnet(norm_eval=True).train()
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 20
    assert not any(m.training for m in norms)
    assert net.net.layer1.training
    assert all(m.training for m in resnet().train().modules())


def test_weights_are_read_from_init_cfg_and_only_then(tmp_path):
    source = resnet()
    path = tmp_path / 'weights.pth'
    state = {f'backbone.{n}': v for n, v in source.state_dict().items()}
    torch.save({'state_dict': state}, path)
    net = resnet(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    assert not torch.equal(net.net.conv1.weight, source.net.conv1.weight)
    net.init_weights()
    for name, value in net.state_dict().items():
        assert_close(value, source.state_dict()[name], rtol=0, atol=0, msg=name)
    plain = resnet()
    before = plain.net.conv1.weight.clone()
    plain.init_weights()
    assert torch.equal(plain.net.conv1.weight, before)
