"""Every config: at most three files, a name that states its content, a complete recipe."""

import ast
import math
import random
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmssl import datasets, engine, evaluation, models  # noqa: F401, they fill the registries
from mmssl.apis import load_config
from mmssl.optim.param_groups import param_effects
from mmssl.registry import MODELS, OPTIM_WRAPPERS, OPTIMIZERS, PARAM_SCHEDULERS, TRANSFORMS

from .helpers.configs import ALL, CONFIGS, FOLDER, KNN_CONFIGS, load, name, network
from .helpers.images import make_image

BASES = sorted((FOLDER / '_base_').glob('*.py'))
# {algorithm}_{network}_{gpus}xb{batch}[-how]-{epochs}e_{data}; without the algorithm in benchmarks/
NAME = re.compile(
    r'(?:(?P<algorithm>[a-z0-9]+)_)?(?P<network>[a-z0-9-]+(?:_[a-z0-9-]+-pre)?)'
    r'_(?P<gpus>\d+)xb(?P<batch>\d+)(?P<how>(?:-[a-z0-9.]+)*)-(?P<epochs>\d+)e'
    r'_(?P<data>[a-z0-9-]+)'
)

TRAINED = [p for p in CONFIGS if p not in KNN_CONFIGS]


each_config = pytest.mark.parametrize('path', CONFIGS, ids=name)
each_trained = pytest.mark.parametrize('path', TRAINED, ids=name)


def test_there_are_configs_and_bases():
    assert len(CONFIGS) >= 13
    assert {p.stem for p in BASES} >= {'linear', 'pretrain', 'knn'}


# files --------------------------------------------------------------------------------------------
@pytest.mark.parametrize('path', ALL, ids=name)
def test_a_config_is_short_and_says_what_it_is(path):
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), 'begin with what this recipe is and whose'
    code = text.splitlines()[tree.body[0].end_lineno :]
    assert sum(bool(line.strip()) for line in code) <= 60


def files(path: Path) -> set[Path]:
    """Return a config and all its bases, those of mmdet and mmseg left out."""
    names = (n for n in Config._get_base_files(str(path)) if '::' not in n)
    return {path}.union(*(files((path.parent / n).resolve()) for n in names))


@pytest.mark.parametrize('path', [p for p in ALL if p.parent.name != '_base_'], ids=name)
def test_at_most_three_files_are_read(path):
    assert len(files(path)) <= 3, sorted(name(p) for p in files(path))


@each_trained
def test_the_name_says_batch_epochs_and_precision(path):
    parts, cfg = NAME.fullmatch(path.stem), load(path)
    assert parts, 'name it {algorithm}_{network}_{gpus}xb{batch}[-how]-{epochs}e_{data}.py'
    if path.parent.name == 'benchmarks':
        assert parts['algorithm'] is None
    elif path.parent.name not in ('quickstart', 'cifar10', 'compare', 'one_gpu', 'own_images'):
        assert (parts['algorithm'] or '') in path.parent.name
    assert int(parts['batch']) == cfg.train_dataloader.batch_size
    assert int(parts['epochs']) == cfg.train_cfg.max_epochs
    how = parts['how'].split('-')
    assert ('amp' in how) == bool(cfg.optim_wrapper.get('amp'))
    shape = [s.get('shape', 'cosine') for s in cfg.param_scheduler if s.param_name == 'lr']
    assert ('coslr' in how) == (shape == ['cosine']) or parts['gpus'] == '1'
    if cfg.get('auto_scale_lr'):
        gathered = cfg.optim_wrapper.get('accumulative_counts', 1)
        assert ('accum' in parts['how']) == (gathered > 1)
        total = int(parts['gpus']) * int(parts['batch']) * gathered
        assert cfg.auto_scale_lr.base_batch_size == total
        assert not cfg.auto_scale_lr.get('enable'), 'scaling happens on request only'


