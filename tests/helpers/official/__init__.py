"""Oracles: one training step of each official code, written from its description alone.

Nothing here imports mmssl. Each module makes cases in the format of the recorded ones (checkpoint
in the official layout, batch, expected tensors, ``case.json``) from a ``replay`` block, so that
the replay tool can be tried on sizes and variants nobody recorded. The oracles themselves are
held against the recorded cases in ``test_golden/test_oracles.py``.
"""

from .case import Official, record, restore
from .contrastive import MoCoV2, MoCoV3
from .distillation import EsViT
from .masked import IBOT
from .moby import MoBY
from .swav import SwAV

METHODS: dict[str, type[Official]] = {
    'mocov2': MoCoV2,
    'mocov3': MoCoV3,
    'moby': MoBY,
    'swav': SwAV,
    'esvit': EsViT,
    'sere': IBOT,
    'ibot': IBOT,
}

__all__ = ['METHODS', 'record', 'restore']
