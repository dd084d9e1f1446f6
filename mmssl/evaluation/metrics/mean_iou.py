"""Mean intersection over union (mIoU) of ImageNet-S, over all ranks."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from ...core import dist
from ...core.bad_samples import readable
from ...registry import METRICS


def overlaps(predicted: Tensor, truth: Tensor, classes: int, ignore: int) -> Tensor:
    """Count correct, predicted and true pixels of each class: int64 (3, classes).

    ``predicted`` and ``truth`` are masks (H, W), or of any equal shape (...); pixels whose truth
    is ``ignore`` are not counted.
    """
    judged = truth != ignore
    predicted = predicted[judged]
    truth = truth[judged]
    parts = (truth[predicted == truth], predicted, truth)
    return torch.stack([torch.bincount(p, minlength=classes)[:classes] for p in parts])


def mean_iou(counts: Tensor) -> float:
    """Mean over classes of correct / (predicted + true - correct), in percent.

    counts (3, classes) -> float. By the definition of ImageNet-S, 'other' is one of the classes,
    and a class that is neither predicted nor true counts 0.
    """
    right, predicted, true = counts.double()
    found: float = 100 * (right / (predicted + true - right + 1e-10)).mean().item()
    return found


@METRICS.register_module()
class MeanIoU(BaseMetric):
    """Mean intersection over union of ImageNet-S in percent: segmentation/miou.

    The classes are those of the data set, with 'other'; pixels of class ``ignore`` are left out.
    """

    default_prefix = 'segmentation'

    def __init__(self, ignore: int = 1000) -> None:
        super().__init__()
        self.ignore = ignore

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep the counts (3, classes) of each readable image, from ``pred_mask`` (H, W)."""
        samples = data_batch['data_samples']
        classes = len((self.dataset_meta or {})['classes'])
        masks = samples['label']
        for i, output in readable(samples, data_samples):
            predicted = output['pred_mask'].cpu()
            self.results.append(overlaps(predicted, masks[i].cpu(), classes, self.ignore))

    def evaluate(self, size: int) -> dict[str, float]:
        """Return the mIoU over all ranks, in percent.

        mmengine's own collection assumes padded ranks.
        """
        classes = len((self.dataset_meta or {})['classes'])
        none = torch.zeros(3, classes, dtype=torch.long)
        counts = torch.stack([none, *self.results]).sum(0)
        self.results.clear()
        return {'segmentation/miou': mean_iou(dist.sum_over_ranks(counts))}

    def compute_metrics(self, results: list[Any]) -> dict[str, Any]:
        """Raise NotImplementedError: `evaluate` computes the metric."""
        raise NotImplementedError
