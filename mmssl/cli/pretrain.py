"""Pretrain a network on a folder of your own images, measure it, and report.

Method, network, size, batch and length are chosen by the images and the machine, and printed. The
config that is trained is in the work dir: change it, and go on with `mmssl train`.
"""

import argparse
import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from ..apis import load_config
from ..apis.methods import list_methods, training_settings_of
from ..config.continuation import PRESETS
from ..core import UserError
from ..core.io import atomic_write
from ..engine.hooks.start_hook import FILE as START
from ..evaluation.probe import interval
from ..models.backbones import backbone_settings
from ..registry import MODELS
from .options import OptionAction
from .own_images import (
    Folder,
    add_folder_options,
    check_numbers,
    device,
    divided_cores,
    read_folder,
)
from .subprocess_tools import REPO, prepare_folder
from .train_and_measure import call, evaluate, fitting_length, train

CONFIG = REPO / 'configs' / 'own_images' / 'mocov3_resnet18-w16_1xb128-20e_own-images.py'
METHOD = 'mocov3'
DISTILLATION = 'distillation'
METHODS = {
    METHOD: 'learns without labels from small batches',
    DISTILLATION: 'learns the features of a frozen encoder',
}
METHOD_NAMES = [name for name in list_methods() if name != DISTILLATION]
# by device: sizes of views, largest batch, minutes, and the ResNet's depth and width
# a CPU sees small images enlarged: a stem of stride 1 at 32 px takes four times the time
SIZES = {'cpu': (64,), 'cuda': (32, 64, 96, 128, 224)}
BATCHES = {'cpu': 128, 'cuda': 256}
MINUTES = {'cpu': 15.0, 'cuda': 60.0}
NETWORKS = {'cpu': dict(depth=18, width=16), 'cuda': dict(depth=18, width=64)}
# of views where an encoder takes part, which was trained on larger images
ENCODER_SIZES = {'cpu': (64, 96, 128), 'cuda': (64, 96, 128, 224)}
SMALL_VIEWS = 32  # pixels up to which a ResNet has a stem of stride 1
STEPS = 8  # least steps of an epoch
MAX_EPOCHS = 800
GOING_ON = PRESETS['continue'].epochs  # from an encoder
MONITORED = 5  # measurements while training
# images of the bank and of the queries: of the monitor, and of the last measurement
MONITOR = (5000, 2000)
FINAL = (20000, 10000)


class Choice(NamedTuple):
    """What is trained; ``reasons`` say why, by name."""

    method: str
    backbone: str | None  # None: the narrow ResNet of `CONFIG`
    img_size: int
    batch_size: int
    encoder: str | None  # that training goes on from, or learns from
    published: bool  # by the settings of the method's authors
    reasons: dict[str, str]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. Raises UserError for numbers that are too small."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    usual = ', '.join(f'{value:g} with {name}' for name, value in MINUTES.items())
    add_folder_options(parser, 'pretrain', f'default: {usual}')
    parser.add_argument('--method', choices=METHOD_NAMES, help=f'default: {METHOD}')
    parser.add_argument('--backbone', help="a name such as 'resnet50' or timm's")
    parser.add_argument('--pretrained', help='go on from this encoder: file, address or name')
    parser.add_argument(
        '--distill', metavar='ENCODER', help="learn this encoder's features: file, address or name"
    )
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, default={})
    args = parser.parse_args(argv)
    check_numbers(args)
    for name in ('method', 'pretrained') if args.distill else ():
        if getattr(args, name):
            raise UserError(
                f'--distill and --{name} are two ways to train: give one',
                key=f'--{name}',
                value=getattr(args, name),
            )
    return args


def choose(folder: Folder, where: str, args: argparse.Namespace) -> Choice:
    """Choose method, network, size and batch for a folder; what ``args`` give is kept."""
    reasons = {}

    def chosen(name: str, value: Any, why: str) -> Any:
        given = getattr(args, name)
        reasons[name] = 'as given' if given is not None else why
        return value if given is None else given

    known = ENCODER_SIZES[where] if args.pretrained or args.distill else SIZES[where]
    sizes = [size for size in known if size <= max(folder.side, known[0])]
    on = 'a GPU' if where == 'cuda' else 'a CPU'
    why, method = f'a ResNet that {on} trains in the time', METHOD
    if args.pretrained:
        why = f'that of {args.pretrained}'
    if args.method not in (None, METHOD):
        why = f'the published one of {args.method}; --backbone names another'
    if args.distill:
        method = DISTILLATION
    batch = BATCHES[where]
    while batch > 16 and folder.images // batch < STEPS:
        batch //= 2
    return Choice(
        chosen('method', method, METHODS[method]),
        chosen('backbone', None, why),
        chosen('img_size', sizes[-1], f'short sides of {folder.side} px, on {on}'),
        chosen('batch_size', batch, f'{folder.images:,} images'),
        args.pretrained or args.distill,
        args.method is not None,
        reasons,
    )


