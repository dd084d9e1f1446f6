"""Read any checkpoint file without ever running code from it.

There is no fallback to plain unpickling, nor to torch's loader.
"""

import hashlib
import shlex
from pathlib import Path
from typing import Any

from ...core import UserError
from ...core.errors import escaped
from ..content_hash import check_hash
from ..file_format import check_version
from .archive import open_container
from .builders import Inert, Refused, RefusedCall
from .limits import HEADER, check_header, check_limits

__all__ = ['Inert', 'Refused', 'file_hash', 'read', 'read_outline']


def read(path: str | Path) -> dict[str, Any]:
    """Return the content of a torch (zip or older) or safetensors file, tensors on the CPU.

    Raises UserError, naming the file, when it is missing, not a checkpoint, damaged (the hash that
    our own files hold is compared on every read), a training file of another version of mmssl, or
    would run code.
    """
    return _read(Path(path), values=True)


# runs what the file says, which is the user's to decide
RESAVE = (
    "import torch; d = torch.load({path!r}, 'cpu', weights_only=False); d = d.get('state_dict', "
    "d.get('model', d)); torch.save({{k: v for k, v in d.items() if torch.is_tensor(v)}}, "
    "'tensors.pth')"
)


def read_outline(path: str | Path) -> dict[str, Any]:
    """Return the content of a file as `read` does, but without the values of its tensors.

    They are of the meta device, and the hash is not compared. Raises UserError as `read` does.
    """
    return _read(Path(path), values=False)


def _read(path: Path, values: bool) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f'{path}: no such file', key='file', value=str(path))
    kind = 'safetensors file' if path.suffix == '.safetensors' else 'checkpoint'
    try:
        content = open_container(path, values) if kind == 'checkpoint' else _safetensors(path)
        check_limits(content, path.stat().st_size)
        if isinstance(content, dict):
            if values:
                check_hash(content, str(path))
            check_version(content, str(path))
    except UserError:
        raise
    except Refused as error:
        raise UserError(
            f'{path}: refused, because loading it could run code or exhaust memory: {error}. '
            f'Nothing was executed. {_way_out(error, path)}',
            key='file',
            value=str(path),
        ) from None
    except Exception as error:  # whatever damage leads to
        text = escaped(str(error).partition('\n')[0])
        reason = text[:200] or type(error).__name__
        raise UserError(
            f'{path}: not a readable {kind}, or a damaged one ({reason})',
            key='file',
            value=str(path),
        ) from None
    if not isinstance(content, dict):
        raise UserError(
            f'{path}: holds a {type(content).__name__}, not a dict of tensors; give the '
            'checkpoint that was trained',
            key='file',
            value=str(path),
        )
    return content


def _way_out(error: Refused, path: Path) -> str:
    """Return what a user can do about a refused file: one that is only a pickle, or another."""
    if not isinstance(error, RefusedCall):
        return 'Ask its author for a file of tensors (safetensors)'
    code = shlex.quote(RESAVE.format(path=str(path)))  # a name may hold quotes
    return (
        f'If you trust its author, let torch load it and save its tensors alone: python -c {code}'
    )


def _safetensors(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    with open(path, 'rb') as file:
        length = int.from_bytes(file.read(8), 'little')
        if length > HEADER:
            raise Refused(f'its header has more than {HEADER >> 20} MB')
        check_header(file.read(length))
    return load_file(path)


def file_hash(path: str | Path, digits: int = 8) -> str:
    """Return the first digits of the file's SHA-256."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:digits]
