"""Feature cache on disk: a second evaluation of the same network and data reads it."""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.runner import Runner
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..core import UserError, dist
from ..core.io import atomic_path, to_plain, unwrap_model
from ..version import __version__
from .feature_extraction import Bank, extract
from .fingerprint import data_fingerprint, network_settings, weights_hash

POOLED = dict(blocks=1, pool='auto')


def features(
    runner: Runner,
    loader: Any,
    name: str,
    layer: dict[str, Any],
    folder: str | Path | None = None,
    fp16: bool = False,
) -> Bank:
    """Return the features (N, C) of a loader's images, read from ``folder`` when stored there.

    ``layer`` holds the arguments of `Backbone.last_blocks_features`, none for normalised pixels.
    ``folder`` is the config's ``features_cache``. ``fp16`` extracts under autocast on a GPU. The
    result is on the model's device. Raises UserError as `extract` and `cached` do.
    """
    model = unwrap_model(runner.model)
    share = runner.step_status.bad_samples_share

    def feature(images: Tensor) -> Tensor:  # (B, 3, H, W) -> (B, C)
        return model.backbone.last_blocks_features(images, **layer) if layer else images.flatten(1)

    def make() -> Bank:
        own = None if layer == POOLED else feature  # `encode` is what a model in shares can run
        with torch.autocast('cuda', enabled=fp16):
            return extract(model, loader, name, own, share)

    if folder is None:
        return make()
    key = _weights_and_data(model, loader)
    key['network'] = network_settings(runner.cfg.model.backbone)
    key['layer'] = to_plain(layer)
    key['share'] = share
    key['half'] = fp16 and torch.cuda.is_available()
    device = model.data_preprocessor.mean.device
    return Bank(*(tensor.to(device) for tensor in cached(key, folder, make)))


def _weights_and_data(model: Any, loader: Any) -> dict[str, Any]:
    """Return what of weights and images the features depend on."""
    preprocessor = model.data_preprocessor
    return dict(
        weights=weights_hash(model.backbone),
        mean=preprocessor.mean.flatten().tolist(),
        std=preprocessor.std.flatten().tolist(),
        transform=to_plain(loader.dataset.pipeline),
        data=data_fingerprint(loader.dataset),
        version=__version__,
    )


def cached(key: dict[str, Any], folder: str | Path | None, make: Callable[[], Bank]) -> Bank:
    """Return the stored result of ``make`` for an equal ``key``, else call it and store the result.

    ``key`` is plain data, stored in the file; it has to hold everything that the features depend
    on. Without a folder nothing is stored. All ranks call it, and make the features together
    unless each finds them. Raises UserError when the folder cannot be made, before the features
    are.
    """
    if folder is None:
        return make()
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f'features_cache={folder}: {error.strerror}; name another folder',
            key='features_cache',
            value=folder,
        ) from None
    text = json.dumps(key, sort_keys=True)
    path = Path(folder) / f'features-{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors'
    found = _read(path, text)
    if all(dist.gather_objects(found is not None)):
        assert found is not None
        print_log(f'features of {len(found.labels)} images read from {path}', logger='current')
        return found
    bank = make()
    dist.call_on_rank_zero(lambda: _write(bank, path, text))  # who asks next finds it
    return bank


def _read(path: Path, text: str) -> Bank | None:
    """Return the features of a whole file of this key, or None."""
    try:
        with safe_open(path, 'pt') as file:
            if (file.metadata() or {}).get('key') != text:
                return None
            return Bank(*(file.get_tensor(name) for name in Bank._fields))
    except Exception:  # missing, cut off, or of another make: to be made anew
        return None


def _write(bank: Bank, path: Path, text: str) -> None:
    """Write the file whole or not at all; warn of a full disk.

    The features are in memory, and what they cost is not thrown away.
    """
    tensors = {name: tensor.cpu().contiguous() for name, tensor in bank._asdict().items()}
    try:
        with atomic_path(path) as beside:
            save_file(tensors, beside, metadata={'key': text})
    except Exception as error:  # safetensors has a class of its own for it
        message = f'features are not kept: {path} could not be written ({error})'
        print_log(message, logger='current', level=logging.WARNING)
