"""Protocols between rooms: what the engine asks of models and of their parts."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from .schedule import Schedule


@runtime_checkable
class StepMemory(Protocol):
    """State of a method that is collected during a step and changes when the step ends.

    Queues, centres and memory banks. Gradient accumulation and skipped updates rely on it.
    """

    def end_step(self) -> None:
        """Take in what the micro-batches of one optimizer step have shown."""

    def drop_step(self) -> None:
        """Forget what was collected in a step that is skipped."""

    def drop_incomplete(self) -> None:
        """End a step that an epoch's end has left without its last micro-batches."""


@runtime_checkable
class EpochAddressed(Protocol):
    """A data set whose items are asked for by (epoch, index), where ``takes_epoch`` is true.

    What an item draws from (seed, epoch, index) is the same after resuming, with any number of
    workers.
    """

    takes_epoch: bool


@runtime_checkable
class BoundedMemory(StepMemory, Protocol):
    """A `StepMemory` that holds the embeddings of the last images: queues and banks."""

    length: int


@runtime_checkable
class RankedMemory(StepMemory, Protocol):
    """A `StepMemory` whose layout depends on the number of processes."""

    def reorder(self, batch: int, before: int, after: int) -> None:
        """Rearrange what ``before`` processes have filled for ``after``, at one global batch."""

    def fill(self, rows: Tensor) -> None:
        """Take the rows (A, L, D) of all processes, one after the other."""


@runtime_checkable
class Method(Protocol):
    """A pretraining method as the engine sees it: ``mmssl.models.algorithms.Pretrainer``."""

    export: Any  # the name of the branch that is used downstream
    logged_embeddings: dict[str, Tensor]

    def check_batch(self, batch: int) -> None:
        """Refuse a number of images per step, over all processes."""

    def schedules(self) -> dict[str, Schedule]:
        """Return every schedule of the model by name."""
        ...

    def current_momentum(self) -> float | None:
        """Return the teacher's momentum of this iteration."""

    def begin_step(
        self,
        step: int,
        optimizer: Any = None,
        *,
        starts_update: bool = True,
        length: tuple[int, int] | None = None,
    ) -> None:
        """Set the progress; do what comes before the first forward of an optimizer step."""

    def end_step(self) -> None:
        """Do what follows an optimizer step: memories, teacher."""

    def sync_teacher(self) -> None:
        """Make the teacher equal to the student."""

    def drop_step(self) -> None:
        """Drop the step of all memories."""

    def drop_incomplete(self) -> None:
        """End a step of all memories that an epoch's end has left incomplete."""

    def uniform_loss(self, batch: int) -> float | None:
        """Return the loss of a uniform prediction."""


@runtime_checkable
class KeepsLosses(Protocol):
    """A model that keeps its last losses: methods, ``Classifier``, ``Segmenter``.

    The host reads them together with what else it needs of an update.
    """

    logged_losses: dict[str, Tensor]


@runtime_checkable
class KnowsUniformLoss(Protocol):
    """A model whose loss has a value to compare with: methods, ``Classifier``, ``Segmenter``."""

    def uniform_loss(self, batch: int) -> float | None:
        """Return the loss of a uniform prediction for ``batch`` images, or None."""
        ...


@runtime_checkable
class HasFrozenTeacher(Protocol):
    """A method that learns from a network which is no part of it: ``Distillation``."""

    @property
    def frozen_teacher(self) -> nn.Module:
        """Return the network, which moves with the method and is in no file of it."""
        ...


@runtime_checkable
class LayeredNetwork(Protocol):
    """A backbone as compiler, optimizer and checkpoints see it: ``mmssl.models.backbones``."""

    with_cp: bool
    not_compilable: str

    def encode(self, x: Tensor, mask: Tensor | None = None) -> Any:
        """Return the features of images (B, 3, H, W)."""

    def layer_groups(self) -> list[list[nn.Module | nn.Parameter]]:
        """Return [stem, layer 1, ...] for layer decay."""
        ...


