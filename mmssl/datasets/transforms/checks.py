"""Checks of the settings of views, made when a view is built."""

from collections.abc import Sequence
from typing import Any

from ...core import UserError


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def refuse_channels(transform: Any, channels: int, deep: bool) -> None:
    """Raise UserError for a transform of 8-bit RGB where images are others."""
    bits = 16 if deep else 8
    if (channels, bits) != (3, 8):
        name = type(transform).__name__
        raise UserError(
            f'{name} takes RGB of 8 bits, not {channels} channels of {bits} bits; use MultiView, '
            'TrainView or CenterView, or leave LoadImage(channels=) out',
            key='dataset.pipeline',
            value=name,
        )


def check_size(size: Any, key: str = 'size') -> int:
    """Return a side in pixels. Raises UserError unless it is a whole number of at least 1."""
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise UserError(f'{key}={size}: give a number of pixels, at least 1', key=key, value=size)
    return size


def check_share(value: Any, key: str) -> float:
    """Return a probability. Raises UserError unless it is a number from 0 to 1."""
    if not _is_number(value) or not 0 <= value <= 1:
        raise UserError(f'{key}={value}: give a probability, 0 to 1', key=key, value=value)
    found: float = value
    return found


def check_span(
    span: Any, key: str, lowest: float = 0.0, highest: float = float('inf')
) -> tuple[Any, ...]:
    """Return (smallest, largest), above ``lowest`` and up to ``highest``.

    Raises UserError unless they are two numbers in this order and range.
    """
    pair = isinstance(span, Sequence) and len(span) == 2 and all(map(_is_number, span))
    if not pair or not lowest < span[0] <= span[1] <= highest:
        raise UserError(
            f'{key}={span}: give (smallest, largest), {lowest:g} < smallest <= largest'
            + (f' <= {highest:g}' if highest < float('inf') else ''),
            key=key,
            value=span,
        )
    return tuple(span)


def check_jitter(jitter: Any) -> Sequence[float] | None:
    """Return the amounts of colour jitter. Raises UserError unless they are None or four.

    Brightness, contrast and saturation are not negative, hue is at most half the circle.
    """
    amounts: Sequence[float] | None = jitter
    if not jitter and jitter != 0:
        return amounts
    four = isinstance(jitter, Sequence) and len(jitter) == 4 and all(map(_is_number, jitter))
    if not four or min(jitter) < 0 or jitter[3] > 0.5:
        raise UserError(
            f'jitter={jitter}: give (brightness, contrast, saturation, hue), not negative, hue at '
            'most 0.5, or None',
            key='jitter',
            value=jitter,
        )
    return amounts
