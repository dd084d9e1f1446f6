"""Other libraries' recipes of the networks that step.py measures; nothing here is a requirement.

They live in an environment of their own that borrows everything else from this one:

    python -m venv peers
    python -c "import torch, pathlib; print(pathlib.Path(torch.__file__).parents[1])" \
        > $(echo peers/lib/python3*/site-packages)/borrowed.pth
    peers/bin/pip install --no-deps onedl-mmpretrain lightly model-index einops mat4py ordered-set
"""

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from mmssl.core import UserError

RECIPES = {
    ('MoCoV3', 'ResNet'): 'mocov3/mocov3_resnet50_8xb512-amp-coslr-100e_in1k.py',
    (
        'MoCoV3',
        'VisionTransformer',
    ): 'mocov3/mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k.py',
    ('SwAV', 'ResNet'): 'swav/swav_resnet50_8xb32-mcrop-coslr-200e_in1k-224px-96px.py',
}


def missing(library: str, error: ImportError) -> UserError:
    """Say how to get a library."""
    return UserError(
        f'{library} does not import ({error}): the head of tools/dev/benchmarks/peers.py makes an '
        'environment for it'
    )


class MMPretrain:
    """OpenMMLab's step in float32: its model, its train_step, its optimizer wrapper."""

    def __init__(self, cfg: Config, data: dict[str, Any], rate: float, device: str) -> None:
        try:
            import mmpretrain
            from mmpretrain.registry import MODELS
            from mmpretrain.utils import register_all_modules
        except ImportError as error:
            raise missing('mmpretrain', error) from None
        MessageHub.get_current_instance().update_info('max_iters', 100_000)
        kind = (cfg.model.type, cfg.model.backbone.type)
        if kind not in RECIPES:
            raise UserError(f'mmpretrain has no recipe for {" on ".join(kind)}')
        folder = Path(mmpretrain.__file__).parent / '.mim/configs'
        recipe = Config.fromfile(str(folder / RECIPES[kind]), import_custom_modules=False)
        register_all_modules(init_default_scope=False)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            recipe.model.setdefault('data_preprocessor', recipe.get('data_preprocessor'))
            model = MODELS.build(recipe.model)
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


PEERS = dict(mmpretrain=MMPretrain)
