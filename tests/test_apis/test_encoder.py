"""Whose network an evaluation measures."""

import pytest
import torch
from torch.testing import assert_close

from mmssl.apis import cli, encoder, load_config
from mmssl.core import UserError
from mmssl.registry import MODELS

from ..conftest import REPO
from ..tiny import make_runner
from .hub import entry, registered

BASES = ('knn', 'linear', 'finetune')
PLACE = 'model.backbone.init_cfg.checkpoint'


@pytest.fixture(params=BASES)
def config(request, tmp_path, pictures):
    """Return the path of a tiny evaluation config on one of the three bases."""
    return write(tmp_path, pictures, request.param)


def write(folder, data, base):
    path = folder / f'{base}.py'
    path.write_text(
        f"""
_base_ = '{REPO}/configs/_base_/{base}_imagenet.py'
data_root = '{data}'
model = dict(backbone=dict(type='ResNet', depth=18, layers=(1, 1), width=4, small_stem=True))
"""
    )
    return path


def test_the_key_and_the_habit_lead_to_the_same_place(config):
    for option in ('pretrain', PLACE):
        cfg = load_config(config, {option: 'some.pth'})
        assert cfg.pretrain == 'some.pth'
        assert cfg.model.backbone.init_cfg == dict(type='Pretrained', checkpoint='some.pth')
    same = {'pretrain': 'some.pth', PLACE: 'some.pth'}
    assert load_config(config, same).pretrain == 'some.pth'
    with pytest.raises(UserError, match=r'pretrain=a\.pth and model.*=b\.pth are two encoders'):
        load_config(config, {'pretrain': 'a.pth', PLACE: 'b.pth'})


def test_no_encoder_is_said_before_anything_runs(config):
    with pytest.raises(UserError, match=r'none is given: add --cfg-options pretrain=PATH'):
        encoder.require(load_config(config))
    cfg = load_config(config, {'pretrain': 'gone.pth'})
    with pytest.raises(UserError, match=r'pretrain=gone\.pth: no such file, and no model'):
        encoder.require(cfg)
    for enough in ({'pretrain': 'random'}, {'load_from': 'whole.pth'}, {'resume': True}):
        encoder.require(load_config(config, enough))
    with pytest.raises(UserError, match=r'no weights: pass the pretrained file, .*pretrain=PATH'):
        MODELS.build(load_config(config).model).init_weights()


def test_a_random_network_is_asked_for(config):
    cfg = load_config(config, {'pretrain': 'random'})
    assert cfg.model.backbone.init_cfg is None
    MODELS.build(cfg.model).init_weights()


def test_a_name_becomes_its_file_and_its_side(tmp_path, config, tiny_config):
    recipe = tmp_path / 'tiny_resnet.py'
    recipe.write_text(tiny_config('resnet').read_text())
    known = entry(recipe, str(tmp_path / 'encoder.pth'), None, Side='student')
    with registered(tmp_path, known):
        cfg = load_config(config, {'pretrain': 'Tiny_ResNet'})
        encoder.fetch(cfg)
    assert cfg.pretrain == 'Tiny_ResNet'
    assert cfg.model.backbone.init_cfg == dict(
        type='Pretrained', checkpoint=str(tmp_path / 'encoder.pth'), side='student'
    )


def test_a_name_that_is_nearly_one_is_answered_with_it(config):
    cfg = load_config(config, {'pretrain': 'moby_swin-tiny_3rdparty_8xb64-amp-coslr-300e_in1'})
    with pytest.raises(UserError, match=r'did you mean moby_swin-tiny_3rdparty_8xb64-amp'):
        encoder.require(cfg)


@pytest.mark.parametrize('side', ['student', 'teacher', None])
def test_the_side_of_a_pretraining_file(tmp_path, pictures, tiny_config, side):
    """MoCo v3 exports the student; ``side`` takes the other one."""
    method = MODELS.build(load_config(tiny_config('resnet')).model)
    for p in method.teacher.parameters():
        p.data += 1
    path = tmp_path / 'pretrained.pth'
    torch.save({'state_dict': method.state_dict(), 'meta': {'export': 'student'}}, path)
    options = {'pretrain': str(path), **({'side': side} if side else {})}
    model = MODELS.build(load_config(write(tmp_path, pictures, 'knn'), options).model)
    model.init_weights()
    expected = getattr(method, side or 'student').backbone.state_dict()
    assert_close(model.backbone.state_dict(), expected, rtol=0, atol=0)


def test_pretraining_has_no_encoder_to_take(tiny_config):
    with pytest.raises(UserError, match=r'tiny_vit\.py evaluates no encoder; load_from=PATH is'):
        load_config(tiny_config(), {'pretrain': 'some.pth'})


@pytest.mark.parametrize(('base', 'kind'), [('linear', 'linear'), ('finetune', 'fine-tuned')])
def test_a_trained_classifier_is_no_encoder(tmp_path, pictures, base, kind):
    small = {
        f'{part}_dataloader__{key}': value
        for part in ('train', 'val')
        for key, value in (('batch_size', 6), ('num_workers', 0), ('persistent_workers', False))
    }
    small |= {f'{p}_dataloader__dataset__pipeline__1__size': 16 for p in ('train', 'val')}
    small |= dict(model__head__num_classes=3, train_cfg__max_epochs=6, pretrain='random')
    small |= dict(default_hooks__checkpoint__interval=6)
    if base == 'linear':
        small['optim_wrapper__optimizer__lr'] = 0.1
    else:
        small['optim_wrapper__paramwise_cfg__rules'] = []
    make_runner(write(tmp_path, pictures, base), tmp_path / 'run', **small).train()
    trained = str(tmp_path / 'run' / 'epoch_6.pth')
    cfg = load_config(write(tmp_path, pictures, 'knn'), {'pretrain': trained})
    with pytest.raises(UserError, match=rf'epoch_6\.pth: is a .*{kind}.*extract_backbone'):
        MODELS.build(cfg.model).init_weights()


def test_the_first_word_of_the_command_is_an_encoder_too(tmp_path, pictures):
    cfg = load_config(write(tmp_path, pictures, 'knn'), {'pretrain': 'a.pth'})
    encoder.give(cfg, None)
    encoder.give(cfg, 'a.pth')
    with pytest.raises(UserError, match=r'pretrain=a\.pth and b\.pth are two encoders'):
        encoder.give(cfg, 'b.pth')
    cfg = load_config(write(tmp_path, pictures, 'knn'))
    encoder.give(cfg, 'b.pth')
    assert cfg.model.backbone.init_cfg.checkpoint == cfg.pretrain == 'b.pth'
    assert cli.loaders(cfg) == [cfg.test_dataloader]