def options_of(folder: Folder, choice: Choice, where: str, epochs: int) -> dict[str, Any]:
    """Return the options that make `CONFIG` train what was chosen, and measure it a few times."""
    if choice.published:
        options = published_options(folder, choice, epochs)
    elif choice.method == DISTILLATION:
        options = distillation_options(choice, where)
    else:
        options = own_options(choice, where)
    if not choice.published:
        options['param_scheduler.0.warmup'] = round(epochs / 10, 2)
    for name in ('size', 'resize'):
        options[f'val_dataloader.dataset.pipeline.1.{name}'] = choice.img_size
    _, workers = divided_cores()
    for loader in ('train_dataloader', 'val_dataloader'):
        options[f'{loader}.num_workers'] = workers
        options[f'{loader}.persistent_workers'] = workers > 0
    if where == 'cuda':
        options['optim_wrapper.amp'] = 'bfloat16' if torch.cuda.is_bf16_supported() else 'float16'
    each = max(1, epochs // MONITORED)
    return {
        **options,
        **folder_options(folder),
        'train_dataloader.batch_size': min(choice.batch_size, folder.images),
        'train_cfg.max_epochs': epochs,
        'train_cfg.val_interval': each,
        'default_hooks.checkpoint.interval': each,
    }


def own_options(choice: Choice, where: str) -> dict[str, Any]:
    """Return the options of `CONFIG` for a network and the size of its views."""
    views = 'train_dataloader.dataset.pipeline.1.views'
    options: dict[str, Any] = {f'{views}.{i}.size': choice.img_size for i in (0, 1)}
    if choice.img_size <= SMALL_VIEWS:  # a blur of such images takes their content
        options |= {f'{views}.{i}.blur': 0 for i in (0, 1)}
    backbone = network(choice, where)
    with torch.device('meta'), DefaultScope.overwrite_default_scope('mmssl'):
        width = MODELS.build(backbone).num_features
    options['model.backbone'] = dict(backbone, _delete_=True)
    options['model.neck.dims'] = (width, 512, 128)
    return options


def network(choice: Choice, where: str) -> dict[str, Any]:
    """Return the settings of the network that was named, or of the one for this machine."""
    if choice.backbone:
        named: Any = backbone_settings(choice.backbone, choice.img_size)
        return dict(named)
    small = choice.img_size <= SMALL_VIEWS
    return dict(type='ResNet', **NETWORKS[where], small_stem=small)


def distillation_options(choice: Choice, where: str) -> dict[str, Any]:
    """Return the options with which a network learns an encoder's features of one view."""
    model = dict(type='Distillation', backbone=network(choice, where), teacher=choice.encoder)
    size, jitter = choice.img_size, (0.4, 0.4, 0.2, 0.1)
    view = dict(type='RandomView', size=size, scale=(0.3, 1.0), jitter=jitter)
    steps = [dict(type='LoadImage'), dict(type='MultiView', views=[view])]
    return {'model': dict(model, _delete_=True), 'train_dataloader.dataset.pipeline': steps}


def published_options(folder: Folder, choice: Choice, epochs: int) -> dict[str, Any]:
    """Return the options of a published method for another network, size and batch."""
    found = training_settings_of(
        choice.method,
        choice.backbone,
        img_size=choice.img_size,
        batch_size=choice.batch_size,
        epochs=epochs,
        images=folder.images,
    )
    return {
        'model': dict(found.model, _delete_=True),
        'optim_wrapper': dict(found.optim_wrapper, _delete_=True),
        'param_scheduler': found.param_scheduler,
        'train_dataloader.dataset.pipeline': found.pipeline,
        'sync_bn': found.sync_bn,
    }


def folder_options(folder: Folder) -> dict[str, Any]:
    """Return the options that name the folder and its two parts."""
    train, measure = folder.parts
    options: dict[str, Any] = {'data_root': str(folder.path)}
    for place, part in (
        ('train_dataloader.dataset', train),
        ('val_dataloader.dataset', measure),
        ('val_cfg.bank', train),
    ):
        options |= {f'{place}.{key}': value for key, value in part.items()}
        if place != 'train_dataloader.dataset':
            options[f'{place}.with_label'] = bool(folder.classes)
    return options | capped(folder, MONITOR)


def capped(folder: Folder, limits: tuple[int, int]) -> dict[str, Any]:
    """Return the options that keep bank and queries within limits, the same for each class."""
    places = 'val_cfg.bank.per_class', 'val_dataloader.dataset.per_class'
    counts = folder.images, folder.measured or folder.images
    classes = max(len(folder.classes), 1)
    return {
        place: math.ceil(limit / classes) if count > limit else None
        for place, count, limit in zip(places, counts, limits, strict=True)
    }


def config_of(choice: Choice, options: dict[str, Any]) -> Config:
    """Return the config that is trained; one that goes on from an encoder by its preset.

    Raises UserError as `load_config` does, and for an encoder that is not there.
    """
    cfg = load_config(CONFIG, options)
    if not choice.encoder or choice.method == DISTILLATION:
        return cfg
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'from_nothing.py')
        file.write_text(cfg.pretty_text)
        epochs = {'train_cfg.max_epochs': cfg.train_cfg.max_epochs}  # else the preset's
        return load_config(file, epochs | {'pretrained': choice.encoder})


