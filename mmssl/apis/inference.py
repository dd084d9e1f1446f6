"""Features and classes of pictures."""

from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor

from ..core import UserError
from ..models.classifier import Classifier
from .images import Reader, to_list
from .model import get_model, read_config
from .sheet import Sheet


def _resolve(model: Any, pretrained: Any, device: Any, **overrides: Any) -> BaseModel:
    """Return the model itself, or build it."""
    if isinstance(model, BaseModel):
        if overrides:
            raise TypeError(f'{", ".join(overrides)}: only for a model given by name or config')
        return model if device is None else model.to(device)
    return get_model(model, pretrained, device, **overrides)


class FeatureExtractor:
    """Features of pictures; ``model`` is one of `get_model`, or what `get_model` takes."""

    def __init__(
        self, model: Any, pretrained: Any = True, device: Any = None, **overrides: Any
    ) -> None:
        self.model = _resolve(model, pretrained, device, **overrides).eval()
        self.reader = Reader(self.model)

    @torch.no_grad()
    def __call__(self, images: Any, batch_size: int = 1, **stage: Any) -> list[Any]:
        """Return, for each image, what ``extract_feat`` says of it without the batch dimension.

        ``stage`` goes to a classifier's ``extract_feat``: 'backbone', 'neck' or 'pre_logits'.
        """
        found: list[Any] = []
        for pictures, inputs in self.reader(to_list(images), batch_size):
            features = self.model.extract_feat(inputs, **stage)
            for i in range(len(pictures)):
                one = features[i] if isinstance(features, Tensor) else tuple(f[i] for f in features)
                found.append(one)
        return found


class ImageClassificationInferencer:
    """Classes of pictures by a trained classifier; arguments as `FeatureExtractor`'s.

    ``classes`` are names for its outputs, where the file or the config does not say them.
    """

    # what belongs to a call, not to building
    CALL = (
        *('batch_size', 'return_datasamples', 'show_dir', 'show', 'wait_time', 'resize'),
        *('rescale_factor', 'draw_score'),
    )

    def __init__(
        self,
        model: Any,
        pretrained: Any = True,
        device: Any = None,
        classes: Any = None,
        **overrides: Any,
    ) -> None:
        self.model = _resolve(model, pretrained, device, **overrides).eval()
        if not isinstance(self.model, Classifier):
            raise _no_classes(self.model)
        self.reader = Reader(self.model)
        known = getattr(self.model, '_dataset_meta', {}).get('classes', ())
        self.classes = tuple(known if classes is None else classes)
        outputs = self.model.head.num_classes
        if self.classes and len(self.classes) != outputs:
            raise UserError(f'classes: {len(self.classes)} names for {outputs} outputs')

    @torch.no_grad()
    def __call__(
        self,
        images: Any,
        batch_size: int = 1,
        return_datasamples: bool = False,
        **drawing: Any,
    ) -> list[Any]:
        """Return a dict for each image: pred_scores (array), pred_label, pred_score, pred_class.

        ``return_datasamples`` gives mmengine's data elements instead. ``drawing`` are
        ``show_dir``, ``show``, ``wait_time``, ``resize``, ``rescale_factor`` and ``draw_score``.
        """
        sheet = Sheet(**drawing)
        found: list[Any] = []
        for pictures, inputs in self.reader(to_list(images), batch_size):
            for picture, said in zip(pictures, self.model.predict(inputs), strict=True):
                record = self._record(said)
                sheet.add(picture, record)
                found.append(_element(record) if return_datasamples else record)
        return found

    def _record(self, said: dict[str, Any]) -> dict[str, Any]:
        record = dict(said, pred_scores=said['pred_scores'].cpu().numpy())
        if self.classes:
            record['pred_class'] = self.classes[said['pred_label']]
        return record


def _element(record: dict[str, Any]) -> BaseDataElement:
    label, scores = torch.tensor([record['pred_label']]), torch.from_numpy(record['pred_scores'])
    return BaseDataElement(
        metainfo=dict(pred_class=record.get('pred_class')), pred_label=label, pred_score=scores
    )


def inference_model(model: Any, *images: Any, **options: Any) -> dict[str, Any]:
    """Return what a classifier, with its published weights, says of (the first) image.

    ``model`` is a name, a config or a model; ``options`` go to `ImageClassificationInferencer`
    and its call. Raises NotImplementedError for a model that only pretrains.
    """
    call = {k: options.pop(k) for k in ImageClassificationInferencer.CALL if k in options}
    if not isinstance(model, BaseModel):
        cfg, info = read_config(model)
        if cfg.model.type.rpartition('.')[2] != 'Classifier':
            raise _no_classes(info.name if info else cfg.model.type)
    return ImageClassificationInferencer(model, **options)(*images, **call)[0]


def _no_classes(model: Any) -> NotImplementedError:
    name = model if isinstance(model, str) else type(model).__name__
    info = getattr(model, '_metainfo', None)
    return NotImplementedError(
        f'{info.name if info else name}: a pretraining model says nothing of classes; use '
        "mmssl.FeatureExtractor for its features, or a classifier: list_models(task='Image "
        "Classification')"
    )
