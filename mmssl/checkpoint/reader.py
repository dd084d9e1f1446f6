"""Read any checkpoint file without ever running code from it.

A pickle names functions and classes to call. This reader knows a short list of them that build
tensors and containers; a second list of classes that official files drag along becomes inert;
any other name is refused. There is no fallback to plain unpickling.
"""

import collections
import hashlib
import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from ..core import UserError


class Refused(pickle.UnpicklingError):
    """A pickle names what this reader does not know."""


class Inert(dict):
    """What a foreign settings object becomes: its plain attributes, nothing that can run."""

    def __init__(self, *args: Any) -> None:
        super().__init__(args[0] if args and isinstance(args[0], dict) else {})

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.update(state)


def _scalar(dtype: Any, raw: Any = b'') -> Any:
    """Rebuild a numpy scalar (SwAV stores its learning rate as one) as a plain number."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise Refused('numpy scalar of an object type')
    return np.frombuffer(raw, dtype=dtype, count=1)[0].item()


def _dtype(spec: str, *flags: Any) -> np.dtype:
    dtype = np.dtype(spec)
    if dtype.hasobject:
        raise Refused('numpy dtype with objects')
    return dtype


def _encode(text: str, encoding: str = 'latin1') -> bytes:
    return text.encode('latin1')


BUILDERS: dict[tuple[str, str], Any] = {
    ('collections', 'OrderedDict'): collections.OrderedDict,
    ('collections', 'defaultdict'): lambda *_: {},
    ('torch._utils', '_rebuild_tensor_v2'): torch._utils._rebuild_tensor_v2,
    ('torch._utils', '_rebuild_tensor'): torch._utils._rebuild_tensor,
    ('torch._utils', '_rebuild_parameter'): torch._utils._rebuild_parameter,
    ('torch', 'Size'): torch.Size,
    ('torch', 'device'): torch.device,
    ('torch.serialization', '_get_layout'): torch.serialization._get_layout,
    ('builtins', 'set'): set,
    ('builtins', 'dict'): dict,
    ('builtins', 'list'): list,
    ('_codecs', 'encode'): _encode,
    ('numpy', 'dtype'): _dtype,
    ('numpy.core.multiarray', 'scalar'): _scalar,
    ('numpy._core.multiarray', 'scalar'): _scalar,
}
INERT: set[tuple[str, str]] = {
    ('argparse', 'Namespace'),
    ('yacs.config', 'CfgNode'),
    ('types', 'SimpleNamespace'),
    ('mmengine.logging.history_buffer', 'HistoryBuffer'),
    ('mmengine.config.config', 'ConfigDict'),
    ('mmcv.utils.config', 'ConfigDict'),
    ('pathlib', 'PosixPath'),
}
DTYPES = {n for n in dir(torch) if isinstance(getattr(torch, n), torch.dtype)}


class Unpickler(pickle.Unpickler):
    """Unpickler that resolves only the names of `BUILDERS` and `INERT`."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the builder of a known name; raise Refused for any other."""
        # torch writes protocol 2, where builtins and some modules have the names of Python 2
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        if (module, name) in BUILDERS:
            return BUILDERS[module, name]
        if (module, name) in INERT:
            return Inert
        if module == 'torch' and name in DTYPES:
            return getattr(torch, name)
        raise Refused(f'it would call {module}.{name}')


# the shape of a pickle module that torch.load asks for
_SAFE_PICKLE = SimpleNamespace(
    Unpickler=Unpickler,
    load=lambda file, **kw: Unpickler(file, **kw).load(),
    UnpicklingError=pickle.UnpicklingError,
    __name__='mmssl.checkpoint.reader',
)


def read(path: str | Path) -> dict[str, Any]:
    """Return the content of a torch (zip or older) or safetensors file, tensors on the CPU.

    Raises UserError, naming the file, when it is missing, not a checkpoint, damaged, or would
    run code.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f'{path}: no such file')
    if path.suffix == '.safetensors':
        return _read_safetensors(path)
    try:
        _refuse_program(path)
        content = torch.load(
            path, map_location='cpu', pickle_module=_SAFE_PICKLE, weights_only=False
        )
    except Refused as error:
        raise UserError(
            f'{path}: refused, because loading it could run code: {error}. Nothing was executed. '
            'If you trust its author, ask for a file of tensors (safetensors)'
        ) from None
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f'{path}: not a readable checkpoint, or a damaged one ({reason})') from None
    if not isinstance(content, dict):
        raise UserError(f'{path}: holds a {type(content).__name__}, not a dict of tensors')
    return content


def _refuse_program(path: Path) -> None:
    """Refuse a TorchScript archive: torch.load would hand it on and run its ``__setstate__``."""
    with open(path, 'rb') as file:
        zipped = file.read(4) == b'PK\x03\x04'  # torch's own test, stricter than zipfile's
    if zipped and 'constants.pkl' in torch._C.PyTorchFileReader(str(path)).get_all_records():
        raise Refused('it is a TorchScript program')


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f'{path}: not a readable safetensors file ({error})') from None


def file_hash(path: str | Path, digits: int = 8) -> str:
    """Return the first digits of the file's SHA-256."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:digits]
