"""Downloads: once, whole, checked, resumed; a bad server is survived or named."""

import hashlib
import random
import threading
from pathlib import Path

import pytest
import torch

from mmssl.checkpoint import local_path
from mmssl.checkpoint.fetch import download, fetch, web

from ..helpers.refusals import refuses
from ..helpers.server import Server

BODY = random.Random(0).randbytes(300_000)
ESVIT = 'https://chunyleu.blob.core.windows.net/output/ckpts/esvit/a/checkpoint.pth'


def cache() -> list[str]:
    """Names in the cache that are whole files."""
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    return sorted(p.name for p in folder.glob('*') if not p.name.startswith('.'))


def leftovers() -> list[str]:
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    return sorted(p.suffix for p in folder.glob('.*') if p.suffix != '.lock')


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
    one = local_path(server.put('/swin_tiny/checkpoint.pth', b'one'))
    two = local_path(server.put('/swin_small/checkpoint.pth', b'two'))
    assert (one.read_bytes(), two.read_bytes()) == (b'one', b'two')
    three = local_path(server.url + '/swin_small/checkpoint.pth?version=3')
    assert len(cache()) == 3 and three.read_bytes() == b'two'


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
    with refuses('file', address) as caught:
        local_path(address)
    assert 'broke off after 40000 of 300000 bytes' in str(caught.value)
    assert cache() == [] and leftovers() == ['.json', '.part']
    server.asked.clear()
    assert local_path(address).read_bytes() == BODY
    assert server.ranges() == ['bytes=40000-']


def test_a_file_that_changed_meanwhile_begins_anew(server: Server) -> None:
    address = server.put('/net.pth', BODY, breaks=[100_000] * download.ATTEMPTS)
    with refuses('file', address):
        local_path(server.put('/net.pth', BODY, breaks=[60_000] * download.ATTEMPTS))
    server.put('/net.pth', BODY[::-1], mark='"2"')
    assert local_path(address).read_bytes() == BODY[::-1]


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
    part = target.with_name(f'.{target.name}.part')
    part.write_bytes(BODY)
    part.with_suffix('.json').write_text('{"mark": "\\"1\\""}')
    assert local_path(address).read_bytes() == BODY
    assert server.ranges() == ['bytes=300000-', None]


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(server: Server) -> None:
    address = server.put('/net.pth', BODY, status=[503, 429])
    assert local_path(address).read_bytes() == BODY
    assert len(server.asked) == 3
    with refuses('file', f'{server.url}/gone.pth') as caught:
        local_path(server.url + '/gone.pth')
    assert '(Not Found)' in str(caught.value)
    assert len(server.asked) == 4


def test_silence_ends(server: Server, monkeypatch) -> None:
    monkeypatch.setattr(download, 'TIMEOUT', 0.2)
    monkeypatch.setattr(download, 'ATTEMPTS', 2)
    address = server.put('/net.pth', BODY, stall=1.0)
    with refuses('file', address) as caught:
        local_path(address)
    assert '(timed out)' in str(caught.value)


def test_a_server_that_is_not_there(server: Server) -> None:
    address = server.url + '/net.pth'
    server.http.server_close()
    with refuses('file', address) as caught:
        local_path(address)
    assert 'Connection refused' in str(caught.value)


@pytest.mark.parametrize('length', [2**40, -1])
def test_too_large_is_refused_when_said_and_when_sent(server: Server, monkeypatch, length) -> None:
    monkeypatch.setattr(download.download, '__defaults__', ('', (), 200_000))
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
    with refuses('file', loop) as caught:
        local_path(server.put('/loop.pth', to=loop))
    assert 'infinite loop' in str(caught.value)
    assert len(cache()) == 1


def test_a_cache_that_cannot_be_written(server: Server, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'file'))
    with refuses('folder', f'{tmp_path}/file/hub/checkpoints') as caught:
        local_path(server.put('/net.pth', BODY))
    assert 'TORCH_HOME' in str(caught.value)
