"""What the collectives of models carry, seen on an emulated device, as one process of two.

The device is torch's Python one under fake tensors: everything runs but the numbers, and mixing
it with tensors of the CPU raises as on a GPU. It is registered for a whole process, so this module
is run as one: ``python -m tests.helpers.emulated`` prints, as JSON, what each part of a training
or evaluation has sent: (call site, device of the tensor, group).
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch import distributed as td
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.tensor import Shard
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from mmssl.core import dist, sync_bn
from mmssl.engine.hooks.health_hook import HealthHook
from mmssl.engine.hooks.method_hook import MethodHook
from mmssl.engine.optim import wrapper
from mmssl.evaluation.feature_extraction import extract
from mmssl.evaluation.metrics.accuracy import Accuracy
from mmssl.models.heads.distillation import DistillationHead
from mmssl.optim import shards

from .collectives import recorded
from .methods import MODELS_BY_NAME, batch, build

DEVICE = 'emu'
BATCH = 4
SYNC_BN = 'core/sync_bn.py:forward'
# of `core.dist`; batch norm, sharding and DDP call torch themselves, with model tensors alone
DEVICE_SITES = {
    'engine/hooks/health_hook.py:statistics',
    'engine/hooks/method_hook.py:before_val',
    'engine/optim/wrapper.py:_agree',
    'optim/shards.py:tensor_norms',
    'evaluation/feature_extraction.py:extract',
    'functional/assign.py:sinkhorn',
    'functional/batch_shuffle.py:shuffle',
    'functional/batch_shuffle.py:unshuffle',
    'functional/contrast.py:info_nce',
    'models/heads/distillation.py:drop_incomplete',
    'models/heads/distillation.py:end_step',
    'models/queue.py:end_step',
    'models/queue.py:push',
}
Sent = list[tuple[str, str, str]]


class Scalars(TorchDispatchMode):
    """Give numbers that the host asks a fake tensor for: ``value``, False for truth values."""

    def __init__(self, value: int) -> None:
        super().__init__()
        self.value = value

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            kind = args[0].dtype
            if kind is torch.bool:
                return False
            return float(self.value) if kind.is_floating_point else self.value
        return func(*args, **(kwargs or {}))


@contextmanager
def two_ranks() -> Iterator[Sent]:
    """Be the second of two processes, without a first one; yield what is sent to it."""
    sent: Sent = []
    at = ['']

    def send(x: Tensor, group: Any = None) -> None:
        sent.append((at[0], x.device.type, group or 'default'))

    def send_value(group: Any = None) -> None:
        sent.append((at[0], 'object', group or 'default'))

    def all_gather(parts: list[Tensor], x: Tensor, group: Any = None) -> None:
        assert {part.device for part in parts} == {x.device}
        send(x, group)

    def all_gather_object(values: list[Any], value: Any, group: Any = None) -> None:
        values[:] = [value, value]
        send_value(group)

    def all_reduce(x: Tensor, group: Any = None) -> Tensor:
        sent.append((SYNC_BN, x.device.type, group or 'default'))
        return 2 * x

    torch_calls: dict[str, Any] = dict(
        all_gather=all_gather,
        all_reduce=lambda x, *_, group=None: send(x, group),
        broadcast=lambda x, src, group=None: send(x, group),
        all_gather_object=all_gather_object,
    )
    world: dict[str, Any] = dict(world_size=lambda: 2, rank=lambda: 1, host_group=lambda: 'host')
    with ExitStack() as stack:
        stack.enter_context(mock.patch.multiple(td, **torch_calls))
        stack.enter_context(mock.patch.multiple(dist, **world))
        stack.enter_context(mock.patch.object(sync_bn, 'all_reduce', all_reduce))
        stack.enter_context(recorded(lambda site: at.__setitem__(0, site)))
        yield sent


def normal(*shape: int) -> Tensor:
    """Return a tensor of the device."""
    return torch.randn(*shape, device=DEVICE)


def step(name: str, model: Any) -> None:
    """Run one training step of a method, but for the optimizer."""
    if name != 'moco':  # which shuffles instead
        model = sync_bn.convert_sync_bn(model, DEVICE)
    model.to_empty(device=DEVICE)
    views, info = batch(name, BATCH)
    model.begin_update()
    inputs = [view.to(DEVICE) for view in views]
    losses = model(inputs, {k: v.to(DEVICE) for k, v in info.items()}, mode='loss')
    losses['loss'].backward()
    model.end_step()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients and {grad.device.type for grad in gradients} == {DEVICE}


def update() -> None:
    """Agree, clip and update."""
    layer = nn.Linear(3, 2, device=DEVICE)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    wrapped = wrapper.OptimWrapper(optimizer, clip_grad=dict(max_norm=1.0, each=True))
    wrapped.update_params(layer(normal(BATCH, 3)).mean())
    assert wrapped.status.updated


def clip_shards() -> None:
    """Take the norms of gradients of which this rank has a part."""

    class Part(SimpleNamespace):
        placements = (Shard(0),)

        def to_local(self) -> Tensor:
            return normal(3, 2)

    parts: list[Any] = [Part(), Part()]
    with mock.patch.object(shards, 'DTensor', Part):
        shards.tensor_norms(parts)


def end_epoch() -> None:
    """End an epoch with a centre that waits for more batches."""
    head = DistillationHead(3).to(DEVICE)
    head.observe(normal(BATCH, 3))
    head.drop_incomplete()
    assert head.collected.device.type == DEVICE


def health() -> None:
    """Measure the embeddings of all ranks."""
    model = SimpleNamespace(
        logged_embeddings=dict(student=normal(BATCH, 3), teacher=normal(BATCH, 3)),
    )
    HealthHook().statistics(model)


def begin_evaluation() -> None:
    """Take the first rank's buffers."""
    runner: Any = SimpleNamespace(model=nn.BatchNorm1d(3, device=DEVICE))
    MethodHook().before_val(runner)


