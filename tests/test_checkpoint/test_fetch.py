"""Downloads: once, whole, checked, resumed; a bad server is survived or named."""

import gzip
import hashlib
import io
import logging
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch

from mmssl.checkpoint import local_path
from mmssl.checkpoint.fetch import download, fetch, web

from ..helpers.refusals import refuses
from ..helpers.server import RawServer, Server


def checkpoint(seed: int) -> bytes:
    """Return a file of 300,000 random bytes in a tensor."""
    file = io.BytesIO()
    draws = torch.Generator().manual_seed(seed)
    torch.save({'w': torch.randint(256, (300_000,), generator=draws, dtype=torch.uint8)}, file)
    return file.getvalue()


BODY, OTHER = checkpoint(0), checkpoint(1)
SIZE = len(BODY)
assert len(OTHER) == SIZE
ESVIT = 'https://chunyleu.blob.core.windows.net/output/ckpts/esvit/a/checkpoint.pth'


def cache() -> list[str]:
    """Names in the cache that are whole files."""
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    return sorted(p.name for p in folder.glob('*') if not p.name.startswith('.'))


def leftovers() -> list[str]:
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    return sorted(p.suffix for p in folder.glob('.*') if p.suffix != '.lock')


def parts() -> list[int]:
    """Lengths of the files that wait to be continued."""
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    return sorted(p.stat().st_size for p in folder.glob('.part-*') if p.suffix != '.json')


# paths --------------------------------------------------------------------------------------------
def test_paths_and_file_addresses_are_taken_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / 'a b.pth'
    assert local_path('some/file.pth') == Path('some/file.pth')
    assert local_path(f'file://{str(file).replace(" ", "%20")}') == file
    assert local_path(f'file://localhost{file}') == file


# the cache ----------------------------------------------------------------------------------------
def test_a_file_is_fetched_once_and_then_needs_no_server(server: Server) -> None:
    address = server.put('/a/net.pth', BODY)
    path = local_path(address, name='some/model')
    assert path.read_bytes() == BODY
    server.pages.clear()
    assert local_path(address, name='some/model') == path
    assert len(server.asked) == 1
    key = hashlib.sha256(address.encode()).hexdigest()[:16]
    assert cache() == [f'some_model-{key}.pth']
    assert leftovers() == []


def test_two_files_of_one_name_stay_two(server: Server) -> None:
    one = local_path(server.put('/swin_tiny/checkpoint.pth', BODY))
    two = local_path(server.put('/swin_small/checkpoint.pth', OTHER))
    assert (one.read_bytes(), two.read_bytes()) == (BODY, OTHER)
    three = local_path(server.url + '/swin_small/checkpoint.pth?version=3')
    assert len(cache()) == 3 and three.read_bytes() == OTHER


@pytest.mark.parametrize(
    ('path', 'ending'),
    [('/x.pth.tar', '.pth.tar'), ('/x.safetensors', '.safetensors'), ('/x.jpg', '.jpg'), ('/', '')],
)
def test_the_kind_of_file_survives(path: str, ending: str) -> None:
    found = fetch.cached(f'http://a.org{path}', 'm').name
    assert found.startswith('m-') and found[len('m-') + 16 :] == ending


