"""`pretrained=` of methods: the encoder's network, fitted views, frozen heads, the preset."""

from pathlib import Path
from typing import Any

import pytest
import torch

import mmssl
from mmssl.apis import load_config
from mmssl.apis.methods import training_settings_of
from mmssl.config.continuation import PRESETS
from mmssl.core import Progress
from mmssl.models.backbones import ResNet, VisionTransformer
from mmssl.optim.gradients import drop_frozen
from mmssl.registry import MODELS

from ..helpers.refusals import refuses

DINO = 'dino_vit-small-p16_8xb64-amp-mcrop-coslr-100e_in1k'
IBOT = 'ibot_vit-small-p16_16xb64-amp-mcrop-coslr-800e_in1k'
SIZES: dict[str, Any] = dict(img_size=28, batch_size=4, epochs=4, steps_per_epoch=5)


@pytest.fixture
def encoder(tmp_path: Path) -> tuple[str, VisionTransformer]:
    """A file with DINOv2's names, and the network in it."""
    net = VisionTransformer((64, 2, 1), img_size=28, patch_size=14, layer_scale=1e-5)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    state = {k.removeprefix('net.'): v for k, v in net.state_dict().items()}
    torch.save(state, tmp_path / 'x.pth')
    return str(tmp_path / 'x.pth'), net


def test_the_network_is_the_encoders_and_the_training_the_presets(encoder):
    path, _ = encoder
    recipe = load_config(DINO)
    cfg = load_config(DINO, {'pretrained': path})
    backbone = cfg.model.backbone
    assert (backbone.patch_size, backbone.layer_scale, backbone.img_size) == (14, 1e-5, 28)
    assert backbone.drop_path_rate == recipe.model.backbone.drop_path_rate  # of training
    assert cfg.model.neck.dims == (64, *recipe.model.neck.dims[1:])
    views = cfg.train_dataloader.dataset.pipeline[1].views
    assert [view.size for view in views] == [224, 224, 98]  # whole patches of 14
    preset = PRESETS['continue']
    assert cfg.train_cfg.max_epochs == preset.epochs == 20
    lr = recipe.optim_wrapper.optimizer.lr * preset.rate
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(lr)
    assert cfg.param_scheduler[0].warmup == pytest.approx(10 * 20 / 100)
    rules = cfg.optim_wrapper.paramwise_cfg.rules
    assert rules[0] == dict(layer_decay=preset.layer_decay)
    assert rules[1:-1] == recipe.optim_wrapper.paramwise_cfg.rules
    assert rules[-1] == dict(match=r'^student\.backbone\.', frozen_epochs=1)
    assert cfg.train_cfg.val_at_start
    assert cfg.custom_hooks == [dict(type='StartHook')]
    assert not {'pretrained', 'preset', 'freeze_backbone'} & set(cfg)


def test_what_is_said_overrules_the_preset(encoder):
    path, _ = encoder
    options = {
        'pretrained': path,
        'preset': None,
        'freeze_backbone': 0,
        'train_cfg.max_epochs': 50,
        'model.backbone.drop_path_rate': 0.3,
    }
    recipe = load_config(DINO)
    cfg = load_config(DINO, options)
    assert cfg.train_cfg.max_epochs == 50
    assert cfg.param_scheduler[0].warmup == pytest.approx(5)
    assert cfg.optim_wrapper.optimizer.lr == recipe.optim_wrapper.optimizer.lr
    assert cfg.optim_wrapper.paramwise_cfg.rules == recipe.optim_wrapper.paramwise_cfg.rules
    assert cfg.model.backbone.drop_path_rate == 0.3
    rate = {'pretrained': path, 'optim_wrapper.optimizer.lr': 7e-6}
    assert load_config(DINO, rate).optim_wrapper.optimizer.lr == 7e-6


def test_student_and_teacher_start_from_it_masks_and_all(encoder):
    path, net = encoder
    cfg = load_config(IBOT, {'pretrained': path, 'model.neck.dims': (64, 16, 16, 8)})
    assert cfg.train_dataloader.dataset.pipeline[1].mask.patch_size == 14
    for part in ('neck', 'head'):
        cfg.model[part].prototypes = 10
    model = MODELS.build(cfg.model)
    model.init_weights()
    for branch in (model.student, model.teacher):
        for name, value in net.state_dict().items():
            assert torch.equal(branch.backbone.state_dict()[name], value)
    assert model.student.backbone.mask_token is not None


