"""Two processes are one process on the joined batch."""

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from torch.testing import assert_close

from mmssl.checkpoint import read
from mmssl.core import dist
from mmssl.core.sync_bn import SyncBatchNorm, convert_sync_bn
from mmssl.registry import MODELS

from ..helpers.mocov3 import config
from ..helpers.tiny import Watch, losses, make_runner, precision, weights

pytestmark = pytest.mark.slow

RESNET = dict(type='ResNet', depth=18, layers=(1, 1), width=4, small_stem=True)
NETWORKS = {'vit': config(), 'resnet': config(RESNET, dim=8)}
OTHER_TEACHER = 0.05


def build(kind):
    """Return a model in float64 whose teacher is not its student."""
    torch.manual_seed(5)
    model = MODELS.build(NETWORKS[kind]).double()
    for parameter in model.teacher.parameters():
        parameter.data += OTHER_TEACHER * torch.randn_like(parameter)
    return model


def batch():
    generator = torch.Generator().manual_seed(6)
    draw = torch.randn(2, 6, 3, 16, 16, dtype=torch.float64, generator=generator)
    return list(draw)


def step(model, views):
    """Loss, gradients and buffers of one forward and backward."""
    loss = model(views, mode='loss')['loss']
    loss.backward()
    inner = getattr(model, 'module', model)
    found = {f'grad.{n}': p.grad for n, p in inner.named_parameters() if p.grad is not None}
    return found | dict(inner.named_buffers()) | {'loss': loss.detach()}


def _step(kind):
    model = convert_sync_bn(build(kind), 'cpu')
    count = sum(isinstance(m, SyncBatchNorm) for m in model.modules())
    wrapped = MMDistributedDataParallel(model, broadcast_buffers=False)
    return count, step(wrapped, [v.chunk(2)[dist.rank()] for v in batch()])


@pytest.mark.parametrize('kind', NETWORKS)
def test_loss_gradients_and_statistics_are_those_of_the_joined_batch(two_ranks, kind):
    joined = step(build(kind), batch())
    answers = two_ranks(_step, kind)
    assert [count for count, _ in answers] == [2 * 2 + 2 + (2 * 6 if kind == 'resnet' else 0)] * 2
    (_, first), (_, second) = answers
    assert set(first) == set(second) == set(joined)
    assert_close((first['loss'] + second['loss']) / 2, joined['loss'], rtol=1e-12, atol=0)
    assert abs(first['loss'] - second['loss']) > 1e-3  # the ranks have images of their own
    largest = max(float(v.abs().max()) for n, v in joined.items() if n.startswith('grad.'))
    for name, expected in joined.items():
        if name != 'loss':
            for ours in (first[name], second[name]):
                assert_close(ours, expected, rtol=1e-9, atol=1e-13 * largest, msg=name)


# whole trainings ----------------------------------------------------------------------------------
# plain momentum: Adam would turn the rounding of gradients that are zero into whole steps
SETTINGS = dict(
    optim_wrapper__optimizer=dict(type='SGD', momentum=0.9, weight_decay=1e-4),
    train_cfg__max_epochs=2,
    # rounding grows in eight steps of float32, and by how much depends on the pixels
    train_dataloader__dataset__pipeline__1__pixels='exact',
)


def _train(path, folder, options, dtype):
    with precision(dtype):
        runner = make_runner(path, folder, launcher='pytorch', **options)
        assert isinstance(runner.model, MMDistributedDataParallel)
        found = losses(runner)
        runner.model = runner.model.module
        return found, weights(runner), runner.val_loop.measure()


