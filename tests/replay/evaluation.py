"""Compare the networks in eval mode, without masks, before the step."""

import re
from typing import Any

import torch
from torch import Tensor

from mmssl.models.backbones.vit import resize_positions

POOLS = {'0': 'cls', '1': 'mean_raw', '2': 'cls+mean'}  # iBOT's avgpool modes


def features(model: Any, batch: dict[str, Tensor], local: Tensor) -> dict[str, Tensor]:
    """Return features by official name, such as 'teacher.eval_image.n2_avgpool0'."""
    images = {name: x.to(local) for name, x in batch.items() if re.match('eval_image', name)}
    found: dict[str, Tensor] = {}
    for branch in ('student', 'teacher') if images else ():
        net = getattr(model, branch).backbone
        for name, image in images.items():
            found |= {f'{branch}.{name}.{k}': v for k, v in _of_image(net, image).items()}
        table = net.net.pos_embed
        for name, view in {**images, 'local': local}.items():
            h, w = (side_ // net.patch_size for side_ in view.shape[-2:])
            label = name.removeprefix('eval_image_')
            found[f'{branch}.pos_embed_interp_{label}'] = resize_positions(table, h, w)
    return found


def _of_image(net: Any, image: Tensor) -> dict[str, Tensor]:
    (*_, last) = net.iter_blocks(image)
    done = net.final_norm(last)
    found = {'all_tokens': torch.cat([done.cls, done.grid.flatten(1, 2)], 1)}
    for blocks in range(1, net.stage_ends[-1] + 2):
        for mode, pool in POOLS.items():
            found[f'n{blocks}_avgpool{mode}'] = net.last_blocks_features(image, blocks, pool)
    return found
