"""Which network an evaluation builds from `pretrained` and the checkpoint."""

import pytest
import torch
from torch.testing import assert_close

from mmssl.apis import ModelHub, list_models, load_config
from mmssl.cli.options import loaders
from mmssl.config import pretrained
from mmssl.registry import MODELS

from ..helpers.hub import entry, registered
from ..helpers.paths import REPO
from ..helpers.refusals import refuses
from ..helpers.tiny import make_runner

BASES = ('knn', 'linear', 'finetune_deit')
PLACE = 'model.backbone.init_cfg.checkpoint'


@pytest.fixture(params=BASES)
def config(request, tmp_path, image_folder):
    """Return the path of a tiny evaluation config on one of the three bases."""
    return write(tmp_path, image_folder, request.param)


def write(folder, data, base):
    path = folder / f'{base}.py'
    path.write_text(
        f"""
_base_ = '{REPO}/configs/_base_/{base}.py'
data_root = '{data}'
model = dict(backbone=dict(type='ResNet', depth=18, layers=(1, 1), width=4, small_stem=True))
"""
    )
    return path


def test_the_key_and_the_habit_lead_to_the_same_place(config):
    for option in ('pretrained', PLACE):
        cfg = load_config(config, {option: 'some.pth'})
        assert cfg.pretrained == 'some.pth'
        assert cfg.model.backbone.init_cfg == dict(type='Pretrained', checkpoint='some.pth')
    same = {'pretrained': 'some.pth', PLACE: 'some.pth'}
    assert load_config(config, same).pretrained == 'some.pth'
    with refuses('pretrained', 'a.pth') as caught:
        load_config(config, {'pretrained': 'a.pth', PLACE: 'b.pth'})
    assert f'{PLACE}=b.pth' in str(caught.value)


def test_no_encoder_is_said_before_anything_runs(config):
    with refuses('pretrained'):
        pretrained.require_pretrained(load_config(config))
    cfg = load_config(config, {'pretrained': 'gone.pth'})
    with refuses('pretrained', 'gone.pth'):
        pretrained.require_pretrained(cfg)
    for enough in ({'pretrained': 'random'}, {'load_from': 'whole.pth'}, {'resume': True}):
        pretrained.require_pretrained(load_config(config, enough))
    with refuses('model.backbone.init_cfg.checkpoint', ''):
        MODELS.build(load_config(config).model).init_weights()


def test_a_random_network_is_asked_for(config):
    cfg = load_config(config, {'pretrained': 'random'})
    assert cfg.model.backbone.init_cfg is None
    MODELS.build(cfg.model).init_weights()


def test_a_name_becomes_its_file_and_its_side(tmp_path, config, tiny_config):
    recipe = tmp_path / 'tiny_resnet.py'
    recipe.write_text(tiny_config('resnet').read_text())
    known = entry(recipe, str(tmp_path / 'encoder.pth'), None, Branch='student')
    with registered(tmp_path, known):
        cfg = load_config(config, {'pretrained': 'Tiny_ResNet'})
        pretrained.fetch_pretrained(cfg)
    assert cfg.pretrained == 'Tiny_ResNet'
    assert cfg.model.backbone.init_cfg == dict(
        type='Pretrained', checkpoint=str(tmp_path / 'encoder.pth'), branch='student'
    )


@pytest.mark.parametrize('branch', ['student', 'teacher', None])
def test_the_side_of_a_pretraining_file(tmp_path, image_folder, tiny_config, branch):
    """MoCo v3 exports the student; ``branch`` takes the other one."""
    method = MODELS.build(load_config(tiny_config('resnet')).model)
    for p in method.teacher.parameters():
        p.data += 1
    path = tmp_path / 'pretrained.pth'
    torch.save({'state_dict': method.state_dict(), 'meta': {'export': 'student'}}, path)
    options = {'pretrained': str(path), **({'branch': branch} if branch else {})}
    model = MODELS.build(load_config(write(tmp_path, image_folder, 'knn'), options).model)
    model.init_weights()
    expected = getattr(method, branch or 'student').backbone.state_dict()
    assert_close(model.backbone.state_dict(), expected, rtol=0, atol=0)


@pytest.mark.parametrize(('base', 'kind'), [('linear', 'linear'), ('finetune_deit', 'fine-tuned')])
def test_a_trained_classifier_is_no_encoder(tmp_path, image_folder, base, kind):
    small = {
        f'{part}_dataloader__{key}': value
        for part in ('train', 'val')
        for key, value in (('batch_size', 6), ('num_workers', 0), ('persistent_workers', False))
    }
    small |= {f'{p}_dataloader__dataset__pipeline__1__size': 16 for p in ('train', 'val')}
    small |= dict(model__head__num_classes=3, train_cfg__max_epochs=6, pretrained='random')
    small |= dict(default_hooks__checkpoint__interval=6)
    if base == 'linear':
        small['optim_wrapper__optimizer__lr'] = 0.1
    else:
        small['optim_wrapper__paramwise_cfg__rules'] = []
    make_runner(write(tmp_path, image_folder, base), tmp_path / 'run', **small).train()
    trained = str(tmp_path / 'run' / 'epoch_6.pth')
    cfg = load_config(write(tmp_path, image_folder, 'knn'), {'pretrained': trained})
    with refuses('file', trained) as caught:
        MODELS.build(cfg.model).init_weights()
    assert kind in str(caught.value) and 'extract_backbone' in str(caught.value)


