"""Options that the command lines share, and running a tool with errors in one line."""

import argparse
import ast
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config, DictAction

from ..config import pretrained
from ..core import UserError
from ..core.launch import LAUNCHERS, leave, tells
from ..core.precision import DTYPES
from ..zoo.hub import published
from .work_dir import set_work_dir

# paths and names: '2024' and 'a,b' are folders
TEXT = ('data_root', 'split', 'ann_file', 'subset', 'work_dir', 'load_from', 'pretrained')


def text_value(text: str) -> str | None:
    """Return the text of an option that takes text: unquoted, ``~`` expanded, 'None' as None."""
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        found = text
    if found is None:
        return None
    return os.path.expanduser(found if isinstance(found, str) else text)


class OptionAction(DictAction):
    """mmengine's key=value options; text keeps its spaces, and in quotes its commas."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Add the options to the namespace's dict."""
        options = dict(getattr(namespace, self.dest) or {})
        for word in values or ():
            key, equals, text = word.partition('=')
            if not equals:
                parser.error(f"{option_string}: '{word}' is not key=value")
            options[key] = text_value(text) if key.split('.')[-1] in TEXT else self.value(text)
        setattr(namespace, self.dest, options)

    @classmethod
    def value(cls, text: str) -> Any:
        """Read a Python literal, else mmengine's forms: true, a,b,c and [a,b].

        Raises UserError for ``dict(...)``.
        """
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            if text.startswith('dict('):
                raise UserError(
                    f"--cfg-options {text}: write dicts as {{'key': value}}",
                    key='--cfg-options',
                    value=text,
                ) from None
            nested = any(mark in text for mark in ',([')
            return cls._parse_iterable(text) if nested else cls._parse_int_float_bool(text)
        return list(found) if isinstance(found, tuple) and text[0] != '(' else found


def option_words(options: dict[str, Any]) -> list[str]:
    """Write options for a command line; text that would be read as something else is quoted."""

    def written(value: Any) -> str:
        same = isinstance(value, str) and OptionAction.value(value) == value
        return value if same else repr(value)

    words = [f'{key}={written(value)}' for key, value in options.items()]
    return ['--cfg-options', *words] if words else []


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that train.py and test.py have in common."""
    parser.add_argument('--work-dir', help='folder for logs and checkpoints')
    parser.add_argument('--amp', action='store_true', help='mixed precision (needs a GPU)')
    parser.add_argument(
        '--dtype', choices=DTYPES, help='type of weights and images; float64 to compare machines'
    )
    parser.add_argument('--no-pin-memory', action='store_true', help='loaders keep pageable memory')
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionAction, default={}, help='key=value, merged last'
    )
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none')
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help='set by launchers'
    )


def apply_run_options(cfg: Config, args: argparse.Namespace) -> None:
    """Write the options that train.py and test.py have in common into the config."""
    cfg.launcher = args.launcher
    if args.dtype:
        cfg.dtype = args.dtype
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    given = args.cfg_options.get('work_dir') or args.work_dir  # options are merged last
    set_work_dir(cfg, args.config, given)
    if args.no_pin_memory:
        for loader in loaders(cfg):
            loader['pin_memory'] = False
    if cfg.get('load_from'):
        set_load_from(cfg, cfg.load_from)
    pretrained.fetch_pretrained(cfg)


def apply_train_options(cfg: Config, args: argparse.Namespace) -> None:
    """Write --resume, --overwrite and --no-persistent-workers into the config.

    Raises UserError for both --resume and --overwrite.
    """
    if args.resume and args.overwrite:
        raise UserError(
            '--resume continues a run and --overwrite replaces it: give one',
            key='--resume',
            value=args.resume,
        )
    cfg.overwrite = args.overwrite
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    if args.no_persistent_workers:
        for loader in loaders(cfg):
            loader['persistent_workers'] = False


@contextmanager
def errors_of_options(args: argparse.Namespace, *names: str) -> Iterator[None]:
    """Name the option where a function of the block refuses the argument of its name.

    Raises UserError for it, about ``--name`` and what was given.
    """
    try:
        yield
    except UserError as error:
        if error.key not in names:
            raise
        option = f'--{error.key.replace("_", "-")}'
        text = str(error)
        named = f'--{text}' if text.startswith(error.key) else f'{option}: {text}'
        raise UserError(named, key=option, value=getattr(args, error.key)) from None


def select_by_prefix(option: str, prefixes: Sequence[str], names: Iterable[str]) -> list[str]:
    """Return the names that begin with one of ``prefixes``, which were given for ``option``.

    Raises UserError when none does.
    """
    chosen = [name for name in names if name.startswith(tuple(prefixes))]
    if not chosen:
        raise UserError(
            f'{option}: no match; available: {", ".join(names)}',
            key=option,
            value=list(prefixes),
        )
    return chosen


def require_gpu_for_amp() -> None:
    """Check that --amp has a GPU to run on. Raises UserError where none is visible."""
    if not torch.cuda.is_available():
        raise UserError(
            '--amp needs a GPU and none is visible; leave it out', key='--amp', value=True
        )


def set_load_from(cfg: Config, weights: str) -> None:
    """Set ``load_from`` to a path or address; a published model's name becomes its file."""
    info = published(weights)
    cfg.load_from = weights if info is None else str(info.fetch())
    if info is not None and cfg.model.type == 'Classifier':
        cfg.setdefault('branch', info.branch)


def loaders(cfg: Config) -> list[dict[str, Any]]:
    """Return the config's data loaders."""
    names = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    return [cfg[name] for name in names if cfg.get(name) is not None]


def run_tool(main: Callable[[Sequence[str] | None], Any]) -> None:
    """Run a tool's main; a UserError becomes one line and exit status 2."""
    try:
        main(None)
    except UserError as error:
        lines = [_one_line(each) for each in getattr(error, 'errors', (error,))]
        if tells('\n'.join(lines)):
            for line in lines:
                print(f'error: {line}', file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print('interrupted; a training goes on with --resume', file=sys.stderr)
        sys.exit(130)
    finally:
        leave()


def _one_line(error: UserError) -> str:
    """Drop the frames that torch puts before an error of a loader's worker."""
    text = str(error).strip()
    if 'Original Traceback' in text:
        text = text.splitlines()[-1].partition(': ')[2]
    return ' '.join(text.split())
