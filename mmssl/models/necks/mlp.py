"""MLP, the projector and predictor of contrastive methods."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from ...core import UserError
from ...registry import MODELS


@MODELS.register_module()
class MLP(nn.Sequential):
    """Linear layers of widths ``dims``, x (B, dims[0]) -> (B, dims[-1]).

    After each hidden layer batch norm (``hidden_norm``) and ReLU; after the last one a batch
    norm without scale and shift (``last_norm``). ``bias`` belongs to every Linear. Keeps
    torch's default initialisation. Raises UserError for fewer than two widths.
    """

    def __init__(
        self,
        dims: Sequence[int],
        bias: bool = False,
        hidden_norm: bool = True,
        last_norm: bool = False,
    ) -> None:
        if len(dims) < 2:
            raise UserError(
                f'an MLP needs its widths from input to output, got dims={dims}',
                key='dims',
                value=dims,
            )
        layers: list[nn.Module] = []
        for i, (width, following) in enumerate(pairwise(dims)):
            layers.append(nn.Linear(width, following, bias=bias))
            if i < len(dims) - 2:
                layers += [nn.BatchNorm1d(following)] if hidden_norm else []
                layers.append(nn.ReLU(inplace=True))
        if last_norm:
            layers.append(nn.BatchNorm1d(dims[-1], affine=False))
        super().__init__(*layers)
        self.dims = tuple(dims)
        self.in_dim = dims[0]
        self.out_dim = dims[-1]
