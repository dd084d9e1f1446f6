"""Key templates translate names in both directions."""

import pytest

from mmssl.checkpoint import Pair

PAIRS = [
    (
        Pair('{rest}', 'backbone.net.{rest}'),
        'layer1.0.bn.weight',
        'backbone.net.layer1.0.bn.weight',
    ),
    (
        Pair('layers.{i}.downsample.{rest}', 'net.layers.{i+1}.downsample.{rest}'),
        'layers.2.downsample.norm.bias',
        'net.layers.3.downsample.norm.bias',
    ),
    (Pair('hidden.{i}.{rest}', 'project.{i-1}.{rest}'), 'hidden.1.weight', 'project.0.weight'),
    (Pair('hidden.{i-1}.{rest}', 'project.{i}.{rest}'), 'hidden.0.weight', 'project.1.weight'),
    (Pair('a.{i}.b.{j}.c.{k}', 'x.{k}.y.{j}.z.{i}'), 'a.1.b.22.c.3', 'x.3.y.22.z.1'),
    (Pair('queue', 'queue.bank0'), 'queue', 'queue.bank0'),
    (Pair('fc.weight', 'neck.0.weight'), 'fc.weight', 'neck.0.weight'),
]


@pytest.mark.parametrize(('pair', 'foreign', 'ours'), PAIRS)
def test_both_directions(pair: Pair, foreign: str, ours: str) -> None:
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
    pair = Pair(template, 'ours')
    assert not pair.matches(key)
    assert pair.to_ours(key) is None
    assert Pair('theirs', template).to_foreign(key) is None


def test_dropped_names() -> None:
    pair = Pair('x.{rest}', None)
    assert pair.matches('x.y')
    assert pair.to_ours('x.y') is None
    assert pair.to_foreign('x.y') is None


@pytest.mark.parametrize(('target', 'index'), [((0,), 0), ((0, 1, 3), 3), ((0, 3, 12, 2), 12)])
def test_last_index_of_the_target(target: tuple[int, ...], index: int) -> None:
    pair = Pair('out.{rest}', 'neck.project.{last}.{rest}')
    names = [f'neck.project.{i}.weight' for i in target] + ['neck.projector.99.weight', 'x.100.y']
    assert pair.to_ours('out.weight', names) == f'neck.project.{index}.weight'
