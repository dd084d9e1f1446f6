"""Fine-tune a network on a folder of your own images with classes.

The work dir gets classifier.pth, which `mmssl predict` takes, an ONNX file, and a page with the
confusion matrix.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..apis import load_config
from ..checkpoint import read, save
from ..core.io import atomic_write
from .folder_classifier import finish, folder_options, task_of, words_of
from .options import OptionAction
from .own_images import (
    Folder,
    add_folder_options,
    check_numbers,
    divided_cores,
)
from .subprocess_tools import REPO, prepare_folder
from .train_and_measure import call, fitting_length, train

CONFIG = REPO / 'configs' / '_base_' / 'finetune_own_images.py'
BATCH = 64
MINUTES = 10.0
MAX_EPOCHS = 100


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. Raises UserError for numbers that are too small."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add_folder_options(parser, 'finetune', f'default: {MINUTES:g}')
    parser.add_argument('--pretrained', required=True, help='file, address or name of the network')
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, default={})
    args = parser.parse_args(argv)
    check_numbers(args)
    return args


def options_of(args: argparse.Namespace, folder: Folder, size: int, epochs: int) -> dict[str, Any]:
    """Return the options that make `CONFIG` train on a folder for so many epochs."""
    parts = 'train_dataloader.dataset', 'test_dataloader.dataset'
    options = folder_options(folder, size, *parts)
    for key, value in list(options.items()):
        if key.startswith('test_dataloader.'):
            options[key.replace('test_', 'val_', 1)] = value
    workers = divided_cores()[1]
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        options[f'{loader}.num_workers'] = workers
        options[f'{loader}.persistent_workers'] = workers > 0
    return {
        **options,
        'pretrained': args.pretrained,
        'randomness.seed': args.seed,
        'model.head.num_classes': len(folder.classes),
        'train_dataloader.dataset.pipeline.1.size': size,
        'train_dataloader.batch_size': min(args.batch_size or BATCH, folder.images),
        'param_scheduler.0.warmup': round(epochs / 10, 2),
        'train_cfg.max_epochs': epochs,
        'train_cfg.val_interval': max(1, epochs // 10),
        'default_hooks.checkpoint.interval': max(1, epochs // 3),
    }


def config_of(args: argparse.Namespace, folder: Folder, size: int) -> Config:
    """Return the config that is trained, of a length that fits the time."""
    epochs, why = args.epochs, 'as given'
    if epochs is None:
        cfg = load_config(CONFIG, options_of(args, folder, size, 1) | args.cfg_options)
        epochs, _, why = fitting_length(folder.images, cfg, args.minutes or MINUTES, MAX_EPOCHS)
    print(f'  views    {size} px\n  epochs   {epochs}  ({why})')
    return load_config(CONFIG, options_of(args, folder, size, epochs) | args.cfg_options)


def write_classifier(trained: Path, file: Path) -> None:
    """Write what predicts: the weights, the settings and the names of a training file."""
    content = read(trained)
    kept = ('model', 'settings', 'classes', 'version')
    meta = {key: content['meta'].get(key) for key in kept}
    save.write({'state_dict': content['state_dict'], 'meta': meta}, file)


def main(argv: Sequence[str] | None = None) -> float:
    """Fine-tune and measure a classifier, and return its top-1 accuracy in percent.

    Raises UserError for a folder without classes.
    """
    args = parse(argv)
    task = task_of(args, 'finetune')
    folder, work_dir, size = task
    asked = {key: str(value) for key, value in sorted(vars(args).items()) if key != 'work_dir'}
    prepare_folder(work_dir, json.dumps([asked, folder.images, folder.classes]))
    config, file = work_dir / 'finetune.py', work_dir / 'classifier.pth'
    if not config.is_file():
        atomic_write(config, config_of(args, folder, size).pretty_text)
    if not file.is_file():
        last = train(str(config), work_dir, load_config(config).train_cfg.max_epochs, {})
        call('test', str(config), str(last), *words_of(work_dir))
        write_classifier(last, file)
    return finish('finetune', task, args.pretrained, file)
