"""Keep one mmcv wheel with compiled operators for each Python and torch.

onedl-mmcv is published as source, and a plain ``pip install`` of it leaves the operators out. This
compiles them once, which takes about 20 minutes divided by the number of cores, and keeps the wheel
in the user's cache folder. ``setup_env.sh`` runs it with the interpreter of ``.venv``, which has to
have torch, setuptools, wheel and ninja.

    python tools/dev/mmcv_wheel.py {find,build,install,check} VERSION
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

GIGABYTE = 2**30


def nvcc_fits(cuda_home: str | None, cuda: str | None) -> bool:
    """Whether the CUDA toolkit has the major version that torch was built with."""
    if not cuda_home or not cuda:
        return False
    try:
        nvcc = [str(Path(cuda_home, 'bin', 'nvcc')), '--version']
        text = subprocess.run(nvcc, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    return f'release {cuda.split(".")[0]}.' in text


def with_cuda() -> bool:
    """Whether to compile for CUDA: as MMCV_CUDA says, else if torch sees a GPU and nvcc fits."""
    import torch
    from torch.utils.cpp_extension import CUDA_HOME

    if os.environ.get('MMCV_CUDA'):
        return os.environ['MMCV_CUDA'] == '1'
    return torch.cuda.is_available() and nvcc_fits(CUDA_HOME, torch.version.cuda)


def folder() -> Path:
    """Where the wheel for this interpreter and this torch is kept."""
    import torch

    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    name = f'cp{sys.version_info.major}{sys.version_info.minor}-torch{torch.__version__}'
    return cache / 'mmssl' / 'wheels' / (name + ('-cuda' if with_cuda() else ''))


def find(version: str) -> Path:
    """The kept wheel; leaves with status 1 if there is none."""
    wheels = sorted(folder().glob(f'onedl_mmcv-{version}-*.whl'))
    if not wheels:
        sys.exit(f'no mmcv {version} wheel in {folder()}')
    return wheels[0]


def jobs() -> int:
    """Compilers to run at once: one for each core, as far as there are 2 GB of memory for each."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    memory = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    return max(1, min(cores or 1, memory // (2 * GIGABYTE)))


def require_compiler() -> None:
    """Say in one line what is missing, before the compiler says it in fifty."""
    if not shutil.which(os.environ.get('CXX', 'c++').split()[0]):
        sys.exit('mmcv needs a C++ compiler, none found; on Debian and Ubuntu: apt install g++')
    if not Path(sysconfig.get_path('include'), 'Python.h').exists():
        sys.exit('mmcv needs the file Python.h; on Debian and Ubuntu: apt install python3-dev')


def build(version: str) -> None:
    """Compile, beside the final place, then move: nobody ever finds half a wheel."""
    require_compiler()
    cuda = with_cuda()
    env = {
        **os.environ,
        'MAX_JOBS': os.environ.get('MAX_JOBS') or str(jobs()),
        'MMCV_WITH_OPS': '1',
        'FORCE_CUDA': str(int(cuda)),
        'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}',  # ninja
    }
    if not cuda:
        # mmcv's setup.py compiles for CUDA whenever torch sees a GPU
        env['CUDA_VISIBLE_DEVICES'] = ''
    place = folder()
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='.build-', dir=place) as beside:
        command = ['wheel', '-v', '--no-build-isolation', '--no-deps', '--wheel-dir', beside]
        # pip's cache may hold a wheel of the same name without operators
        source = ['--no-cache-dir', '--no-binary', 'onedl-mmcv', f'onedl-mmcv=={version}']
        subprocess.run([sys.executable, '-m', 'pip', *command, *source], env=env, check=True)
        for wheel in Path(beside).glob('*.whl'):
            os.replace(wheel, place / wheel.name)


def install(version: str) -> None:
    """Install the kept wheel, without the opencv-python it asks for: we have the headless one."""
    command = ['install', '--no-deps', '--force-reinstall', str(find(version))]
    subprocess.run([sys.executable, '-m', 'pip', *command], check=True)


def check(version: str) -> None:
    """Run two operators on the CPU."""
    import mmcv
    import torch
    from mmcv.ops import RoIAlign, nms

    if mmcv.__version__ != version:
        sys.exit(f'mmcv is {mmcv.__version__}, not {version}')
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
    nms(boxes, torch.ones(1), 0.5)
    RoIAlign(2)(torch.ones(1, 1, 8, 8), torch.cat([torch.zeros(1, 1), boxes], dim=1))


def main() -> None:
    """Read the command line."""
    actions = {'find': find, 'build': build, 'install': install, 'check': check}
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('action', choices=actions)
    parser.add_argument('version')
    args = parser.parse_args()
    try:
        result = actions[args.action](args.version)
    except subprocess.CalledProcessError as error:
        sys.exit(f'pip ended with status {error.returncode}')
    if result is not None:
        print(result)


if __name__ == '__main__':
    main()
