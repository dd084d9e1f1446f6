"""Pretrain a small network and report on it: on embedded shapes, or on your own images."""

import argparse
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ..apis import load_config
from ..core import UserError
from ..datasets import ImageDataset
from ..datasets.class_numbers import follow_classes
from ..engine.state.work_dir_files import training_files
from ..evaluation.sanity_checks import advice_on_labels
from .options import OptionAction
from .subprocess_tools import REPO, call_tool, json_or_run, prepare_folder

CONFIG = REPO / 'configs' / 'quickstart' / 'mocov3_vit-conv_1xb64-32e_shapes.py'
SHAPES = Path('data/shapes')
SHAPES_IMAGES = 4096  # training images that make_shapes writes
MIN_IMAGES = 16  # images that a contrastive batch should have


class Data(NamedTuple):
    """How many images train, whether their classes are known, and the options they need."""

    images: int
    labelled: bool
    options: dict[str, Any]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=Path, help='folder of images, in class folders or flat')
    parser.add_argument('--work-dir', type=Path, help='default: work_dirs/quickstart[_FOLDER]')
    parser.add_argument('--seed', type=int, help="default: the config's")
    parser.add_argument(
        '--config', default=os.path.relpath(CONFIG), help='another config to pretrain with'
    )
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, default={})
    return parser.parse_args(argv)


def call(tool: str, *args: str) -> None:
    """Run a tool, which leaves half of the cores to the processes that read images."""
    call_tool(tool, *args, threads=max(1, (os.cpu_count() or 2) // 2))


def shapes_data() -> Data:
    """Make the embedded data set unless it is there."""
    call('dataset_tools/make_shapes', str(SHAPES))
    return Data(len(ImageDataset(str(SHAPES), 'train')), True, {})


def user_data(folder: Path) -> Data:
    """Detect the structure of a folder: train/ and val/, class folders, or images alone.

    Raises UserError naming the folder and what to do.
    """
    if not folder.is_dir():
        raise UserError(
            f'{folder}: no such folder; pass --data FOLDER with images in it',
            key='folder',
            value=str(folder),
        )
    root, split = str(folder), 'train' if (folder / 'train').is_dir() else ''
    images = ImageDataset(root, split)
    # one class says nothing, and classes of one or two images leave none to measure with
    labelled = len(images) >= 3 * len(images.classes) > 3
    options: dict[str, Any] = {'data_root': root}
    if labelled and split and (folder / 'val').is_dir():
        val = ImageDataset(root, 'val')
        if not val.labels:
            raise UserError(
                f'{folder}/val: no labels, unlike train/; {advice_on_labels(val)}',
                key='folder',
                value=str(folder),
            )
        try:
            follow_classes(val, images.classes, f'{folder}/val')
        except UserError as error:
            raise UserError(str(error), key='folder', value=str(folder)) from None
    elif labelled:
        images = ImageDataset(root, split, share=(0.0, 0.8))
        options |= _for_both_sets(split=split, share=((0.0, 0.8), (0.8, 1.0)))
    else:
        options |= _for_both_sets(split=split, with_label=False)
    if len(images) < MIN_IMAGES:
        raise UserError(
            f'{folder}: {len(images)} images for training; at least {MIN_IMAGES} are needed',
            key='folder',
            value=str(folder),
        )
    return Data(len(images), labelled, options)


def _for_both_sets(**arguments: Any) -> dict[str, Any]:
    """Options that give both data sets and the bank an argument; a pair of pairs differs."""
    options = {}
    for name, value in arguments.items():
        train, val = value if isinstance(value, tuple) else (value, value)
        options[f'train_dataloader.dataset.{name}'] = train
        options[f'val_dataloader.dataset.{name}'] = val
        options[f'val_cfg.bank.{name}'] = train
    return options


def training_length_options(config: str, images: int) -> dict[str, Any]:
    """Options that let own images be seen as often, in all, as the config's are."""
    cfg = load_config(config)
    usual = cfg.train_cfg.max_epochs
    epochs = max(1, round(usual * SHAPES_IMAGES / images))
    return {
        'train_cfg.max_epochs': epochs,
        'train_cfg.val_interval': max(1, epochs // 6),
        'param_scheduler.0.warmup': round(cfg.param_scheduler[0].warmup * epochs / usual, 3),
        'default_hooks.checkpoint.interval': max(1, epochs // 6),
        'train_dataloader.batch_size': min(cfg.train_dataloader.batch_size, images),
    }


def option_words(options: dict[str, Any]) -> list[str]:
    """Write options for a command line; text that would be read as something else is quoted."""

    def written(value: Any) -> str:
        same = isinstance(value, str) and OptionAction.value(value) == value
        return value if same else repr(value)

    words = [f'{key}={written(value)}' for key, value in options.items()]
    return ['--cfg-options', *words] if words else []


def train(config: str, work_dir: Path, epochs: int, options: dict[str, Any]) -> Path:
    """Train to the end, or go on, or do nothing; return the last checkpoint."""
    last = work_dir / f'epoch_{epochs}.pth'
    if last.is_file():
        print(f'{last} is there: trained already')
        return last
    for old in work_dir.glob('results/*.json'):
        old.unlink()
    resume = ['--resume'] if training_files(work_dir) else []
    call('train', config, '--work-dir', str(work_dir), *resume, *option_words(options))
    return last


def evaluate(
    config: str, work_dir: Path, last: Path, options: dict[str, Any]
) -> tuple[float, float]:
    """Measure kNN of untrained network, pixels and trained network, each once.

    Returns top-1 in percent before and after training.
    """
    folder = work_dir / 'results'
    folder.mkdir(exist_ok=True)
    pixels = options | {'val_cfg.feature': 'pixels'}
    runs = {
        'random': ('random', options),
        'pixels': ('random', pixels),
        'pretrained': (last, options),
    }
    top1 = {}
    for name, (checkpoint, given) in runs.items():
        out = folder / f'{name}.json'
        where = ['--work-dir', str(work_dir / 'test'), '--out', str(out), '--out-item', 'metrics']
        command = ['test', config, str(checkpoint), *where, *option_words(given)]
        top1[name] = json_or_run(out, partial(call, *command))['knn/top1']
    return top1['random'], top1['pretrained']


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare the data, train, evaluate and report; steps whose result exists are skipped."""
    args = parse(argv)
    name = 'quickstart' if args.data is None else f'quickstart_{args.data.resolve().name}'
    work_dir = args.work_dir or Path('work_dirs') / name
    data = shapes_data() if args.data is None else user_data(args.data)
    fitted = {} if args.data is None else training_length_options(args.config, data.images)
    seed = {} if args.seed is None else {'randomness.seed': args.seed}
    options = {**data.options, **fitted, **seed, **args.cfg_options}
    cfg = load_config(args.config, options)
    prepare_folder(work_dir, f'{cfg.pretty_text}{data.images}')
    last = train(args.config, work_dir, cfg.train_cfg.max_epochs, options)
    options = {key: value for key, value in options.items() if key not in fitted}
    scores = evaluate(args.config, work_dir, last, options) if data.labelled else None
    call('analysis_tools/report', str(work_dir), '--checkpoint', str(last))
    done = f'report: {work_dir / "report.html"}'
    if scores:
        print(f'quickstart: kNN top-1 {scores[0]:.1f} -> {scores[1]:.1f} %, {done}')
    else:
        print(f'quickstart: pretrained on {data.images} images without labels, {done}')
