"""Base of the models that are trained: they keep their losses, for the host to read in time."""

from typing import Any

from mmengine.model import BaseModel
from torch import Tensor


class LoggedLosses(BaseModel):
    """mmengine's model, which keeps what is logged of its last losses, () each, by name."""

    def __init__(self, data_preprocessor: Any = None) -> None:
        super().__init__(data_preprocessor)
        self.logged_losses: dict[str, Tensor] = {}

    def parse_losses(self, losses: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss to minimise () and what is logged, which is kept."""
        loss, logged = super().parse_losses(losses)
        self.logged_losses = {name: value.detach() for name, value in logged.items()}
        return loss, logged
