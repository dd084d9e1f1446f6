"""First step of a pipeline: an image file in memory, not decoded yet."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ...core import UserError
from ...core.errors import at_least
from ...core.kinds import Count
from ...registry import TRANSFORMS
from ..channel_image import MAX_CHANNELS, ChannelImage
from ..deep_images import check_range
from ..encoded_image import EncodedImage
from ..image_formats import EXTRA_FORMATS, FORMATS, MAX_PIXELS
from ..notices import once
from ..sources.base import UnreadableImage, read_file


@TRANSFORMS.register_module()
class LoadImage:
    """Add ``image``, the EncodedImage of ``bytes``, or without these of the file at ``path``.

    Later steps decode it. The format is known by the content: JPEG, PNG, WebP, TIFF, BMP, GIF, PNM,
    and of 'AVIF' and 'JPEG2000' those in ``extra_formats``. Images of more than ``max_pixels``, by
    the header, are refused before decoding (None: never). ``value_range`` (low, high) says which
    values become 0 and 255 in images of more than 8 bits, such as (0, 4095) for 12 bits in 16;
    without it 16 bits keep their high byte, and one warning says when they use under an eighth of
    their range. ``channels`` is for images that are not 8-bit RGB: they keep all their channels,
    which have to be so many, and by ``value_range`` their 16 bits (`ChannelImage`); None is RGB of
    8 bits. Raises UserError for settings that cannot be, UnreadableImage, naming the file and
    the cause, when the file is damaged.
    """

    def __init__(
        self,
        max_pixels: int | None = MAX_PIXELS,
        value_range: tuple[float, float] | None = None,
        extra_formats: Sequence[str] = (),
        channels: Count | None = None,
    ) -> None:
        self.max_pixels = None if max_pixels is None else at_least('max_pixels', max_pixels)
        self.value_range = check_range(value_range)
        if isinstance(extra_formats, str) or not set(extra_formats) <= set(EXTRA_FORMATS):
            raise UserError(
                f'LoadImage(extra_formats={extra_formats!r}): a list of {", ".join(EXTRA_FORMATS)}',
                key='extra_formats',
                value=extra_formats,
            )
        if channels is not None and at_least('channels', channels) > MAX_CHANNELS:
            raise UserError(
                f'LoadImage(channels={channels}): at most {MAX_CHANNELS} are read',
                key='channels',
                value=channels,
            )
        self.channels = channels
        self.formats = (*FORMATS, *extra_formats)
        self.once = once()

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the item with ``image``. Raises UnreadableImage when the file is damaged."""
        path = item['path']
        content = item.pop('bytes', None)
        item['image'] = self.from_file(Path(path)) if content is None else self.open(content, path)
        return item

    def open(self, content: bytes, name: str) -> EncodedImage:
        """Return the image in the bytes of a file. Raises UnreadableImage when it is damaged."""
        if self.channels is not None:
            return ChannelImage(
                content, name, self.channels, self.value_range, self.max_pixels, self.formats
            )
        return EncodedImage(
            content, name, self.max_pixels, self.value_range, self.once, self.formats
        )

    def from_file(self, path: Path, name: str = '') -> EncodedImage:
        """Return the image in a regular file, called ``name`` in messages, by default its path.

        Raises UnreadableImage when it is missing, of another kind, or damaged.
        """
        name = name or str(path)
        try:
            content = read_file(path)
        except (OSError, ValueError) as error:
            cause = error.strerror if isinstance(error, OSError) else error
            raise UnreadableImage(f'{name}: {cause}', key='file', value=name) from None
        return self.open(content, name)


def reader(transforms: Iterable[Any]) -> LoadImage:
    """Return the LoadImage among transforms, or a new one, to read images as they do."""
    return next((step for step in transforms if isinstance(step, LoadImage)), LoadImage())
