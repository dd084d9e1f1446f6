"""The health line: is this run learning, and if not, what is wrong."""

import math
from typing import Any

import torch
from mmengine.hooks import Hook

from ..core import dist
from ..functional import health
from ..registry import HOOKS
from .clock import bare


@HOOKS.register_module()
class HealthHook(Hook):
    """Put loss, spread, rank and agreement beside what they mean.

    It measures every ``interval`` iterations and at the end of an epoch. The loss stands beside
    its uniform value (a network that knows nothing), the spread of the embeddings beside
    1/sqrt(D), RankMe beside its ceiling. One sentence speaks, once per kind until it has passed,
    when the loss is not finite; or when at ``patience`` looks in a row it is within ``uniform``
    (share) of its uniform value after the warm-up, the spread below ``spread`` / sqrt(D), or
    RankMe below 1 + ``rank`` of what is between 1 and its ceiling. Runs that learn may pass
    through a narrow phase. The numbers come from the model's `watched` and `uniform_loss`: the
    hook knows no method.
    """

    priority = 'NORMAL'  # before the logger, which would else show the numbers one interval late

    def __init__(
        self,
        interval: int = 50,
        uniform: float = 0.005,
        spread: float = 0.02,
        rank: float = 0.005,
        patience: int = 5,
    ) -> None:
        self.interval, self.patience = interval, patience
        self.uniform, self.spread, self.rank = uniform, spread, rank
        self.since: dict[str, list[int]] = {}  # iterations of the looks that found it wrong
        self.told: set[str] = set()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Measure and, when something is wrong, speak."""
        loss = float(torch.as_tensor((outputs or {}).get('loss', float('nan'))).detach())
        self._say(
            runner,
            'finite',
            not math.isfinite(loss),
            f'the loss is {loss} at iteration {runner.iter + 1}: lower the learning rate, clip '
            'gradients, or train without --amp',
        )
        ends = self.end_of_epoch(runner.train_dataloader, batch_idx)
        if (runner.iter + 1) % self.interval and not ends:
            return
        model = bare(runner.model)
        for name, value in self.measure(runner, model, loss).items():
            runner.message_hub.update_scalar(f'train/{name}', value)

    def measure(self, runner: Any, model: Any, loss: float) -> dict[str, float]:
        """Return the health numbers of this iteration after checking them."""
        numbers: dict[str, float] = {}
        if getattr(model, 'momentum', None) is not None:
            numbers['momentum'] = model.now(model.momentum)
        watched = getattr(model, 'watched', {})
        if not watched:
            return numbers
        student, teacher = dist.gather(watched['student']), dist.gather(watched['teacher'])
        numbers['spread'] = health.spread(student) * math.sqrt(student.shape[1])
        numbers['rank_me'] = health.rank_me(student)
        numbers['agreement'] = health.agreement(student, teacher)
        self._check_embedding(runner, numbers, min(student.shape))
        expected = model.uniform_loss(len(watched['student']))
        if expected is not None:
            numbers['uniform'] = expected
            self._check_uniform(runner, loss, expected)
        return numbers

    def _check_embedding(self, runner: Any, numbers: dict[str, float], ceiling: int) -> None:
        collapsed = numbers['spread'] < self.spread
        self._say(
            runner,
            'spread',
            self._lasts('spread', collapsed, runner.iter),
            f'embeddings have collapsed: their spread is {numbers["spread"]:.3f} of what evenly '
            'used directions have. Lower the learning rate or raise the batch size',
        )
        few = numbers['rank_me'] - 1 < self.rank * (ceiling - 1) and not collapsed
        self._say(
            runner,
            'rank',
            self._lasts('rank', few, runner.iter),
            f'embeddings use few directions: RankMe is {numbers["rank_me"]:.1f} of at most '
            f'{ceiling}. Check augmentations and learning rate',
        )

    def _check_uniform(self, runner: Any, loss: float, expected: float) -> None:
        near = abs(loss - expected) < self.uniform * abs(expected)
        lasts = self._lasts('uniform', near and self._warm(runner), runner.iter)
        self._say(
            runner,
            'uniform',
            lasts,
            f'the loss has stayed at {expected:.3f}, the value of a network that knows nothing, '
            f'since iteration {(self.since["uniform"] or [0])[0]}. Check data and learning rate',
        )

    def _lasts(self, kind: str, wrong: bool, iteration: int) -> bool:
        self.since[kind] = [*self.since.get(kind, []), iteration + 1] if wrong else []
        return len(self.since[kind]) >= self.patience

    @staticmethod
    def _warm(runner: Any) -> bool:
        curves = [s.curve for s in runner.param_schedulers or [] if hasattr(s, 'curve')]
        warmup = max((c.delay + c.warmup for c in curves), default=0)
        return runner.iter >= warmup * len(runner.train_dataloader)

    def _say(self, runner: Any, kind: str, wrong: bool, sentence: str) -> None:
        if not wrong:
            self.told.discard(kind)
        elif kind not in self.told:
            self.told.add(kind)
            runner.logger.warning(f'health: {sentence}')


def peak_memory() -> float:
    """Return the peak memory of this process in MiB: the GPU allocator's, or the process's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
