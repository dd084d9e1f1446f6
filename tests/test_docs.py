"""Links in the documentation point to existing files."""

import re
from pathlib import Path

import pytest

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
