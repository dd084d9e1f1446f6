"""The command ``mmssl``: every tool of the package by its name, as tools/*.py in a checkout."""

import importlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..core import UserError
from ..core.errors import closest
from ..version import __version__


class Command(NamedTuple):
    """A subcommand: the module of ``mmssl.cli`` that runs it, and what it does."""

    module: str
    purpose: str


GROUPS: dict[str, dict[str, Command]] = {
    'Start': {
        'pretrain': Command('pretrain', 'pretrain a network on a folder of your own images'),
        'probe': Command('probe', 'a classifier of your images over a frozen network'),
        'finetune': Command('finetune', 'a classifier of your images, all of it trained'),
        'predict': Command('predict', 'classes of images by a trained classifier'),
        'quickstart': Command('quickstart', 'pretrain a small network on drawn shapes, and report'),
        'doctor': Command('doctor', 'what is installed, what is missing, and does a network run'),
        'models': Command('models', 'list recipes and published weights; download them'),
    },
    'Train and evaluate': {
        'train': Command('train', 'train a config: pretraining, probe, fine-tuning, detection'),
        'evaluate': Command('evaluate', 'how good encoders are, side by side, on one page'),
        'test': Command('test', 'evaluate weights by a config: kNN, accuracy, AP, mIoU'),
        'plan': Command('plan', 'memory, batch, rate and time of a config before it runs'),
        'report': Command('report', 'a page about a run: curves, health, figures'),
        'features': Command('extract_features', 'features of images into a file'),
    },
    'Look': {
        'data': Command('data_report', 'what is in a data set: bad images, copies, leaks'),
        'views': Command('browse_views', "a method's views of your images"),
        'attention': Command('attention', 'attention maps of a transformer'),
        'correspondence': Command('correspondence', 'which patches of two images match'),
        'patches': Command('patch_pca', 'colours of patch features'),
        'embedding': Command('embedding', 'a map of features: PCA, t-SNE, UMAP'),
        'neighbours': Command('neighbours', 'nearest images of an image'),
        'schedule': Command('plot_schedule', "curves of a config's schedules"),
        'settings': Command('show_settings', 'settings that a file was trained with'),
    },
    'Carry on': {
        'convert': Command('official2mmssl', 'a file of any known layout into ours'),
        'extract': Command('extract_backbone', 'the backbone of a file, for other libraries'),
        'export': Command('export', 'ONNX, torch.export, or a Hugging Face folder'),
        'publish': Command('publish_model', 'a file of weights alone, named by its hash'),
        'pack': Command('pack_dataset', 'a folder of images as shards or one file'),
        'replay': Command('replay', 'the steps of a recorded run on this machine'),
    },
}
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}


def usage() -> str:
    """Return the list of commands."""
    lines = [f'mmssl {__version__}: self-supervised learning for images', '']
    lines += ['usage: mmssl COMMAND ...       mmssl COMMAND --help says what it takes', '']
    for title, group in GROUPS.items():
        lines.append(title)
        lines += [f'  {name:15} {command.purpose}' for name, command in group.items()]
    return '\n'.join(lines)


def main(argv: Sequence[str] | None = None) -> Any:
    """Run a command with the rest of the words. Raises UserError for an unknown one."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ('-h', '--help', 'help'):
        print(usage())
        return None
    if words[0] in ('-V', '--version'):
        print(f'mmssl {__version__}')
        return None
    name, *rest = words
    if name not in COMMANDS:
        raise UserError(
            f"mmssl {name}: no such command{closest(name, COMMANDS)}; 'mmssl' alone lists them",
            key='command',
            value=name,
        )
    sys.argv = [f'mmssl {name}', *rest]  # what usage lines and messages begin with
    return importlib.import_module(f'mmssl.cli.{COMMANDS[name].module}').main(rest)


def run() -> None:
    """Run the console script; where libraries cannot be imported, the doctor still runs."""
    if sys.argv[1:2] == ['doctor']:
        main()
        return
    try:
        from .options import run_tool
    except (ImportError, AttributeError, RuntimeError) as error:  # as broken libraries raise them
        cause = ' '.join(str(error).split())[:300]
        print(f'error: {type(error).__name__}: {cause}; mmssl doctor says why', file=sys.stderr)
        sys.exit(2)
    run_tool(main)
