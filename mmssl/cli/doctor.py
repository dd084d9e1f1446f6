"""Say what is installed, which distribution acts, what is missing, and whether a network runs.

Exit status 0 where all that the core needs is there and works, 1 after a line that begins with
'problem'.
"""

import argparse
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import metadata

import torch
from packaging.requirements import Requirement

from ..apis.methods import build_method
from ..core.device import missing_gpu, model_device
from ..engine.hooks.run_info_hook import machine
from ..version import __version__

# modules that more than one distribution writes: the maintained ones first
RIVALS = {
    'mmengine': ('onedl-mmengine', 'mmengine', 'mmengine-lite'),
    'mmcv': ('onedl-mmcv', 'mmcv', 'mmcv-lite', 'mmcv-full'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
    'mmseg': ('onedl-mmsegmentation', 'mmsegmentation'),
    'cv2': (
        *('opencv-python-headless', 'opencv-python', 'opencv-contrib-python'),
        'opencv-contrib-python-headless',
    ),
}
SHOWN = ('torch', 'torchvision', 'timm', 'numpy', 'pillow', 'huggingface_hub')
EXTRAS = {
    'transfer': 'detection and segmentation',
    'deploy': 'export to ONNX',
    'analysis': 'maps by UMAP',
    'data': 'Parquet files',
}


def installed(name: str) -> str | None:
    """Return the version of a distribution, None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def mixtures() -> Iterator[str]:
    """Yield a line for each module that several installed distributions have written."""
    for module, names in RIVALS.items():
        there = [name for name in names if installed(name)]
        if len(there) > 1:
            others = ' '.join(there[1:])
            yield (
                f'problem: {" and ".join(there)} both write the package {module}, so that parts of '
                f'each are there: pip uninstall -y {" ".join(there)}; then pip install {there[0]}, '
                f'without {others}'
            )


def requirements(extra: str | None) -> Iterator[str]:
    """Yield what mmssl, or one of its extras, needs and is absent or of another version."""
    for text in metadata.requires('mmssl') or ():
        wanted = Requirement(text)
        of_extra = 'extra ==' in str(wanted.marker)
        if wanted.marker and not wanted.marker.evaluate({'extra': extra or ''}):
            continue
        if of_extra != (extra is not None):
            continue
        version = installed(wanted.name) or _rival(wanted.name)
        if version is None:
            yield f'{wanted.name} is not installed'
        elif not wanted.specifier.contains(version, prereleases=True):
            yield f'{wanted.name} {version} is installed, {wanted.specifier} is needed'


def _rival(name: str) -> str | None:
    """Return the version of another distribution of the same module."""
    for names in RIVALS.values():
        if name in names:
            return next((found for other in names if (found := installed(other))), None)
    return None


def training_step() -> str:
    """Take one step of a small method on this machine's device; return a line about it."""
    began = time.perf_counter()
    device = model_device()
    method = build_method(
        'mocov3', 'resnet18', img_size=32, batch_size=4, epochs=1, steps_per_epoch=1
    ).to(device)
    optimizer = method.build_optimizer()
    method.begin_step(0, optimizer)
    views = [torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8) for _ in range(2)]
    loss = method(views, mode='loss')['loss']
    loss.backward()
    method.clip_gradients()
    optimizer.step()
    method.end_step()
    seconds = time.perf_counter() - began
    if not loss.isfinite():
        return f'problem: a step of MoCo v3 on {device} gives a loss of {float(loss)}'
    return f'a step of MoCo v3 with ResNet-18 on {device}: done in {seconds:.1f} s'


def lines() -> Iterator[str]:
    """Yield the report, the quick parts first."""
    yield f'mmssl {__version__}, Python {platform.python_version()}'
    found = {name: installed(name) for name in SHOWN}
    for module, names in RIVALS.items():
        acting = next((name for name in names if installed(name)), None)
        found[f'{module} ({acting})' if acting else module] = installed(acting) if acting else None
    yield ', '.join(f'{name} {version or "none"}' for name, version in found.items())
    described = machine()
    gpus = ', '.join(described['gpus']) or missing_gpu() or 'no GPU'
    yield f'{described["processor"]}, {described["cores"]} cores, {described["memory"]} GiB; {gpus}'
    yield from mixtures()
    for line in requirements(None):
        yield f'problem: {line}: pip install -U mmssl'
    for extra, purpose in EXTRAS.items():
        missing = list(requirements(extra))
        if missing:
            yield f"{purpose}: no ({'; '.join(missing)}): pip install 'mmssl[{extra}]'"
        else:
            yield f'{purpose}: yes'
    yield training_step()


def main(argv: Sequence[str] | None = None) -> None:
    """Print the report; leave with status 1 where there is a problem."""
    argparse.ArgumentParser(description=__doc__).parse_args(argv)
    problems = 0
    for line in lines():
        print(line, flush=True)
        problems += line.startswith('problem')
    if problems:
        sys.exit(1)
    print('all is well')
