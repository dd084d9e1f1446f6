"""Code in README, docs and recipes is true: Python runs, commands have their files and options.

A Python snippet whose first line is a comment that begins with 'needs' (a network, a GPU) does not
run; its syntax is checked, and that the names it takes from mmssl exist. Of commands nothing is
started: each is read by the parser of its tool, and a config with its options is loaded.
"""

import ast
import importlib
import re
import shlex
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

import mmssl
from mmssl.apis import load_config
from mmssl.cli.command import COMMANDS
from mmssl.registry import MODELS
from mmssl.transfer import library_of
from mmssl.zoo.hub import ModelHub, recipes

from .helpers.paths import REPO

PAGES = sorted(
    [
        *(REPO / name for name in ('README.md', 'CONTRIBUTING.md', 'tools/README.md')),
        *(REPO / 'docs').glob('*.md'),
        *(REPO / 'configs').glob('*/README.md'),
    ]
)
QUICKSTART = 'configs/quickstart/mocov3_vit-conv_1xb64-32e_shapes.py'
# pages whose snippets are parts of files that other tests run
PARTS = {'add_a_method.md': 'docs/examples/byol'}
# words of the docs -> what stands for them here
EXAMPLES = {
    **dict.fromkeys(('CONFIG', 'MODEL'), QUICKSTART),
    **dict.fromkeys(('FILE', 'PATH', 'CHECKPOINT', 'SRC', 'NAME.pth'), 'encoder.pth'),
    **dict.fromkeys(('DIR', 'FOLDER', 'IMAGES', 'DST', 'ENCODER'), 'out'),
    'NAME': 'mocov3_resnet50_3rdparty_8xb512-amp-coslr-1000e_in1k',
    '...': 'a=1',
}
# programs that are not ours, and words of the shell
OTHERS = {'pip', 'git', 'source', 'cd', 'export', 'done', 'bash', '.venv/bin/pre-commit', 'docker'}
MAINTAINERS = {'dev', 'replay_golden.py'}  # whose tools are in no wheel
BACKBONE = dict(type='VisionTransformer', arch=(16, 2, 2), img_size=48, patch_size=8)


def name(path: Path) -> str:
    return str(path.relative_to(REPO))