@pytest.mark.parametrize(
    ('path', 'interpolation'), zip(KNN_CONFIGS, ('bicubic', 'bilinear'), strict=True)
)
def test_knn_is_the_published_protocol(path, interpolation):
    cfg = load(path)
    assert cfg.protocol == 'kNN'
    loop = cfg.test_cfg
    assert (sorted(loop.k), loop.temperature) == ([10, 20, 100, 200], 0.07)
    assert loop.bank == dict(split='train')
    assert loop.k[0] == 20, 'knn/top1 is that of the first k'
    assert loop.feature == dict(blocks=1, pool='auto')
    assert cfg.test_dataloader.dataset.pipeline[1:] == [
        dict(type='CenterView', size=224, resize=256, interpolation=interpolation)
    ]
    assert cfg.pretrained is None and cfg.get('train_cfg') is None
    assert cfg.model == dict(type='Encoder'), 'the network is that of the encoder'
    cfg = load_config(path, {'pretrained': 'moby_swin-tiny_3rdparty_8xb64-amp-coslr-300e_in1k'})
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert type(model.backbone).__name__ == 'SwinTransformer'
    assert not any(p.requires_grad for p in model.parameters())


# contents -----------------------------------------------------------------------------------------
@each_trained
def test_the_model_builds_and_every_rule_finds_something(path):
    wrapper = load(path).optim_wrapper
    table = param_effects(network(path), (wrapper.get('paramwise_cfg') or {}).get('rules', []))
    assert table, 'nothing is trained'
    assert wrapper.get('constructor') == 'ParamGroupConstructor'
    kind = OPTIMIZERS.get(wrapper.optimizer.type)
    kind(
        [nn.Parameter(torch.zeros(1))],
        **{k: v for k, v in wrapper.optimizer.items() if k != 'type'},
    )
    own = {
        k: v for k, v in wrapper.items() if k not in ('constructor', 'paramwise_cfg', 'optimizer')
    }
    OPTIM_WRAPPERS.build(dict(own, optimizer=torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)))


@each_trained
def test_curves_fit_in_training(path):
    cfg, per_epoch = load(path), 8
    epochs = cfg.train_cfg.max_epochs
    settings = {k: v for k, v in cfg.optim_wrapper.optimizer.items() if k in ('lr', 'weight_decay')}
    assert any(s.param_name == 'lr' for s in cfg.param_scheduler)
    for scheduler in cfg.param_scheduler:
        optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], **settings)
        built = PARAM_SCHEDULERS.build(
            dict(scheduler, optimizer=optimizer, per_epoch=per_epoch, end=epochs)
        )
        values = [built.value(step) for step in range(epochs * per_epoch)]
        assert all(math.isfinite(v) and v >= 0 for v in values)
    for key, schedule in getattr(network(path), 'schedules', dict)().items():
        schedule.check(epochs * per_epoch, per_epoch, key)


@each_config
def test_pipelines_make_views(path):
    cfg, image = load(path), make_image((70, 60))
    dense = cfg.model.type == 'Segmenter'
    label = torch.ones(60, 70, dtype=torch.int64) if dense else 1
    for part in ('train', 'val', 'test'):
        loader = cfg.get(f'{part}_dataloader')
        if not loader:
            continue
        assert loader.dataset.data_root, 'ImageDataset gets the data_root of the top level'
        first, *others = (TRANSFORMS.build(t) for t in loader.dataset.pipeline)
        assert type(first).__name__ == 'LoadImage'
        item = dict(image=image, index=3, label=label, rng=random.Random(0), path='')
        for transform in others:
            item = transform(item)
        views = item['inputs'] if isinstance(item['inputs'], list) else [item['inputs']]
        whole = dense and part != 'train'
        assert all(v.shape[0] == 3 and (v.shape[1] == v.shape[2]) != whole for v in views)
        found = item['data_samples']['label']
        assert (found == 1).all() if dense else found == 1
        if part == 'train':
            assert len(views) >= getattr(network(path), 'min_views', 1)
