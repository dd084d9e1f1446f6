"""Files as mmselfsup 1.x and mmpretrain 1.x write them, from models of ours."""

import re
from typing import Any

from torch import Tensor, nn

State = dict[str, Tensor]
# their ViT's names for ours, in this order
VIT = (
    (r'^blocks\.', 'layers.'),
    (r'\.norm([12])\.', r'.ln\1.'),
    (r'\.mlp\.fc1\.', '.ffn.layers.0.0.'),
    (r'\.mlp\.fc2\.', '.ffn.layers.1.'),
    (r'^patch_embed\.proj\.', 'patch_embed.projection.'),
    (r'^norm\.', 'ln1.'),
)


def content(state: State) -> dict[str, Any]:
    """Return a file's content around its tensors."""
    return dict(meta=dict(mmengine_version='0.1.0', epoch=90), state_dict=state)


def backbone(model: Any) -> State:
    """Return a backbone's tensors by their names: torchvision's, or those of their own ViT."""
    found = {}
    for key, value in model.net.state_dict().items():
        for pattern, name in VIT if 'pos_embed' in dict(model.net.named_parameters()) else ():
            key = re.sub(pattern, name, key)
        found[key] = value
    return found


def mlp(model: nn.Module) -> State:
    """Return a projector's tensors: fc0, bn0, fc1, ..."""
    found = {}
    for key, value in model.state_dict().items():
        number, _, rest = key.partition('.')
        found[f'{("fc", "bn", "relu")[int(number) % 3]}{int(number) // 3}.{rest}'] = value
    return found


def under(prefix: str, state: State) -> State:
    return {f'{prefix}.{key}': value for key, value in state.items()}


def mocov3(model: Any) -> dict[str, Any]:
    """Return the file of a pretrained MoCo v3."""
    teacher = model.teacher
    return content(
        under('backbone', backbone(model.student.backbone))
        | under('neck', mlp(model.student.neck['project']))
        | under('head.predictor', mlp(model.head.predictor))
        | under('momentum_encoder.module.0', backbone(teacher.backbone))
        | under('momentum_encoder.module.1', mlp(teacher.neck['project']))
    )


def classifier(model: Any) -> dict[str, Any]:
    """Return the file of a linear or fine-tuned classifier."""
    vit = hasattr(model.backbone.net, 'patch_embed')
    head = under('head.layers.head' if vit else 'head.fc', model.head.fc.state_dict())
    return content(under('backbone', backbone(model.backbone)) | head)
