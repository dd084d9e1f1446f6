"""Data set of the views that a record holds."""

from typing import Any

from torch.utils.data import Dataset

from ..core import UserError
from ..registry import DATASETS
from .record_file import Record, read_record


@DATASETS.register_module()
class RecordedViews(Dataset[dict[str, Any]]):
    """The items of a recorded run, by (epoch, index) in the order in which they were read.

    ``file`` is the record, or its path.
    """

    takes_epoch = True

    def __init__(self, file: str) -> None:
        self.record: Record = read_record(file)

    def __len__(self) -> int:
        return self.record.per_epoch * self.record.images

    def __getitem__(self, at: tuple[int, int]) -> dict[str, Any]:
        """Return the views and samples of one image. Raises UserError for one of another step."""
        epoch, index = at
        step, row = divmod(index, self.record.images)
        step += epoch * self.record.per_epoch - self.record.first
        if not 0 <= step < len(self.record.batches):
            raise UserError(
                f'step {step + self.record.first + 1} is not in the record',
                key='step',
                value=step,
            )
        batch = self.record.batches[step]
        return dict(
            inputs=[view[row] for view in batch['inputs']],
            data_samples={key: value[row] for key, value in batch['data_samples'].items()},
        )
