"""The colour operations of views: one enum that keys every backend, and the order of parameters.

The colours of a view travel as one row of numbers, ``color_params`` (12,): the operations in the
order they are applied (`MAX_OPS` places, `NO_OP` where there is none), their factors (`MAX_OPS`),
the sigma of the blur in pixels (0: none), and 1 for solarised. Here, because the data room writes
the rows and the functions on the device read them.
"""

from enum import IntEnum


class ColorOp(IntEnum):
    """A colour operation; its number is what ``color_params`` holds."""

    BRIGHTNESS = 0
    CONTRAST = 1
    SATURATION = 2
    HUE = 3
    GRAY = 4


JITTER_OPS = (ColorOp.BRIGHTNESS, ColorOp.CONTRAST, ColorOp.SATURATION, ColorOp.HUE)
MAX_OPS = len(ColorOp)  # a view has each at most once
NO_OP = -1
