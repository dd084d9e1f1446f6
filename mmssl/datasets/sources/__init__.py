"""Image sources, one file for each way images are stored: folders, lists, zip, TSV, shards."""

from .base import Names, Source, UnreadableImage
from .cifar import CifarSource
from .folder import FolderSource, ListSource, is_listed
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
