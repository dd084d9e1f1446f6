"""Replacement of an image that cannot be read by another one, drawn by the item's seed."""

import random

TRIES = 8  # images in a row that may be unreadable


def replacement_seed(seed: str, tries: int) -> str:
    """Return the seed of the item that replaces one whose images failed ``tries`` times."""
    return f'{seed}-{tries}'


def replacement_index(seed: str, images: int) -> int:
    """Return the index, below ``images``, of the image that replaces an unreadable one."""
    return random.Random(f'other-{seed}').randrange(images)
