"""Several linear layers on the same input, as one matrix product."""

from torch import Tensor

from ..core.precision import full_precision


@full_precision
def grouped_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x (B, C), weight (G, K, C), bias (G, K) of G layers -> (B, G, K), in at least float32.

    At a high learning rate a layer's outputs leave the range of half precision.
    """
    flat = x @ weight.flatten(0, 1).T  # (B, G * K)
    return flat.unflatten(1, bias.shape) + bias
