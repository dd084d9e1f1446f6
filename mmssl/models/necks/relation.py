"""Projection and predictor of features, from which SERE computes self-relations."""

from torch import Tensor, nn

from ...registry import MODELS


@MODELS.register_module()
class RelationNeck(nn.Module):
    """Batch norm and ReLU, then a 1x1 convolution, batch norm and ReLU (SERE).

    `forward` returns (projection, prediction): the teacher's relation is computed from the first,
    the student's from the second.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.in_dim = dim
        self.projection = nn.Sequential(nn.BatchNorm2d(dim), nn.ReLU())
        self.predictor = nn.Sequential(
            nn.Conv2d(dim, dim, 1, bias=False), nn.BatchNorm2d(dim), nn.ReLU()
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return projection and prediction: (B, C, h, w) -> two maps of this shape."""
        projected = self.projection(x)
        return projected, self.predictor(projected)
