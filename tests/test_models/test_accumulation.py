"""Two micro-batches in one optimizer step against the joined batch, batch norms in eval mode.

With batch norms in eval the losses of the official codes are means over images, so that halves
of a batch add up; what sees the whole batch at once (Sinkhorn, in-batch negatives) is compared
with its own halves instead.
"""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmssl.core import Schedule
from mmssl.engine import MethodHook, ParamGroupConstructor

from ..helpers.methods import PROGRESS, agree, batch, build, part, state

ADDITIVE = ('moco', 'moby', 'esvit', 'dino', 'ibot', 'sere')
METHODS = (*ADDITIVE, 'mocov3', 'swav')
B = 6


class Trainer:
    """The engine's wrapper and clock around a model, and what they saw.

    ``still`` takes schedules that do not move between micro-batches.
    """

    def __init__(self, name: str, counts: int, still: bool = True) -> None:
        self.model = build(name)
        for schedule, value in (
            ('momentum', 0.9),
            ('teacher_temp', 0.05),
            ('teacher_patch_temp', 0.06),
        ):
            if getattr(self.model, schedule, None) is not None and still:
                setattr(self.model, schedule, Schedule(value, shape='constant'))
        for module in self.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        cfg = dict(
            type='OptimWrapper',
            optimizer=dict(type='SGD', lr=0.1),
            accumulative_counts=counts,
        )
        self.wrapper = ParamGroupConstructor(cfg)(self.model)
        self.wrapper.initialize_count_status(self.model, 0, PROGRESS.total)
        self.runner = SimpleNamespace(
            iter=PROGRESS.step,
            max_iters=PROGRESS.total,
            train_dataloader=range(PROGRESS.per_epoch),
            optim_wrapper=self.wrapper,
            model=self.model,
        )
        self.grads: dict[str, Tensor] = {}
        self.moves: list[int] = []
        clip, move = self.wrapper._clip, self.model.update_teacher

        def watched_clip(*gradients_and_norms: Any) -> None:
            names = self.model.named_parameters()
            self.grads = {n: p.grad.clone() for n, p in names if p.grad is not None}
            clip(*gradients_and_norms)

        def watched_move() -> None:
            self.moves.append(self.runner.iter)
            move()

        self.wrapper._clip = watched_clip
        self.model.update_teacher = watched_move

    def iterate(self, data: Any) -> dict[str, Tensor]:
        """Run one iteration with its hooks."""
        hook, content = MethodHook(), dict(inputs=data[0], data_samples=data[1])
        hook.before_train_iter(self.runner, 0, content)
        losses = self.model.train_step(content, self.wrapper)
        hook.after_train_iter(self.runner, 0, content, losses)
        self.runner.iter += 1
        return losses


