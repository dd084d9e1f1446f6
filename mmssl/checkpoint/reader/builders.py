"""Allow list of the safe unpickler: builders of tensors and containers, and inert classes."""

import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Refused(pickle.UnpicklingError):
    """A file names what this reader does not allow, or would grow without bound."""


class RefusedCall(Refused):
    """A file whose pickle names what this reader does not call; torch's own loader would."""

    def __init__(self, name: str) -> None:
        super().__init__(f'it would call {name}')


class Inert(dict[str, Any]):
    """Replacement for a foreign settings object: holds its plain attributes and runs nothing."""

    def __init__(self, *args: Any) -> None:
        super().__init__(args[0] if args and isinstance(args[0], dict) else {})

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.update(state)


class Dtype:
    """A numpy type of plain numbers, by its short name.

    Raises Refused for any other type.
    """

    def __init__(self, spec: Any, *_: Any) -> None:
        if not isinstance(spec, str) or not re.fullmatch(r'[<>=|]?([biufc]\d{1,2}|\?)', spec):
            raise Refused('numpy dtype with objects or fields')
        self.spec = spec

    def order(self, state: Any) -> None:
        """Take the byte order from the state that numpy pickles."""
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ('<', '>'):
            self.spec = state[1] + self.spec.lstrip('<>=|')


def _scalar(dtype: Any, raw: Any = b'') -> Any:
    """Rebuild a numpy scalar (SwAV stores its learning rate as one) as a plain number."""
    if not isinstance(dtype, Dtype):
        raise Refused('numpy scalar of an object type')
    if isinstance(raw, str):  # written by Python 2
        raw = raw.encode('latin1')
    return np.frombuffer(raw, dtype=dtype.spec, count=1)[0].item()


def _encode(text: str, encoding: str = 'latin1') -> bytes:
    """Return the bytes that protocol 2 stores as text."""
    return text.encode('latin1')


def _items(items: Any = ()) -> Any:
    """Return a list or tuple as it is; raise Refused for anything else."""
    if not isinstance(items, (list, tuple)):
        raise Refused('a container made of something else than a list')
    return items


def _set(items: Any = ()) -> set[Any]:
    return {key(item) for item in _items(items)}


def _dict(items: Any = ()) -> dict[str, Any]:
    return {key(k): value for k, value in _items(items)}


def _getattr(owner: Any, name: Any) -> Inert:
    """Stand for a method that mmengine's HistoryBuffer keeps; nothing is looked up."""
    if owner is not Inert:
        raise RefusedCall('builtins.getattr')
    return Inert()


def key(value: Any) -> Any:
    """Return a dict key; raise Refused for all but scalars, whose hash cannot exhaust the stack."""
    if value is None or isinstance(value, (str, int, float, bytes, torch.dtype)):
        return value
    raise Refused(f'a {type(value).__name__} as the key of a dict')


def tensor(flat: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """View a 1-D storage (n) as a tensor of ``size``.

    Raises ValueError when it reaches outside the storage, Refused for anything but numbers.
    """
    if not isinstance(flat, Tensor) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise Refused('a tensor made of something else than a storage')
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or len(size) > 64 or any(type(n) is not int for n in numbers):
        raise ValueError('a tensor with a senseless shape')
    if min(numbers) < 0:
        raise ValueError(f'a tensor of shape {size} with negative strides {stride}')
    count = 1
    for n in size:
        count *= n
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count and (last >= len(flat) or count > len(flat)):
        raise ValueError(f'a tensor of shape {size} on a storage of {len(flat)} elements')
    return flat.as_strided(size, stride, offset) if count else flat.new_empty(size)


def _parameter(data: Tensor, *_: Any) -> Tensor:
    return data


BUILDERS: dict[tuple[str, str], Callable[..., Any]] = {
    ('collections', 'OrderedDict'): _dict,
    ('collections', 'defaultdict'): lambda *_: {},
    ('torch._utils', '_rebuild_tensor_v2'): tensor,
    ('torch._utils', '_rebuild_tensor'): tensor,
    ('torch._utils', '_rebuild_parameter'): _parameter,
    ('torch', 'Size'): lambda items=(): torch.Size(_items(items)),
    ('torch', 'device'): torch.device,
    ('torch.serialization', '_get_layout'): torch.serialization._get_layout,
    ('builtins', 'set'): _set,
    ('builtins', 'dict'): _dict,
    ('builtins', 'list'): lambda items=(): list(_items(items)),
    ('builtins', 'getattr'): _getattr,
    ('_codecs', 'encode'): _encode,
    ('numpy', 'dtype'): Dtype,
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
    # arrays of numbers in logs
    ('numpy', 'ndarray'),
    ('numpy.core.multiarray', '_reconstruct'),
    ('numpy._core.multiarray', '_reconstruct'),
}
DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
STORAGES = {
    'FloatStorage': torch.float32,
    'DoubleStorage': torch.float64,
    'HalfStorage': torch.float16,
    'BFloat16Storage': torch.bfloat16,
    'LongStorage': torch.int64,
    'IntStorage': torch.int32,
    'ShortStorage': torch.int16,
    'CharStorage': torch.int8,
    'ByteStorage': torch.uint8,
    'BoolStorage': torch.bool,
    'ComplexFloatStorage': torch.complex64,
    'ComplexDoubleStorage': torch.complex128,
}


class Kind(tuple[Any, ...]):
    """The type of a storage: (its name in the file, its dtype)."""
