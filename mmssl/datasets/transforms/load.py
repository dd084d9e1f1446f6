"""Decode an image."""

from typing import Any

from PIL import Image

from ...core import UserError
from ...registry import TRANSFORMS

UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class UnreadableImage(UserError):
    """A file that is no whole image."""


@TRANSFORMS.register_module()
class LoadImage:
    """Add ``image``, the RGB picture at ``path``.

    Raises UnreadableImage naming the file and the cause; a half-read file is never passed on.
    """

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the item with ``image`` (PIL, RGB)."""
        try:
            with Image.open(item['path']) as image:
                item['image'] = image.convert('RGB')
        except UNREADABLE as error:
            raise UnreadableImage(
                f'{item["path"]}: not a readable image ({error}); remove or replace it'
            ) from None
        return item
