"""EsViT, SERE and iBOT: each config is the published recipe, number by number."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from mmssl.apis import load_config
from mmssl.core import Progress, UserError
from mmssl.models import algorithms
from mmssl.registry import MODELS

from ..helpers.command import call
from ..helpers.configs import CONFIGS, find, load, name, network
from ..helpers.paths import REPO
from ..helpers.recipe_names import LONG, E
from ..helpers.tiny import losses, make_runner, weights

FOLDERS = ('esvit', 'sere', 'ibot')
ALL = {name(p): p for p in CONFIGS if p.parent.name in FOLDERS}
# network: parameters of the backbone, drop path, window, width of the features
NETWORKS = {
    'swin-tiny-w7': (27_519_354, 0.1, 7, 768),
    'swin-tiny-w14': (27_569_754, 0.1, 14, 768),
    'swin-small-w7': (48_837_258, 0.2, 7, 768),
    'swin-small-w14': (48_968_298, 0.2, 14, 768),
    'swin-base-w7': (86_743_224, 0.2, 7, 1024),
    'swin-base-w14': (86_917_944, 0.2, 14, 1024),
    'swin-large-w7': (194_995_476, 0.2, 7, 1536),
    'cvt-tiny': (29_303_616, 0.1, None, 768),
    'vil-2262': (27_569_352, 0.1, None, 768),
    'resnet50': (23_508_032, None, None, 2048),
}
HEADS = {768: 23_138_560, 1024: 23_662_848, 1536: 24_711_424, 2048: 25_760_000}
# the rows of the official tables on ImageNet-1k: network, view task alone, GPUs and images, epoch
# at which the region task begins
PUBLISHED = [
    ('resnet50', True, '16xb64', None), ('resnet50', False, '16xb64', 200),
    ('swin-tiny-w7', True, '16xb32', None), ('swin-tiny-w7', False, '16xb32', None),
    ('swin-small-w7', True, '16xb32', None), ('swin-small-w7', False, '16xb32', None),
    ('swin-base-w7', True, '16xb32', None), ('swin-base-w7', False, '16xb32', 200),
    ('swin-tiny-w14', False, '16xb32', 200), ('swin-small-w14', False, '32xb16', 180),
    ('swin-base-w14', False, '64xb8', 200), ('swin-tiny-w7', True, '16xb64', None),
    ('cvt-tiny', True, '16xb64', None), ('cvt-tiny', False, '16xb64', 200),
    ('vil-2262', True, '16xb32', None), ('vil-2262', False, '16xb64', 200),
]  # fmt: skip


def count(module, trained=False):
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained)


@pytest.mark.parametrize(('kind', 'view', 'gpus', 'start'), PUBLISHED)
def test_every_published_row_of_esvit_has_a_config(kind, view, gpus, start):
    task, since = '-v' if view else '', f'v{start}-' if start else ''
    path = find(f'{E}{kind}{task}_{gpus}-amp-mcrop-coslr-{since}300e_in1k')
    cfg = load(path)
    assert cfg.model.type == ('DINO' if view else 'EsViT')
    assert bool(cfg.get('continue_epoch')) == bool(start)


ESVIT = [n for n in ALL if n.startswith('esvit')]


@pytest.mark.parametrize('short', ESVIT)
def test_esvit_recipe(short):
    cfg, model = load(ALL[short]), network(ALL[short])
    kind = re.match(r'esvit/esvit_([a-z0-9-]+?)(-v)?_', short)[1]
    backbone, drop, window, width = NETWORKS[kind]
    tasks = 1 if cfg.model.type == 'DINO' else 2
    assert count(model.student.backbone) == count(model.teacher.backbone) == backbone
    assert count(model.student) == backbone + tasks * HEADS[width]
    frozen = 65_536 * tasks if 'base-w14_' in short else 0  # norm_last_layer
    assert count(model, trained=True) == count(model.student) - frozen
    assert cfg.model.backbone.get('drop_path_rate') == drop
    assert cfg.model.backbone.get('window_size', 7 if window else None) == window
    if window:
        assert cfg.model.backbone.norm_eps == 1e-6
    assert count(model.head) == 0 and model.head.student_temp == 0.1
    assert model.head.center_momentum == 0.9
    common(cfg, lr=5e-4, final=1e-6, clip=3.0, frozen=1, warm=30)
    crops(cfg, (0.4, 1.0), (0.05, 0.4), 8)
    assert bool(cfg.get('sync_bn')) == any(
        isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()
    )


def common(cfg, lr, final, clip, frozen, warm, decayed=0.4):
    """Check what the three methods have in common; ``lr`` is for 256 images."""
    wrapper = cfg.optim_wrapper
    assert wrapper.optimizer.type == 'AdamW' and wrapper.amp == 'float16'
    batch = cfg.auto_scale_lr.base_batch_size
    assert wrapper.optimizer.lr == pytest.approx(lr * batch / 256, rel=1e-12)
    assert wrapper.clip_grad == dict(max_norm=clip, each=True)
    assert wrapper.paramwise_cfg.rules[-1] == dict(match='last_layer', frozen_epochs=frozen)
    rate, decay = cfg.param_scheduler
    assert (rate.final, rate.warmup, rate.warmup_reaches) == (final, 10, True)
    assert 'scale' not in rate  # the minimum does not follow the batch
    assert (wrapper.optimizer.weight_decay, decay.final) == (0.04, decayed)
    temp = cfg.model.teacher_temp
    assert (temp.warmup_start, temp.start, temp.warmup) == (0.04, 0.07, warm)
    assert cfg.model.momentum == dict(start=0.996, final=1.0)
    assert not cfg.get('find_unused_parameters')


def crops(cfg, large, small, locals_):
    """Check the ten or twelve views."""
    views = cfg.train_dataloader.dataset.pipeline[1].views
    assert [(v.size, v.scale, v.get('repeat', 1)) for v in views] == [
        (224, large, 1), (224, large, 1), (96, small, locals_)
    ]  # fmt: skip
    assert [(v.blur, v.get('solarize')) for v in views] == [(1.0, None), (0.1, 0.2), (0.5, None)]
    assert {v.interpolation for v in views} == {'bicubic'}
    assert {v.jitter for v in views} == {(0.4, 0.4, 0.2, 0.1)}


@pytest.mark.parametrize('short', [n for n in ESVIT if re.search(r'-v\d+-', n)])
def test_a_continued_recipe_has_its_first_half(short):
    """The two configs agree in everything but the region task."""
    first = re.sub(r'_(\d+xb)', r'-v_\1', re.sub(r'-v\d+-', '-', short), count=1)
    late, early = (load(ALL[n]).to_dict() for n in (short, first))
    assert late.pop('load_part') == 'all' and late.pop('continue_epoch')
    assert late['load_from'] is None
    kept = early['default_hooks']['checkpoint'].pop('max_keep_ckpts')
    late['default_hooks']['checkpoint'].pop('max_keep_ckpts')
    begin = int(re.search(r'-v(\d+)-', short)[1])
    assert begin in range(300, 0, -10)[:kept], 'the file to go on from is still there at the end'
    assert (early['model'].pop('type'), late['model'].pop('type')) == ('DINO', 'EsViT')
    late['model']['neck'].pop('train_scale', None)
    assert late == early


def test_no_access_token_of_others_is_kept():
    for path in (REPO / 'configs/esvit').rglob('*.*'):
        assert not re.search(r'[?&]s(?:ig|e|v)=[A-Za-z0-9%]', path.read_text()), path


# SERE and iBOT ------------------------------------------------------------------------------------
# one student: everything, trained, backbone with mask token; where small crops end and large ones
# begin; lr, its minimum, clip, frozen epochs, warm-up of the temperature; batch, epochs; drop path
SMALL_ONE, LARGE_ONE = (5e-4, 1e-6, 0.3, 1, 30), (7.5e-4, 2e-6, 0.3, 3, 50)
SERE = {
    'sere/sere_vit-small': (
        (29_876_736, 29_876_736, 21_666_048), 0.4, SMALL_ONE, (1024, 100), 0.1
    ),
    'sere/sere_vit-base': (
        (96_572_160, 96_563_968, 85_799_424), 0.32, LARGE_ONE, (1024, 100), 0.1
    ),
    'ibot/ibot_vit-small': (
        (29_280_768, 29_280_768, 21_666_048), 0.25, (5e-4, 1e-6, 3.0, 1, 30), (1024, 800), 0.1
    ),
    'ibot/ibot_vit-base-p16_32xb32-amp-mcrop-coslr': (
        (94_200_576, 94_192_384, 85_799_424), 0.32, LARGE_ONE, (1024, 400), 0.1
    ),
    'ibot/ibot_vit-large-p16_64xb16-amp-mcrop-coslr': (
        (312_228_096, 312_219_904, 303_302_656), 0.25, (5e-4, 2e-4, 0.3, 3, 50, 0.48),
        (1024, 250), 0.2
    ),
}  # fmt: skip
SERE |= {
    n.replace('mcrop-coslr', 'mcrop-rand-coslr'): v for n, v in SERE.items() if 'mcrop-coslr' in n
}


SWIN_MASKED = {  # one student, backbone with mask token
    'ibot/ibot_swin-tiny-w7': (35_920_602, 27_519_450),
    'ibot/ibot_swin-tiny-w14': (35_971_002, 27_569_850),
}


@pytest.mark.parametrize('short', SWIN_MASKED)
def test_ibot_with_swin(short):
    cfg, model = load(find(short)), network(find(short))
    assert (count(model.student), count(model.student.backbone)) == SWIN_MASKED[short]
    assert count(model.teacher) == count(model.student) - 96  # no mask token
    common(cfg, 5e-4, 1e-6, 3.0, 1, 30)
    crops(cfg, (0.25, 1.0), (0.05, 0.25), 10)
    mask = cfg.train_dataloader.dataset.pipeline[1].mask
    assert (mask.patch_size, mask.start_epoch, mask.ratio) == (32, 50, (0.0, 0.3))


def test_no_recipe_of_sere_and_ibot_is_left_out():
    assert {find(s) for s in (*SERE, *SWIN_MASKED)} == {
        p for n, p in ALL.items() if not n.startswith('esvit')
    }


@pytest.mark.parametrize('short', SERE)
def test_sere_recipe(short):
    (whole, trained, backbone), share, (lr, final, *rest), (batch, epochs), drop = SERE[short]
    cfg, model = load(find(short)), network(find(short))
    found = count(model.student), count(model, trained=True), count(model.student.backbone)
    assert found == (whole, trained, backbone)
    width = model.student.backbone.num_features
    assert count(model.teacher) == whole - width  # no mask token
    view = model.student.neck['view']
    assert view.last_layer2 is None and count(view) == whole - backbone - relations(model, width)
    assert model.head.center.shape[-1] == model.patch_head.center.shape[-1] == 8192
    common(cfg, lr, final, *rest)
    crops(cfg, (share, 1.0), (0.05, share), 10)
    assert (cfg.auto_scale_lr.base_batch_size, cfg.train_cfg.max_epochs) == (batch, epochs)
    assert cfg.model.backbone.drop_path_rate == drop
    mask = cfg.train_dataloader.dataset.pipeline[1].mask
    hidden = ('rand', (0.0, 0.7), (0.0, 0.05)) if 'rand' in short else ('block', (0, 0.3), (0, 0.2))
    assert (mask.get('shape', 'block'), mask.ratio, mask.var) == hidden
    assert bool(cfg.get('sync_bn')) == (cfg.model.type == 'SERE')


def relations(model, width):
    """Check the necks of the relations; return their parameters."""
    necks = [neck for key, neck in model.student.neck.items() if key != 'view']
    if not isinstance(model, algorithms.SERE):
        assert not necks
        return 0
    assert [count(neck) for neck in necks] == [width**2 + 4 * width] * 4
    r = model.relation
    assert (r.alpha, r.beta, r.spatial_temp, r.channel_temp) == (0.2, 0.5, 0.5, 0.1)
    assert (r.overlap_size, r.local_grid, tuple(r.divisor)) == ((13, 13), 6, (14, 6))
    return 4 * (width**2 + 4 * width)


# the recipes, made tiny ---------------------------------------------------------------------------
VIEWS = {'model.neck.prototypes': 12, 'model.head.prototypes': 12}
TINY = {
    'swin-tiny-w7': dict(arch=(8, (1, 2), (1, 2)), img_size=32, window_size=2, drop_path_rate=0.1),
    'resnet50': dict(layers=(1, 1), width=2),
    'cvt-tiny': dict(
        widths=(4, 8),
        depths=(1, 2),
        num_heads=(1, 2),
        windows=(3, 3),
        embeds=((7, 4, 2), (3, 2, 1)),
    ),
    'vil-2262': dict(
        arch='l1,h1,d8,n2,s1,g1,p4,f3,a0_l2,h2,d16,n1,s0,g1,p2,f3,a0_l3,h2,d16,n1,s0,g0,p1,f3,a0',
        img_size=32,
    ),
    'vit': dict(arch=(8, 2, 2), img_size=32, patch_size=8),
}
WIDTHS = {'swin-tiny-w7': 16, 'resnet50': 16, 'cvt-tiny': 8, 'vil-2262': 16, 'vit': 8}


def tiny(kind):
    """Return --cfg-options that shrink a recipe's network."""
    options = {f'model.backbone.{k}': v for k, v in TINY[kind].items()}
    return {**options, **VIEWS, 'model.neck.dims': (WIDTHS[kind], 12, 6)}


