"""Several linear layers on the same input, as one matrix product, and their losses."""

from torch import Tensor
from torch.nn import functional as F

from ..core.precision import full_precision


@full_precision
def grouped_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply G linear layers: x (B, C), weight (G, K, C), bias (G, K) -> (B, G, K).

    Computed in at least float32: at a high learning rate outputs exceed the range of half
    precision.
    """
    flat = x @ weight.flatten(0, 1).T  # (B, G * K)
    found: Tensor = flat.unflatten(1, bias.shape) + bias
    return found


@full_precision
def grouped_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of each image under each layer: (B, G, K), classes (B,) -> (B, G)."""
    targets = target[:, None].expand(logits.shape[:2])  # (B, G)
    # rows of classes: CUDA's loss of maps (B, K, G) is not deterministic
    each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction='none')  # (B*G)
    return each.view(targets.shape)