def trained_config(args: argparse.Namespace, folder: Folder, work_dir: Path) -> Path:
    """Return the config of a work dir, chosen and written where it is not there yet."""
    file = work_dir / 'pretrain.py'
    if file.is_file():
        print(f'{file} is there: no new choices')
        return file
    where = device()
    choice = choose(folder, where, args)
    given = args.cfg_options | {'randomness.seed': args.seed}
    if args.epochs is not None:
        epochs, share, why = args.epochs, 1.0, 'as given'
    else:
        cfg = config_of(choice, options_of(folder, choice, where, 1) | given)
        most = MAX_EPOCHS if choice.method == DISTILLATION or not choice.encoder else GOING_ON
        epochs, share, why = fitting_length(
            folder.images, cfg, args.minutes or MINUTES[where], most
        )
    options = options_of(folder, choice, where, epochs)
    if share < 1:
        begin, end = folder.parts[0].get('share', (0.0, 1.0))
        options['train_dataloader.dataset.share'] = (begin, begin + share * (end - begin))
    cfg = config_of(choice, options | given)
    tell(folder, choice, cfg, why)
    atomic_write(file, cfg.pretty_text)
    return file


def tell(folder: Folder, choice: Choice, cfg: Config, why: str) -> None:
    """Print what was found and chosen, with a reason for each."""
    network = {key: value for key, value in cfg.model.backbone.items() if key != 'init_cfg'}
    rows = [
        ('method', choice.method, choice.reasons['method']),
        ('network', ' '.join(f'{k}={v}' for k, v in network.items()), choice.reasons['backbone']),
        ('views', f'{choice.img_size} px', choice.reasons['img_size']),
        ('batch', str(cfg.train_dataloader.batch_size), choice.reasons['batch_size']),
        ('epochs', str(cfg.train_cfg.max_epochs), why),
    ]
    share = cfg.train_dataloader.dataset.get('share', (0.0, 1.0))
    print(folder.describe())
    for name, value, reason in rows:
        print(f'  {name:8} {value}  ({reason})')
    if share[1] - share[0] < 0.75:  # four fifths are what is trained on without a part to measure
        print(f'  trained on {100 * (share[1] - share[0]):.0f} % of the images; --minutes for more')
    limits = cfg.val_cfg.bank.get('per_class'), cfg.val_dataloader.dataset.get('per_class')
    if folder.classes and any(limits):
        parts = [
            f'{limit} images of each class {what}'
            for limit, what in zip(limits, ('in the bank', 'as queries'), strict=True)
            if limit
        ]
        print(f'  monitor  kNN with at most {" and ".join(parts)}')


def verdict(top1: dict[str, float], measured: int, start: float | None = None) -> str:
    """Return the figures in a line, with the 95 % interval of the last and what follows from it.

    ``start`` is kNN of the encoder that training went on from, by the monitor.
    """
    low, high = interval(top1['pretrained'], measured)
    names = {'raw pixels': 'pixels', 'random weights': 'random', 'pretrained': 'pretrained'}
    figures = ', '.join(f'{name} {top1[key]:.1f}' for name, key in names.items())
    text = f'kNN top-1 of {measured:,} images: {figures} % (95 % interval {low:.1f} to {high:.1f})'
    if start is not None:
        return f"{text}; the encoder before, by the monitor's images, {start:.1f} %"
    lower = max(top1['pixels'], top1['random'])
    if low > interval(lower, measured)[1]:
        return text
    return f'{text}: not clearly above what needs no training; give more images, or --minutes'


def start_of(work_dir: Path) -> float | None:
    """Return kNN top-1 before the first step of a training that went on from an encoder."""
    file = work_dir / START
    top1: float | None = (
        json.loads(file.read_text())['metrics'].get('knn/top1') if file.is_file() else None
    )
    return top1


def main(argv: Sequence[str] | None = None) -> Path:
    """Choose, train, evaluate and report; return the last checkpoint.

    Steps whose result exists are skipped.
    """
    args = parse(argv)
    name = args.folder.resolve().name
    work_dir = args.work_dir or Path('work_dirs') / f'pretrain_{name}'
    folder = read_folder(args.folder)
    asked = {key: str(value) for key, value in sorted(vars(args).items()) if key != 'work_dir'}
    prepare_folder(work_dir, json.dumps([asked, folder.images, folder.classes]))
    config = trained_config(args, folder, work_dir)
    cfg = load_config(config)
    last = train(str(config), work_dir, cfg.train_cfg.max_epochs, {})
    said = f'{folder.images:,} images without classes, so there is no accuracy'
    if folder.classes:
        final = capped(folder, FINAL)
        measured = min(folder.measured, FINAL[1])
        top1 = evaluate(str(config), work_dir, last, final)
        said = verdict(top1, measured, start_of(work_dir))
    call('analysis_tools/report', str(work_dir), '--checkpoint', str(last))
    print(f'pretrain: {said}')
    print(f'pretrain: weights {last}, report {work_dir / "report.html"}')
    if folder.classes:
        print(f'next: mmssl probe {args.folder} --pretrained {last}')
    return last
