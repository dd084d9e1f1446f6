"""A Hugging Face folder of a backbone: what timm and transformers load, with a model card."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
from safetensors.torch import save_file
from torch import Tensor

from ..checkpoint.export import export
from ..core import UserError
from ..models.backbones import Backbone, VisionTransformer
from ..models.backbones.to_timm import twin
from ..models.preprocessor import adopt_normalisation
from ..registry import MODELS
from ..version import __version__

RGB_USE = """transform = timm.data.create_transform(**timm.data.resolve_model_data_config(net))
features = net(transform(image)[None])"""
# timm's transforms are of RGB
OTHER_USE = """image = torch.rand({channels}, {size}, {size})  # yours, of 0 to 1
mean, std = (torch.tensor(net.pretrained_cfg[k]).view(-1, 1, 1) for k in ('mean', 'std'))
features = net((image[None] - mean) / std)"""
MODE = 0o644  # of files that others are to read
CARD = """---
library_name: timm
tags:
- image-feature-extraction
- self-supervised
- mmssl
---
# {title}

Features of images by {architecture} ({parameters:.1f} M parameters), {trained}. Exported by mmssl
{version}; the features of timm were compared with its own.

- images: {size} x {size} px {kind}, mean {mean}, std {std}
- features: {width} numbers an image

```python
{imports}

net = timm.create_model('hf-hub:NAME', pretrained=True).eval()  # 'local-dir:FOLDER' before
{use}  # (1, {width})
```

In mmssl: `pretrained=hf-hub:NAME` in a config, or `mmssl probe FOLDER --pretrained hf-hub:NAME`.
"""


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Give a folder to write into that becomes ``out`` at the end, or nothing after an error.

    Raises UserError where ``out`` is a file, or a folder with other things in it.
    """
    ours = {'config.json', 'model.safetensors', 'README.md'}
    if out.exists() and (not out.is_dir() or {p.name for p in out.iterdir()} - ours):
        raise UserError(
            f'{out}: is there, with other things in it; give a new folder',
            key='folder',
            value=str(out),
        )
    beside = Path(tempfile.mkdtemp(prefix=f'.{out.name}.', dir=out.parent))
    try:
        yield beside
        for file in beside.iterdir():
            file.chmod(MODE)
        beside.chmod(MODE | 0o111)
        if out.exists():
            shutil.rmtree(out)
        os.replace(beside, out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def written(values: Tensor) -> list[float]:
    """Return mean or standard deviation (C, 1, 1) of pixels as a config writes them."""
    return [round(value, 6) for value in values.flatten().tolist()]


def write(backbone: Backbone, size: int, pixels: dict[str, Any], trained: str, out: Path) -> str:
    """Write config.json, model.safetensors and README.md; return what differs in timm, or ''.

    ``pixels`` are the settings of the preprocessor, ``trained`` says how the network was trained.
    Raises UserError for what timm does not have, and as `whole_folder`.
    """
    name, args, differs = twin(backbone)
    channels = backbone.in_channels
    known = timm.get_pretrained_cfg(name)
    # what the network was trained on, which is not what timm states of the network of this name
    seen = MODELS.build({'type': 'ViewPreprocessor', **pixels})
    adopt_normalisation(seen, backbone)
    pretrained = dict(
        tag='mmssl',
        custom_load=False,
        input_size=[channels, size, size],
        fixed_input_size=known.fixed_input_size,
        crop_pct=0.875,
        mean=written(seen.mean),
        std=written(seen.std),
        num_classes=0,
        # timm would read a first convolution of other channels as one of RGB, or leave it random
        first_conv=known.first_conv if channels == 3 else None,
        classifier=known.classifier,
    )
    config = dict(architecture=name, num_classes=0, num_features=backbone.num_features)
    if channels != 3:
        args = args | dict(in_chans=channels)
    config |= dict(model_args=args, pretrained_cfg=pretrained)
    tensors = {k: v.contiguous() for k, v in backbone.net.state_dict().items()}
    if isinstance(backbone, VisionTransformer):
        tensors = export({f'net.{key}': value for key, value in tensors.items()}, 'timm').state
    card = CARD.format(
        title=out.name,
        architecture=name,
        parameters=sum(p.numel() for p in backbone.parameters()) / 1e6,
        trained=trained,
        version=__version__,
        size=size,
        kind='RGB' if channels == 3 else f'of {channels} channels',
        imports='import timm' if channels == 3 else 'import timm\nimport torch',
        use=RGB_USE if channels == 3 else OTHER_USE.format(channels=channels, size=size),
        mean=pretrained['mean'],
        std=pretrained['std'],
        width=backbone.num_features,
    )
    with whole_folder(out) as folder:
        save_file(tensors, folder / 'model.safetensors', metadata={'format': 'pt'})
        (folder / 'config.json').write_text(json.dumps(config, indent=2) + '\n')
        (folder / 'README.md').write_text(card, encoding='utf-8')
    return differs


def push(folder: Path, name: str, private: bool) -> str:
    """Upload a folder to the Hub as ``name`` (USER/MODEL), and return its address.

    Raises UserError where huggingface_hub is missing, nobody is logged in, or the Hub refuses.
    """
    try:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError:
        raise UserError(
            '--push needs huggingface_hub: pip install huggingface_hub', key='--push', value=name
        ) from None
    try:
        hub = huggingface_hub.HfApi()
        hub.create_repo(name, private=private, exist_ok=True)
        hub.upload_folder(repo_id=name, folder_path=folder, commit_message='Upload by mmssl')
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = ' '.join(str(error).split())[:300]
        raise UserError(
            f"--push {name}: {reason}; 'hf auth login' logs in; {folder} is written",
            key='--push',
            value=name,
        ) from None
    return f'https://huggingface.co/{name}'
