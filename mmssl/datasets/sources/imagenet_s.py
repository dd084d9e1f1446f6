"""Source of ImageNet-S: images with segmentation masks."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...core import UserError
from ...core.errors import NoData
from ...registry import DATASETS
from ..image_formats import opened
from .base import UnreadableImage, read_file
from .folder import FolderSource

IGNORE = 1000  # pixels that nobody labelled
SUFFIX = '-segmentation'


@DATASETS.register_module()
class ImageNetSSource(FolderSource):
    """Images ``split/WNID/NAME.JPEG`` and masks ``split-segmentation/WNID/NAME.png``.

    The target of an image is its mask, int64 (H, W): 0 is 'other', the sorted folders count from
    1, and 1000 is ignored (Gao et al. 2022, LUSSeg/ImageNet-S). A mask is an RGB PNG, class =
    R + 256 G. ``labels`` are the classes of the folders. Raises NoData when there are no class
    folders or no folder of masks, UserError when images have no mask.
    """

    def __init__(self, data_root: str = '', split: str = '', with_label: bool = True) -> None:
        super().__init__(data_root, split)
        if not self.labels:
            raise NoData(
                f'{self.folder}: no class folders; ImageNet-S needs a folder of images per class',
                key='folder',
                value=str(self.folder),
            )
        self.masks = self.folder.with_name(self.folder.name + SUFFIX)
        if with_label:
            self._check_masks()
            self.labels = [1 + label for label in self.labels]
            self.classes = ('other', *self.classes)
        else:
            self.labels = ()
            self.classes = ()

    def _mask(self, i: int) -> Path:
        found: Path = (self.masks / self.keys[i]).with_suffix('.png')
        return found

    def _check_masks(self) -> None:
        if not self.masks.is_dir():
            raise NoData(
                f'{self.masks}: no such folder, so {self.folder} has no masks; splits with masks '
                'are train-semi and validation',
                key='folder',
                value=str(self.masks),
            )
        there = {str(path) for path in self.masks.rglob('*.png')}
        without_mask = [self.name(i) for i in range(len(self)) if str(self._mask(i)) not in there]
        if without_mask:
            raise UserError(
                f'{self.masks}: {len(without_mask)} of {len(self)} images have no mask: '
                f'{", ".join(without_mask[:3])}{", ..." if len(without_mask) > 3 else ""}; add '
                'the masks or remove these images',
                key='folder',
                value=str(self.masks),
            )

    def target(self, i: int) -> Tensor | None:
        """Return the mask of image i, int64 (H, W).

        Raises UnreadableImage when the file is damaged, UserError when it is not a mask or has a
        class above the number of folders.
        """
        if not self.classes:
            return None
        path = self._mask(i)
        highest = len(self.classes) - 1
        try:
            with opened(read_file(path)) as image:
                mode = image.mode
                colours = np.asarray(image)  # (H, W, 3)
        except (OSError, ValueError) as error:
            raise UnreadableImage(f'{path}: {error}', key='file', value=str(path)) from None
        if mode != 'RGB' or colours[..., 2].any():
            raise UserError(
                f'{path}: not a mask of ImageNet-S; save it as RGB with class = R + 256 G',
                key='file',
                value=str(path),
            )
        classes = colours[..., 0] + 256 * colours[..., 1].astype(np.int64)  # (H, W)
        if (wrong := (classes > highest) & (classes != IGNORE)).any():
            raise UserError(
                f'{path}: has class {classes[wrong].max()}, but {self.folder} has {highest} '
                f'class folders (and {IGNORE} for ignored pixels); add the missing folders',
                key='file',
                value=str(path),
            )
        return torch.from_numpy(classes)
