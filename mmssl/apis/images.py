"""Open images from a path, address, array, PIL image, list or folder, and make batches of them."""

import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..checkpoint.fetch.download import download
from ..checkpoint.fetch.fetch import on_disk
from ..core import UserError
from ..core.errors import escaped
from ..datasets.channel_image import ChannelImage
from ..datasets.encoded_image import to_rgb
from ..datasets.sources.base import UnreadableImage
from ..datasets.sources.what_is_data import EXTENSIONS, is_data
from ..datasets.transforms.load_image import LoadImage
from ..registry import TRANSFORMS

SIDE = 224  # pixels of images where no config says more
MAX_BYTES = 64 * 2**20  # of an image from an address


def to_list(images: Any) -> list[Any]:
    """Return the images meant by ``images``: one, a list, or all files of a folder by name.

    Raises UserError for an empty list and for a folder without images.
    """
    if isinstance(images, (str, Path)) and '://' not in str(images) and Path(images).is_dir():
        folder = Path(images)
        found: list[Any] = sorted(p for p in folder.iterdir() if is_data(p.name))
        if not found:
            known = ', '.join(sorted(EXTENSIONS))
            raise UserError(
                f'{folder}: no images in it (looked for {known})', key='folder', value=str(folder)
            )
        return found
    found = list(images) if isinstance(images, (list, tuple)) else [images]
    if not found:
        raise UserError('images: the list is empty; give at least one', key='images', value=images)
    return found


def batches(images: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Cut a list into parts of at most ``size``. Raises UserError for a size below 1."""
    if size < 1:
        raise UserError(f'batch_size={size}: at least 1', key='batch_size', value=size)
    for begin in range(0, len(images), size):
        yield images[begin : begin + size]


def open_image(image: Any, load: LoadImage | None = None) -> Image.Image | ChannelImage:
    """Return one image as PIL in RGB; arrays are uint8 (H, W, 3) in BGR order, or (H, W).

    ``load`` has the limits and formats of files, by default LoadImage's own. With
    LoadImage(channels=) an image keeps its channels, and arrays (H, W, C) or (H, W) have the
    network's order of channels and values as files have them.
    Raises TypeError for another kind, and UserError for an unreadable file or another array.
    """
    load = load or LoadImage()
    if load.channels is not None and isinstance(image, (Image.Image, np.ndarray)):
        return _of_channels(np.asarray(image), load, load.channels)
    if isinstance(image, Image.Image):
        return to_rgb(image, load.value_range)[0]
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if not isinstance(image, (str, Path)):
        raise TypeError(
            f'an image is a {type(image).__name__}; pass a path, an address, a uint8 array (BGR) '
            'or a PIL image'
        )
    here = on_disk(str(image))
    if here is not None:
        return _read(here, load)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'image')
        download(str(image), file, limit=MAX_BYTES)
        return _read(file, load, str(image))


def _read(path: Path, load: LoadImage, name: str = '') -> Image.Image | ChannelImage:
    name = name or str(path)
    try:
        image = load.from_file(path, name)
        return image if isinstance(image, ChannelImage) else image.pil
    except UnreadableImage as error:
        reason = str(error).removeprefix(f'{escaped(name)}: ')
        raise UnreadableImage(
            f'{name}: not a readable image ({reason})', key='file', value=name
        ) from None


def _of_channels(array: NDArray[Any], load: LoadImage, channels: int) -> ChannelImage:
    kind = f'{array.dtype} {array.shape}'
    if array.ndim not in (2, 3) or array.dtype.kind not in 'uif':
        raise UserError(
            f'image is an array {kind}; pass values (H, W, {channels})', key='image', value=kind
        )
    values = array[..., None] if array.ndim == 2 else array
    return ChannelImage.of_values(values, f'an array {kind}', channels, load.value_range)


def _from_array(array: NDArray[Any]) -> Image.Image:
    if array.dtype != np.uint8 or not (
        array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))
    ):
        kind = f'{array.dtype} {array.shape}'
        raise UserError(
            f'image is an array {kind}; pass uint8 (H, W, 3) in BGR order, as cv2.imread returns '
            'it, or (H, W)',
            key='image',
            value=kind,
        )
    if array.ndim == 3 and array.shape[2] == 3:
        return Image.fromarray(np.ascontiguousarray(array[..., ::-1]))
    return Image.fromarray(array.reshape(array.shape[:2])).convert('RGB')


def evaluation_pipeline(cfg: Any) -> list[dict[str, Any]]:
    """Return the transforms with which a config's test, or else its monitor, reads images.

    Where it has neither they are a centre view of `SIDE` pixels.
    """
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    return loader['dataset']['pipeline'] if loader else [dict(type='CenterView', size=SIDE)]


def evaluation_size(cfg: Any) -> int:
    """Return the pixels of a side of the images that a config evaluates with."""
    return next((step['size'] for step in evaluation_pipeline(cfg) if 'size' in step), SIDE)


def _pipeline(model: BaseModel) -> list[dict[str, Any]]:
    return evaluation_pipeline(getattr(model, '_config', None) or {})  # only `get_model` sets it


def evaluation_steps(model: BaseModel) -> list[dict[str, Any]]:
    """Return the transforms that the model's config evaluates with, without the reading."""
    return [step for step in _pipeline(model) if step['type'] != 'LoadImage']


def reading_step(model: BaseModel) -> dict[str, Any]:
    """Return the LoadImage with which the model's config reads images."""
    steps = (step for step in _pipeline(model) if step['type'] == 'LoadImage')
    return next(steps, dict(type='LoadImage'))


class ImageReader:
    """Turns images into batches on the model's device, as the model's config evaluates them."""

    def __init__(self, model: BaseModel) -> None:
        self.model = model
        self.transforms = [TRANSFORMS.build(step) for step in evaluation_steps(model)]
        self.load: LoadImage = TRANSFORMS.build(reading_step(model))

    def __call__(self, images: list[Any], size: int) -> Iterator[tuple[list[Any], Tensor]]:
        """Yield the images of each batch (`open_image`) and their tensor (B, C, H, W), normalised.

        Raises UserError for a batch size below 1 and for what is no image.
        """
        for part in batches(images, size):
            opened = [open_image(image, self.load) for image in part]
            inputs = torch.stack([self.view(image) for image in opened])
            yield opened, self.model.data_preprocessor({'inputs': inputs})['inputs']

    def view(self, image: Image.Image | ChannelImage) -> Tensor:
        """Return the evaluation view (C, H, W), uint8, or uint16 of deep images."""
        item: dict[str, Any] = dict(image=image, index=0, epoch=0, path='', rng=random.Random(0))
        for transform in self.transforms:
            item = transform(item)
        found: Tensor = item['inputs']
        return found
