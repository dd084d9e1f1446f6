"""Image sources, one file for each way images are stored: folders, zip, shards, libraries."""

from .base import Names, Source, UnreadableImage
from .concat import ConcatSource
from .folder import FolderSource, ListSource, is_listed
from .huggingface import HuggingFaceSource
from .imagenet_s import ImageNetSSource
from .openimages import OpenImagesSource
from .parquet import ParquetSource
from .shards import ShardSource
from .torchvision import TorchvisionSource
from .tsv import TsvSource
from .zips import ZipSource

__all__ = [
    'ConcatSource',
    'FolderSource',
    'HuggingFaceSource',
    'ImageNetSSource',
    'ListSource',
    'Names',
    'OpenImagesSource',
    'ParquetSource',
    'ShardSource',
    'Source',
    'TorchvisionSource',
    'TsvSource',
    'UnreadableImage',
    'ZipSource',
    'is_listed',
]
