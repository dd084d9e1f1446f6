"""Deterministic mode can train and evaluate all there is: no operator that raises on CUDA."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmssl.core.color_ops import ColorOp
from mmssl.evaluation import knn, probe
from mmssl.evaluation.metrics.mean_iou import overlaps
from mmssl.functional.color import apply_color
from mmssl.functional.embedding_stats import rankme
from mmssl.planning.fake_tensor_step import FakeTensorStep
from mmssl.registry import MODELS

from ..helpers.configs import CONFIGS, load
from ..helpers.configs import name as name_of
from ..helpers.deterministic import NAMES, RAISES, RaisingOperators, documented
from ..helpers.methods import CVT, MODELS_BY_NAME, RESNET, SWIN, VIT, batch, build, dino
from ..helpers.paths import REPO

VIL = dict(
    type='ViL',
    img_size=16,
    arch='l1,h2,d8,n1,s1,g1,p2,f2,a0_l2,h2,d12,n1,s0,g1,p2,f2,a0',
)
BACKBONES = {
    'vit': VIT,
    'vit, sines': dict(VIT, positions='sincos'),
    'vit, checkpointed': dict(VIT, with_cp=True),
    'swin': SWIN,
    'cvt': CVT,
    'vil': VIL,
    'resnet': dict(RESNET, small_stem=False),
}

# of each method the recipes of its paper: one_gpu/ and compare/ have the same networks
PAPERS = ('esvit', 'ibot', 'moby', 'mocov1', 'mocov2', 'mocov3', 'sere', 'swav', 'quickstart')
CONSTRAINTS = (REPO / 'requirements' / 'constraints.txt').read_text().splitlines()
RECIPES = [path for path in CONFIGS if path.parent.name in PAPERS]


# the list ---------------------------------------------------------------------------------------
@pytest.mark.skipif(
    f'torch=={torch.__version__.partition("+")[0]}' not in CONSTRAINTS,
    reason='the list is that of the tested torch; others have a few names more or less',
)
def test_the_list_is_that_of_the_installed_torch() -> None:
    assert documented() == set(RAISES)
    for name in NAMES:
        assert getattr(torch.ops.aten, name, None) or getattr(torch.ops.aten, f'{name}_'), name


X = torch.rand(2, 3, 4, 4)
COUNTS = torch.tensor([0, 2, 2])
# what raises on CUDA, and neighbours of it that do not
SEEN: dict[str, tuple[Callable[[Tensor], Tensor], set[str]]] = {
    'bicubic': (
        lambda x: F.interpolate(x, (6, 5), mode='bicubic'),
        {'upsample_bicubic2d_backward'},
    ),
    'bilinear': (
        lambda x: F.interpolate(x, (6, 5), mode='bilinear'),
        {'upsample_bilinear2d_backward'},
    ),
    'antialiased': (
        lambda x: F.interpolate(x, (3, 2), mode='bicubic', antialias=True),
        {'_upsample_bicubic2d_aa_backward'},
    ),
    'nearest': (lambda x: F.interpolate(x, (6, 5), mode='nearest'), set()),
    'bicubic, forward': (
        lambda x: F.interpolate(x.detach(), (6, 5), mode='bicubic') + x.sum(),
        set(),
    ),
    'sampling': (
        lambda x: F.grid_sample(x, torch.zeros(2, 3, 3, 2), align_corners=False),
        {'grid_sampler_2d_backward'},
    ),
    'pooling to a grid': (lambda x: F.adaptive_avg_pool2d(x, 3), {'_adaptive_avg_pool2d_backward'}),
    'pooling to one cell': (lambda x: F.adaptive_avg_pool2d(x, 1), set()),
    'reflection': (lambda x: F.pad(x, (1, 1, 1, 1), 'reflect'), {'reflection_pad2d_backward'}),
    'replication': (lambda x: F.pad(x, (1, 1, 1, 1), 'replicate'), set()),
    'classes of maps': (
        lambda x: F.cross_entropy(x, torch.zeros(2, 4, 4, dtype=torch.long)),
        {'nll_loss2d_forward'},
    ),
    'classes of rows': (
        lambda x: F.cross_entropy(x.flatten(1), torch.zeros(2, dtype=torch.long)),
        set(),
    ),
    'sums': (lambda x: x.cumsum(1), {'cumsum'}),
    'counts': (lambda x: x + COUNTS.cumsum(0).sum(), set()),
    'weighted histogram': (lambda x: x + torch.bincount(COUNTS, COUNTS.double())[0], {'bincount'}),
    'histogram': (lambda x: x + torch.bincount(COUNTS)[0], set()),
    'median and place': (lambda x: x.median(1).values, {'median'}),
    'median': (lambda x: x.median(), set()),
    'products': (
        lambda x: x.scatter_reduce(1, torch.zeros_like(x, dtype=torch.long), x, 'prod'),
        {'scatter_reduce'},
    ),
    'places': (lambda x: x + x.detach().put(COUNTS, torch.ones(3)), {'put'}),
}


@pytest.mark.parametrize('name', SEEN)
def test_the_recorder_sees_what_raises(name: str) -> None:
    function, expected = SEEN[name]
    with RaisingOperators() as raising:
        function(X.clone().requires_grad_()).sum().backward()
    assert raising.found == expected


# pretraining --------------------------------------------------------------------------------------
def update(model: torch.nn.Module, views: list[Tensor], info: dict[str, Tensor]) -> set[str]:
    """Take two updates, teacher and memories included; return the operators that would raise."""
    optimizer = torch.optim.AdamW(model.parameters())
    with RaisingOperators() as raising:
        for _ in range(2):
            model.begin_update()
            model(views, info, mode='loss')['loss'].backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
            optimizer.step()
            optimizer.zero_grad()
            model.end_step()
        rankme(model.logged_embeddings['student'])
    assert raising.count > 500
    return raising.found


def network(backbone: dict) -> dict:
    """Settings of a method that put another network under its neck, for `build`."""
    width = MODELS.build(dict(backbone)).num_features
    return dict(backbone=backbone, neck=dino(width))


CHUNKED = ('dino', 'esvit', 'ibot', 'sere')
METHODS: dict[str, tuple[str, dict]] = {name: (name, {}) for name in MODELS_BY_NAME}
METHODS |= {
    f'{name} in chunks': (name, dict(neck=dict(MODELS_BY_NAME[name]['neck'], chunk_size=4)))
    for name in CHUNKED
}


@pytest.mark.parametrize('name', METHODS)
def test_every_method_trains(name: str) -> None:
    """Two to five crops; where a method takes small ones, a ViT's positions are resized."""
    method, changes = METHODS[name]
    views, info = batch(method, 4)
    assert update(build(method, **changes), views, info) == set()