def halves(name: str, seed: int = 1) -> list[Any]:
    """Cut one batch in two."""
    data = batch(name, B, seed)
    return [part(data, slice(0, B // 2)), part(data, slice(B // 2, B))]


@pytest.mark.parametrize('name', ADDITIVE)
def test_two_micro_batches_are_one_batch(name: str) -> None:
    whole, cut = Trainer(name, 1), Trainer(name, 2)
    # a step in advance: what it left behind must not linger
    for trainer, parts in ((whole, [batch(name, B, 5)]), (cut, halves(name, 5))):
        for data in parts:
            trainer.iterate(data)
        trainer.runner.iter = PROGRESS.step + 1
    whole.iterate(order(name, batch(name, B)))
    for data in halves(name):
        cut.iterate(order(name, data))
    agree(cut.grads, whole.grads, 1e-12)
    # parameters, teacher, queues and their pointer, centres
    agree(state(cut.model), state(whole.model), 1e-12)


def order(name: str, data: Any) -> Any:
    """Give MoCo a shuffle that is none: halves would draw other ones."""
    if name == 'moco':
        data[1]['idx_shuffle'] = torch.arange(len(data[0][0]))
    return data


@pytest.mark.parametrize('name', [n for n in METHODS if n != 'swav'])
def test_teacher_moves_once(name: str) -> None:
    trainer = Trainer(name, 2, still=False)
    before = state(trainer.model.teacher)
    student = state(trainer.model.student)
    first, second = halves(name)
    trainer.iterate(first)
    early = trainer.model.teacher_update == 'before'
    assert trainer.moves == ([PROGRESS.step] if early else [])
    trainer.iterate(second)
    assert trainer.moves == ([PROGRESS.step] if early else [PROGRESS.step + 1])
    # by the momentum of that moment, towards the student of that moment
    trainer.model.progress = PROGRESS._replace(step=trainer.moves[0])
    m = trainer.model.momentum.value_at(*trainer.model.progress)
    target = student if early else state(trainer.model.student)
    for key, _ in trainer.model.teacher.named_parameters():
        if key in target:
            expected = m * before[key] + (1 - m) * target[key]
            moved = trainer.model.teacher.state_dict()[key]
            assert torch.allclose(moved, expected, rtol=0, atol=1e-14), key


@pytest.mark.parametrize('name', ['moco', 'moby'])
def test_queue_takes_all_keys_in_order_at_the_end(name: str) -> None:
    trainer = Trainer(name, 2)
    start = state(trainer.model.queue)
    first, second = (order(name, data) for data in halves(name))
    trainer.iterate(first)
    agree(state(trainer.model.queue), start, 0)  # nothing is written before the update
    teacher = trainer.model.teacher
    trainer.iterate(second)
    assert trainer.model.queue.pointer.tolist() == [B]
    views = [1] if name == 'moco' else [0, 1]
    for at, view in enumerate(views):
        with torch.no_grad():
            keys = torch.cat([F.normalize(teacher(x[0][view]), dim=1) for x in (first, second)])
        bank = state(trainer.model.queue)[f'bank{at}']
        assert torch.allclose(bank[:, :B], keys.T, rtol=0, atol=1e-12)
        assert torch.equal(bank[:, B:], start[f'bank{at}'][:, B:])


@pytest.mark.parametrize('name', ['esvit', 'dino', 'ibot', 'sere'])
def test_centre_comes_from_all_rows_at_the_end(name: str) -> None:
    trainer = Trainer(name, 2)
    heads = [h for h in ('head', 'region_head', 'patch_head') if getattr(trainer.model, h, None)]
    start = {h: getattr(trainer.model, h).center.clone() for h in heads}
    seen: dict[str, list[Tensor]] = {h: [] for h in heads}
    for h in heads:
        module = getattr(trainer.model, h)
        observe = module.observe

        def spy(scores: Tensor, h: str = h, observe: Any = observe) -> None:
            seen[h].append(scores.detach().flatten(0, -2))
            observe(scores)

        module.observe = spy
    first, second = halves(name)
    trainer.iterate(first)
    for h in heads:
        assert torch.equal(getattr(trainer.model, h).center, start[h])
    trainer.iterate(second)
    for h in heads:
        rows = torch.cat(seen[h])
        assert len(rows) >= 2 * B  # two teacher views of every image
        expected = 0.9 * start[h] + 0.1 * rows.mean(0)
        assert torch.allclose(getattr(trainer.model, h).center, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize('name', ['mocov3', 'swav'])
def test_gradients_are_the_mean_of_the_halves(name: str) -> None:
    """Negatives and Sinkhorn see one micro-batch: the step is the mean over them."""
    cut = Trainer(name, 2)
    for data in halves(name):
        cut.iterate(data)
    alone = []
    for data in halves(name):
        trainer = Trainer(name, 1)
        trainer.iterate(data)
        alone.append(trainer.grads)
    agree(cut.grads, {k: (alone[0][k] + alone[1][k]) / 2 for k in alone[0]}, 1e-12)


def test_swav_bank_takes_both_micro_batches() -> None:
    """Newest first, written after the update; both micro-batches read the bank as it was."""
    trainer = Trainer('swav', 2)
    memory, read = trainer.model.head.memory, []
    start = memory.bank.clone()
    original = memory.read

    def spy(crop: int, count: int) -> Tensor:
        stored = original(crop, count)
        read.append(stored.clone())
        return stored

    memory.read = spy
    embeddings = []
    for data in halves('swav'):
        with torch.no_grad():
            features = trainer.model.student.encode(data[0])
            z = trainer.model.student.project('project', [f.pooled for f in features])
            embeddings.append([F.normalize(x, dim=1) for x in z[:2]])
        trainer.iterate(data)
    # 16 rows hold five micro-batches of 3; the sixteenth is not used
    assert len(read) == 4
    for i, stored in enumerate(read):
        assert torch.equal(stored, start[i % 2, :15])
    for crop in (0, 1):
        new = torch.cat([embeddings[1][crop], embeddings[0][crop]])
        expected = torch.cat([new, start[crop, :9]])
        assert torch.allclose(memory.bank[crop, :15], expected, rtol=0, atol=1e-12)
