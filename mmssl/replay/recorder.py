"""Hook that records the first steps of a run into a file."""

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import UserError, dist
from ..core.errors import at_least
from ..core.io import to_plain
from ..engine.hooks.run_info_hook import machine, versions
from ..engine.state import training_state
from .record_file import Record, kept_batch, rows_of
from .trace import TraceHook

if TYPE_CHECKING:
    from ..engine import Runner

STEPS = 8


class StepRecorder(TraceHook):
    """Record ``steps`` steps from the start of this process on, and write them to ``file``.

    Training goes on afterwards. Raises UserError for a file that exists.
    """

    def __init__(self, file: str | Path, steps: int = STEPS) -> None:
        super().__init__(steps=at_least('--record-steps', steps))
        self.file = Path(file)
        self.start: dict[str, Any] | None = None
        self.batches: list[dict[str, Any]] = []
        if self.file.exists():
            raise UserError(
                f'{self.file}: exists already; give another name to --record',
                key='--record',
                value=str(self.file),
            )

    def before_train_epoch(self, runner: 'Runner') -> None:
        """Keep the state that a replay starts from: before a teacher moves ahead of the forward."""
        if self.start is None:
            # on a CPU these are the tensors that training changes
            self.start = copy.deepcopy(training_state.collect(runner))

    def before_train_iter(self, runner: 'Runner', batch_idx: int, data_batch: Any = None) -> None:
        """Keep the batch, of all processes."""
        if self.full:
            return
        super().before_train_iter(runner, batch_idx, data_batch)
        batch = gathered(kept_batch(data_batch))
        self.batches.append(rows_of(batch, dist.world_size()))

    def after_train_iter(
        self, runner: 'Runner', batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Add the step; write the file after the last one."""
        if self.full:
            return
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if self.full:
            assert self.start is not None
            told = to_plain(dict(versions=versions(), machine=machine()))
            record = Record(self.start, self.batches, self.trace, told)
            dist.call_on_rank_zero(lambda: record.write(self.file))
            runner.logger.info(f'recorded {self.steps} steps in {self.file}')


def gathered(batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch (B, ...) with the rows of all processes (W * B, ...), rank by rank."""
    samples = {key: dist.gather(value) for key, value in batch['data_samples'].items()}
    return dict(inputs=[dist.gather(view) for view in batch['inputs']], data_samples=samples)
