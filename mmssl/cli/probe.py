"""Train a classifier over a frozen network on a folder of your own images with classes.

Features are computed once; a linear layer is chosen and trained on them. The work dir gets
classifier.pth, which `mmssl predict` takes, an ONNX file, and a page with the confusion matrix.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from ..apis import load_config
from ..core.errors import at_least
from ..core.io import atomic_write
from .folder_classifier import finish, folder_options, task_of, words_of
from .options import OptionAction
from .own_images import divided_cores
from .subprocess_tools import REPO, prepare_folder
from .train_and_measure import call

CONFIG = REPO / 'configs' / '_base_' / 'probe_own_images.py'


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. Raises UserError for an --img-size below 1."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('folder', type=Path, help='images in class folders')
    parser.add_argument('--pretrained', required=True, help='file, address or name of the network')
    parser.add_argument('--work-dir', type=Path, help='default: work_dirs/probe_FOLDER')
    parser.add_argument('--img-size', type=int, help="default: the pretraining's, else 224")
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, default={})
    args = parser.parse_args(argv)
    if args.img_size is not None:
        at_least('--img-size', args.img_size)
    return args


def main(argv: Sequence[str] | None = None) -> float:
    """Train and measure the classifier, and return its top-1 accuracy in percent.

    Raises UserError for a folder without classes.
    """
    args = parse(argv)
    task = task_of(args, 'probe')
    folder, work_dir, size = task
    options = {
        **folder_options(folder, size, 'test_cfg.bank', 'test_dataloader.dataset'),
        'pretrained': args.pretrained,
        'randomness.seed': args.seed,
        'test_dataloader.num_workers': divided_cores()[1],
        **args.cfg_options,
    }
    cfg = load_config(CONFIG, options)
    prepare_folder(work_dir, json.dumps([cfg.pretty_text, folder.images, folder.classes]))
    config, file = work_dir / 'probe.py', work_dir / 'classifier.pth'
    if not file.is_file():
        atomic_write(config, cfg.pretty_text)
        call('test', str(config), *words_of(work_dir))
    return finish('probe', task, args.pretrained, file)