@pytest.mark.parametrize(
    ('kind', 'dtype', 'lr', 'limit'),
    [
        ('vit', torch.float64, 0.05, 1e-9),
        ('resnet', torch.float64, 0.05, 1e-9),
        # single precision parts by rounding alone, more with each update; norms over six images
        # magnify it, by how much depends on the processor, so a ResNet gets a smaller rate
        ('vit', torch.float32, 0.01, 1e-4),
        ('resnet', torch.float32, 0.002, 1e-4),
    ],
)
def test_a_whole_training_ends_in_the_same_weights(
    two_ranks, tiny_config, tmp_path, kind, dtype, lr, limit
):
    """The same global batch of 6 images: 6 on one process, 3 on each of two."""
    settings = dict(SETTINGS, optim_wrapper__optimizer__lr=lr)
    with precision(dtype):
        alone = make_runner(tiny_config(kind), tmp_path / 'one', **settings)
        start = weights(alone)
        expected, final, accuracy = losses(alone), weights(alone), alone.val_loop.measure()
    options = dict(settings, train_dataloader__batch_size=3, sync_bn='torch')
    answers = two_ranks(_train, tiny_config(kind), tmp_path / 'two', options, dtype)
    means = [(a + b) / 2 for a, b in zip(answers[0][0], answers[1][0], strict=True)]
    assert means == pytest.approx(expected, rel=limit)
    moved = max(float((final[n] - v).abs().max()) for n, v in start.items() if 'student' in n)
    assert moved > 0.01
    for _, ours, found in answers:
        assert list(ours) == list(final)
        for name, value in final.items():
            assert_close(
                ours[name], value, rtol=limit, atol=limit, msg=lambda m, name=name: f'{name}: {m}'
            )
        assert found == pytest.approx(accuracy)


def test_without_synchronised_norms_it_is_another_training(two_ranks, tiny_config, tmp_path):
    """What the test above would miss if it could not fail."""
    alone = make_runner(tiny_config('resnet'), tmp_path / 'one', **SETTINGS)
    alone.train()
    options = dict(SETTINGS, train_dataloader__batch_size=3)
    words = (tiny_config('resnet'), tmp_path / 'two', options, torch.float32)
    _, ours, _ = two_ranks(_train, *words)[0]
    name = 'student.backbone.net.conv1.weight'
    assert float((ours[name] - weights(alone)[name]).abs().max()) > 1e-3


def _resume(path, folder, options):
    whole = losses(make_runner(path, folder / 'a', launcher='pytorch', **options))
    file = str(folder / 'a' / 'epoch_1.pth')
    rest = losses(
        make_runner(path, folder / 'b', launcher='pytorch', **options, resume=True, load_from=file)
    )
    return whole, rest


def test_resuming_two_ranks_is_bit_exact(two_ranks, tiny_config, tmp_path):
    """Each rank gets back its own generators: drop path differs between them."""
    options = dict(
        SETTINGS,
        train_dataloader__batch_size=3,
        sync_bn='torch',
        model__backbone__drop_path_rate=0.4,
    )
    for whole, rest in two_ranks(_resume, tiny_config(), tmp_path, options):
        assert rest == whole[4:]


def _continue(path, folder, options):
    return losses(make_runner(path, folder, launcher='pytorch', **options))


def test_one_process_file_continues_on_two(two_ranks, tiny_config, tmp_path):
    alone = make_runner(tiny_config(), tmp_path / 'one', **SETTINGS)
    expected = losses(alone)
    options = dict(
        SETTINGS,
        train_dataloader__batch_size=3,
        sync_bn='torch',
        resume=True,
        load_from=str(tmp_path / 'one' / 'epoch_1.pth'),
    )
    first, second = two_ranks(_continue, tiny_config(), tmp_path / 'two', options)
    means = [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    assert means == pytest.approx(expected[4:], rel=1e-4)


def _own_statistics(path, folder, options):
    runner = make_runner(path, folder, launcher='pytorch', **options)
    norm = runner.model.module.student.backbone.net.bn1
    training: list[torch.Tensor] = []
    runner.register_hook(Watch(lambda *_: training.append(norm.running_mean.clone())))
    runner.train()
    stored = read(folder / 'epoch_1.pth')['state_dict']['student.backbone.net.bn1.running_mean']
    return training[-1], norm.running_mean, stored


def test_the_network_that_is_measured_is_the_one_that_is_saved(two_ranks, tiny_config, tmp_path):
    """Without synchronised norms each rank has statistics of its own until it is measured."""
    options = dict(train_dataloader__batch_size=3, train_cfg__max_epochs=1)
    first, second = two_ranks(_own_statistics, tiny_config('resnet'), tmp_path, options)
    assert float((first[0] - second[0]).abs().max()) > 1e-3  # they did differ
    for _, measured, stored in (first, second):
        assert torch.equal(measured, stored)
        assert torch.equal(measured, first[0])