@pytest.mark.parametrize(
    ('short', 'kind'),
    [
        (f'{E}swin-tiny-w7_16xb32{LONG}', 'swin-tiny-w7'),
        (f'{E}swin-tiny-w7-v_16xb32{LONG}', 'swin-tiny-w7'),
        (f'{E}resnet50_16xb64', 'resnet50'),
        (f'{E}cvt-tiny_16xb64', 'cvt-tiny'),
        (f'{E}vil-2262_16xb64', 'vil-2262'),
        ('sere/sere_vit-small', 'vit'),
        ('ibot/ibot_vit-small', 'vit'),
        ('ibot/ibot_swin-tiny-w7', 'swin-tiny-w7'),
    ],
)
def test_every_trained_tensor_gets_a_gradient(short, kind):
    """So that several GPUs need not search for unused parameters, not even without any mask."""
    options = tiny(kind)
    if kind == 'vit' or 'ibot' in short:
        options['train_dataloader.dataset.pipeline.1.mask.patch_size'] = 8
    if 'sere' in short:
        options['model.relation'] = dict(overlap_size=(3, 3), local_grid=2, divisor=(4, 2))
    model = MODELS.build(load_config(find(short), options).model).train()
    model.progress = Progress(0, 300, 1)
    views = [torch.rand(2, 3, s, s) for s in (32, 32, 16, 16, 16)]
    boxes = torch.tensor([[0, 0, 30, 30, 0], [5, 5, 30, 30, 1], *[[8, 8, 15, 15, 0]] * 3])
    info = dict(mask=torch.zeros(2, 2, 4, 4, dtype=torch.bool), box=boxes.expand(2, -1, -1))
    model(views, info, mode='loss')['loss'].backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.fixture(scope='module')
