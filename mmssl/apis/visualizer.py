"""Save images with a classifier's prediction written below them."""

from pathlib import Path
from typing import Any

from PIL import Image

from ..datasets.channel_image import ChannelImage
from ..evaluation.predictions import caption, captioned


def save_prediction(
    folder: Path, number: int, image: Image.Image | ChannelImage, prediction: dict[str, Any]
) -> None:
    """Save an image with its predicted class and score as FOLDER/NUMBER.png, six digits."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = image.preview if isinstance(image, ChannelImage) else image
    captioned(shown, caption(prediction), 'black').save(folder / f'{number:06d}.png')
