"""Random images."""

import numpy as np
from PIL import Image


def make_image(size: tuple[int, int] = (20, 16), seed: int = 0) -> Image.Image:
    """Return a image of smooth colours and some noise, ``size`` is (width, height)."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)).resize(size)
    noise = rng.integers(-20, 21, (size[1], size[0], 3))
    return Image.fromarray((np.asarray(coarse) + noise).clip(0, 255).astype(np.uint8))
