"""Links in the documentation point to existing files."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from mmssl.version import __version__

from .helpers.paths import REPO

PAGES = sorted(
    [REPO / 'README.md', *(REPO / 'docs').glob('*.md'), *(REPO / 'configs').glob('*/README.md')]
)
LINK = re.compile(r'(?<!!)\[[^\]]*\]\((?!https?:|#)([^)#]+)')
NAMED = re.compile(r'(?<![\w/<.])(?:configs|tools)/[\w./-]+\.(?:py|sh)')
TARGET = re.compile(r'`?make ([a-z-]+)\b(?=[` \n])')


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(REPO)))
def test_links_files_and_targets_exist(page: Path):
    text = page.read_text()
    for link in LINK.findall(text):
        assert (page.parent / link).exists(), f'link to {link}'
    for name in NAMED.findall(text):
        assert (REPO / name).is_file(), name
    code = '\n'.join(re.findall(r'`[^`\n]+`|```bash.*?```', text, re.DOTALL))
    targets = set(TARGET.findall(code))
    known = re.search(r'^\.PHONY: (.*)$', (REPO / 'Makefile').read_text(), re.MULTILINE)[1].split()
    assert targets <= set(known)


def test_versions_agree():
    """Of package, citation, changelog and the files about published models."""
    changelog = re.findall(
        r'^## (\S+) \((.+)\)$', (REPO / 'CHANGELOG.md').read_text(), re.MULTILINE
    )
    versions = [tuple(map(int, version.split('.'))) for version, _ in changelog]
    assert changelog[0][0] == __version__
    assert versions == sorted(versions, reverse=True) and len(set(versions)) == len(versions)
    # the workflow of releases wants the day of a section in this form
    days = [day for _, day in changelog]
    assert all(re.fullmatch(r'20\d\d-\d\d-\d\d|unreleased|not released', day) for day in days)
    assert 'unreleased' not in days[1:]
    assert yaml.safe_load((REPO / 'CITATION.cff').read_text())['version'] == __version__
    for path in (REPO / 'configs').glob('*/metafile.yml'):
        named = re.findall(r'^ +Version: (\S+)$', path.read_text(), re.MULTILINE)
        assert set(named) <= {__version__}, path


def test_the_notes_of_a_release_are_its_section():
    """By the command of the workflow."""
    text = (REPO / '.github' / 'workflows' / 'release.yml').read_text()
    program = re.search(r"awk -v title=.*? '(.*?)'", text)[1]
    changelog = REPO / 'CHANGELOG.md'
    words = ['awk', '-v', f'title=## {__version__} ', program, str(changelog)]
    notes = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    _, section, older = re.split(r'^## .*$', changelog.read_text(), maxsplit=2, flags=re.MULTILINE)
    assert notes.strip() == section.strip() and older.strip()
