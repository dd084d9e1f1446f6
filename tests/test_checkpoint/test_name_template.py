"""Key templates translate names in both directions."""

import pytest

from mmssl.checkpoint import NamePair

PAIRS = [
    (
        NamePair('{rest}', 'backbone.net.{rest}'),
        'layer1.0.bn.weight',
        'backbone.net.layer1.0.bn.weight',
    ),
    (
        NamePair('layers.{i}.downsample.{rest}', 'net.layers.{i+1}.downsample.{rest}'),
        'layers.2.downsample.norm.bias',
        'net.layers.3.downsample.norm.bias',
    ),
    (NamePair('hidden.{i}.{rest}', 'project.{i-1}.{rest}'), 'hidden.1.weight', 'project.0.weight'),
    (NamePair('hidden.{i-1}.{rest}', 'project.{i}.{rest}'), 'hidden.0.weight', 'project.1.weight'),
    (NamePair('a.{i}.b.{j}.c.{k}', 'x.{k}.y.{j}.z.{i}'), 'a.1.b.22.c.3', 'x.3.y.22.z.1'),
    (NamePair('queue', 'queue.bank0'), 'queue', 'queue.bank0'),
    (NamePair('fc.weight', 'neck.0.weight'), 'fc.weight', 'neck.0.weight'),
]


@pytest.mark.parametrize(('pair', 'foreign', 'ours'), PAIRS)
def test_both_directions(pair: NamePair, foreign: str, ours: str) -> None:
    assert pair.matches(foreign)
    assert pair.to_ours(foreign) == ours
    assert pair.to_foreign(ours) == foreign


@pytest.mark.parametrize(
    ('template', 'key'),
    [
        ('layers.{i}.x', 'layers.a.x'),
        ('layers.{i}.x', 'layers.1.2.x'),
        ('layers.{i}.x', 'layers.1.xy'),
        ('layers.{i}.x', 'my.layers.1.x'),
        ('fc.weight', 'fcxweight'),  # a dot is a dot
        ('fc.weight', 'fc.weight\n'),
        ('queue', 'queue_ptr'),
        ('head.{rest}', 'head.'),
        ('head.{rest}', 'header.x'),
    ],
)
def test_names_of_another_line(template: str, key: str) -> None:
    pair = NamePair(template, 'ours')
    assert not pair.matches(key)
    assert pair.to_ours(key) is None
    assert NamePair('theirs', template).to_foreign(key) is None


def test_dropped_names() -> None:
    pair = NamePair('x.{rest}', None)
    assert pair.matches('x.y')
    assert pair.to_ours('x.y') is None
    assert pair.to_foreign('x.y') is None
