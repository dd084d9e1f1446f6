"""Order among the tests: what they share lies in tests/helpers, rooms are those of the package."""

import ast
from pathlib import Path

from .helpers.imports import imported
from .helpers.paths import HERE, REPO

FILES = sorted(p for p in HERE.rglob('*.py') if 'golden' not in p.relative_to(HERE).parts[:1])
SHARED = ('tests.helpers.', 'tests.replay.')


def of_tests(file: Path) -> set[str]:
    """Return the names below ``tests`` that a file imports."""
    return {name for name in imported(file, HERE) if name.startswith('tests.')}


def test_imports_of_tests_are_found():
    assert 'tests.helpers.paths.HERE' in of_tests(Path(__file__))
    assert any(name.startswith('tests.replay.') for name in of_tests(HERE / 'replay' / 'step.py'))


def test_no_module_imports_a_test_module_or_conftest():
    """What two test modules need is in tests/helpers, tests/replay or a fixture."""
    found = {file: {n for n in of_tests(file) if not n.startswith(SHARED)} for file in FILES}
    assert {str(file.relative_to(HERE)): names for file, names in found.items() if names} == {}


def test_rooms_of_tests_are_rooms_of_the_package():
    rooms = {p.name.removeprefix('test_') for p in HERE.glob('test_*') if p.is_dir()}
    package = {p.parent.name for p in (REPO / 'mmssl').glob('*/__init__.py')}
    # docs/examples, tests/golden, configs and tools
    others = {'examples', 'golden', 'recipes', 'tools'}
    assert rooms <= package | others, rooms - package - others


def refusals(file: Path) -> list[ast.Call]:
    """Return the calls that make a UserError, or one of its kinds."""
    kinds = {'UserError', 'NoData', 'NonFinite', 'NotTraining', 'OtherVersion'}
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    return [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in kinds]


def test_every_refusal_says_what_it_is_about():
    """Programs read key and value; the wording of a message is free."""
    found = {
        f'{file.relative_to(REPO)}:{call.lineno}': {word.arg for word in call.keywords}
        for file in (REPO / 'mmssl').rglob('*.py')
        for call in refusals(file)
    }
    assert len(found) > 300
    assert {place for place, words in found.items() if 'key' not in words} == set()
