"""Runs over a stream: bit-equal after resuming, on one process and on two, with workers."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmssl.checkpoint.reader.read_file import read_outline
from mmssl.datasets import ImageDataset
from mmssl.engine.hooks.stream_hook import newest

from ..helpers.refusals import refuses
from ..helpers.tiny import losses, make_runner
from ..helpers.training_state import interrupt

ALONE = dict(val_cfg=None, val_dataloader=None, val_evaluator=None, train_cfg__max_epochs=2)


@pytest.fixture(scope='module')
def stream(image_folder, tmp_path_factory):
    """The 24 images in six files, and the settings that stream them."""
    pytest.importorskip('datasets')
    root = tmp_path_factory.mktemp('stream')
    folders = ImageDataset(str(image_folder), 'train')
    for number in range(6):
        images = [folders.read(i) for i in range(4 * number, 4 * number + 4)]
        table = pa.table(dict(image=pa.array(images, pa.binary())))
        pq.write_table(table, root / f'train-{number}.parquet')
    source = dict(type='HuggingFaceStream', length=24, buffer=3)
    return ALONE | dict(data_root=str(root), train_dataloader__dataset__source=source)


def _cut_and_resume(path, folder, settings, done):
    """Return the losses of a whole run, those of one that was cut, and the file's streams."""
    whole = losses(make_runner(path, folder / 'whole', **settings))
    seen = interrupt(make_runner(path, folder / 'cut', **settings), done)
    file = folder / 'cut' / 'cut.pth'
    again = dict(settings, resume=True, load_from=str(file))
    return whole, seen + losses(make_runner(path, folder / 'cut', **again)), _streams(file)


def _streams(file):
    return [json.loads(text) for text in read_outline(str(file))['streams']]


@pytest.mark.parametrize(('workers', 'done'), [(0, 2), (0, 6), (2, 7)])
def test_one_process(tiny_config, tmp_path, stream, monkeypatch, workers, done):
    monkeypatch.setattr('mmssl.engine.loaders.own_cores', lambda: 1)  # keeps the workers
    settings = stream | dict(train_dataloader__num_workers=workers)
    whole, resumed, streams = _cut_and_resume(tiny_config(), tmp_path, settings, done)
    assert len(whole) == 8 and resumed == whole
    # of the batches that were used, not of those that workers have read ahead
    epoch, images = divmod(6 * done, 24)
    assert {state['epoch'] for state in streams} == {epoch}
    assert [state['stream'] for state in streams] == list(range(max(workers, 1)))
    if workers < 2:
        assert [state['begin'] for state in streams] == [images - 3]


def test_two_ranks(two_ranks, tiny_config, tmp_path, stream):
    settings = stream | dict(train_dataloader__batch_size=3, sync_bn='torch', launcher='pytorch')
    answers = two_ranks(_cut_and_resume, tiny_config(), tmp_path, settings, 6)
    for whole, resumed, streams in answers:
        assert len(whole) == 8 and resumed == whole
        assert [state['stream'] for state in streams] == [0, 1]
        assert [state['streams'] for state in streams] == [2, 2]


def test_other_text_in_a_file(tiny_config, tmp_path, stream):
    runner = make_runner(tiny_config(), tmp_path / 'a', **stream)
    interrupt(runner, 2)
    hook = next(h for h in runner.hooks if type(h).__name__ == 'StreamHook')
    hook.states = {0: '{"stream": 0, "epoch": 0, "begin": 0}'}
    runner.save_checkpoint(str(tmp_path / 'a'), 'other.pth')
    again = dict(stream, resume=True, load_from=str(tmp_path / 'a' / 'other.pth'))
    with refuses('streams', ['{"stream": 0, "epoch": 0, "begin": 0}']):
        make_runner(tiny_config(), tmp_path / 'a', **again).train()


def test_the_newest_state_of_each_stream():
    def state(stream, epoch, begin):
        return json.dumps(dict(stream=stream, epoch=epoch, begin=begin))

    texts = [state(1, 0, 30), state(0, 0, 9), state(1, 1, 0), state(0, 0, 100), state(0, 0, 20)]
    assert newest(texts) == {0: state(0, 0, 100), 1: state(1, 1, 0)}


def test_a_monitor_over_a_stream(tiny_config, tmp_path, stream):
    monitored = {key: value for key, value in stream.items() if not key.startswith('val_')}
    monitored['val_dataloader__dataset__source'] = stream['train_dataloader__dataset__source']
    monitored |= dict(
        val_dataloader__dataset__split='train', val_dataloader__dataset__per_class=None
    )
    with refuses('sampler.type', 'EpochSampler(shuffle=False)'):
        make_runner(tiny_config(), tmp_path, **monitored).train()
