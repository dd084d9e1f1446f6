"""Hook that keeps where the streams of the training data stand, for training files."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook

from ...core import UserError, dist
from ...core.protocols import StreamedData

if TYPE_CHECKING:
    from ..runner import Runner


def newest(texts: Iterable[str]) -> dict[int, str]:
    """Return the state that is furthest of each stream, by its number."""
    found: dict[int, tuple[tuple[int, int], str]] = {}
    for text in texts:
        state = json.loads(text)
        reached = (state['epoch'], state['begin'])
        number = state['stream']
        if number not in found or found[number][0] <= reached:
            found[number] = reached, text
    return {number: text for number, (_, text) in found.items()}


class StreamHook(Hook):
    """Write the states of all ranks' streams into training files as ``streams``, and read them.

    Batches bring the states: a worker reads ahead, and what counts is the batch that was used.
    The order of the images follows from (seed, epoch) and the iteration alone; with its states a
    resumed run finds its place without reading what is past. The runner registers the hook.
    """

    def __init__(self) -> None:
        self.states: dict[int, str] = {}  # the newest of each stream

    def after_train_iter(
        self, runner: 'Runner', batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Note where the windows of this batch begin."""
        samples = data_batch.get('data_samples', {})  # a transform of one's own may pack none
        self.states = newest([*self.states.values(), *filter(None, samples.get('stream', ()))])

    def before_save_checkpoint(self, runner: 'Runner', checkpoint: dict[str, Any]) -> None:
        """Add the states of all ranks."""
        found = [text for states in dist.gather_objects(self.states) for text in states.values()]
        checkpoint['streams'] = [text for _, text in sorted(newest(found).items())]

    def after_load_checkpoint(self, runner: 'Runner', checkpoint: dict[str, Any]) -> None:
        """Give the states of a training file to the data set. Raises UserError for other text."""
        data = runner.train_dataloader.dataset
        texts = checkpoint.get('streams', ())  # files of weights have none
        assert isinstance(data, StreamedData)
        try:
            data.resume_stream(texts)
        except ValueError as error:
            raise UserError(
                f'streams of the training file: {error}; take an earlier file',
                key='streams',
                value=texts,
            ) from None
        self.states = newest(texts)
