"""Health hook: is this run learning, and if not, what is wrong."""

import math
from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook
from torch import Tensor

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
        self.due = False  # this iteration is measured
        self.ends = False  # and is the last of its epoch

    def before_train(self, runner: 'Runner') -> None:
        """Have the statistics read with what else the host needs of an update."""
        model = unwrap_model(runner.model)
        if isinstance(model, Method):
            runner.optim_wrapper.readings['health'] = lambda: (
                self.statistics(model) if self.due else {}
            )

    def before_train_iter(self, runner: 'Runner', batch_idx: int, data_batch: Any = None) -> None:
        """Decide whether this iteration is measured."""
        self.ends = self.end_of_epoch(runner.train_dataloader, batch_idx)
        self.due = self.ends or (runner.iter + 1) % self.interval == 0

    def after_train_iter(
        self, runner: 'Runner', batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Log what was read and, when something is wrong, warn."""
        model = unwrap_model(runner.model)
        if self.due and not isinstance(model, Method) and isinstance(model, KnowsUniformLoss):
            self._check_labelled(runner, model, self.ends)
        for values in runner.step_status.values_read if isinstance(model, Method) else ():
            if values['health'] or (self.due and not model.logged_embeddings):
                numbers = self.judge(runner, model, values['health'], values['losses']['loss'])
                for name, value in numbers.items():
                    runner.message_hub.update_scalar(f'train/{name}', value)

    def statistics(self, model: Method) -> dict[str, Tensor]:
        """Return statistics () of the embeddings of all ranks, RankMe on the first alone.

        Its eigenvalues are the one part that a GPU has to be waited for.
        """
        logged = model.logged_embeddings
        if not logged:
            return {}
        student = dist.gather(logged['student'])  # (W * B, D)
        teacher = dist.gather(logged['teacher'])
        spread = embedding_stats.embedding_std(student) * math.sqrt(student.shape[1])
        rank = dict(rankme=embedding_stats.rankme(student)) if dist.rank() == 0 else {}
        cosine = embedding_stats.teacher_cosine(student, teacher)
        return dict(embedding_std=spread, **rank, teacher_cosine=cosine)

    def judge(
        self, runner: 'Runner', model: Method, statistics: dict[str, float], loss: float
    ) -> dict[str, float]:
        """Return the numbers of a measured iteration after checking them."""
        numbers: dict[str, float] = {}
        momentum = model.current_momentum()
        if momentum is not None:
            numbers['momentum'] = momentum
        logged = model.logged_embeddings
        if not logged:
            return numbers
        numbers.update(statistics)
        if 'rankme' in numbers:
            rows, width = logged['student'].shape
            self._check_embeddings(runner, numbers, min(rows * dist.world_size(), width))
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
