"""What an encoder is worth: distilled into small networks, and gone on from, against scratch.

    python tools/dev/encoder_study.py distill FILE --teacher-name tf_efficientnet_lite0 \
        --data data/imagenette128 --epochs 20
    python tools/dev/encoder_study.py continue FILE --teacher-name tf_efficientnet_lite0 \
        --data data/cifar10 --epochs 5 --method mocov3

FILE is a file of weights; --teacher-name is timm's name of its network, where it tells none. Every
arm sees the same images the same number of times, and is trained from the same seeds. Prints kNN
top-1 of each seed, its time, and the differences that count with their 95 % intervals over seeds.
What is there is not done again.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from over_seeds import mean_and_half

from mmssl.apis.methods import training_settings_of
from mmssl.cli.options import run_tool
from mmssl.cli.subprocess_tools import REPO, json_or_run
from mmssl.config.pretrained import encoder_settings, network_of
from mmssl.core import UserError
from mmssl.core.io import atomic_write
from mmssl.datasets import ImageDataset
from mmssl.reports.history import read_history

SMALL_VIT = dict(type='VisionTransformer', arch=(192, 6, 3), patch_size=16)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('study', choices=['distill', 'continue'])
    parser.add_argument('encoder', type=Path, help='a file of weights')
    parser.add_argument('--teacher-name', help="timm's name of its network, where it tells none")
    parser.add_argument('--data', type=Path, required=True, help='folder with train/ and val/')
    parser.add_argument('--val', default='val', help='name of the folder of queries')
    parser.add_argument('--method', default='mocov3', help='that goes on')
    parser.add_argument('--size', type=int, default=112, help='pixels of views')
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--epochs', type=int, default=20)
    parser.add_argument('--per-class', type=int, help='training images of each class')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/encoder_study'))
    return parser.parse_args(argv)


def encoder_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of the encoder's network with its file."""
    file = str(args.encoder)
    if args.teacher_name:
        init = dict(type='Pretrained', checkpoint=file)
        return dict(type='TimmBackbone', name=args.teacher_name, init_cfg=init)
    return encoder_settings(file)