def test_many_at_once_download_one_time(server: Server) -> None:
    address = server.put('/net.pth', BODY, stall=0.01)
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(local_path(address).read_bytes()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == [BODY] * 4
    assert len(server.asked) == 1


# mirrors and keys ---------------------------------------------------------------------------------
def test_a_mirror_on_the_web_and_one_in_a_folder(server: Server, tmp_path: Path) -> None:
    published = 'https://download.openmmlab.com/mmselfsup/1.x/net.pth'
    server.put('/mirror/mmselfsup/1.x/net.pth', BODY)
    pattern = r'^https://download\.openmmlab\.com'
    path = local_path(published, 'net', (pattern, server.url + '/mirror'))
    assert path.read_bytes() == BODY
    (tmp_path / 'mmselfsup' / '1.x').mkdir(parents=True)
    (tmp_path / 'mmselfsup' / '1.x' / 'net.pth').write_bytes(b'local')
    assert local_path(published, 'net', (pattern, str(tmp_path))).read_bytes() == b'local'


@pytest.mark.parametrize(
    'address', ['https://drive.google.com/file/d/1pu7/view', 'https://pan.baidu.com/s/1']
)
def test_a_page_for_people_is_named(server: Server, address: str) -> None:
    with refuses('file', address):
        local_path(address)
    assert cache() == []


def test_a_key_is_asked_for_used_and_never_shown(server: Server, monkeypatch) -> None:
    monkeypatch.delenv('MMSSL_ESVIT_QUERY', raising=False)
    with refuses('MMSSL_ESVIT_QUERY') as caught:
        local_path(ESVIT)
    assert 'https://github.com/microsoft/esvit' in str(caught.value)
    monkeypatch.setenv('MMSSL_ESVIT_QUERY', '?sp=r&sig=secret')
    assert fetch._with_key(ESVIT) == ESVIT + '?sp=r&sig=secret'
    assert fetch.cached(ESVIT) == fetch.cached(ESVIT + '?sp=r&sig=secret')
    mirror = (r'^https://[^/]+(.*)$', server.url + r'\1?sp=r&sig=secret')
    with refuses('file', f'{server.url}/output/ckpts/esvit/a/checkpoint.pth?...') as caught:
        local_path(ESVIT, url_mapping=mirror)
    assert 'secret' not in str(caught.value)
    server.put('/output/ckpts/esvit/a/checkpoint.pth', BODY)
    path = local_path(ESVIT, 'esvit', mirror)
    assert server.asked[-1][0].endswith('?sp=r&sig=secret')
    kept = [p for p in path.parent.rglob('*') if p.is_file()]
    assert all('secret' not in p.name and b'secret' not in p.read_bytes() for p in kept)


def test_names_and_passwords_are_not_shown() -> None:
    assert web.shown('https://me:word@a.org/b?c=d#e') == 'https://a.org/b?...'


# hashes -------------------------------------------------------------------------------------------
def test_the_hash_in_a_name_is_checked(server: Server) -> None:
    digest = hashlib.sha256(BODY).hexdigest()
    assert local_path(server.put(f'/n_20220927-{digest[:8]}.pth', BODY)).read_bytes() == BODY
    address = server.put('/n_20220927-8f7d937e.pth', BODY)
    with refuses('file', address) as caught:
        local_path(address)
    assert f'sha256 begins with {digest[:8]}, published is 8f7d937e' in str(caught.value)
    assert len(cache()) == 1 and leftovers() == []
    server.put('/n-20220927.pth', BODY)  # a date is no hash
    assert local_path(server.url + '/n-20220927.pth').read_bytes() == BODY


def test_a_published_md5_is_checked(server: Server) -> None:
    address = server.put('/moco.pth.tar', BODY)
    digits = hashlib.md5(BODY).hexdigest()[:8]
    with refuses('file', address) as caught:
        local_path(address, md5='b251726a')
    assert f'md5 begins with {digits}, published is b251726a' in str(caught.value)
    assert local_path(address, md5=digits).read_bytes() == BODY


def test_a_mirror_must_hold_what_was_published(server: Server) -> None:
    server.put('/x', BODY)
    published = 'https://download.openmmlab.com/n_20220927-8f7d937e.pth'
    with refuses('file', f'{server.url}/x') as caught:
        local_path(published, url_mapping=('^.+$', server.url + '/x'))
    assert 'published is 8f7d937e' in str(caught.value)


# bad servers --------------------------------------------------------------------------------------
def test_a_broken_transfer_goes_on_where_it_stopped(server: Server) -> None:
    address = server.put('/net.pth', BODY, breaks=[100_000, 50_000])
    assert local_path(address).read_bytes() == BODY
    assert server.ranges() == [None, 'bytes=100000-', 'bytes=150000-']


def test_a_later_call_goes_on_too(server: Server) -> None:
    address = server.put('/net.pth', BODY, breaks=[10_000] * download.ATTEMPTS)
    with refuses('file', address):
        local_path(address)
    assert cache() == [] and leftovers() == ['.json', '.pth'] and parts() == [40_000]
    server.asked.clear()
    assert local_path(address).read_bytes() == BODY
    assert server.ranges() == ['bytes=40000-']


def test_a_file_that_changed_meanwhile_begins_anew(server: Server) -> None:
    address = server.put('/net.pth', BODY, breaks=[100_000] * download.ATTEMPTS)
    with refuses('file', address):
        local_path(server.put('/net.pth', BODY, breaks=[60_000] * download.ATTEMPTS))
    server.put('/net.pth', OTHER, mark='"2"')
    assert local_path(address).read_bytes() == OTHER


def test_without_a_mark_nothing_is_joined(server: Server) -> None:
    address = server.put('/net.pth', BODY, mark=None, breaks=[100_000])
    assert local_path(address).read_bytes() == BODY
    assert server.ranges() == [None, None]
    weak = server.put('/weak.pth', BODY, mark='W/"1"', breaks=[100_000])
    assert local_path(weak).read_bytes() == BODY
    assert server.ranges()[2:] == [None, None]


def test_a_part_that_is_whole_already_is_refused_by_the_server_and_begun_again(server) -> None:
    address = server.put('/net.pth', BODY)
    target = fetch.cached(address)
    target.parent.mkdir(parents=True)
    part = target.with_name(f'.part-{target.name}')
    part.write_bytes(BODY)
    version = part.with_name(f'{part.name}.json')
    version.write_text(f'{{"etag": "\\"1\\"", "total": {SIZE}}}')
    assert local_path(address).read_bytes() == BODY
    assert server.ranges() == [f'bytes={SIZE}-', None]


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(server: Server) -> None:
    address = server.put('/net.pth', BODY, status=[503, 429])
    assert local_path(address).read_bytes() == BODY
    assert len(server.asked) == 3
    with refuses('file', f'{server.url}/gone.pth') as caught:
        local_path(server.url + '/gone.pth')
    assert '404' in str(caught.value)
    assert len(server.asked) == 4


def test_silence_ends(server: Server, monkeypatch) -> None:
    monkeypatch.setattr(web, 'TIMEOUT', 0.2)
    monkeypatch.setattr(download, 'ATTEMPTS', 2)
    address = server.put('/net.pth', BODY, stall=1.0)
    with refuses('file', address):
        local_path(address)
    assert len(server.asked) == 2


def test_a_server_that_is_not_there(server: Server) -> None:
    address = server.url + '/net.pth'
    server.http.server_close()
    with refuses('file', address) as caught:
        local_path(address)
    assert 'Connection refused' in str(caught.value)


@pytest.mark.parametrize('length', [2**40, -1])
def test_too_large_is_refused_when_said_and_when_sent(server: Server, monkeypatch, length) -> None:
    monkeypatch.setattr(download.download, '__defaults__', ('', (), 200_000, None))
    address = server.put('/net.pth', BODY, says_length=length)
    with refuses('file', address) as caught:
        local_path(address)
    assert 'limit of 200000' in str(caught.value)
    assert cache() == leftovers() == []


def test_a_web_page_is_no_file(server: Server) -> None:
    address = server.put('/login', b'<html>', kind='text/html; charset=utf-8')
    with refuses('file', address) as caught:
        local_path(address)
    assert 'web page' in str(caught.value)


def test_redirects_stay_on_the_web(server: Server, tmp_path: Path) -> None:
    there = server.put('/there.pth', BODY)
    assert local_path(server.put('/here.pth', to=there)).read_bytes() == BODY
    secret = tmp_path / 'secret'
    secret.write_text('mine')
    for to in (secret.as_uri(), 'ftp://a.org/x'):
        with refuses('file', f'{server.url}/out.pth'):
            local_path(server.put('/out.pth', to=to))
    loop = f'{server.url}/loop.pth'
    before = len(server.asked)
    with refuses('file', loop):
        local_path(server.put('/loop.pth', to=loop))
    assert len(server.asked) == before + 1 + web.REDIRECTS
    assert len(cache()) == 1


def test_a_cache_that_cannot_be_written(server: Server, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'file'))
    with refuses('folder', f'{tmp_path}/file/hub/checkpoints') as caught:
        local_path(server.put('/net.pth', BODY))
    assert 'TORCH_HOME' in str(caught.value)


