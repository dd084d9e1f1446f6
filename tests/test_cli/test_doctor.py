"""The doctor: which distribution of a package acts, how a mixture is mended, and that it starts."""

import base64
import hashlib
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from mmssl.cli import doctor
from mmssl.cli.distributions import Distribution, mixture, of_module

from ..helpers.paths import REPO

OURS = {'__init__.py': "__version__ = '1'\n", 'both.py': 'a = 1\n', 'new.py': 'b = 1\n'}
THEIRS = {'__init__.py': "__version__ = '2'\n", 'both.py': 'a = 1\n', 'old.py': 'c = 1\n'}


def install(site: Path, name: str, version: str, files: dict[str, str]) -> None:
    """Write the files of module ``mmengine`` as pip does, over what is there."""
    folder = site / 'mmengine'
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for file, text in files.items():
        (folder / file).write_text(text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
        lines.append(f'mmengine/{file},sha256={digest.rstrip("=")},{len(text)}')
    info = site / f'{name.replace("-", "_")}-{version}.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')
    (info / 'RECORD').write_text('\n'.join([*lines, f'{info.name}/RECORD,,']) + '\n')


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of packages before all others."""
    (tmp_path / 'site').mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / 'site'))
    return tmp_path / 'site'


@pytest.mark.parametrize('last', ['onedl-mmengine', 'mmengine'])
def test_who_was_installed_last_acts(site, last):
    """Versions that no registry has, so that those of this environment are not taken."""
    names = {'onedl-mmengine': ('91.0', OURS), 'mmengine': ('92.0', THEIRS)}
    for name in sorted(names, key=lambda name: name == last):
        install(site, name, *names[name])
    first, second = of_module('mmengine')
    assert (first.name, first.version) == (last, names[last][0])
    assert (first.files, first.own, first.missing) == (3, 3, 0)
    assert (second.files, second.own, second.missing) == (3, 2, 0)
    assert first.whole and not second.whole
    told = mixture('mmengine', [first, second])
    assert told is not None and f'{last} acts' in told
    # the maintained one stays, whoever acts
    assert told.endswith(
        f'pip uninstall -y {first.name} {second.name}; then pip install onedl-mmengine==91.0'
    )


def test_parts_of_each(site):
    install(site, 'onedl-mmengine', '91.0', OURS)
    install(site, 'mmengine', '92.0', THEIRS)
    (site / 'mmengine' / '__init__.py').write_text('something else')
    found = of_module('mmengine')
    assert [one.own for one in found] == [2, 2]
    assert not any(one.whole for one in found)
    told = mixture('mmengine', found)
    assert told is not None and 'acts' not in told


def test_what_removing_one_of_two_leaves(site):
    """pip removes the files that it has listed, which are the other's by now."""
    install(site, 'mmengine', '92.0', THEIRS)
    install(site, 'onedl-mmengine', '91.0', OURS)
    for file in THEIRS:
        (site / 'mmengine' / file).unlink()
    [path] = site.glob('mmengine-*')
    path.rename(path.with_suffix('.gone'))
    # of this environment's own
    [left] = [one for one in of_module('mmengine') if one.version == '91.0']
    assert (left.files, left.own, left.missing) == (3, 1, 2)
    told = mixture('mmengine', [left])
    assert told is not None
    assert told.endswith('--force-reinstall --no-deps onedl-mmengine==91.0')


@pytest.mark.parametrize(
    ('files', 'own', 'missing'), [(3, 3, 0), (3, 2, 0), (0, 0, 0)],
    ids=['whole', 'changed by hand', 'editable'],
)  # fmt: skip
def test_one_alone_is_well(files, own, missing):
    assert mixture('mmengine', [Distribution('mmengine', '1', files, own, missing)]) is None
    assert mixture('mmengine', []) is None


# the command --------------------------------------------------------------------------------------
def mmssl(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the console script with a folder of packages before all others."""
    environment = os.environ | dict(PYTHONPATH=f'{site}{os.pathsep}{REPO}')
    code = f'import sys; sys.argv = {["mmssl", *words]}; from mmssl.cli.command import run; run()'
    return subprocess.run(
        [sys.executable, '-c', code], env=environment, capture_output=True, text=True
    )


def test_it_starts_without_mmengine(site):
    """As after `pip uninstall mmengine` beside onedl-mmengine: no part of mmssl can be imported."""
    broken = dict(OURS, **{'__init__.py': 'raise ImportError("a part is gone")\n'})
    install(site, 'onedl-mmengine', '91.0', broken)
    (site / 'mmengine' / 'new.py').unlink()
    done = mmssl(site, 'doctor')
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    problems = [line for line in done.stdout.splitlines() if line.startswith('problem')]
    assert len(problems) == 2
    assert 'onedl-mmengine==91.0' in problems[0] and 'a part is gone' in problems[1]
    other = mmssl(site, 'plan', 'x.py')
    assert other.returncode == 2
    [line] = other.stderr.strip().splitlines()
    assert 'a part is gone' in line and 'mmssl doctor' in line


def test_this_environment_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    doctor.main([])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == 'all is well'
    assert 'mmengine (onedl-mmengine)' in lines[1]
    assert 'a step of MoCo v3 with ResNet-18 on cpu: done' in lines[-2]


def test_problems_are_named_with_their_cure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = {
        'mmengine': [
            Distribution('onedl-mmengine', '0.10.12', 9, 9, 0),
            Distribution('mmengine', '0.10.7', 9, 4, 0),
        ],
        'mmcv': [Distribution('mmcv', '2.1.0', 9, 9, 0)],
    }
    monkeypatch.setattr(doctor, 'of_module', lambda module: there.get(module, []))
    monkeypatch.setattr(doctor, 'installed', {'timm': '0.9.2'}.get)
    needed = ['timm>=1.0.23', 'torch>=2.6', 'onedl-mmcv>=2.3; extra == "transfer"']
    monkeypatch.setattr(metadata, 'requires', lambda name: needed)
    monkeypatch.setattr(doctor, 'training_step', lambda: 'a step')
    with pytest.raises(SystemExit) as left:
        doctor.main([])
    assert left.value.code == 1
    printed = capsys.readouterr().out
    cure = 'pip uninstall -y onedl-mmengine mmengine; then pip install onedl-mmengine==0.10.12'
    assert cure in printed
    assert 'problem: timm 0.9.2 is installed, timm>=1.0.23 is needed' in printed
    assert 'problem: torch is not installed' in printed
    assert 'mmcv 2.1.0 is installed, onedl-mmcv>=2.3 is needed' in printed
    assert 'mmcv (mmcv) 2.1.0' in printed
