"""The cached probe beside the online one and scikit-learn: accuracy and cost on the same images.

One frozen network, one folder of images. Online: the 45 rates of iBOT over augmented views, the
best one on the test images, as upstream reports it. Cached: features once, a grid chosen on
held-out training images. scikit-learn: logistic regression on the cached features, chosen alike.
Seconds are those of the clock and of the processor, told for the 90 epochs of the online protocol.
"""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from mmssl.apis import load_config
from mmssl.cli.subprocess_tools import REPO
from mmssl.engine import Runner
from mmssl.evaluation import probe

from .timing import Builders, Comparison, counted

LENGTH = 90  # epochs of the online protocol
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # of scikit-learn's penalty
Seconds = Tensor  # (2,), of the clock and of the processor


def timed(call: Callable[[], Any]) -> tuple[Any, Seconds]:
    """Return what a call returns, its seconds, and those of this process."""
    begin = time.perf_counter(), time.process_time()
    found = call()
    end = time.perf_counter(), time.process_time()
    return found, torch.tensor([begin, end], dtype=torch.float64).diff(dim=0)[0]


def loader(name: str, args: SimpleNamespace, split: str, per_class: int) -> dict[str, Any]:
    """Return the options of one loader, without worker processes."""
    train = name == 'train'
    sizes = dict(size=args.size) if train else dict(size=args.size, resize=args.size)
    view = dict(type='TrainView' if train else 'CenterView', **sizes)
    return {
        f'{name}_dataloader.batch_size': args.batch,
        f'{name}_dataloader.num_workers': 0,
        f'{name}_dataloader.pin_memory': False,
        f'{name}_dataloader.dataset.split': split,
        f'{name}_dataloader.dataset.per_class': per_class,
        f'{name}_dataloader.dataset.pipeline': [dict(type='LoadImage'), view],
    }


def runner(base: str, args: SimpleNamespace, options: dict[str, Any]) -> Runner:
    """Build a runner on the network and the images that all forms have."""
    shared = {
        'pretrained': args.checkpoint,
        'model.backbone': dict(type='ResNet', depth=18, width=args.width, small_stem=True),
        'data_root': args.data,
        'work_dir': str(args.work_dir),
        'log_level': 'ERROR',
        'randomness.seed': args.seed,
    }
    return Runner.from_cfg(load_config(REPO / f'configs/_base_/{base}.py', shared | options))


def online(args: SimpleNamespace) -> tuple[float, Seconds]:
    """Train all rates on augmented views; cost is that of ``LENGTH`` epochs."""
    options = {
        **loader('train', args, 'train', args.train),
        **loader('val', args, args.split, args.test),
        **{f'{name}_dataloader.persistent_workers': False for name in ('train', 'val')},
        **dict.fromkeys(('test_dataloader', 'test_cfg', 'test_evaluator')),
        'val_evaluator': dict(type='Accuracy', topk=(1,)),
        'model.head': dict(type='SweepHead', num_classes=args.classes),
        'optim_wrapper.optimizer.lr': args.batch / 256,
        'train_cfg': dict(type='EpochLoop', max_epochs=args.epochs, val_interval=args.epochs + 1),
        'default_hooks.checkpoint.iterations': 0,
    }
    trained = runner('linear', args, options)
    _, spent = timed(trained.train)
    return trained.val()['sweep/top1_best'], spent * LENGTH / args.epochs


def scikit_learn(cached: Runner, seed: int) -> float:
    """Return the accuracy of the best penalty on held-out features."""
    bank, query = cached.test_loop._features()
    scale = probe.Scale.of(bank.features)
    x, unseen = scale(bank.features).numpy(), scale(query.features).numpy()
    kept, held = (rows.numpy() for rows in probe.split(bank.labels, 0.1, seed))
    labels = bank.labels.numpy()

    def fit(strength: float, rows: Any) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=2000).fit(x[rows], labels[rows])

    accuracy = [fit(strength, kept).score(x[held], labels[held]) for strength in STRENGTHS]
    best = STRENGTHS[accuracy.index(max(accuracy))]
    return 100 * fit(best, slice(None)).score(unseen, query.labels.numpy())


def probes(args: SimpleNamespace) -> Comparison:
    """All three, once; each notes its accuracy and what it spent."""
    bank = {'test_cfg.bank': dict(split='train', per_class=args.train)}
    cached = runner('probe', args, loader('test', args, args.split, args.test) | bank)
    forms = {
        f'online, {args.epochs} epochs': lambda: online(args),
        'cached, grid of 40': lambda: timed(lambda: cached.test()['probe/top1']),
        'scikit-learn, 4 strengths': lambda: timed(lambda: scikit_learn(cached, args.seed)),
    }
    found = {}

    def wall(name: str) -> float:
        found[name] = forms[name]()
        return float(found[name][1][0])

    def facts(name: str, _: Any) -> dict[str, Any]:
        top1, spent = found[name]
        low, high = probe.interval(top1, args.classes * args.test)
        interval = f'{low:.1f} to {high:.1f}'
        return {'cpu s': float(spent[1]), 'top-1 (%)': f'{top1:.2f}', '95 % interval': interval}

    contestants = {name: lambda name=name: wall(name) for name in forms}
    return Comparison(contestants, list(forms)[:1], measure=counted, once=True, facts=facts)


def comparisons(
    checkpoint: str,
    data: str,
    split: str = 'test',
    classes: int = 10,
    train: int = 500,
    test: int = 200,
    width: int = 16,
    size: int = 32,
    batch: int = 256,
    epochs: int = LENGTH,
    seed: int = 0,
) -> Builders:
    """One of a network, a file or 'random'; ``train`` and ``test`` are images of each class."""
    args = SimpleNamespace(**locals())
    name = f'{classes * train} training images'
    return {name: lambda scratch: probes(SimpleNamespace(**vars(args), work_dir=scratch))}