# servers that mean harm ---------------------------------------------------------------------------
def plain(*headers: str, body: bytes = BODY, status: str = '200 OK') -> Callable[..., None]:
    """Return an answer of these headers, and a length where none of them says one."""

    def answer(connection: socket.socket, _: bytes) -> None:
        lines = [f'HTTP/1.1 {status}', *headers]
        if not any(line.lower().startswith(('content-length', 'transfer')) for line in lines):
            lines.append(f'Content-Length: {len(body)}')
        connection.sendall('\r\n'.join([*lines, '', '']).encode() + body)

    return answer


def slowly(*texts: bytes, pause: float = 0.02) -> Callable[..., None]:
    """Return an answer of some texts, the last of them again and again."""

    def answer(connection: socket.socket, _: bytes) -> None:
        for text in texts[:-1]:
            connection.sendall(text)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            connection.sendall(texts[-1])
            time.sleep(pause)

    return answer


@pytest.fixture
def hostile(server: Server) -> Iterator[Callable[..., RawServer]]:
    """Return a maker of servers that answer by functions."""
    with ExitStack() as stack:

        def start(*answers: Callable[..., Any]) -> RawServer:
            made = RawServer(*answers)
            stack.callback(made.stop)
            return made

        yield start


def rest(etag: str, total: int, begin: int = 1000, end: int | None = None, body: bytes = BODY):
    """Return a 206 that continues at ``begin``."""
    last = total - 1 if end is None else end
    return plain(
        f'Content-Range: bytes {begin}-{last}/{total}',
        f'ETag: {etag}',
        body=body[begin:],
        status='206 Partial Content',
    )


