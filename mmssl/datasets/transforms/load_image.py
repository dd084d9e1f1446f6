"""First step of a pipeline: an image file in memory, not decoded yet."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...registry import TRANSFORMS
from ..deep_images import check_range
from ..encoded_image import MAX_PIXELS, EncodedImage
from ..notices import once
from ..sources.base import UnreadableImage, read_file


@TRANSFORMS.register_module()
class LoadImage:
    """Add ``image``, the EncodedImage of ``bytes``, or without these of the file at ``path``.

    Later steps decode it. Images of more than ``max_pixels`` are refused before decoding (None:
    never). ``value_range`` (low, high) says which values become 0 and 255 in images of more than 8
    bits, such as (0, 4095) for 12 bits in 16; without it 16 bits keep their high byte, and one
    warning says when they use under an eighth of their range. Raises UserError when it is no range,
    UnreadableImage, naming the file and the cause, when the file is damaged.
    """

    def __init__(
        self,
        max_pixels: int | None = MAX_PIXELS,
        value_range: tuple[float, float] | None = None,
    ) -> None:
        self.max_pixels = max_pixels
        self.value_range = check_range(value_range)
        self.once = once()

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the item with ``image``. Raises UnreadableImage when the file is damaged."""
        content = item.pop('bytes', None)
        if content is None:
            try:
                content = read_file(Path(item['path']))
            except (OSError, ValueError) as error:
                cause = error.strerror if isinstance(error, OSError) else error
                raise UnreadableImage(f'{item["path"]}: {cause}') from None
        item['image'] = EncodedImage(
            content, item['path'], self.max_pixels, self.value_range, self.once
        )
        return item


def reader(transforms: Iterable[Any]) -> LoadImage:
    """Return the LoadImage among transforms, or a new one, to read images as they do."""
    return next((step for step in transforms if isinstance(step, LoadImage)), LoadImage())
