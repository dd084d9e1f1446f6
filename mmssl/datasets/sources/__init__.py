"""One file for each way images are stored; the data set does not know which it reads."""

from .base import Names, Source, UnreadableImage
from .cifar import CifarSource
from .files import FolderSource, ListSource, is_listed
from .imagenet_s import ImageNetSSource
from .openimages import OpenImagesSource
from .shards import ShardSource
from .tsv import TsvSource
from .zips import ZipSource

__all__ = [
    'CifarSource',
    'FolderSource',
    'ImageNetSSource',
    'ListSource',
    'Names',
    'OpenImagesSource',
    'ShardSource',
    'Source',
    'TsvSource',
    'UnreadableImage',
    'ZipSource',
    'is_listed',
]