def test_a_file_that_tells_no_network_fills_the_recipes(tmp_path):
    net = ResNet(18)
    torch.save(net.net.state_dict(), tmp_path / 'x.pth')
    recipe = 'mocov3_resnet18_1xb512-coslr-200e_cifar10'
    cfg = load_config(recipe, {'pretrained': str(tmp_path / 'x.pth')})
    known = load_config(recipe).model.backbone
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'x.pth'))
    assert cfg.model.backbone == {**known, 'init_cfg': init}


@pytest.mark.parametrize(
    ('key', 'value', 'more'),
    [
        ('preset', 'forever', dict(preset='forever')),
        ('freeze_backbone', -1, dict(freeze_backbone=-1)),
        ('pretrained', None, dict(load_from='a.pth')),
        ('preset', 'continue', dict(preset='continue', pretrained=None)),
    ],
)
def test_refusals(key, value, more, encoder, tmp_path):
    path, _ = encoder
    config = tmp_path / 'c.py'
    load_from = more.pop('load_from', None)
    config.write_text(f"_base_ = '{mmssl.__path__[0]}/../configs/dino/{DINO}.py'\n")
    if load_from:
        config.write_text(config.read_text() + f'load_from = {load_from!r}\n')
    with refuses(key, value or (path if key == 'pretrained' else value)):
        load_config(config, {'pretrained': path, **more})


def test_an_evaluation_has_no_preset(encoder):
    path, _ = encoder
    with refuses('freeze_backbone', 2):
        load_config('knn_in1k', {'pretrained': path, 'freeze_backbone': 2})
    with refuses('pretrained', 'gone.pth'):
        load_config(DINO, {'pretrained': 'gone.pth'})


def test_a_loop_of_ones_own_goes_on_too(encoder):
    """The network of the file, its weights in both branches, and heads that learn alone first."""
    path, net = encoder
    plain = mmssl.build_method('dino', 'vit_tiny_patch16_224', **SIZES | dict(img_size=32))
    method = mmssl.build_method('dino', pretrained=path, **SIZES)
    assert method.student.backbone.patch_size == 14
    assert method.recipe.optimizer['lr'] == pytest.approx(plain.recipe.optimizer['lr'] * 0.1)
    for branch in (method.student, method.teacher):
        assert torch.equal(branch.backbone.net.cls_token, net.net.cls_token)
    groups = method.param_groups()
    decays = {g['lr_mult'] for g in groups for n in g['names'] if 'blocks.0' in n}
    assert list(decays) == [pytest.approx(0.75**2)]
    for step, moves in ((4, False), (5, True)):
        for parameter in method.parameters():
            parameter.grad = torch.ones_like(parameter)
        drop_frozen(groups, Progress(step, 20, 5))
        given = {n: p.grad is not None for n, p in method.named_parameters() if p.requires_grad}
        backbone = [value for name, value in given.items() if '.backbone.' in name]
        heads = [v for n, v in given.items() if '.neck.' in n and 'last_layer' not in n]
        assert set(backbone) == {moves}
        assert set(heads) == {True}
    whole = mmssl.build_method('dino', pretrained=path, preset=None, freeze_backbone=0, **SIZES)
    assert all(group['frozen_epochs'] in (0, 1) for group in whole.param_groups())
    assert {group['lr_mult'] for group in whole.param_groups()} == {1.0}


def test_settings_of_a_config_go_on_too(encoder):
    """What studies write configs of: backbone, rules and rate; the teacher of a distillation."""
    path, _ = encoder
    sizes: dict[str, Any] = dict(img_size=28, batch_size=4, epochs=4, images=20)
    plain = training_settings_of('dino', None, **sizes | dict(img_size=32))
    found = training_settings_of('dino', None, pretrained=path, **sizes)
    assert found.model['backbone']['init_cfg'] == dict(type='Pretrained', checkpoint=path)
    assert found.model['backbone']['patch_size'] == 14
    rates = [settings[1]['optimizer']['lr'] for settings in (found, plain)]
    assert rates[0] == pytest.approx(rates[1] * 0.1)
    assert found[1]['paramwise_cfg']['rules'][-1]['frozen_epochs'] == 1
    found = training_settings_of('distillation', 'resnet18', teacher=path, **sizes)
    assert found.model['teacher']['init_cfg']['checkpoint'] == path
    with refuses('teacher'):
        training_settings_of('distillation', 'resnet18', **sizes)