BROKEN = plain('ETag: "1"', f'Content-Length: {SIZE}', body=BODY[:1000])
WHOLE = plain('ETag: "1"')


def test_a_part_of_the_same_version_is_continued(hostile) -> None:
    found = hostile(BROKEN, rest('"1"', SIZE))
    assert local_path(found.url + '/net.pth').read_bytes() == BODY
    assert b'bytes=1000-' in found.asked[1] and len(found.asked) == 2


@pytest.mark.parametrize(
    'second',
    [
        rest('"2"', SIZE, body=OTHER),
        rest('W/"1"', SIZE, body=OTHER),
        rest('"1"', SIZE + 1, body=OTHER + b'x'),
        rest('"1"', SIZE, begin=0, body=OTHER),
        rest('"1"', SIZE, end=SIZE - 2, body=OTHER[:-1]),
        plain('ETag: "1"', body=OTHER[1000:], status='206 Partial Content'),
        plain('ETag: "1"', f'Content-Range: bytes 1000-{SIZE - 1}/{"9" * 5000}', body=b'',
              status='206 Partial Content'),
        plain('ETag: "1"', 'Content-Encoding: gzip', f'Content-Range: bytes 1000-{SIZE - 1}/{SIZE}',
              body=gzip.compress(OTHER[1000:]), status='206 Partial Content'),
    ],
    ids=[*('etag', 'weak', 'total', 'begin', 'end'), *('no range', 'digits', 'encoded')],
)  # fmt: skip
def test_any_other_part_is_thrown_away_and_the_file_begun_anew(hostile, second) -> None:
    found = hostile(BROKEN, second, WHOLE)
    assert local_path(found.url + '/net.pth').read_bytes() == BODY
    assert [b'Range:' in head for head in found.asked] == [False, True, False]


