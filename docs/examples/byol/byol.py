"""BYOL (Grill et al., NeurIPS 2020): a method written outside mmssl, all of it in this file."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmssl.checkpoint import Layout, NamePair, branches, register_layout
from mmssl.core.precision import full_precision
from mmssl.models.algorithms import Pretrainer
from mmssl.registry import MODELS


@full_precision
def distance(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared distance of unit vectors, both (B, D): 2 - 2 cosine (BYOL, eq. 2)."""
    return (2 - 2 * F.cosine_similarity(prediction, target, dim=1)).mean()


@MODELS.register_module()
class BYOL(Pretrainer):
    """The online network predicts what a slowly moving target says of another view.

    There are no negatives: only the predictor and the slow target stand between this objective
    and the constant answer. ``head`` is the predictor, an MLP config. ``momentum`` starts at
    tau_base and ends at 1.
    """

    export, teacher_update = 'student', 'after'

    def loss(self, views: list[Tensor], info: dict[str, Any]) -> dict[str, Tensor]:
        """Both directions, summed (BYOL, eq. 3)."""
        p1, p2 = (self.head(self.student(view)) for view in views[:2])  # (B, D)
        with torch.no_grad():
            z1, z2 = (self.teacher(view) for view in views[:2])  # (B, D)
        self.log_embeddings(student=p1, teacher=z2)
        return {'loss': distance(p1, z2) + distance(p2, z1)}

    def uniform_loss(self, batch: int) -> float:
        """4: each direction is 2 when predictions have nothing to do with their targets.

        A predictor that knows nothing points anywhere, at right angles to the target on average.
        The loss can also fall to 0 by collapse, which the spread of the embeddings shows.
        """
        return 4.0


# A file with entries online_network, target_network and predictor, or with one state_dict whose
# names begin so; encoders carry the names of torchvision.
register_layout(
    Layout(
        'byol',
        sign=r'online_network\.',
        roots=('state_dict',),
        sections=('online_network', 'target_network', 'predictor'),
        pairs=(
            *branches(
                {'student': 'online_network.', 'teacher': 'target_network.'},
                ('encoder.{rest}', 'backbone.net.{rest}'),
                ('projector.{rest}', 'neck.project.{rest}'),
            ),
            NamePair('predictor.{rest}', 'head.{rest}'),
        ),
    )
)
