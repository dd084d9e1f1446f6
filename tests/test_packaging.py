"""Contents of the wheel, and that it works without the sources."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from .helpers.paths import REPO

NEEDED = ('mmssl', 'configs', 'tools', 'requirements', 'setup.py', 'pyproject.toml')
NEEDED += ('MANIFEST.in', 'README.md', 'LICENSE', 'CHANGELOG.md', 'CITATION.cff')
NEEDED += ('model-index.yml',)
CODE = """
import mmssl, mmssl.zoo.hub
from pathlib import Path
from mmengine.config import Config

place = Path(mmssl.__file__).parent
assert mmssl.zoo.hub.root() == place / '.mim', mmssl.zoo.hub.root()
print(len(mmssl.list_models()))
model = mmssl.get_model('mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k')
print(model._config.filename)
cfg = Config.fromfile('mine.py', import_custom_modules=False)
print(cfg.train_cfg.max_epochs, cfg.model.backbone.arch, cfg.optim_wrapper.optimizer.lr)
print(type(mmssl.get_model('mine.py')).__name__)
print(sorted(p.name for p in (place / '.mim').iterdir()))
"""
RUN = 'from mmssl.cli.command import run; run()'  # the console script
MINE = """
'''A recipe that builds on ours.'''

_base_ = 'mmssl::mocov3/mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k.py'

train_cfg = dict(max_epochs=50)
"""


@pytest.fixture(scope='module')
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel from a copy of the sources, without isolation and without a network."""
    source = tmp_path_factory.mktemp('source')
    ignore = shutil.ignore_patterns('__pycache__', '.mim')
    for name in NEEDED:
        here = REPO / name
        copy = shutil.copytree if here.is_dir() else shutil.copyfile
        copy(here, source / name, **(dict(ignore=ignore) if here.is_dir() else {}))
    out = tmp_path_factory.mktemp('wheel')
    command = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation']
    command += ['--no-index', '--disable-pip-version-check', '-w', str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = out.glob('mmssl-*.whl')
    return found


def files(folder: str, *endings: str) -> set[str]:
    """Return the files below a folder of the sources."""
    found = (p for p in (REPO / folder).rglob('*') if p.suffix in endings)
    return {str(p.relative_to(REPO)) for p in found}


@pytest.mark.slow
def test_the_wheel_carries_configs_tools_and_index(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    inside = {n.removeprefix('mmssl/.mim/') for n in names if n.startswith('mmssl/.mim/')}
    configs = files('configs', '.py', '.yml', '.md')
    assert configs <= inside
    tools = files('tools', '.py', '.sh')
    maintainers = files('tools/dev', '.py', '.sh') | {'tools/replay_golden.py'}
    assert maintainers < tools, 'else nothing is checked below'
    assert tools - maintainers <= inside and 'model-index.yml' in inside
    assert not any(n in maintainers or n.startswith('tools/dev') for n in inside)
    assert files('mmssl', '.py') - files('mmssl/.mim', '.py') <= names
    assert not any('__pycache__' in n or n.startswith('tests') for n in names)
    assert wheel.stat().st_size < 2e6


@pytest.mark.slow
def test_an_installed_package_works_anywhere(wheel: Path, tmp_path: Path):
    place, cwd = tmp_path / 'site', tmp_path / 'elsewhere'
    cwd.mkdir()
    zipfile.ZipFile(wheel).extractall(place)
    (cwd / 'mine.py').write_text(MINE)
    environment = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', CODE],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        env=environment | dict(PYTHONPATH=str(place), OMP_NUM_THREADS='1'),
    )
    assert done.returncode == 0, done.stderr
    count, filename, values, kind, beside = done.stdout.splitlines()[-5:]
    from mmssl.apis import list_models

    assert int(count) == len(list_models())
    assert Path(filename).is_relative_to(place / 'mmssl' / '.mim' / 'configs')
    assert values == '50 small 0.0024'
    assert kind == 'MoCoV3'
    assert beside == "['configs', 'model-index.yml', 'tools']"


@pytest.mark.nightly
def test_from_images_to_classes_by_the_wheels_command(
    wheel: Path, image_folder: Path, tmp_path: Path
):
    place, cwd = tmp_path / 'site', tmp_path / 'elsewhere'
    cwd.mkdir()
    zipfile.ZipFile(wheel).extractall(place)
    environment = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}

    def mmssl(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', RUN, *words],
            capture_output=True, text=True, cwd=cwd, check=False,
            env=environment | dict(PYTHONPATH=str(place), OMP_NUM_THREADS='1'),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    told = mmssl('pretrain', str(image_folder), '--epochs', '1', '--work-dir', 'features')
    pretrained = re.search(r'^pretrain: weights (\S+),', told, re.MULTILINE)[1]
    assert '$ mmssl train features/pretrain.py' in told
    mmssl('probe', str(image_folder), '--pretrained', pretrained, '--work-dir', 'probe')
    folder = image_folder / 'val' / 'red'
    told = mmssl('predict', 'probe/classifier.pth', str(folder))
    classes = {p.name for p in (image_folder / 'val').iterdir()}
    found = [re.fullmatch(r'(.*): (\w+) \(\d\.\d{3}\)', line) for line in told.splitlines()]
    assert [match[1] for match in found if match] == [str(p) for p in sorted(folder.iterdir())]
    assert {match[2] for match in found if match} <= classes