def halves(image_folder, tmp_path_factory):
    """Train the view task of a tiny Swin-B recipe; return its file and the options of both."""
    folder = tmp_path_factory.mktemp('halves')
    crop = dict(type='RandomView', size=32, scale=(0.4, 1.0))
    views = [dict(crop, repeat=2), dict(crop, size=16, repeat=2)]
    options = {
        **{k.replace('.', '__'): v for k, v in tiny('swin-tiny-w7').items()},
        'data_root': str(image_folder),
        'train_dataloader__batch_size': 12,
        'train_dataloader__num_workers': 0,
        'train_dataloader__dataset__pipeline__1': dict(type='MultiView', views=views),
        'train_cfg__max_epochs': 4,
        'param_scheduler__0__warmup': 1,
        'model__teacher_temp__warmup': 2,
        'default_hooks__checkpoint': dict(type='CheckpointHook', interval=1, max_keep_ckpts=-1),
        **dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator')),
    }
    first = make_runner(find(f'{E}swin-base-w7-v_'), folder / 'v', **options)
    losses(first)
    return folder, options


def test_regions_join_a_run_of_the_view_task(halves):
    """Nets, view heads, centre and epoch come from the file; the rest starts anew."""
    folder, options = halves
    path = folder / 'v' / 'epoch_2.pth'
    both = make_runner(find(f'{E}swin-base-w7_'), folder / 'vr', **options, load_from=str(path))
    loop = both.build_train_loop(both._train_loop)
    both._train_loop = loop
    both.optim_wrapper = both.build_optim_wrapper(both.optim_wrapper)
    both.scale_lr(both.optim_wrapper)
    both.param_schedulers = both.build_param_scheduler(both.param_schedulers)
    both._init_model_weights()
    fresh = weights(both)
    both.load_or_resume()
    assert (loop.epoch, loop.iter) == (2, 4)
    assert not both.optim_wrapper.optimizer.state
    lr = both.optim_wrapper.optimizer.param_groups[0]['lr']
    assert lr == pytest.approx(1e-6 + 0.5 * (1e-3 - 1e-6) * (1 + np.cos(np.pi * 2 / 6)))
    stored, now = torch.load(path, weights_only=True)['state_dict'], weights(both)
    for key, value in now.items():
        torch.testing.assert_close(value, stored.get(key, fresh[key]), rtol=0, atol=0)
    new = now.keys() - stored.keys()
    heads = {'region_head.center', 'region_head.collected'}
    assert new == {k for k in now if '.region.' in k or k in heads}
    for key in new:
        twin = key.replace('student.', 'teacher.')
        torch.testing.assert_close(now[key], now[twin], rtol=0, atol=0)
    assert torch.count_nonzero(now['head.center']) and not torch.count_nonzero(
        now['region_head.center']
    )


