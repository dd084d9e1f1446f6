"""FSDP2 on two gloo processes is DDP: losses, weights, clipping and files."""

import math
from functools import partial

import pytest
import torch
from torch import distributed as td
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD
from torch.overrides import TorchFunctionMode
from torch.testing import assert_close
from torch.utils._pytree import tree_map

from mmssl.checkpoint import read
from mmssl.core import UserError
from mmssl.engine.fsdp import full_tensor, fully_shard, gathered_on_host
from mmssl.engine.optim.wrapper import OptimWrapper
from mmssl.optim.gradients import clip, gradients
from mmssl.optim.lars import LARC, LARS
from mmssl.optim.shards import tensor_norms

from ..helpers.methods import MODELS_BY_NAME, SWIN, batch, build, part
from ..helpers.tiny import losses, make_runner, scalars

pytestmark = pytest.mark.slow

SETTINGS = dict(
    launcher='pytorch',
    sync_bn='torch',
    train_dataloader__batch_size=3,
    train_cfg__max_epochs=2,
    optim_wrapper__clip_grad=dict(max_norm=0.5),
    optim_wrapper__optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05, eps=1e-4),
    train_cfg__val_at_start=True,  # 9 images in batches of 4: two for one rank, one for the other
)
SHARDED = dict(model_wrapper_cfg=dict(type='FullyShard'))
NO_BLOCKS = dict(model_wrapper_cfg__blocks='nowhere')


def _train(path, folder, options):
    runner = make_runner(path, folder, **(SETTINGS | options))
    found = losses(runner)
    inner = getattr(runner.model, 'module', runner.model)
    block = inner.student.backbone.net.blocks[0].attn.qkv.weight
    teacher = inner.teacher.backbone.net.blocks[0].attn.qkv.weight
    cut = (isinstance(inner, FSDPModule), isinstance(block, DTensor), isinstance(teacher, DTensor))
    accuracies = [line['knn/top1_k1'] for line in scalars(folder) if 'knn/top1_k1' in line]
    return (
        found,
        cut,
        {n: full_tensor(v).clone() for n, v in inner.state_dict().items()},
        accuracies,
    )


def _both(path, folder, each):
    clip = dict(optim_wrapper__clip_grad=dict(max_norm=0.5, each=each))
    plain = _train(path, folder / 'ddp', clip)
    return plain, _train(path, folder / 'fsdp', dict(clip, **SHARDED))


@pytest.mark.parametrize('each', [False, True])
def test_sharded_training_is_ddp_training(two_ranks, tiny_config, tmp_path, each):
    answers = two_ranks(_both, tiny_config(), tmp_path, each)
    for (expected, uncut, weights, _), (found, cut, ours, _) in answers:
        assert uncut == (False, False, False)
        assert cut == (True, True, True)
        assert found == pytest.approx(expected, rel=1e-5)
        for name, value in weights.items():
            assert_close(ours[name], value, rtol=1e-4, atol=1e-5, msg=name)
    (*_, monitored), (*_, same) = answers[0]  # the first rank writes
    assert len(same) == 3
    assert same == monitored
    ddp, fsdp = (read(tmp_path / kind / 'epoch_2.pth') for kind in ('ddp', 'fsdp'))
    shapes = [{n: v.shape for n, v in file['state_dict'].items()} for file in (ddp, fsdp)]
    assert shapes[0] == shapes[1]
    for i, entry in ddp['optimizer']['optimizer']['state'].items():
        for name, value in entry.items():
            other = fsdp['optimizer']['optimizer']['state'][i][name]
            assert type(other) is torch.Tensor
            assert_close(other, value, rtol=1e-2, atol=1e-5, msg=f'{i} {name}')


def _resume(path, folder, first, second):
    whole_run = _train(path, folder / 'a', first)
    file = str(folder / 'a' / 'epoch_1.pth')
    rest = _train(path, folder / 'b', dict(second, resume=True, load_from=file))
    start = _train(path, folder / 'c', dict(second, load_from=file))
    return whole_run[0], rest[0], start[0]


@pytest.mark.parametrize(('first', 'second'), [(SHARDED, SHARDED), (SHARDED, {}), ({}, SHARDED)])
def test_files_are_whole_and_go_both_ways(two_ranks, tiny_config, tmp_path, first, second):
    for expected, rest, start in two_ranks(_resume, tiny_config(), tmp_path, first, second):
        assert rest == pytest.approx(expected[4:], rel=0 if first is second else 1e-5, abs=0)
        assert len(start) == 8
        assert start[0] != expected[0]  # it began from the file's weights


def _refuse(path, folder):
    with pytest.raises(UserError) as caught:
        make_runner(path, folder, **SETTINGS, model_wrapper_cfg__type='FullyShard', **NO_BLOCKS)
    return caught.value.key, caught.value.value


def test_a_network_without_blocks_is_refused(two_ranks, tiny_config, tmp_path):
    found = two_ranks(_refuse, tiny_config('resnet'), tmp_path)
    assert found == [('model_wrapper_cfg.blocks', 'nowhere')] * 2


def test_one_process_needs_no_shares(tiny_config, tmp_path):
    options = dict(SETTINGS, launcher='none', **SHARDED)
    assert len(losses(make_runner(tiny_config(), tmp_path, **options))) == 16


