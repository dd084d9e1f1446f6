"""What a model said of each image: collected, written, drawn."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from PIL import Image, ImageDraw

from ..core import dist
from ..core.faults import of_batch
from ..datasets.picture import Picture
from ..registry import HOOKS

Prediction = dict[str, Any]


def describe(dataset: Any, index: int, label: int, score: float) -> Prediction:
    """Return a plain record of one prediction."""
    classes = dataset.classes
    record: Prediction = dict(
        path=dataset.name(index), pred_label=label, pred_score=round(score, 6)
    )
    if label < len(classes):
        record['pred_class'] = classes[label]
    if dataset.labels:
        record['gt_label'] = dataset.labels[index]
    return record


@HOOKS.register_module()
class PredictionHook(Hook):
    """Keep the predictions of a test loop as ``runner.predictions``, one record per image."""

    def before_test(self, runner: Any) -> None:
        """Forget earlier ones."""
        runner.predictions = []

    def after_test_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Record what the model said of each image of a batch."""
        dataset = runner.test_dataloader.dataset
        samples = data_batch['data_samples']
        indices = samples['index'].tolist()
        faults = of_batch(samples) or [''] * len(indices)
        for index, output, fault in zip(indices, outputs or [], faults, strict=False):
            if fault or 'pred_label' not in output:
                continue  # another image was shown in its place, or pixels have the classes
            record = describe(dataset, index, output['pred_label'], output['pred_score'])
            runner.predictions.append(record)


def of_votes(dataset: Any, votes: Any, indices: Any) -> list[Prediction]:
    """Return records of kNN votes (Q, classes) of images ``indices`` (Q,) of the data set."""
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
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + '\n')


def captioned(
    picture: Image.Image, text: str, colour: str, height: int = 256, font: int = 10
) -> Image.Image:
    """Return an RGB picture, ``height`` pixels high, with a line of text below it."""
    width = max(round(picture.width * height / picture.height), 160)
    sheet = Image.new('RGB', (width, height + 2 * font), 'white')
    sheet.paste(picture.resize((width, height)))
    ImageDraw.Draw(sheet).text((4, height + 0.4 * font), text, colour, font_size=font)
    return sheet


def caption(record: Prediction, score: bool = True) -> str:
    """Return the class, by its name where known, and the score."""
    name = record.get('pred_class', record['pred_label'])
    return f'{name}  {record["pred_score"]:.2f}' if score else str(name)


def draw(folder: Path, predictions: Sequence[Prediction], dataset: Any) -> None:
    """Save each picture with its prediction below, green when right and red when wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    places = {dataset.name(i): i for i in range(len(dataset))}
    for i, record in enumerate(predictions):
        picture = Picture(dataset.read(places[record['path']]), record['path']).pil
        right = record.get('gt_label') in (None, record['pred_label'])
        sheet = captioned(picture, caption(record), 'darkgreen' if right else 'darkred')
        sheet.save(folder / f'{i:06d}_{Path(record["path"]).stem}.png')
