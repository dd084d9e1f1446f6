"""Other libraries' recipes and losses that cases set ours beside; nothing here is a requirement.

They live in an environment of their own that borrows everything else from this one, an editable
mmssl too (`addsitedir` obeys the .pth files of the folder, as a mere path in one would not):

    python -m venv peers
    site=$(python -c "import sysconfig; print(sysconfig.get_path('purelib'))")
    echo "import site; site.addsitedir('$site')" > peers/borrowed.pth
    mv peers/borrowed.pth peers/lib/python3*/site-packages
    peers/bin/pip install --no-deps onedl-mmpretrain lightly model-index einops mat4py ordered-set
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmssl.core import UserError

RECIPES = {
    ('MoCoV3', 'ResNet'): 'mocov3/mocov3_resnet50_8xb512-amp-coslr-100e_in1k.py',
    ('MoCoV3', 'VisionTransformer'): 'mocov3/mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k.py',
    ('SwAV', 'ResNet'): 'swav/swav_resnet50_8xb32-mcrop-coslr-200e_in1k-224px-96px.py',
}


def library(name: str) -> Any:
    """Import a library, or say how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        text = f'--peer: {name} does not import ({error}); see the head of {Path(__file__).name}'
        raise UserError(text, '--peer', name.partition('.')[0]) from None


class MMPretrain:
    """OpenMMLab's step in float32: its model, its train_step, its optimizer wrapper."""

    def __init__(self, cfg: Config, data: dict[str, Any], rate: float, device: str) -> None:
        package = library('mmpretrain')
        MessageHub.get_current_instance().update_info('max_iters', 100_000)
        kind = (cfg.model.type, cfg.model.backbone.type)
        if kind not in RECIPES:
            raise UserError(f'--peer: mmpretrain has no recipe for {" on ".join(kind)}', '--peer')
        file = Path(package.__file__).parent / '.mim/configs' / RECIPES[kind]
        recipe = Config.fromfile(str(file), import_custom_modules=False)
        library('mmpretrain.utils').register_all_modules(init_default_scope=False)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            recipe.model.setdefault('data_preprocessor', recipe.get('data_preprocessor'))
            model = library('mmpretrain.registry').MODELS.build(recipe.model)
            model.init_weights()
            if hasattr(model, 'momentum_encoder'):  # it becomes the student's copy at first use
                model.momentum_encoder.update_parameters(nn.Sequential(model.backbone, model.neck))
            self.model = revert_sync_batchnorm(model).to(device).train()
            recipe.optim_wrapper.type = 'OptimWrapper'
            recipe.optim_wrapper.pop('loss_scale', None)
            self.wrapper = build_optim_wrapper(self.model, recipe.optim_wrapper)
        for group in self.wrapper.optimizer.param_groups:
            group['lr'] = rate
        views = [view.flip(1) for view in data['inputs']]  # theirs arrive as BGR
        self.data = dict(inputs=views, data_samples=[None] * len(views[0]))

    def __call__(self) -> float:
        """Take a step, return its loss."""
        return float(self.model.train_step(self.data, self.wrapper)['loss'].detach())


class LightlyLosses:
    """lightly's losses on the tensors of ours, at two temperatures of student and teacher."""

    def __init__(self, hot: float, cold: float) -> None:
        self.loss = library('lightly.loss')
        self.temperatures = dict(student_temp=hot, teacher_temp=cold)

    def dino(self, task: Any) -> Tensor:
        """The loss over all scores of a task of losses.py."""
        theirs = self.loss.DINOLoss(task.center.shape[1], **self.temperatures)
        theirs.center = task.center[None]
        with torch.no_grad():
            targets = [x @ task.weights[1].T for x in task.teacher]
        return theirs(targets, [x @ task.weights[0].T for x in task.student])

    def swav(self, head: nn.Module, crops: list[Tensor]) -> Callable[[], Tensor]:
        """Swapped prediction of crops (B, D) without a memory."""
        theirs = self.loss.SwaVLoss()

        def call() -> Tensor:
            scores = head.prototypes(torch.cat(crops)).split(len(crops[0]))
            return theirs(scores[:2], scores[2:])

        return call

    def moco(self, q: Tensor, k: Tensor, bank: Tensor) -> Callable[[], Tensor]:
        """InfoNCE of (B, D) and (B, D) with a memory that starts as ``bank`` (D, K)."""
        theirs = self.loss.NTXentLoss(0.2, (bank.shape[1], bank.shape[0]))
        theirs.memory_bank.bank.copy_(bank.T)
        return lambda: theirs(q, k)
