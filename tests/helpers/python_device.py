"""Take a recorded step on a device without kernels: ``python -m tests.helpers.python_device CASE``.

Its tensors have shapes and no numbers, and mixing them with the CPU's raises, as on a GPU. A
process can have one such device, for good.
"""

import contextlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from safetensors.torch import load_file
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from mmssl.planning.fake_tensor_step import DataDependentResults
from mmssl.registry import MODELS

from ..replay import step
from ..replay.precision import PRECISIONS


def build(cfg: dict[str, Any]) -> Any:
    """Build a model outside the mode, which cannot copy a teacher."""
    with unset_fake_temporarily():
        return MODELS.build(cfg)


def main(folder: Path) -> None:
    """Take the step, and print the devices of what it left and how many tensors these are."""
    _setup_privateuseone_for_python_backend('emu')
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    registry = SimpleNamespace(build=build)
    autocast = contextlib.nullcontext()  # the device has none
    block = json.loads((folder / 'case.json').read_text())['replay']
    batch = load_file(folder / 'batch.safetensors')
    with (
        mock.patch.object(step, 'MODELS', registry),
        mock.patch.object(step.Step, '_autocast', lambda _: autocast),
        FakeTensorMode(allow_non_fake_inputs=True),
        DataDependentResults(0.3),
    ):
        done = step.Step(folder, block, batch, 'emu', PRECISIONS['float32'])
    left = [*done.after.values(), *done.grads.values(), *done.found.values()]
    devices = {p.device.type for p in done.model.parameters()}
    print(*devices, *{value.device.type for value in left}, len(done.grads))


if __name__ == '__main__':
    main(Path(sys.argv[1]))