def test_the_second_half_has_the_epochs_that_are_left_and_can_be_judged(
    halves, image_folder, capsys
):
    folder, options = halves
    path = folder / 'v' / 'epoch_2.pth'
    both = make_runner(find(f'{E}swin-base-w7_'), folder / 'left', **options, load_from=str(path))
    assert len(losses(both)) == 4  # two epochs of two batches
    assert (folder / 'left' / 'epoch_4.pth').is_file()
    assert not (folder / 'left' / 'epoch_2.pth').exists()
    config = folder / 'both.py'
    model = {k: v for k, v in options.items() if k.startswith(('model__', 'data_root'))}
    view = dict(type='CenterView', size=32, resize=32)
    config.write_text(f"_base_ = '{find(f'{E}swin-base-w7_')}'\n")
    words = [f'{k.replace("__", ".")}={v!r}'.replace(' ', '') for k, v in model.items()]
    words += [f'val_dataloader.dataset.pipeline.1={view}'.replace(' ', ''), 'val_cfg.k=[3]']
    words += ['val_dataloader.num_workers=0']
    found = call(
        *(capsys, config, folder / 'left' / 'epoch_4.pth', '--work-dir', folder / 'judged'),
        *('--cfg-options', *words),
        script='tools/test.py',
    )
    assert found.code == 0, found.err


def test_going_on_needs_a_file_with_epochs_to_go(halves):
    folder, options = halves
    config = find(f'{E}swin-base-w7_')
    with pytest.raises(UserError, match='load_from=PATH'):
        make_runner(config, folder / 'none', **options).train()
    path = str(folder / 'v' / 'epoch_4.pth')
    with pytest.raises(UserError, match=r'\b4 epochs .*max_epochs=4'):
        make_runner(config, folder / 'late', **options, load_from=path).train()