def test_a_whole_file_in_place_of_the_rest_is_taken(hostile) -> None:
    found = hostile(BROKEN, plain('ETag: "2"', body=OTHER))
    assert local_path(found.url + '/net.pth').read_bytes() == OTHER
    assert len(found.asked) == 2


@pytest.mark.parametrize('encoding', ['gzip', 'GZIP', 'deflate', 'identity'])
def test_content_encodings_are_undone(hostile, encoding) -> None:
    undo = dict(gzip=gzip.compress, deflate=zlib.compress, identity=bytes)[encoding.lower()]
    found = hostile(plain(f'Content-Encoding: {encoding}', body=undo(BODY)))
    assert local_path(found.url + '/net.pth').read_bytes() == BODY
    assert b'Accept-Encoding: identity' in found.asked[0]


REFUSED = dict(
    unasked_part=rest('"1"', SIZE),
    no_content=plain('Content-Length: 0', status='204 No Content', body=b''),
    empty=plain('Content-Length: 0', body=b''),
    reset=plain(status='205 Reset Content'),
    accepted=plain(status='202 Accepted'),
    encoding=plain('Content-Encoding: br'),
    not_gzip=plain('Content-Encoding: gzip'),
    long_length=plain(f'Content-Length: {"9" * 5000}'),
    negative_length=plain('Content-Length: -5'),
    two_lengths=plain('Content-Length: 5', 'Content-Length: 6'),
    negative_chunk=plain('Transfer-Encoding: chunked', body=b'-5\r\nhello\r\n0\r\n\r\n'),
    long_chunk=plain('Transfer-Encoding: chunked', body=b'f' * 5000 + b'\r\nhello'),
    no_checkpoint=plain(body=b'<?xml version="1.0"?><Error>no such blob</Error>'),
    cut_checkpoint=plain('Connection: close', 'Content-Type: x', body=BODY[:-200]),
    no_http=lambda connection, _: connection.sendall(b'SSH-2.0-OpenSSH_9.6\r\n'),
    silent_end=lambda *_: None,
    endless_headers=slowly(b'HTTP/1.1 200 OK\r\n', b'X: ' + b'y' * 5000 + b'\r\n', pause=0),
    no_location=plain(status='302 Found', body=b''),
    bad_location=plain('Location: http://[', status='302 Found', body=b''),
)


@pytest.mark.parametrize('answer', REFUSED.values(), ids=REFUSED)
def test_what_is_no_whole_file_is_one_line_and_is_not_kept(hostile, monkeypatch, answer) -> None:
    monkeypatch.setattr(download, 'ATTEMPTS', 2)
    found = hostile(answer)
    address = found.url + '/net.pth'
    with refuses('file', address):
        local_path(address)
    assert cache() == leftovers() == []
    assert 1 <= len(found.asked) <= 2


