"""Save images with a classifier's prediction written below them."""

from pathlib import Path
from typing import Any

from PIL import Image

from ..evaluation.predictions import caption, captioned


def save_prediction(
    folder: Path, number: int, image: Image.Image, prediction: dict[str, Any]
) -> None:
    """Save an image with its predicted class and score as FOLDER/NUMBER.png, six digits."""
    folder.mkdir(parents=True, exist_ok=True)
    captioned(image, caption(prediction), 'black').save(folder / f'{number:06d}.png')
