"""Any value that changes over training, in closed form."""

import inspect
import math
from typing import Any, NamedTuple

from .errors import UserError, closest

SHAPES = ('constant', 'linear', 'cosine', 'step')


class Progress(NamedTuple):
    """Progress of training: iterations done, iterations in all, iterations of one epoch."""

    step: int
    total: int
    per_epoch: int


class Schedule:
    """A value over training: an optional rise from ``warmup_start`` to ``start``, then a shape.

    ``warmup`` and ``delay`` are epochs; ``delay`` holds ``warmup_start`` before the rise begins.
    ``warmup_reaches``: the last step of the rise already has the value ``start`` (DINO, EsViT,
    SERE, SwAV: numpy's linspace); otherwise the first step after it has (MoCo v3, MoBY).
    ``after_warmup``: the shape spans what is left after the rise; MoBY's cosine spans all.
    ``hold_epochs``: the value changes once per epoch. ``lag``: the value of some steps before,
    as MoBY calls its scheduler after the step; with ``hold_epochs`` of some epochs before, as
    DeiT calls timm's. ``step`` multiplies by ``gamma`` at each
    milestone (epochs).

    Raises UserError for an unknown shape or a rise longer than training.
    """

    def __init__(
        self,
        start: float,
        final: float | None = None,
        shape: str = 'cosine',
        warmup: float = 0,
        warmup_start: float = 0.0,
        warmup_reaches: bool = False,
        after_warmup: bool = True,
        hold_epochs: bool = False,
        lag: int = 0,
        delay: float = 0,
        milestones: tuple[float, ...] = (),
        gamma: float = 0.1,
    ) -> None:
        if shape not in SHAPES:
            raise UserError(
                f"schedule shape '{shape}' is unknown; use one of {', '.join(SHAPES)}",
                key='shape',
                value=shape,
            )
        if shape in ('linear', 'cosine') and final is None:
            raise UserError(
                f"a schedule of shape '{shape}' needs its final value: add final=...", key='final'
            )
        numbers = dict(start=start, warmup_start=warmup_start, gamma=gamma)
        lengths = dict(warmup=warmup, delay=delay, lag=lag)
        if final is not None:
            numbers['final'] = final
        for key, value in {**numbers, **lengths}.items():
            if not isinstance(value, (int, float)):
                raise UserError(
                    f'a schedule with {key}={value!r}: give a number', key=key, value=value
                )
            if key in lengths and value < 0:
                raise UserError(
                    f'a schedule with {key}={value}: give 0 or more', key=key, value=value
                )
        self.start = start
        self.final = final
        self.shape = shape
        self.warmup = warmup
        self.warmup_start = warmup_start
        self.warmup_reaches = warmup_reaches
        self.after_warmup = after_warmup
        self.hold_epochs = hold_epochs
        self.lag = lag
        self.delay = delay
        self.milestones = tuple(milestones)
        self.gamma = gamma

    @classmethod
    def build(
        cls, settings: dict[str, Any], name: str, low: float = -math.inf, high: float = math.inf
    ) -> 'Schedule':
        """Make a schedule from the dict of a config's key ``name``.

        Raises UserError for an unknown argument, a value that cannot be, and one that is not from
        ``low`` to ``high``.
        """
        if not isinstance(settings, dict):
            raise UserError(
                f'{name}={settings}: give a schedule, such as dict(start={settings}, '
                "shape='constant')",
                key=name,
                value=settings,
            )
        known = inspect.signature(cls).parameters
        for key in settings:
            if key not in known:
                raise UserError(
                    f"{name}: a schedule has no argument '{key}'{closest(key, known)}",
                    key=f'{name}.{key}',
                    value=settings[key],
                )
        try:
            built = cls(**settings)
        except UserError as error:
            raise UserError(
                f'{name}: {error}', key=f'{name}.{error.key}', value=error.value
            ) from None
        values = dict(start=built.start, final=built.final)
        if built.warmup or built.delay:
            values['warmup_start'] = built.warmup_start
        for key, value in values.items():
            if value is not None and not low <= value <= high:
                raise UserError(
                    f'{name}.{key}={value}: give a value from {low:g} to {high:g}',
                    key=f'{name}.{key}',
                    value=value,
                )
        return built

    def check(self, total: int, per_epoch: int, name: str = 'schedule') -> None:
        """Check that the warm-up fits in training of ``total`` iterations.

        ``name`` is the config's key. Raises UserError when it does not fit.
        """
        need, have = self.delay + self.warmup, total / per_epoch
        if need > have:
            raise UserError(
                f'{name}: warm-up of {need:g} epochs is longer than training ({have:g} epochs); '
                'lower warmup (or delay) or raise train_cfg.max_epochs',
                key=f'{name}.warmup',
                value=self.warmup,
            )

    def value_at(self, step: int, total: int, per_epoch: int) -> float:
        """Return the value at iteration ``step`` of ``total``."""
        unit = per_epoch
        if self.hold_epochs:
            step, total, unit = step // per_epoch, max(total // per_epoch, 1), 1
        step = max(step - self.lag, 0)
        begin, rise = round(self.delay * unit), round(self.warmup * unit)
        if step < begin:
            return self.warmup_start
        if step < begin + rise:
            return self._rise(step - begin, rise)
        offset = begin + rise if self.after_warmup else 0
        share = min((step - offset) / max(total - offset, 1), 1.0)
        return self._shape(share, step / unit)

    def _rise(self, step: int, rise: int) -> float:
        last = rise - 1 if self.warmup_reaches else rise
        return self.warmup_start + (self.start - self.warmup_start) * (step / max(last, 1))

    def _shape(self, share: float, epoch: float) -> float:
        if self.shape == 'step':
            return self.start * self.gamma ** sum(epoch >= m for m in self.milestones)
        if self.shape == 'constant' or self.final is None:
            return self.start
        left = 1 - share if self.shape == 'linear' else 0.5 * (1 + math.cos(math.pi * share))
        return self.final + (self.start - self.final) * left