def test_the_first_word_of_the_command_is_an_encoder_too(tmp_path, image_folder):
    cfg = load_config(write(tmp_path, image_folder, 'knn'), {'pretrained': 'a.pth'})
    pretrained.set_pretrained(cfg, None)
    pretrained.set_pretrained(cfg, 'a.pth')
    with refuses('pretrained', 'a.pth'):
        pretrained.set_pretrained(cfg, 'b.pth')
    cfg = load_config(write(tmp_path, image_folder, 'knn'))
    pretrained.set_pretrained(cfg, 'b.pth')
    assert cfg.model.backbone.init_cfg.checkpoint == cfg.pretrained == 'b.pth'
    assert loaders(cfg) == [cfg.test_dataloader]


# the network of an encoder ------------------------------------------------------------------------
KNN = REPO / 'configs' / 'knn_in1k.py'
MOCO = (
    'https://dl.fbaipublicfiles.com/moco/moco_checkpoints/moco_v1_200ep/'
    'moco_v1_200ep_pretrain.pth.tar'
)
KNOWN = {
    'mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k': dict(arch='small', num_heads=12),
    'ESVIT_SWIN-TINY-W14_3RDPARTY_16XB32-AMP-MCROP-COSLR-V200-300E_IN1K': dict(window_size=14),
    'swav_resnet50w5_3rdparty_coslr-400e_in1k': dict(depth=50, width=320),  # by overrides
    MOCO: dict(depth=50),
}


@pytest.mark.parametrize('source', KNOWN)
def test_a_published_model_brings_its_network(source):
    cfg = load_config(KNN, {'pretrained': source})
    assert {**cfg.model.backbone, **KNOWN[source]} == cfg.model.backbone
    assert cfg.model.backbone.init_cfg == dict(type='Pretrained', checkpoint=source)
    cfg = load_config(KNN)
    pretrained.set_pretrained(cfg, source)
    assert {**cfg.model.backbone, **KNOWN[source]} == cfg.model.backbone


def test_every_published_pretraining_has_a_network():
    names = [n for n in list_models(task='null') if ModelHub.get(n).config]
    assert len(names) > 50
    for name in names:
        found = pretrained.backbone_of(name)
        assert 'type' in found and 'init_cfg' not in found


@pytest.fixture
def trained(tmp_path, tiny_config):
    """Return a training file of ours, after one epoch."""
    options = dict(train_cfg__max_epochs=1, train_cfg__val_interval=2)
    make_runner(tiny_config(), tmp_path / 'run', **options).train()
    return tmp_path / 'run' / 'epoch_1.pth'


def test_a_training_file_of_ours_brings_its_network(trained, image_folder):
    cfg = load_config(KNN, {'data_root': str(image_folder), PLACE: str(trained)})
    assert cfg.pretrained == str(trained)
    assert (cfg.model.backbone.type, cfg.model.backbone.patch_size) == ('VisionTransformer', 8)
    model = MODELS.build(cfg.model)
    model.init_weights()
    state = torch.load(trained, weights_only=True)['state_dict']
    assert_close(
        {f'student.backbone.{k}': v for k, v in model.backbone.state_dict().items()},
        {k: v for k, v in state.items() if k.startswith('student.backbone.')},
        rtol=0,
        atol=0,
    )


def test_a_network_in_the_config_comes_first(trained):
    other = {'model.backbone.type': 'ResNet', 'model.backbone.depth': 18}
    found = load_config(KNN, {'pretrained': str(trained), **other}).model.backbone
    assert (found.type, found.depth, found.get('arch')) == ('ResNet', 18, None)
    found = load_config(
        KNN, {'pretrained': MOCO, 'model.backbone.out_indices': (3,)}
    ).model.backbone
    assert (found.type, found.depth, found.out_indices) == ('ResNet', 50, (3,))


def test_a_file_of_others_needs_a_network(tmp_path):
    file = tmp_path / 'official.pth'
    torch.save({'state_dict': {'conv1.weight': torch.ones(2)}}, file)
    for source in (str(file), 'random', 'https://a.org/x.pth'):
        with refuses('pretrained', source) as caught:
            load_config(KNN, {'pretrained': source})
        assert 'backbone.type=' in str(caught.value)
        described = {'model.backbone.type': 'ResNet', 'model.backbone.depth': 50}
        assert load_config(KNN, {'pretrained': source, **described}).model.backbone.depth == 50
    with refuses('model.backbone'):
        MODELS.build(load_config(KNN).model)
