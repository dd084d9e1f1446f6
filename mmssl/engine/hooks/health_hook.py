"""Health hook: is this run learning, and if not, what is wrong."""

import math
from typing import TYPE_CHECKING, Any

import torch
from mmengine.hooks import Hook

from ...core import dist
from ...core.errors import at_least
from ...core.io import unwrap_model
from ...core.protocols import KnowsUniformLoss, Method
from ...functional import embedding_stats
from ...registry import HOOKS
from ..optim.scheduler import ScheduleParam

if TYPE_CHECKING:
    from ..runner import Runner

RECENT = 10  # losses whose mean is compared: single batches of a probe differ


@HOOKS.register_module()
class HealthHook(Hook):
    """Log loss, embedding std, RankMe and teacher cosine beside what they mean; warn of collapse.

    It measures every ``interval`` iterations and at the end of an epoch. The loss stands beside
    that of a uniform prediction, the standard deviation of the embeddings beside 1/sqrt(D),
    RankMe beside its ceiling. One sentence is logged, once per kind until it has passed, when at
    ``patience`` measurements in a row the loss is within ``uniform`` (relative) of its uniform
    value after the warm-up, the standard deviation below ``embedding_std`` / sqrt(D), or RankMe
    below 1 + ``rankme`` * (ceiling - 1). Runs that learn may pass through a narrow phase. The
    numbers come from the model's `logged_embeddings` and `uniform_loss`: the hook knows no method.
    Of a model trained on labels it is said, at the end of an epoch or after ``patience``
    measurements, that the loss is above ``diverged`` times that of a uniform answer.
    """

    priority = 'NORMAL'  # before the logger, which would else show the numbers one interval late

    def __init__(
        self,
        interval: int = 50,
        uniform: float = 0.005,
        embedding_std: float = 0.02,
        rankme: float = 0.005,
        patience: int = 5,
        diverged: float = 2.0,
    ) -> None:
        self.interval = at_least('default_hooks.health.interval', interval)
        self.uniform = uniform
        self.embedding_std = embedding_std
        self.rankme = rankme
        self.patience = patience
        self.diverged = diverged
        self.wrong_since: dict[str, list[int]] = {}  # iterations of the measurements in a row
        self.warned: set[str] = set()

    def after_train_iter(
        self, runner: 'Runner', batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Measure, log and, when something is wrong, warn."""
        ends = self.end_of_epoch(runner.train_dataloader, batch_idx)
        if (runner.iter + 1) % self.interval and not ends:
            return
        model = unwrap_model(runner.model)
        if not isinstance(model, Method):
            if isinstance(model, KnowsUniformLoss):
                self._check_labelled(runner, model, ends)
            return
        loss = float(torch.as_tensor((outputs or {}).get('loss', float('nan'))).detach())
        for name, value in self.measure(runner, model, loss).items():
            runner.message_hub.update_scalar(f'train/{name}', value)

    def measure(self, runner: 'Runner', model: Method, loss: float) -> dict[str, float]:
        """Return the health numbers of this iteration after checking them."""
        numbers: dict[str, float] = {}
        momentum = model.current_momentum()
        if momentum is not None:
            numbers['momentum'] = momentum
        logged = model.logged_embeddings
        if not logged:
            return numbers
        student = dist.gather(logged['student'])  # (W * B, D)
        teacher = dist.gather(logged['teacher'])
        evenly_used = 1 / math.sqrt(student.shape[1])
        numbers['embedding_std'] = embedding_stats.embedding_std(student) / evenly_used
        numbers['rankme'] = embedding_stats.rankme(student)
        numbers['teacher_cosine'] = embedding_stats.teacher_cosine(student, teacher)
        self._check_embeddings(runner, numbers, min(student.shape))
        expected = model.uniform_loss(len(logged['student']))
        if expected is not None:
            numbers['uniform'] = expected
            self._check_loss(runner, loss, expected)
        return numbers

    def _check_embeddings(self, runner: 'Runner', numbers: dict[str, float], ceiling: int) -> None:
        std, rankme = numbers['embedding_std'], numbers['rankme']
        collapsed = std < self.embedding_std
        self._warn(
            runner,
            'embedding_std',
            collapsed,
            f'embeddings have collapsed: their standard deviation is {std:.3f} of that of evenly '
            'used directions. Lower the learning rate or raise the batch size',
        )
        self._warn(
            runner,
            'rankme',
            rankme - 1 < self.rankme * (ceiling - 1) and not collapsed,
            f'embeddings use few directions: RankMe is {rankme:.1f} of at most {ceiling}. Check '
            'augmentations and learning rate',
        )

    def _check_loss(self, runner: 'Runner', loss: float, expected: float) -> None:
        near = abs(loss - expected) < self.uniform * abs(expected)
        since = (self.wrong_since.get('uniform') or [runner.iter + 1])[0]
        self._warn(
            runner,
            'uniform',
            near and self._after_warmup(runner),
            f'the loss has stayed at {expected:.3f}, the loss of a uniform prediction, since '
            f'iteration {since}. Check data and learning rate',
        )

    def _check_labelled(self, runner: 'Runner', model: KnowsUniformLoss, ends: bool) -> None:
        """Compare the mean of the last losses with that of a uniform answer."""
        expected = model.uniform_loss(runner.train_dataloader.batch_size)
        if expected is None:
            return
        runner.message_hub.update_scalar('train/uniform', expected)
        loss = runner.message_hub.get_scalar('train/loss').mean(RECENT)
        self._warn(
            runner,
            'diverged',
            loss > self.diverged * expected,
            f'training diverges: the loss is {loss:.3g}, that of a uniform answer {expected:.3g}. '
            'Lower optim_wrapper.optimizer.lr',
            at_once=ends,
        )

    @staticmethod
    def _after_warmup(runner: 'Runner') -> bool:
        schedulers = runner.param_schedulers or []
        schedules = [s.schedule for s in schedulers if isinstance(s, ScheduleParam)]
        warmup = max((s.delay + s.warmup for s in schedules), default=0)
        found: bool = runner.iter >= warmup * len(runner.train_dataloader)
        return found

    def _warn(
        self, runner: 'Runner', kind: str, wrong: bool, sentence: str, at_once: bool = False
    ) -> None:
        """Log the sentence when a kind has been wrong ``patience`` times, once until it passes.

        ``at_once`` does not wait for that.
        """
        if not wrong:
            self.wrong_since[kind] = []
            self.warned.discard(kind)
            return
        self.wrong_since.setdefault(kind, []).append(runner.iter + 1)
        enough = at_once or len(self.wrong_since[kind]) >= self.patience
        if enough and kind not in self.warned:
            self.warned.add(kind)
            runner.logger.warning(f'health: {sentence}')
