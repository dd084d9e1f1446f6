"""Extract features of images and classify them, from Python."""

from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor

from ..core import UserError
from ..models.classifier import Classifier
from .images import ImageReader, to_list
from .model import get_model, read_config
from .visualizer import save_prediction


def _resolve(model: Any, pretrained: Any, device: Any, **overrides: Any) -> BaseModel:
    """Return the model itself, or build it."""
    if isinstance(model, BaseModel):
        if overrides:
            raise TypeError(f'{", ".join(overrides)}: only for a model given by name or config')
        return model if device is None else model.to(device)
    return get_model(model, pretrained, device, **overrides)


class FeatureExtractor:
    """Features of images; ``model`` is one of `get_model`, or what `get_model` takes."""

    def __init__(
        self, model: Any, pretrained: Any = True, device: Any = None, **overrides: Any
    ) -> None:
        self.model = _resolve(model, pretrained, device, **overrides).eval()
        self.reader = ImageReader(self.model)

    @torch.no_grad()
    def __call__(self, images: Any, batch_size: int = 1, **stage: Any) -> list[Any]:
        """Return, for each image, the output of ``extract_feat`` without the batch dimension.

        That is a tensor (C,), or a tuple of maps (C, h, w). Raises UserError for what is no image.
        ``stage`` goes to a classifier's ``extract_feat``: 'backbone', 'neck' or 'pre_logits'.
        """
        found: list[Any] = []
        for opened, inputs in self.reader(to_list(images), batch_size):
            features = self.model.extract_feat(inputs, **stage)
            for i in range(len(opened)):
                one = features[i] if isinstance(features, Tensor) else tuple(f[i] for f in features)
                found.append(one)
        return found


class ImageClassificationInferencer:
    """Classes of images by a trained classifier; arguments as `FeatureExtractor`'s.

    ``classes`` are names for its outputs, where the file or the config does not say them. Raises
    UserError when their number is not that of the outputs.
    """

    # arguments of a call, not of building
    CALL_OPTIONS = ('batch_size', 'return_datasamples', 'show_dir')

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
        self.reader = ImageReader(self.model)
        # only `get_model` and mmengine's loading set it
        known = getattr(self.model, '_dataset_meta', {}).get('classes', ())
        names = known if classes is None else classes
        self.classes = tuple(names)
        outputs = self.model.head.num_classes
        if self.classes and len(self.classes) != outputs:
            raise UserError(
                f'classes: {len(self.classes)} names for {outputs} outputs of the classifier; '
                'give one for each',
                key='classes',
                value=names,
            )

    @torch.no_grad()
    def __call__(
        self,
        images: Any,
        batch_size: int = 1,
        return_datasamples: bool = False,
        show_dir: str | Path | None = None,
    ) -> list[Any]:
        """Return a dict for each image: pred_scores (array), pred_label, pred_score, pred_class.

        ``return_datasamples`` gives mmengine's data elements instead. ``show_dir`` is a folder
        that receives each image with its prediction. Raises UserError for what is no image.
        """
        results: list[Any] = []
        for opened, inputs in self.reader(to_list(images), batch_size):
            for image, output in zip(opened, self.model.predict(inputs), strict=True):
                prediction = self._prediction(output)
                if show_dir is not None:
                    save_prediction(Path(show_dir), len(results), image, prediction)
                results.append(_data_element(prediction) if return_datasamples else prediction)
        return results

    def _prediction(self, output: dict[str, Any]) -> dict[str, Any]:
        prediction = dict(output, pred_scores=output['pred_scores'].cpu().numpy())
        if self.classes:
            prediction['pred_class'] = self.classes[output['pred_label']]
        return prediction


def _data_element(prediction: dict[str, Any]) -> BaseDataElement:
    return BaseDataElement(
        metainfo=dict(pred_class=prediction.get('pred_class')),
        pred_label=torch.tensor([prediction['pred_label']]),
        pred_score=torch.from_numpy(prediction['pred_scores']),
    )


def inference_model(model: Any, *images: Any, **options: Any) -> dict[str, Any]:
    """Return the prediction of a classifier, with its published weights, for (the first) image.

    ``model`` is a name, a config or a model; ``options`` go to `ImageClassificationInferencer`
    and its call. Raises NotImplementedError for a model that only pretrains.
    """
    call = {k: options.pop(k) for k in ImageClassificationInferencer.CALL_OPTIONS if k in options}
    if not isinstance(model, BaseModel):
        cfg, info = read_config(model)
        if cfg.model.type.rpartition('.')[2] != 'Classifier':
            raise _no_classes(info.name if info else cfg.model.type)
    found: dict[str, Any] = ImageClassificationInferencer(model, **options)(*images, **call)[0]
    return found


def _no_classes(model: Any) -> NotImplementedError:
    name = model if isinstance(model, str) else type(model).__name__
    info = getattr(model, '_metainfo', None)  # only `get_model` sets it
    return NotImplementedError(
        f'{info.name if info else name}: a pretraining model predicts no classes; use '
        "mmssl.FeatureExtractor for its features, or a classifier: list_models(task='Image "
        "Classification')"
    )
