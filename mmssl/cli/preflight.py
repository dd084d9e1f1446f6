"""Check a training config on its data before anything is built: all errors at once."""

from contextlib import suppress
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope

from ..core.errors import ErrorCollector
from ..core.launch import processes_started
from ..datasets import ImageDataset
from ..datasets.class_numbers import follow_classes
from ..datasets.notices import unheard
from ..engine.loaders import no_batch
from ..evaluation.sanity_checks import check_labels
from ..models.algorithms import Pretrainer
from ..models.classifier import Classifier
from ..models.segmenter import Segmenter
from ..planning.standalone_step import build_on_meta
from ..registry import DATASETS, MODELS

# what a constructor may raise that needs numbers, or gets wrong ones: the runner will say so
NOT_OURS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def check_on_data(cfg: Config, launcher: str, resumes: bool) -> None:
    """Check images, batch size, queue and classes of a training config.

    Data in folders and lists is looked up, other storages are not, as their tables may take long
    to read. A run that ``resumes`` has batch size and classes of its file. Raises UserError, and
    UserErrors for several.
    """
    if cfg.get('train_cfg') is None or not cfg.get('train_dataloader'):
        return
    found = ErrorCollector()
    processes = processes_started(launcher)
    with unheard():
        with found.collect():
            _check_model(cfg, processes, resumes)
        train = _images(cfg, 'train', found)
        if train is not None and not resumes:
            with found.collect():
                _check_batch(cfg, len(train), processes)
            if issubclass(_model(cfg), (Classifier, Segmenter)):
                _check_classes(cfg, train, found)
    found.raise_errors()


def _model(cfg: Config) -> type:
    """Return the class of a config's model, `object` for what is none."""
    name = (cfg.get('model') or {}).get('type')
    kind = MODELS.get(name) if name else None
    return kind if isinstance(kind, type) else object


def _check_model(cfg: Config, processes: int, resumes: bool) -> None:
    """Build the model without numbers, and ask the method whether it can take the batch."""
    if not _model(cfg).__module__.startswith('mmssl.'):
        return
    model = None
    with suppress(*NOT_OURS):
        model = build_on_meta(cfg)  # what needs numbers is built, and refused, by the runner
    if isinstance(model, Pretrainer) and not resumes:
        model.check_batch(cfg.train_dataloader.batch_size * processes)


def _images(cfg: Config, part: str, found: ErrorCollector) -> ImageDataset | None:
    """Return the images of a loader without their pipeline, None for other data sets."""
    settings: dict[str, Any] = dict((cfg.get(f'{part}_dataloader') or {}).get('dataset') or {})
    kind = DATASETS.get(settings['type']) if settings.get('type') else None
    # of one's own, or in a storage whose table may be long
    if kind is not ImageDataset or settings.get('source'):
        return None
    with found.collect(), DefaultScope.overwrite_default_scope('mmssl'):
        images: ImageDataset = DATASETS.build({**settings, 'pipeline': ()})
        return images
    return None


def _check_batch(cfg: Config, images: int, processes: int) -> None:
    """Check that the images make a batch. Raises UserError when they do not."""
    loader = cfg.train_dataloader
    sampler = (loader.get('sampler') or {}).get('type')
    whole = sampler == 'EpochSampler' and loader.get('drop_last')
    if whole and images // processes < loader.batch_size:
        raise no_batch(images, loader.batch_size, processes)


def _check_classes(cfg: Config, train: ImageDataset, found: ErrorCollector) -> None:
    """Check the classes of training and validation images against the classifier's outputs."""
    outputs = cfg.model.head.get('num_classes')
    if outputs is None or cfg.get('load_from'):
        return  # a file has the classes, and may have more than the images
    with found.collect():
        check_labels(outputs, train, 'train_dataloader')
    validation = _images(cfg, 'val', found) if cfg.get('val_cfg') else None
    if validation is not None:
        with found.collect():
            follow_classes(validation, train.classes, 'val_dataloader')
