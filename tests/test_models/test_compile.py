"""Networks compile as one graph, without graph breaks."""

import copy

import pytest
import torch
from torch.testing import assert_close

from mmssl.core import UserError
from mmssl.engine import compile_networks
from mmssl.registry import MODELS

from ..helpers.methods import CVT, RESNET, SWIN, VIT
from ..helpers.tiny import losses, make_runner

pytestmark = pytest.mark.slow

VIL = dict(type='ViL', arch='l1,h1,d8,n1,s1,g1,p4,f2,a0_l2,h2,d16,n1,s0,g0,p2,f2,a0', mode=0)
NETWORKS = dict(vit=VIT, swin=SWIN, resnet=RESNET, cvt=CVT, vil=dict(VIL, img_size=16))


@pytest.mark.parametrize('name', NETWORKS)
def test_a_compiled_network_is_one_graph_with_the_same_numbers(name):
    plain = MODELS.build(NETWORKS[name]).double().train()
    compiled = copy.deepcopy(plain)
    encode = torch.compile(compiled.encode, backend='eager', fullgraph=True, dynamic=False)
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    for net, call in ((plain, plain.encode), (compiled, encode)):
        features = call(x)
        (features.pooled.square().sum() + features.tokens[:, 0].sum()).backward()
        net.seen = features.pooled.detach()
    assert_close(compiled.seen, plain.seen, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(compiled.parameters(), plain.parameters(), strict=True):
        assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('drop', [0.0, 0.3])
def test_packed_crops_are_one_graph(drop):
    plain = MODELS.build(dict(VIT, drop_path_rate=drop)).double().train()
    compiled = copy.deepcopy(plain)
    together = torch.compile(
        compiled.encode_together, backend='eager', fullgraph=True, dynamic=False
    )
    groups = [torch.randn(2, 3, size, size, dtype=torch.float64) for size in (16, 8)]
    found = []
    for call in (plain.encode_together, together):
        torch.manual_seed(0)
        features = call(groups)
        sum(f.pooled.square().sum() for f in features).backward()
        found.append(torch.cat([f.pooled.detach() for f in features]))
    assert_close(found[1], found[0], rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(compiled.parameters(), plain.parameters(), strict=True):
        assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ('network', 'said'),
    [(dict(VIT, with_cp=True), 'with_cp'), (dict(VIL, mode=1), 'mode=1.*mode=0')],
)
def test_what_cannot_be_compiled_whole_is_refused(network, said):
    with pytest.raises(UserError, match=said):
        compile_networks(MODELS.build(network), True)
    compile_networks(MODELS.build(network), None)


def graphs():
    return torch._dynamo.utils.counters['stats']['unique_graphs']


def test_a_monitor_adds_no_graph(tiny_config, tmp_path):
    """Student and teacher have one each for the one size of views; kNN runs them as they are."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    runner = make_runner(
        tiny_config(), tmp_path, compile=dict(backend='eager'), train_cfg__max_epochs=1
    )
    assert len(losses(runner)) == 4
    assert graphs() == 2
    runner.val_loop.run()
    assert graphs() == 2


def test_the_runner_compiles_the_networks_alone(tiny_config, tmp_path):
    """Same losses; both branches' networks are compiled, their weights keep their names."""
    short = dict(train_cfg__max_epochs=1, val_cfg=None, val_dataloader=None, val_evaluator=None)
    plain = losses(make_runner(tiny_config(), tmp_path / 'plain', **short))
    runner = make_runner(
        tiny_config(), tmp_path / 'compiled', compile=dict(backend='eager'), **short
    )
    names = list(runner.model.state_dict())
    assert losses(runner) == pytest.approx(plain, rel=1e-6)
    assert list(runner.model.state_dict()) == names