def arms(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return the arguments of `training_settings_of` of each arm, by its name."""
    if args.study == 'continue':
        network = encoder_of(args)
        if not network_of(str(args.encoder)) or args.teacher_name:
            network = {key: value for key, value in network.items() if key != 'init_cfg'}
        go_on = dict(name=args.method, backbone=network, pretrained=str(args.encoder))
        return {'preset continue': go_on, 'recipe': {**go_on, 'preset': None, 'freeze_backbone': 0}}
    teacher = encoder_of(args)
    return {
        'ResNet-18, distilled': dict(name='distillation', backbone='resnet18', teacher=teacher),
        'ResNet-18, MoCo v3': dict(name='mocov3', backbone='resnet18'),
        'small ViT, distilled': dict(name='distillation', backbone=SMALL_VIT, teacher=teacher),
        'small ViT, DINO': dict(name='dino', backbone=SMALL_VIT),
    }


def write_config(folder: Path, args: argparse.Namespace, arm: dict[str, Any]) -> Path:
    """Write the config of an arm."""
    images = len(ImageDataset(data_root=str(args.data), split='train', per_class=args.per_class))
    settings = training_settings_of(
        **arm, img_size=args.size, batch_size=args.batch, epochs=args.epochs, images=images
    )
    model, wrapper, schedules, pipeline = settings[:4]
    view = dict(type='CenterView', size=args.size, resize=round(args.size * 256 / 224))
    center = [dict(type='LoadImage'), view]
    loader = dict(num_workers=2, persistent_workers=False)
    train = dict(batch_size=args.batch, dataset=dict(pipeline=pipeline), **loader)
    val = dict(dataset=dict(split=args.val, per_class=None, pipeline=center), **loader)
    if args.per_class:
        train['dataset']['per_class'] = args.per_class
    interval = max(args.epochs // 4, 1)
    parts: dict[str, Any] = dict(
        data_root=str(args.data.resolve()),
        train_dataloader=train,
        val_dataloader=val,
        val_cfg=dict(k=(20, 10), bank=dict(split='train', per_class=args.per_class)),
        model=model,
        optim_wrapper=wrapper,
        param_scheduler=schedules,
        train_cfg=dict(max_epochs=args.epochs, val_interval=interval, val_at_start=True),
        default_hooks=dict(checkpoint=dict(interval=args.epochs)),
    )
    if 'pretrained' in arm:
        parts['custom_hooks'] = [dict(type='StartHook')]
    lines = [f'_base_ = {str(REPO / "configs/_base_/pretrain.py")!r}']
    lines += [f'{key} = {value!r}' for key, value in parts.items()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'config.py'
    path.write_text('\n'.join(lines) + '\n')
    return path


def train(folder: Path, config: Path, seed: int) -> None:
    """Train, and keep kNN top-1 at the start and the end, and the seconds."""
    words = [config, '--work-dir', folder, '--overwrite']
    words += ['--cfg-options', f'randomness.seed={seed}']
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with open(folder / 'output.txt', 'w') as log:
        command = [sys.executable, REPO / 'tools/train.py', *words]
        done = subprocess.run(command, stdout=log, stderr=log, check=False)
    if done.returncode:
        last = (folder / 'output.txt').read_text().strip().rpartition('\n')[2]
        raise UserError(f'{folder}/output.txt: {last}', key='config', value=str(config))
    found = [value for _, value in read_history(folder).val['knn/top1']]
    seconds = time.monotonic() - began
    result = dict(start=found[0], end=found[-1], seconds=seconds)
    atomic_write(folder / 'metrics.json', json.dumps(result) + '\n')


def teacher_accuracy(folder: Path, args: argparse.Namespace) -> None:
    """Measure the encoder itself at the size of the views."""
    network = encoder_of(args)
    view = dict(type='CenterView', size=args.size, resize=round(args.size * 256 / 224))
    dataset = dict(split=args.val, pipeline=[dict(type='LoadImage'), view])
    config = folder / 'config.py'
    folder.mkdir(parents=True, exist_ok=True)
    config.write_text(
        f'_base_ = {str(REPO / "configs/knn_in1k.py")!r}\n'
        f'data_root = {str(args.data.resolve())!r}\n'
        f'pretrained = {str(args.encoder.resolve())!r}\n'
        f'model = dict(backbone={ ({k: v for k, v in network.items() if k != "init_cfg"})!r})\n'
        f'test_dataloader = dict(num_workers=2, dataset={dataset!r})\n'
        f'test_cfg = dict(k=(20, 10), bank=dict(split="train", per_class={args.per_class}))\n'
    )
    command = [sys.executable, REPO / 'tools/test.py', config, '--work-dir', folder]
    with open(folder / 'output.txt', 'w') as log:
        subprocess.run(command, stdout=log, stderr=log, check=True)
    metrics = json.loads((folder / 'result.json').read_text())['metrics']
    atomic_write(folder / 'metrics.json', json.dumps(dict(end=metrics['knn/top1'])) + '\n')


def difference(name: str, a: Sequence[float], b: Sequence[float]) -> str:
    """Return a line on the difference of two arms, by seed."""
    mean, half = mean_and_half([x - y for x, y in zip(a, b, strict=True)])
    return f'| {name} | {mean:+.1f} | +-{half:.1f} |'


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not there yet, and print the tables."""
    args = parse(argv)
    found: dict[str, list[dict[str, float]]] = {}
    root = args.work_dir / f'{args.study}_{args.encoder.stem}_{args.data.name}'
    print('| arm | kNN top-1 by seed, % | start, % | seconds |\n| --- | --- | --- | --- |')
    for name, arm in arms(args).items():
        folder = root / name.replace(', ', '_').replace(' ', '-')
        config = write_config(folder, args, arm)
        found[name] = []
        for seed in args.seeds:
            place = folder / f'seed{seed}'
            run = partial(train, place, config, seed)
            found[name].append(json_or_run(place / 'metrics.json', run))
        ends = ' '.join(f'{run["end"]:.1f}' for run in found[name])
        start = statistics.mean(run['start'] for run in found[name])
        seconds = statistics.mean(run['seconds'] for run in found[name])
        print(f'| {name} | {ends} | {start:.1f} | {seconds:.0f} |', flush=True)
    ends = {name: [run['end'] for run in runs] for name, runs in found.items()}
    print('\n| difference, points | mean | 95 % interval |\n| --- | --- | --- |')
    if args.study == 'continue':
        for name, runs in found.items():
            print(difference(f'{name}: end - start', ends[name], [r['start'] for r in runs]))
        return
    place = root / 'teacher'
    teacher = json_or_run(place / 'metrics.json', partial(teacher_accuracy, place, args))['end']
    for network, scratch in (('ResNet-18', 'MoCo v3'), ('small ViT', 'DINO')):
        distilled, other = ends[f'{network}, distilled'], ends[f'{network}, {scratch}']
        below = [teacher] * len(distilled)
        print(difference(f'{network}: distilled - {scratch}', distilled, other))
        print(difference(f'{network}: distilled - teacher ({teacher:.1f} %)', distilled, below))


if __name__ == '__main__':
    run_tool(main)