@runtime_checkable
class KnowsItsFile(Protocol):
    """A backbone that remembers which file filled it: ``mmssl.models.backbones.Backbone``."""

    weights_from: str | None
    loaded: Any  # the `mmssl.checkpoint.load.Report`
    hyperparameters: Mapping[str, Any]  # settings that its tensors do not tell: heads, epsilon

    @classmethod
    def hyperparameters_of(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``hyperparameters`` of a network of these settings, as far as they tell."""
        ...

    def adapt_positions(self, given: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """Return (tensors of a file, (*) each, that were brought to this network, and how)."""
        ...


@runtime_checkable
class OptionalLoop(Protocol):
    """A class of evaluation loops that a run can do without: ``mmssl.evaluation.KNNLoop``."""

    off_without_data: str  # begins the line that is logged when its images or labels are missing
    instead: str  # type of the loop that takes its place where only the labels are missing


@runtime_checkable
class EpochFollower(Protocol):
    """A data set whose samples depend on the epoch: ``mmssl.datasets.ImageDataset``."""

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch an index alone belongs to."""


@runtime_checkable
class NamedImages(Protocol):
    """A data set that can name its images in reports: ``mmssl.datasets.ImageDataset``."""

    def name(self, index: int) -> str:
        """Return the name of an image."""
        ...


@runtime_checkable
class DescribedData(Protocol):
    """A data set that can describe itself in one line: ``mmssl.datasets.ImageDataset``."""

    def describe(self) -> str:
        """Return the number of images and of classes, in words."""
        ...


@runtime_checkable
class IndexedData(Protocol):
    """A data set that can tell which images it has: ``mmssl.datasets.ImageDataset``."""

    def index_digests(self) -> dict[str, int | str]:
        """Return numbers and hashes that are equal where the data sets are."""
        ...


@runtime_checkable
class StreamedData(Protocol):
    """A data set that may read streams, and go on in them: ``mmssl.datasets.ImageDataset``.

    Items of a stream have a text ``stream`` among their data_samples: where the library that reads
    it stands, or ''.
    """

    @property
    def reads_stream(self) -> bool:
        """Whether images come in the order of a stream."""
        ...

    def resume_stream(self, states: Sequence[str]) -> None:
        """Take the texts that items had. Raises ValueError for others."""


@runtime_checkable
class TracedReads(Protocol):
    """A data set that knows what its workers read: ``mmssl.datasets.ImageDataset``."""

    def reads(self) -> list[tuple[int, str, float]]:
        """Return (process, image, seconds since it began) of all that read, oldest first."""
        ...

    def read_by(self, pid: int) -> str | None:
        """Return the name of the image that a worker process was reading."""


@runtime_checkable
class LoaderSampler(Protocol):
    """A sampler that orders images by what its loader is: ``mmssl.datasets.EpochSampler``."""

    def serve(self, batch_size: int | None, workers: int) -> None:
        """Learn the loader's batch and number of workers."""


@runtime_checkable
class SeekableSampler(Protocol):
    """A sampler that can begin within an epoch: every one of ``mmssl.datasets``."""

    skip: int
    exact: bool  # whether a resumed run meets the same images

    def seek(self, epoch: int, images: int) -> None:
        """Go on after ``images`` of ``epoch`` that were read before a stop."""


@runtime_checkable
class OrdersForWorkers(Protocol):
    """A sampler whose order may be made for a number of workers: ``EpochSampler``, of shards."""

    @property
    def fixed_workers(self) -> bool:
        """Whether other workers than the config's would mean another order."""


def dims_of(part: nn.Module) -> tuple[int | None, int | None]:
    """Return the widths (in_dim, out_dim) of a neck or head, None where it does not state one.

    A part of the user's own need not state them; then nothing is checked.
    """
    return getattr(part, 'in_dim', None), getattr(part, 'out_dim', None)
