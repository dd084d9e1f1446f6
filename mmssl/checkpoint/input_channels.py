"""Weights of a first convolution for images of other channels than the file's RGB."""

from timm.models import adapt_input_conv
from torch import Tensor

RGB = 3


def adapt_first_convolutions(
    target: dict[str, Tensor], ours: dict[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Return tensors with RGB convolutions for the channels of ``target``, and their names.

    A weight (O, 3, k, k) that the model has as (O, C, k, k) is one: only the first convolution
    reads images. By timm's rule, 1 channel gets the sum over RGB, and C channels get red, green and
    blue by turns, times 3 / C, so that equal channels give what equal RGB gave.
    """
    names = [key for key, tensor in ours.items() if _is_for_rgb(tensor, target.get(key))]
    adapted = {key: adapt_input_conv(target[key].shape[1], ours[key]) for key in names}
    return {**ours, **adapted}, names


def _is_for_rgb(tensor: Tensor, wanted: Tensor | None) -> bool:
    if wanted is None or tensor.ndim != 4 or wanted.ndim != 4:
        return False
    theirs, own = list(tensor.shape), list(wanted.shape)
    return theirs.pop(1) == RGB != own.pop(1) and theirs == own