# every method ---------------------------------------------------------------------------------
VIL = dict(
    type='ViL', arch='l1,h1,d8,n1,s1,g1,p2,f4,a0_l2,h2,d12,n1,s0,g0,p2,f4,a0', img_size=16, mode=0
)
NETWORKS = {name: {} for name in MODELS_BY_NAME}
NETWORKS['esvit of ViL'] = dict(backbone=VIL)
NETWORKS['esvit of Swin'] = dict(backbone=SWIN, neck=dict(MODELS_BY_NAME['esvit']['neck']))
NETWORKS['esvit of Swin']['neck']['dims'] = (16, 16, 8)
NETWORKS['ibot in chunks'] = dict(neck=dict(MODELS_BY_NAME['ibot']['neck'], chunk_size=4))
NETWORKS['dino that recomputes'] = dict(
    backbone=dict(MODELS_BY_NAME['dino']['backbone'], with_cp=True)
)


OPTIMIZERS = {'swav': LARC, 'mocov3': LARS}


def _method_steps(case, sharded):
    """Return the losses of three updates, each of two micro-batches, and the student's weights."""
    name = case.split()[0]
    model = build(name, **NETWORKS[case])
    network = fully_shard(model) if sharded else DistributedDataParallel(model)
    wrapper = OptimWrapper(
        OPTIMIZERS.get(case, SGD)(model.parameters(), lr=0.5, momentum=0.9),
        accumulative_counts=2,
        clip_grad=dict(max_norm=0.05, each=True),
    )
    found = []
    for step in range(6):
        if step % 2 == 0:
            model.begin_update()
        views, info = part(batch(name, 8, seed=step), slice(td.get_rank(), None, 2))
        with wrapper.optim_context(network):
            loss = network(views, info, mode='loss')['loss']
        found.append(float(loss))
        wrapper.update_params(loss)
        if step % 2:
            model.end_step()
    return found, {n: gathered_on_host(v) for n, v in model.state_dict().items()}


def _method_both(case):
    return _method_steps(case, sharded=False), _method_steps(case, sharded=True)


@pytest.mark.parametrize('case', NETWORKS)
def test_every_method_trains_in_shards_as_with_ddp(two_ranks, case):
    (ddp, fsdp), (other_ddp, other_fsdp) = two_ranks(_method_both, case)
    assert fsdp[0] == pytest.approx(ddp[0], rel=1e-9)
    assert other_fsdp[0] == pytest.approx(other_ddp[0], rel=1e-9)
    assert len(set(ddp[0])) == 6
    for name, value in ddp[1].items():
        assert_close(fsdp[1][name], value, rtol=1e-7, atol=1e-9, msg=name)
    parameters = set(dict(build(case.split()[0], **NETWORKS[case]).named_parameters()))
    sizes = {n: v.numel() for n, v in other_fsdp[1].items() if n in parameters}
    assert set(sizes.values()) == {0}, 'one copy of the weights, on the first rank'


def _collectives_of_clipping(count):
    mesh = init_device_mesh('cpu', (2,))
    parameters = [
        nn.Parameter(distribute_tensor(torch.ones(4, i + 1), mesh, [Shard(0)]))
        for i in range(count)
    ]
    whole = nn.Parameter(torch.ones(3))
    for i, parameter in enumerate([*parameters, whole]):
        parameter.grad = torch.full_like(parameter, i + 1.0)
    with CommDebugMode() as counter:
        every = [*parameters, whole]
        lengths = tensor_norms(gradients(every)).tolist()
        clip(every, lengths, max_norm=5.0, each=True)
    norms = [float(full_tensor(p.grad).norm()) for p in [*parameters, whole]]
    return counter.get_total_counts(), norms


def test_clipping_each_tensor_is_one_exchange(two_ranks):
    """However many tensors are sharded; one that is not keeps its own norm."""
    for total, norms in two_ranks(_collectives_of_clipping, 5):
        assert total == 1
        raw = [(i + 1) * math.sqrt(4 * (i + 1)) for i in range(5)] + [6 * math.sqrt(3)]
        assert norms == pytest.approx([min(norm, 5.0) for norm in raw], rel=1e-6)


class NormsWide(TorchFunctionMode):
    """Norms in float32, as in CUDA's autocast; the CPU's refuses their bfloat16 parameters."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.layer_norm:
            wide = partial(tree_map, lambda x: x.float() if isinstance(x, torch.Tensor) else x)
            args, kwargs = wide(args), wide(kwargs)
        return func(*args, **(kwargs or {}))


def _bf16(amp):
    torch.manual_seed(0)
    model = build('ibot').float()
    fully_shard(model, amp=amp)
    views, info = part(batch('ibot', 8), slice(td.get_rank(), None, 2))
    sent = []
    real = td.all_gather_into_tensor

    def note(output, *args, **kwargs):
        sent.append((output.dtype, output.numel()))
        return real(output, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(td, 'all_gather_into_tensor', note)
        with torch.autocast('cpu', torch.bfloat16), NormsWide():
            loss = model([view.float() for view in views], info, mode='loss')['loss']
        loss.backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    return float(loss.detach()), sent, {g.dtype for g in grads}


def test_blocks_are_gathered_in_bfloat16(two_ranks):
    for plain, low in zip(two_ranks(_bf16, None), two_ranks(_bf16, torch.bfloat16), strict=True):
        assert low[0] == pytest.approx(plain[0], rel=1e-2)
        assert low[2] == {torch.float32}
        size = {torch.float32: 4, torch.bfloat16: 2, torch.uint8: 1}
        before, after = (sum(size[kind] * n for kind, n in sent) for sent in (plain[1], low[1]))
        assert before > 0
        assert after < 0.7 * before
