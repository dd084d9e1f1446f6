"""Find a checkpoint file by path or address, downloading it at most once."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import torch
from filelock import FileLock

from ...core import UserError
from ..reader.read_file import read_outline
from . import hub
from .download import download
from .library_names import library_address
from .web import check_address, is_address, refusal, shown

# the first digits of the SHA-256 in a file's name, as OpenMMLab and torch.hub write them
HASH = re.compile(r'-([0-9a-f]{8})\.(?:pth|pt|safetensors)(?:\.tar)?$')
NAME_BYTES = 120  # file systems take 255, and what is added to a name
ENDING = re.compile(r'\.(?:pth\.tar|\w{1,11})$')
DATE = re.compile(r'(?:19|20)\d\d[01]\d[0-3]\d')  # eight digits that are no hash
# pages in front of a file, which only a browser passes
BY_HAND = ('drive.google.com', 'docs.google.com', 'pan.baidu.com')
# servers that want a key: (environment variable that holds it, where it is published)
KEYED = {
    'chunyleu.blob.core.windows.net': (
        'MMSSL_ESVIT_QUERY',
        'the read-only query (?sp=...&sig=...) in the README of https://github.com/microsoft/esvit',
    )
}


def local_path(
    address: str | Path,
    name: str = '',
    url_mapping: tuple[str, str] | None = None,
    md5: str = '',
) -> Path:
    """Return a local file for a path, an http(s), hf-hub or file address, or a library's name.

    Names are ``timm:NAME`` and ``torchvision:NAME``. It is downloaded at most once. The file of
    ``hf-hub:OWNER/NAME`` is in huggingface_hub's cache, any other in torch's hub folder under
    ``name``, the model's, and the hash of its address, since many published files share a name.
    ``url_mapping`` (pattern, replacement) leads to a mirror, which may be a folder. The hash in a
    file's name, or the first digits of its ``md5``, are checked, and what is no readable
    checkpoint is not kept. Raises UserError, naming the address without its key, when the file
    cannot be had.
    """
    published = library_address(str(address))
    text = re.sub(*url_mapping, published) if url_mapping else published
    if hub.is_hub(text):
        return hub.fetch(text)
    here = on_disk(text)
    if here is not None:
        return here
    target = cached(text, name)
    if not target.is_file():
        _download_once(text, target, list(_published_hashes(published, md5)))
    return target


def on_disk(text: str) -> Path | None:
    """Return the path that a path or a file address means, None for an http(s) address.

    Raises UserError for any other kind of address.
    """
    if not is_address(text):
        return Path(text)
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise refusal(text, f'is no address ({error}); check its spelling') from None
    if parts.scheme == 'file' and parts.netloc in ('', 'localhost'):
        return Path(unquote(parts.path))
    if parts.scheme not in ('http', 'https'):
        raise refusal(
            text,
            'addresses begin with http://, https:// or file:///, hf-hub:, timm: or torchvision:',
        )
    check_address(text)
    return None


def cached(address: str, name: str = '') -> Path:
    """Return the path that an address is downloaded to: its query counts, unless it is a key."""
    parts = urlsplit(address)
    if parts.hostname in KEYED:
        address = parts._replace(query='').geturl()
    file = Path(unquote(parts.path)).name
    ending = ENDING.search(file)
    stem = file.removesuffix(ending[0]) if ending else file
    kept = re.sub(r'[^\w.-]', '_', name or stem or 'file')
    kept = kept.encode()[:NAME_BYTES].decode(errors='ignore')
    key = hashlib.sha256(address.encode()).hexdigest()[:16]
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    return folder / f'{kept}-{key}{ending[0] if ending else ""}'


def _published_hashes(address: str, md5: str) -> Iterator[tuple[str, str]]:
    """Yield (algorithm, first digits) from the file's name and from its metafile."""
    in_name = HASH.search(urlsplit(address).path)
    if in_name and not DATE.fullmatch(in_name[1]):
        yield 'sha256', in_name[1]
    if md5:
        yield 'md5', md5


def _download_once(address: str, target: Path, hashes: list[tuple[str, str]]) -> None:
    """Download, one process at a time: the others find the file when it is their turn."""
    address = _with_key(address)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.with_name(f'.{target.name}.lock'))
    except OSError as error:
        raise UserError(
            f'{target.parent}: {error}; set TORCH_HOME to a folder that can be written',
            key='folder',
            value=str(target.parent),
        ) from None
    with lock:
        if not target.is_file():
            download(address, target, target.name, hashes, check=read_outline)


def _with_key(address: str) -> str:
    """Return the address with its key; raise UserError when a person has to download it."""
    parts = urlsplit(address)
    if parts.hostname in BY_HAND:
        raise UserError(
            f'{shown(address)}: only a browser gets past this page; download it by hand and pass '
            'the path of the file instead (pretrained=PATH, or PATH on the command line)',
            key='file',
            value=shown(address),
        )
    if parts.hostname not in KEYED or parts.query:
        return address
    variable, source = KEYED[parts.hostname]
    query = os.environ.get(variable, '').strip().lstrip('?')
    if not query:
        raise UserError(
            f'{shown(address)}: its server wants a key, {source}: put it into the environment '
            f'variable {variable}, or append it by url_mapping',
            key=variable,
            value=os.environ.get(variable),
        )
    return parts._replace(query=query).geturl()
