"""Packaging: the version, the requirements and the files beside the package that belong to it."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
BESIDE = ('configs', 'tools', 'model-index.yml')  # OpenMMLab looks for them in mmssl/.mim
MAINTAINERS = ('dev', 'replay_golden.py')  # of tools: they need the repository
EXTRAS = ('transfer', 'deploy', 'analysis', 'data', 'tests')


def version() -> str:
    """The version, without importing the package and so torch."""
    text = (ROOT / 'mmssl' / 'version.py').read_text(encoding='utf-8')
    return re.search(r"__version__ = '([^']+)'", text).group(1)


def requirements(name: str) -> list[str]:
    """The lines of one requirements file that are not comments."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8').splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith('#')]


def readme() -> str:
    """The text shown by package indexes."""
    path = ROOT / 'README.md'
    return path.read_text(encoding='utf-8') if path.exists() else ''


class BuildWithMim(build_py):
    """Put configs, tools and the model index into ``mmssl/.mim``.

    A wheel gets copies, made in the build folder only. An editable install gets links in the source
    tree (git ignores them), so that ``mmssl::`` config bases work there too.
    """

    def run(self) -> None:
        """Build as usual, then add the files."""
        super().run()
        editable = getattr(self, 'editable_mode', False)
        mim = (ROOT if editable else Path(self.build_lib).resolve()) / 'mmssl' / '.mim'
        shutil.rmtree(mim, ignore_errors=True)
        mim.mkdir(parents=True)
        for name in BESIDE:
            if editable:
                (mim / name).symlink_to(Path('..', '..', name))
            else:
                self.copy(ROOT / name, mim / name)

    def copy(self, source: Path, target: Path) -> None:
        """Copy a file, or a folder without caches; what is missing is an error."""
        if source.is_dir():
            left_out = ('__pycache__', '*.pyc', *(MAINTAINERS if source.name == 'tools' else ()))
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(*left_out))
        else:
            shutil.copyfile(source, target)


extras = {name: requirements(name) for name in EXTRAS}
extras['all'] = [line for name in EXTRAS for line in extras[name]]

setup(
    name='mmssl',
    version=version(),
    description='A self-supervised learning toolbox in the style of OpenMMLab',
    long_description=readme(),
    long_description_content_type='text/markdown',
    author='The mmssl authors',
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords=['computer vision', 'self-supervised learning', 'pretraining'],
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    packages=find_packages(include=['mmssl', 'mmssl.*']),
    include_package_data=True,
    python_requires='>=3.10',
    install_requires=requirements('runtime'),
    extras_require=extras,
    entry_points={'console_scripts': ['mmssl = mmssl.cli.command:run']},
    cmdclass={'build_py': BuildWithMim},
    zip_safe=False,
)
