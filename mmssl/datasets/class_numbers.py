"""Labels of one data set in the numbers of another: folders by name, lists as they are."""

from typing import Any

from ..core import UserError
from .image_dataset import ImageDataset
from .notices import some
from .sources.base import Source, numbered


def follow_classes(
    dataset: Any, classes: tuple[str, ...], key: str, whose: str = 'the training images'
) -> None:
    """Give a data set the class numbers of another one, whose classes are ``classes``.

    Class folders are found by name, and classes without an image are no fault; numbers of a list
    stay as they are. ``whose`` says in messages what has the classes: images or a file. Raises
    UserError, about the config key ``key``, for a class or number that is not among ``classes``,
    and for a data set that is not ours and has other classes.
    """
    own = tuple(dataset.classes)
    if own == classes:
        return
    if set(own) <= set(classes):
        place = {name: i for i, name in enumerate(classes)}
        numbers = {i: place[name] for i, name in enumerate(own)}
    elif own == numbered(range(len(own))) and len(own) <= len(classes):
        numbers = {i: i for i in range(len(own))}
    else:
        unknown = sorted(set(own) - set(classes))
        raise UserError(
            f'{key}: {len(unknown)} of {len(own)} classes ({some(unknown)}) are not among the '
            f'{len(classes)} ({some(list(classes))}) of {whose}; give both the same class folders, '
            'and number the labels of lists alike',
            key=key,
            value=classes,
        )
    moved = any(old != new for old, new in numbers.items())
    ours = isinstance(dataset, ImageDataset)
    if not ours or (moved and type(dataset.source).target is not Source.target):  # masks
        raise UserError(
            f'{key}: {len(own)} classes ({some(list(own))}) for the {len(classes)} '
            f'({some(list(classes))}) of {whose}, and the targets of {type(dataset).__name__} '
            'cannot be numbered by name; give both the same class folders',
            key=key,
            value=classes,
        )
    dataset.renumber(classes, numbers)