ENDLESS = dict(
    byte_by_byte=slowly(b'HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n', b'x'),
    body_without_length=slowly(b'HTTP/1.1 200 OK\r\n\r\n', b'x'),
    headers=slowly(b'HTTP/1.1 200 OK\r\n', b'X: y\r\n'),
    header=slowly(b'HTTP/1.1 200 OK\r\nX: ', b'y'),
    continues=slowly(b'HTTP/1.1 100 Continue\r\n\r\n', pause=0.001),
    chunks=slowly(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', b'1\r\nx\r\n'),
)


@pytest.mark.parametrize('answer', ENDLESS.values(), ids=ENDLESS)
def test_a_server_that_hardly_sends_anything_is_left(hostile, monkeypatch, answer) -> None:
    """The limit of a read alone would never end these: there is always one byte more."""
    monkeypatch.setattr(web, 'WINDOW', 0.3)
    found = hostile(answer)
    address = found.url + '/net.pth'
    with refuses('file', address) as caught:
        local_path(address)
    assert str(web.LEAST_RATE) in str(caught.value)
    assert cache() == [] and len(found.asked) == 1


def test_a_transfer_has_an_end_however_fast(hostile, monkeypatch) -> None:
    monkeypatch.setattr(web, 'WINDOW', 0.2)
    monkeypatch.setattr(web, 'TOTAL', 0.3)
    many = slowly(b'HTTP/1.1 200 OK\r\n\r\n', b'x' * 10_000, pause=0.01)
    address = hostile(many).url + '/net.pth'
    with refuses('file', address) as caught:
        local_path(address)
    assert str(web.LEAST_RATE) not in str(caught.value)


@pytest.mark.parametrize(
    ('address', 'named'),
    [
        ('http://[', None),
        ('http://me:word@[', '['),
        ('http:/x', None),
        ('http:x', None),
        ('https://', None),
        ('http://a.org:99999/x', None),
        ('http://a.org:port/x', None),
        ('ftp://a.org/x', None),
        ('http://' + '\u540d' * 120 + '/x.pth', None),
    ],
)
def test_what_is_no_address(server: Server, address: str, named: str | None) -> None:
    for how in (dict(address=address), dict(address='net.pth', url_mapping=('^.+$', address))):
        with refuses('file', address if named is None else named):
            local_path(**how)
    assert server.asked == []


def test_long_names_of_any_script_find_room(server: Server) -> None:
    name = '\u540d' * 120
    server.put('/' + '%E5%90%8D' * 120 + '.pth', BODY)
    for path in (local_path(f'{server.url}/{name}.pth'), local_path(server.put('/x', BODY), name)):
        assert path.read_bytes() == BODY
        assert len(path.name.encode()) < 200
    assert len(cache()) == 2


def test_a_full_disk_is_one_line_and_no_second_attempt(server: Server, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, 'No space left on device')

    address = server.put('/net.pth', BODY)
    monkeypatch.setattr(download, '_keep_version', full)
    with refuses('folder', str(Path(torch.hub.get_dir()) / 'checkpoints')):
        local_path(address)
    assert len(server.asked) == 1


def test_no_key_is_logged(server: Server, caplog) -> None:
    address = server.put('/net.pth', BODY) + '?sig=secret'
    with caplog.at_level(logging.INFO):
        local_path(address)
    assert 'secret' not in caplog.text and len(server.asked) == 1


# the Hugging Face hub -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ('address', 'path'),
    [
        ('hf-hub:me/net', ('me/net', 'model.safetensors', None)),
        ('hf-hub:me/net@v1', ('me/net', 'model.safetensors', 'v1')),
        ('hf-hub:me/net/sub/net.pth', ('me/net', 'sub/net.pth', None)),
        ('hf-hub:me/net@v1/net.pth', ('me/net', 'net.pth', 'v1')),
    ],
)
def test_an_address_of_the_hub_goes_to_its_library(monkeypatch, address, path) -> None:
    asked: list[Any] = []

    def found(repo: str, file: str, revision: str | None) -> str:
        asked.append((repo, file, revision))
        return '/kept/file'

    monkeypatch.setattr('mmssl.checkpoint.fetch.hub.hf_hub_download', found)
    assert local_path(address) == Path('/kept/file')
    assert asked == [path]


def test_a_hub_without_the_file_is_one_line(server: Server, tmp_path: Path, monkeypatch) -> None:
    here = partial(huggingface_hub.hf_hub_download, endpoint=server.url, cache_dir=tmp_path)
    monkeypatch.setattr('mmssl.checkpoint.fetch.hub.hf_hub_download', here)
    for address in ('hf-hub:me/net', 'hf-hub:me', 'hf-hub:', 'hf-hub:../..', 'hf-hub:a/b/../../c'):
        with refuses('file', address):
            local_path(address)
    assert {path for path, _ in server.asked} == {'/me/net/resolve/main/model.safetensors'}


def test_a_checkpoint_that_would_run_code_is_not_kept(server: Server, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / 'ran',)

    torch.save({'w': torch.zeros(3), 'x': Harm()}, tmp_path / 'net.pth')
    address = server.put('/net.pth', (tmp_path / 'net.pth').read_bytes())
    with refuses('file', address):
        local_path(address)
    assert cache() == leftovers() == []
    assert not (tmp_path / 'ran').exists()
