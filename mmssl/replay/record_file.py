"""The file of a recorded run: its settings, its state before the first step, batches and trace."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import read, save
from ..checkpoint.content_hash import add_hash
from ..core import UserError
from .trace import Step, Trace

FORMAT = 'mmssl-record-1'


@dataclass
class Record:
    """A recorded run.

    ``start`` is the content of a training file before the first recorded step, and holds the
    settings. Each of ``batches`` has 'inputs', a list of views (B, ...) with the images of all
    processes, and 'data_samples', tensors (B, ...). Row i belongs to process i mod W of
    W. ``machine`` says where it was recorded.
    """

    start: dict[str, Any]
    batches: list[dict[str, Any]]
    trace: Trace
    machine: dict[str, Any]

    @property
    def first(self) -> int:
        """The iteration of the first recorded step."""
        return int(self.start['progress']['iter'])

    @property
    def images(self) -> int:
        """Images of a step, of all processes."""
        return int(self.start['progress']['batch'])

    @property
    def per_epoch(self) -> int:
        """Iterations of an epoch."""
        return int(self.start['progress']['per_epoch'])

    def write(self, path: Path) -> None:
        """Write the record, whole or not at all. Raises UserError when that fails."""
        content = dict(
            format=FORMAT,
            start=self.start,
            batches=self.batches,
            trace=[asdict(step) for step in self.trace],
            machine=self.machine,
        )
        save.write(add_hash(content), path)


def read_record(path: str | Path) -> Record:
    """Read a recorded run, without running code of it.

    Raises UserError when the file is damaged or no record.
    """
    content = read(path)
    if content.get('format') != FORMAT:
        raise UserError(
            f'{path}: holds no recorded run ({FORMAT}); tools/train.py --record FILE writes one',
            key='file',
            value=str(path),
        )
    try:
        trace = [Step(**step) for step in content['trace']]
        record = Record(content['start'], content['batches'], trace, content['machine'])
        sizes = {len(batch['inputs'][0]) for batch in record.batches}
        whole = len(trace) == len(record.batches) > 0 and sizes == {record.images}
    except (LookupError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise UserError(
            f'{path}: this record is not whole; record the run again', key='file', value=str(path)
        )
    return record


def rows_of(batch: dict[str, Any], world: int) -> dict[str, Any]:
    """Return a batch whose rows (W * B) go rank by rank with row i of process i mod W."""

    def order(x: Tensor) -> Tensor:
        found: Tensor = x.unflatten(0, (world, -1)).transpose(0, 1).flatten(0, 1)
        return found

    samples = {key: order(value) for key, value in batch['data_samples'].items()}
    return dict(inputs=[order(view) for view in batch['inputs']], data_samples=samples)


def kept_batch(batch: dict[str, Any]) -> dict[str, Any]:
    """Return views and tensors of a loader's batch, copied to the CPU; the rest is left out."""
    samples = batch.get('data_samples') or {}
    return dict(
        inputs=[torch.as_tensor(view).detach().cpu().clone() for view in batch['inputs']],
        data_samples={
            key: value.detach().cpu().clone()
            for key, value in samples.items()
            if isinstance(value, Tensor)
        },
    )
