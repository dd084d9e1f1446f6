"""Image sources, one file for each way images are stored: folders, zip, shards, libraries."""

from .base import BrokenStream, Names, Source, StreamedSource, UnreadableImage
from .concat import ConcatSource
from .folder import FolderSource, ListSource, is_listed
from .huggingface import HuggingFaceSource
from .huggingface_stream import HuggingFaceStream
from .imagenet_s import ImageNetSSource
from .label_maps import LabelMapSource
from .openimages import OpenImagesSource
from .parquet import ParquetSource
from .shards import ShardSource
from .torchvision import TorchvisionSource
from .tsv import TsvSource
from .zips import ZipSource

__all__ = [
    'BrokenStream',
    'ConcatSource',
    'FolderSource',
    'HuggingFaceSource',
    'HuggingFaceStream',
    'ImageNetSSource',
    'LabelMapSource',
    'ListSource',
    'Names',
    'OpenImagesSource',
    'ParquetSource',
    'ShardSource',
    'Source',
    'StreamedSource',
    'TorchvisionSource',
    'TsvSource',
    'UnreadableImage',
    'ZipSource',
    'is_listed',
]