@pytest.fixture(scope='module')
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as a user has it: the repository, some images, a file of weights."""
    folder = tmp_path_factory.mktemp('user')
    for entry in ('configs', 'tools', 'docs', 'tests', 'mmssl', 'model-index.yml'):
        (folder / entry).symlink_to(REPO / entry)
    model = dict(type='Encoder', backbone=BACKBONE)
    meta = dict(model='Encoder', settings=dict(model=model))
    torch.save(
        {'state_dict': MODELS.build(model).state_dict(), 'meta': meta}, folder / 'encoder.pth'
    )
    for file in ('data/pictures/a.png', 'demo/bird.JPEG', 'new_images/1.jpg', 'bird.jpg'):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (64, 48), (90, 30, 60)).save(folder / file)
    cfg = load_config(REPO / QUICKSTART)
    quickstart = folder / 'work_dirs/quickstart/epoch_32.pth'
    quickstart.parent.mkdir(parents=True)
    torch.save({'state_dict': MODELS.build(cfg.model).state_dict(), 'meta': {}}, quickstart)
    settings = dict(
        type='Classifier', backbone=BACKBONE, head=dict(type='LinearHead', num_classes=2)
    )
    classifier = folder / 'work_dirs/probe_my_images/classifier.pth'
    classifier.parent.mkdir()
    meta = dict(model='Classifier', classes=['cat', 'dog'], settings=dict(model=settings))
    torch.save({'state_dict': MODELS.build(settings).state_dict(), 'meta': meta}, classifier)
    return folder


# Python -------------------------------------------------------------------------------------------
def snippets(page: Path) -> Any:
    """Return the Python snippets of a page, which share their names."""
    return Sybil([PythonCodeBlockParser()]).parse(page)


def needs(code: str) -> bool:
    """Whether the first line says that something is needed which is not here."""
    return code.lstrip().startswith('# needs ')


def check_names(code: str) -> None:
    """Check the names that a snippet takes from mmssl, and those of models."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('mmssl'):
            module = importlib.import_module(node.module or '')
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == 'mmssl':
            assert hasattr(mmssl, node.attr), node.attr
        elif isinstance(node, ast.Constant) and re.fullmatch(
            r'[\w.-]+_\d+xb\d+-[\w.-]+', str(node.value)
        ):
            assert ModelHub.has(node.value) or node.value in recipes(), node.value


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_python(page: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    registered = set(MODELS.module_dict)
    document = snippets(page)
    try:
        for example in document.examples():
            code = str(example.parsed)
            if folder := PARTS.get(page.name):
                check_part(code, REPO / folder)
            elif "'''" in code[:3] or '_base_ = ' in code or is_fragment(code):
                check_fragment(code, place)
            elif needs(code):
                check_names(code)
            else:
                check_names(code)
                example.evaluate()
                check_comments(code, document.namespace)
    finally:
        for key in set(MODELS.module_dict) - registered:
            MODELS._module_dict.pop(key)


def check_comments(code: str, names: dict[str, Any]) -> None:
    """Check the shapes and printed lists that comments behind lines promise."""
    for line in code.splitlines():
        said = re.fullmatch(r'(\S.*?)\s+# ([(\[][\d, ]+[)\]])(?:\W.*)?', line)
        if not said:
            continue
        (statement,) = ast.parse(said[1]).body
        expression = statement.value if isinstance(statement, (ast.Assign, ast.Expr)) else None
        assert expression is not None, line
        if isinstance(expression, ast.Call) and ast.unparse(expression.func) == 'print':
            expression = expression.args[0]
        value = eval(compile(ast.Expression(expression), line, 'eval'), names)
        found = tuple(value.shape) if isinstance(value, torch.Tensor) else value
        assert found == ast.literal_eval(said[2]), f'{line}: is {found}'


def check_part(code: str, folder: Path) -> None:
    """Check that a snippet is a part of an example, which may have types and docstrings beside."""
    wanted = [written(node) for node in ast.parse(textwrap.dedent(code)).body]
    texts = [file.read_text() for file in folder.glob('*.py')]
    there = [{written(node) for node in ast.walk(ast.parse(text))} for text in texts]
    assert any(set(wanted) <= each for each in there), code


def written(node: ast.AST) -> str:
    """Return a statement without types and docstrings; of a class the lines before its methods."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        body = [
            n
            for n in node.body
            if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))
        ]
        if isinstance(node, ast.ClassDef):
            body = [n for n in body if not isinstance(n, ast.FunctionDef)]
            return f'{node.name} {[ast.dump(n) for n in body]}'
        arguments = [a.arg for a in node.args.args]
        decorators = [ast.dump(n) for n in node.decorator_list]
        return f'{node.name} {arguments} {decorators} {[ast.dump(n) for n in body]}'
    return ast.dump(node)


def is_fragment(code: str) -> bool:
    """Whether a snippet is a part of a config: assignments alone, of keys of configs."""
    tree = ast.parse(code)
    keys = {t.id for node in tree.body if isinstance(node, ast.Assign)
            for t in node.targets if isinstance(t, ast.Name)}  # fmt: skip
    known = {'default_hooks', 'custom_hooks', 'optim_wrapper', 'model_wrapper_cfg', 'model'}
    return len(tree.body) == sum(isinstance(n, ast.Assign) for n in tree.body) and bool(
        keys & known
    )


def check_fragment(code: str, place: Path) -> None:
    """Check that a part of a config, over the quickstart's if it names no base, can be read."""
    text = code
    if '_base_' not in code:
        text = f"_base_ = '{REPO / QUICKSTART}'\n{code}"
    elif "'./" in code:
        text = code.replace("'./", f"'{REPO / 'configs' / 'mocov3'}/")
    file = place / 'fragment.py'
    file.write_text(text)
    load_config(file)


# commands -----------------------------------------------------------------------------------------
def commands(page: Path) -> list[list[str]]:
    """Return the words of every command of a page; variables of the shell are replaced."""
    found = []
    for example in Sybil([CodeBlockParser('bash', lambda _: None)]).parse(page).examples():
        variables: dict[str, str] = {}
        for line in str(example.parsed).replace('\\\n', ' ').splitlines():
            for part in re.split(r'\s&&\s', line):
                words = shlex.split(part, comments=True)
                if words[:1] == ['for']:
                    variables[words[1]] = words[3].rstrip(';')
                    continue
                while words and (given := re.fullmatch(r'([A-Z]\w*)=(.*)', words[0])):
                    variables[given[1]] = given[2]
                    del words[0]
                replaced = [substituted(word, variables) for word in words]
                if replaced:
                    found.append(replaced)
    return found


def substituted(word: str, variables: dict[str, str]) -> str:
    """Return a word with variables and placeholders of the docs replaced."""
    for key, value in sorted(variables.items(), reverse=True):  # VR before V
        word = word.replace(f'${{{key}}}', value).replace(f'${key}', value)
    before, equals, value = word.partition('=')
    if word.strip('[]') in EXAMPLES:
        return EXAMPLES[word.strip('[]')]
    return f'{before}={EXAMPLES[value]}' if equals and value in EXAMPLES else word.strip('[]')


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_commands(page: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    for words in commands(page):
        check_command(words, place)


def check_command(words: list[str], place: Path) -> None:
    """Check that the files and options of a command exist."""
    if words[0] in ('torchrun', 'srun', 'mpirun', 'python'):
        at = next((i for i, word in enumerate(words) if word.startswith(('tools/', 'docs/'))), None)
        if at is None:
            return
        words = words[at:]
    program = words[0]
    if program == 'make' or program in OTHERS or program.startswith('<'):
        return  # targets are checked with the links
    if program == 'mmssl':
        module = COMMANDS[words[1]].module
        arguments = words[2:]
    else:
        assert (REPO / program).is_file(), program
        if program.endswith('.sh') or MAINTAINERS & {*Path(program).parts}:
            return
        module = Path(program).stem
        arguments = words[1:]
    read(module, arguments, place)


def read(module: str, arguments: list[str], place: Path) -> None:
    """Let the parser of a tool read its arguments, and load the config with its options."""
    for word in arguments:  # files that earlier commands leave
        path = Path(word.rpartition('=')[2])
        if path.suffix in ('.pth', '.tar') and '://' not in word and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((place / 'encoder.pth').read_bytes())
    tool = importlib.import_module(f'mmssl.cli.{module}')
    if not hasattr(tool, 'parse'):
        return
    args = tool.parse(arguments)
    config, options = getattr(args, 'config', None), getattr(args, 'cfg_options', None)
    if module in ('train', 'test') and library_of(config) is None:
        load_config(config, options)


def test_a_wrong_option_is_found(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    for words in (
        ['python', 'tools/train.py', QUICKSTART, '--no-such'],
        ['python', 'tools/no_such_tool.py'],
        ['mmssl', 'no-such-command'],
        ['python', 'tools/train.py', QUICKSTART, '--cfg-options', 'model.nekc=1'],
    ):
        with pytest.raises((AssertionError, KeyError, SystemExit, mmssl.core.UserError)):
            check_command(words, place)
    with pytest.raises(AssertionError):
        check_names("import mmssl\nmmssl.get_modle('x')")
