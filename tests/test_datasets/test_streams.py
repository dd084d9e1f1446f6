"""Shards and images of other machines: what never comes ends in one line."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mmssl.core.errors import NoData
from mmssl.datasets import ImageDataset
from mmssl.datasets.sources import streams
from mmssl.datasets.sources.folder import StoredFiles
from mmssl.datasets.sources.shards import ShardSource

from ..helpers.refusals import refuses
from ..helpers.server import RawServer


def shard(count: int = 3) -> bytes:
    """Return a shard of so many samples."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w') as tar:
        for i in range(count):
            for ending, content in (('jpg', b'image %d' % i), ('cls', b'0')):
                entry = tarfile.TarInfo(f'{i:03d}.{ending}')
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return file.getvalue()


SHARD = shard()


def index(folder: Path, url: str, count: int = 3) -> ShardSource:
    """Return a source of one shard at an address."""
    entry = dict(url=url, nsamples=count)
    (folder / 'train.json').write_text(json.dumps(dict(shardlist=[entry])))
    return ShardSource(str(folder))


@pytest.fixture
def answering(monkeypatch) -> Iterator[Callable[..., str]]:
    """Return a starter of servers that send these texts and then nothing; it gives the address."""
    monkeypatch.setattr(streams, 'TIMEOUT', 0.3)
    with ExitStack() as stack:

        def start(*texts: bytes) -> str:
            def answer(connection: Any, _: bytes) -> None:
                for text in texts:
                    connection.sendall(text)
                connection.settimeout(5)
                connection.recv(1)  # until the other side has had enough

            server = RawServer(answer)
            stack.callback(server.stop)
            return server.url

        yield start


HEAD = b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % len(SHARD)
SILENT = dict(
    nothing=[],
    a_status=[b'HTTP/1.1 200 OK\r\n'],
    headers=[HEAD],
    a_part=[HEAD, SHARD[:700]],
    other=[b'SSH-2.0\r\n'],
)


@pytest.mark.parametrize('texts', SILENT.values(), ids=SILENT)
def test_a_shard_that_never_comes_is_an_unreadable_image(answering, tmp_path, texts) -> None:
    source = index(tmp_path, answering(*texts) + '/a.tar')
    with pytest.raises(ValueError, match='the shard') as caught:
        source.read(0)
    assert '\n' not in str(caught.value)


def test_a_whole_shard_is_read(answering, tmp_path) -> None:
    source = index(tmp_path, answering(HEAD, SHARD) + '/a.tar')
    assert [source.read(i) for i in range(3)] == [b'image 0', b'image 1', b'image 2']


def test_a_missing_shard_says_so(answering, tmp_path) -> None:
    text = b'HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n'
    source = index(tmp_path, answering(text) + '/a.tar')
    with pytest.raises(ValueError, match='503'):
        source.read(0)


def test_an_index_and_images_that_never_come(answering) -> None:
    root = answering()
    with refuses('data_root', root):
        ShardSource(root)
    missing = answering(b'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n')
    with pytest.raises(NoData) as caught:
        ShardSource(missing)
    assert caught.value.value == f'{missing}/train.json'
    with refuses('data_root', 'gs://bucket/set'):
        ShardSource('gs://bucket/set')


def test_an_image_and_a_list_that_never_come(answering) -> None:
    root = answering()
    with pytest.raises(NoData) as caught:
        ImageDataset(root, ann_file='list.txt')
    assert caught.value.value == f'{root}/list.txt'
    with pytest.raises(ValueError, match='timed out') as error:
        StoredFiles(root).get('a.jpg')
    assert '\n' not in str(error.value)


# programs of storages -----------------------------------------------------------------------------
@pytest.fixture
def program(tmp_path, monkeypatch) -> Callable[[str], None]:
    """Return a writer of a script that takes the place of gsutil."""
    monkeypatch.setattr(streams, 'TIMEOUT', 2.0)

    def write(script: str) -> None:
        file = tmp_path / 'bin' / 'gsutil'
        file.parent.mkdir()
        file.write_text(f'#!/bin/sh\n{script}\n')
        file.chmod(0o755)
        monkeypatch.setenv('PATH', f'{file.parent}:/usr/bin:/bin')

    return write


def test_a_program_that_is_not_there(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(ValueError, match='gsutil'):
        index(tmp_path, 'gs://bucket/a.tar').read(0)


def test_what_a_program_prints_is_read(tmp_path, program) -> None:
    (tmp_path / 'a.tar').write_bytes(SHARD)
    program(f'[ "$2 $3" = "cat gs://bucket/a.tar" ] && cat {tmp_path / "a.tar"}')
    source = index(tmp_path, 'gs://bucket/a.tar')
    assert [source.read(i) for i in range(3)] == [b'image 0', b'image 1', b'image 2']


def test_the_stack_of_a_program_becomes_its_last_line(tmp_path, program, capfd) -> None:
    stack = '\n'.join(f'  File "x.py", line {i}' for i in range(50))
    program(f"echo '{stack}' >&2; echo 'ServiceException: 401 Anonymous caller' >&2; exit 1")
    with pytest.raises(ValueError, match='ServiceException: 401') as caught:
        index(tmp_path, 'gs://bucket/a.tar').read(0)
    assert 'File' not in str(caught.value)
    assert capfd.readouterr().err == ''


def test_a_program_that_hangs_is_ended(tmp_path, program, monkeypatch) -> None:
    monkeypatch.setattr(streams, 'TIMEOUT', 0.3)
    program(f'echo $$ > {tmp_path / "pid"}; exec sleep 60')
    with pytest.raises(ValueError, match='gsutil is silent'):
        index(tmp_path, 'gs://bucket/a.tar').read(0)
    pid = int((tmp_path / 'pid').read_text())
    assert not Path(f'/proc/{pid}').exists()
