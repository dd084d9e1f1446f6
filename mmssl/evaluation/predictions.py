"""Predictions of each image: collected over ranks, written as JSON, drawn below the image."""

import colorsys
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from ..core import dist
from ..core.bad_samples import readable
from ..core.io import atomic_write
from ..datasets.transforms.load_image import reader
from ..registry import HOOKS

Prediction = dict[str, Any]
HEIGHT = 256  # of a drawn image, in pixels
NAMED = 4  # classes of a mask that its caption names, the largest first
FONT = 10  # of its caption


def describe(dataset: Any, index: int, label: int, score: float) -> Prediction:
    """Return the prediction of image ``index`` as plain data: path, class, score, true label."""
    classes = dataset.classes
    prediction: Prediction = dict(
        path=dataset.name(index), pred_label=label, pred_score=round(score, 6)
    )
    if label < len(classes):
        prediction['pred_class'] = classes[label]
    if dataset.labels:
        prediction['gt_label'] = dataset.labels[index]
    return prediction


@HOOKS.register_module()
class PredictionHook(Hook):
    """Keep the predictions of a test loop in the step status, one for each image.

    Of segmentation, whose outputs are masks, ``mask_folder`` receives each image with its mask.
    """

    def __init__(self, mask_folder: str | None = None) -> None:
        self.mask_folder = mask_folder

    def before_test(self, runner: Runner) -> None:
        """Delete the predictions of earlier tests."""
        runner.step_status.predictions = []

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Keep the predictions of a batch, or draw its masks."""
        if not outputs:
            return
        dataset = runner.test_dataloader.dataset
        samples = data_batch['data_samples']
        indices = samples['index'].tolist()
        for i, output in readable(samples, outputs):
            if 'pred_label' in output:
                label = output['pred_label']
                prediction = describe(dataset, indices[i], label, output['pred_score'])
                runner.step_status.predictions.append(prediction)
            elif 'pred_mask' in output and self.mask_folder:
                draw_mask(Path(self.mask_folder), indices[i], output['pred_mask'], dataset)


def of_votes(dataset: Any, votes: Any, indices: Any) -> list[Prediction]:
    """Return the predictions of images ``indices`` (Q,) from votes (Q, classes)."""
    shares = votes / votes.sum(1, keepdim=True).clamp_min(1e-12)
    best, labels = shares.max(1)
    rows = zip(indices.tolist(), labels.tolist(), best.tolist(), strict=True)
    return [describe(dataset, *row) for row in rows]


def collect(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Return the predictions of all ranks, ordered by path, each image once."""
    joined = dist.gather_objects(list(predictions))
    unique = {p['path']: p for part in joined for p in part}
    return [unique[path] for path in sorted(unique)]


def write(path: Path, content: Any) -> None:
    """Write metrics or predictions as JSON."""
    atomic_write(path, json.dumps(content, indent=2) + '\n')


def captioned(image: Image.Image, text: str, colour: str) -> Image.Image:
    """Return the image, scaled to a height of `HEIGHT` pixels, with a line of text below it."""
    width = max(round(image.width * HEIGHT / image.height), 160)
    sheet = Image.new('RGB', (width, HEIGHT + 2 * FONT), 'white')
    sheet.paste(image.resize((width, HEIGHT)))
    ImageDraw.Draw(sheet).text((4, HEIGHT + 0.4 * FONT), text, colour, font_size=FONT)
    return sheet


def caption(prediction: Prediction) -> str:
    """Return the predicted class, by its name if known, and the score."""
    name = prediction.get('pred_class', prediction['pred_label'])
    return f'{name}  {prediction["pred_score"]:.2f}'


def draw(folder: Path, predictions: Sequence[Prediction], dataset: Any) -> None:
    """Save each image with its prediction below, green when right and red when wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    places = {dataset.name(i): i for i in range(len(dataset))}
    load = reader(dataset.transforms)
    for i, prediction in enumerate(predictions):
        path = prediction['path']
        image = load(dict(path=path, bytes=dataset.read(places[path])))['image'].preview
        right = prediction.get('gt_label') in (None, prediction['pred_label'])
        sheet = captioned(image, caption(prediction), 'darkgreen' if right else 'darkred')
        sheet.save(folder / f'{i:06d}_{Path(path).stem}.png')


def draw_mask(folder: Path, index: int, mask: Tensor, dataset: Any) -> None:
    """Save image ``index`` under its predicted mask (H, W), with the largest classes named below.

    Class 0, the background of ImageNet-S, is left without colour.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = dataset.name(index)
    image = reader(dataset.transforms)(dict(path=path, bytes=dataset.read(index)))['image'].pil
    classes = mask.cpu().numpy().astype(np.int64)  # (H, W)
    colors = Image.fromarray(palette()[classes % len(palette())])
    colors = colors.resize(image.size, Image.Resampling.NEAREST)
    seen = Image.fromarray((classes > 0).astype(np.uint8) * 128)
    image.paste(colors, mask=seen.resize(image.size, Image.Resampling.NEAREST))
    found, counts = np.unique(classes[classes > 0], return_counts=True)
    largest = found[np.argsort(-counts, kind='stable')][:NAMED]
    known = dataset.classes
    names = [known[c] if c < len(known) else str(c) for c in largest.tolist()]
    text = ', '.join(names) or 'background'
    captioned(image, text, 'black').save(folder / f'{index:06d}_{Path(path).stem}.png')


@cache
def palette() -> NDArray[Any]:
    """Return colours (256, 3), uint8, of classes: neighbouring numbers differ in hue."""
    hues = [(i * 0.618034) % 1 for i in range(256)]
    rows = [colorsys.hsv_to_rgb(hue, 0.75, 0.55 + 0.4 * (i % 2)) for i, hue in enumerate(hues)]
    return np.array([[round(255 * value) for value in row] for row in rows], np.uint8)