@pytest.mark.parametrize('name', BACKBONES)
def test_every_network_trains_at_other_sizes(name: str) -> None:
    """Crops larger and smaller than ``img_size``, to which positions and biases are resized."""
    views = [torch.rand(2, 3, side, side, dtype=torch.float64) for side in (24, 24, 8)]
    assert update(build('dino', **network(BACKBONES[name])), views, {}) == set()


def test_timms_own_resizing_is_found() -> None:
    """The one network of which the documentation says that it can be refused."""
    small = dict(img_size=16, patch_size=4, embed_dim=12, depth=1, num_heads=2)
    args = dict(small, dynamic_img_size=True)
    net = dict(type='TimmBackbone', name='vit_tiny_patch16_224', args=args)
    views = [torch.rand(2, 3, 24, 24, dtype=torch.float64)] * 2
    assert update(build('dino', **network(net)), views, {}) == {'_upsample_bicubic2d_aa_backward'}


@pytest.mark.nightly
@pytest.mark.parametrize('path', RECIPES, ids=name_of)
def test_every_recipe_trains(path: Path) -> None:
    """At full width and in its own precision, as CUDA's autocast has it, without numbers."""
    step = FakeTensorStep(load(path))
    raising = RaisingOperators()
    step.modes.append(raising)
    step.peak(4)
    assert raising.count > 500
    assert raising.found == set()


def test_colours_on_the_device() -> None:
    every = [*map(float, ColorOp), 1.2, 0.8, 1.1, 0.1, 1.0, 1.5, 1.0]
    with RaisingOperators() as raising:
        apply_color(255 * torch.rand(2, 3, 16, 16), torch.tensor([every, every]))
    assert raising.count > 100
    assert raising.found == set()


# evaluation -------------------------------------------------------------------------------------
def classifier(
    kind: str = 'Classifier', backbone: dict = VIT, **settings: object
) -> torch.nn.Module:
    """A backbone with a head of 5 classes."""
    head = dict(type='LinearHead', num_classes=5)
    return MODELS.build(dict(dict(type=kind, backbone=backbone, head=head), **settings)).train()


MIXUP = dict(mixup_alpha=0.8, prob=1.0, label_smoothing=0.1)
CUTMIX = dict(cutmix_alpha=1.0, mixup_alpha=0.0, prob=1.0)
SMOOTH = dict(type='LinearHead', num_classes=5, norm='layer', label_smoothing=0.1)
SWEEP = dict(type='SweepHead', num_classes=5, rates=(0.1, 1.0))
CLASSIFIERS: dict[str, dict] = {
    **{f'fine-tuning, {name}': dict(backbone=net) for name, net in BACKBONES.items()},
    'mixup': dict(mixup=MIXUP),
    'cutmix': dict(mixup=CUTMIX),
    'label smoothing': dict(head=SMOOTH),
    'linear': dict(frozen=True, blocks=2),
    'linear, batch norm': dict(frozen=True, head=dict(SMOOTH, norm=True)),
    'sweep': dict(frozen=True, head=SWEEP),
    'segmentation': dict(kind='Segmenter'),
    'segmentation, swin': dict(kind='Segmenter', backbone=SWIN),
}


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_every_classifier_trains_and_predicts(name: str) -> None:
    model, x = classifier(**CLASSIFIERS[name]), torch.rand(4, 3, 24, 24)
    shape = (4, 24, 24) if name.startswith('segmentation') else (4,)
    label = torch.randint(5, shape)
    with RaisingOperators() as raising:
        model(x, dict(label=label), mode='loss')['loss'].backward()
        with torch.no_grad():
            model.eval()(x, dict(label=label), mode='predict')
    assert raising.count > 100
    assert raising.found == set()


def test_probes_neighbours_and_metrics() -> None:
    x, labels = torch.rand(40, 6), torch.arange(40) % 4
    recipe = probe.Recipe(rates=(0.1, 1.0), decays=(0.0,), epochs=2, batch=16)
    with RaisingOperators() as raising:
        train, held = probe.split(labels, 0.25)
        layers = probe.train(x[train], labels[train], 4, recipe.grid(), recipe)
        probe.score(layers, x[held], labels[held])
        votes = knn.knn(x[train], labels[train], x[held], 5, 0.07, 4)
        knn.accuracy(votes, labels[held])
        overlaps(labels, labels.roll(1), 4, ignore=3)
    assert raising.count > 100
    assert raising.found == set()