def features() -> None:
    """Extract the features of a data set of a batch."""
    model: Any = nn.Module()
    model.data_preprocessor = lambda data: data | dict(inputs=data['inputs'].to(DEVICE))
    model.encode = lambda images: SimpleNamespace(pooled=images.mean((2, 3)))

    class Loader(list[Any]):
        dataset = range(2 * BATCH)

    samples = dict(index=torch.arange(BATCH), label=torch.arange(BATCH))
    bank = extract(model, Loader([dict(inputs=torch.rand(BATCH, 3, 2, 2), data_samples=samples)]))
    assert {tensor.device.type for tensor in bank} == {DEVICE}
    assert len(bank.features) == 2 * BATCH


def accuracy() -> None:
    """Count the answers to two images, on the host."""
    metric = Accuracy(topk=(1,))
    outputs = [dict(pred_scores=normal(3)) for _ in range(2)]
    labels = SimpleNamespace(tolist=lambda: [0, 1])
    metric.process(dict(data_samples=dict(label=labels)), outputs)
    assert {ranks.device.type for ranks in metric.results} == {'cpu'}
    metric.evaluate(2)


PARTS = dict(
    update=(update, 0),
    clip_shards=(clip_shards, 0),
    end_epoch=(end_epoch, 0),
    health=(health, 0),
    begin_evaluation=(begin_evaluation, 0),
    features=(features, BATCH),
    accuracy=(accuracy, 1),
)


def main() -> None:
    """Run all parts and print what each has sent."""
    _setup_privateuseone_for_python_backend(DEVICE)
    found: dict[str, Sent] = {}
    # teachers are deep copies, which fake tensors do not allow
    steps = {name: (partial(step, name, build(name)), 0) for name in MODELS_BY_NAME}
    for name, (part, value) in (PARTS | steps).items():
        with FakeTensorMode(allow_non_fake_inputs=True), Scalars(value), two_ranks() as sent:
            part()
        found[name] = sent
    print(json.dumps(found))


if __name__ == '__main__':
    main()
