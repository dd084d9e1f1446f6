"""Several linear layers on the same input, as one matrix product."""

from torch import Tensor

from ..core.precision import full_precision


@full_precision
def grouped_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply G linear layers: x (B, C), weight (G, K, C), bias (G, K) -> (B, G, K).

    Computed in at least float32: at a high learning rate outputs exceed the range of half
    precision.
    """
    flat = x @ weight.flatten(0, 1).T  # (B, G * K)
    return flat.unflatten(1, bias.shape) + bias
