"""Say what is installed, which distribution acts, what is missing, and whether a network runs.

It starts where libraries cannot be imported, and says why. Exit status 0 where all that the core
needs is there and works, 1 after a line that begins with 'problem'.
"""

import argparse
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import metadata

from packaging.requirements import Requirement

from ..version import __version__
from .distributions import RIVALS, Distribution, installed, mixture, of_module

SHOWN = ('torch', 'torchvision', 'timm', 'numpy', 'pillow', 'huggingface_hub')
EXTRAS = {
    'transfer': 'detection and segmentation',
    'deploy': 'export to ONNX',
    'analysis': 'maps by UMAP',
    'data': 'Parquet files',
}


def requirements(extra: str | None) -> Iterator[str]:
    """Yield what mmssl, or one of its extras, needs and is absent or of another version."""
    for text in metadata.requires('mmssl') or ():
        wanted = Requirement(text)
        of_extra = 'extra ==' in str(wanted.marker)
        if wanted.marker and not wanted.marker.evaluate({'extra': extra or ''}):
            continue
        if of_extra != (extra is not None):
            continue
        name, version = _acting(wanted.name)
        if version is None:
            yield f'{wanted.name} is not installed'
        elif not wanted.specifier.contains(version, prereleases=True):
            yield f'{name} {version} is installed, {wanted.name}{wanted.specifier} is needed'


def _acting(name: str) -> tuple[str, str | None]:
    """Return name and version of a distribution, or of another that acts in its module."""
    for module, names in RIVALS.items():
        if name in names:
            found = of_module(module)
            return (found[0].name, found[0].version) if found else (name, None)
    return name, installed(name)


def training_step() -> str:
    """Take one step of a small method on this machine's device; return a line about it."""
    import torch

    from ..apis.methods import build_method
    from ..core.device import model_device

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
    found: dict[str, str | None] = {name: installed(name) for name in SHOWN}
    modules = {module: of_module(module) for module in RIVALS}
    for module, there in modules.items():
        acting = there[0] if there else None
        found[f'{module} ({acting.name})' if acting else module] = acting and acting.version
    yield ', '.join(f'{name} {version or "none"}' for name, version in found.items())
    yield from mixtures(modules)
    for line in requirements(None):
        yield f'problem: {line}: pip install -U mmssl'
    for extra, purpose in EXTRAS.items():
        missing = list(requirements(extra))
        if missing:
            yield f"{purpose}: no ({'; '.join(missing)}): pip install 'mmssl[{extra}]'"
        else:
            yield f'{purpose}: yes'
    yield from running()


def mixtures(modules: dict[str, list[Distribution]]) -> Iterator[str]:
    """Yield a line for each module that several distributions have written, or one in part."""
    for module, there in modules.items():
        if told := mixture(module, there):
            yield f'problem: {told}'


def running() -> Iterator[str]:
    """Yield what the machine is and how a step went; where an import fails, what failed."""
    try:
        from ..core.device import missing_gpu
        from ..engine.hooks.run_info_hook import machine

        described = machine()
        gpus = ', '.join(described['gpus']) or missing_gpu() or 'no GPU'
        memory = f'{described["memory"]} GiB'
        yield f'{described["processor"]}, {described["cores"]} cores, {memory}; {gpus}'
        yield training_step()
    except (ImportError, AttributeError, RuntimeError) as error:  # as broken libraries raise them
        cause = ' '.join(str(error).split())[:300]
        yield (
            f'problem: mmssl does not run ({type(error).__name__}: {cause}): mend what is named '
            'above first; else look at that library'
        )


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
