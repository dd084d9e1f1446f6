"""Hook that sends pictures to TensorBoard, W&B or MLflow: views, neighbours, patches."""

from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend
from torch import Tensor
from torch.distributed.tensor import DTensor

from ..core import dist
from ..core.io import unwrap_model
from .sheets import image_grid, to_image
from .similarity import choose_queries, similarity_sheets

IMAGES = 8  # of a sheet
VIEWS = 8  # of an image at most


def register_pictures(runner: Runner) -> None:
    """Register `PicturesHook` where a backend beside the local file is to see the run."""
    backends = runner.visualizer._vis_backends.values()
    if any(not isinstance(backend, LocalVisBackend) for backend in backends):
        runner.register_hook(PicturesHook())


class PicturesHook(Hook):
    """Add a sheet of training views at the start, and of neighbours and patches at the end.

    Neighbours need a monitor with a bank (kNN). Weights that are divided over processes are left
    as they are: there is no sheet of features then.
    """

    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        """Draw the views of some training images."""
        if dist.rank():
            return
        dataset = runner.train_dataloader.dataset
        rows = []
        for i in choose_queries([], len(dataset), min(IMAGES, len(dataset))):
            inputs = dataset[(runner.epoch, i)]['inputs']
            views = [inputs] if isinstance(inputs, Tensor) else list(inputs)
            rows.append([to_image(view) for view in views[:VIEWS]])
        self._add(runner, 'views', image_grid(rows))

    def after_train(self, runner: Runner) -> None:
        """Draw nearest neighbours and patch colours by the trained network."""
        bank = getattr(runner.val_loop, 'bank', None)  # of loops over features alone
        model = unwrap_model(runner.model)
        divided = any(isinstance(p, DTensor) for p in model.parameters())
        if bank is None or divided or dist.rank():
            return
        sheets = similarity_sheets(model, bank.dataset, runner.val_loop.dataloader.dataset)
        self._add(runner, 'neighbours', sheets.neighbours)
        self._add(runner, 'patches', sheets.patches)

    def _add(self, runner: Runner, name: str, sheet: Any) -> None:
        runner.visualizer.add_image(name, np.asarray(sheet), runner.iter)
