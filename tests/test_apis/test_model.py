"""get_model: by name, file or config, with and without weights."""

import dataclasses

import pytest
import torch
from mmengine.config import Config
from torch.testing import assert_close

import mmssl
from mmssl.apis import load_config
from mmssl.checkpoint.layouts import LAYOUTS
from mmssl.models.algorithms import MoCoV3
from mmssl.zoo.hub import ModelHub

from ..helpers.hub import entry, put, registered, weights, write_classifier
from ..helpers.refusals import refuses

X = torch.rand(2, 3, 32, 32)


@pytest.fixture
def linear(tmp_path, image_folder):
    return write_classifier(tmp_path, image_folder)


# which model --------------------------------------------------------------------------------------
def test_a_name_in_any_case_builds_the_published_network():
    model = mmssl.get_model('MoCoV3_ResNet50_8xb512-amp-coslr-100e_in1k')
    assert type(model) is MoCoV3 and not model.training
    assert sum(p.numel() for p in model.parameters()) == 68_012_160
    assert model._metainfo is ModelHub.get('mocov3_resnet50_8xb512-amp-coslr-100e_in1k')
    assert model._config.train_cfg.max_epochs == 100
    assert model._dataset_meta == {}
    with torch.no_grad():
        out = model(torch.rand(1, 3, 224, 224))
    assert type(out) is tuple and [tuple(f.shape) for f in out] == [(1, 2048, 7, 7)]


def test_a_vit_answers_its_class_token():
    model = mmssl.get_model('mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k')
    x = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        out, feats = model(x), model.extract_feat(x)
        token = model.backbone.encode(x).pooled
    assert type(feats) is tuple and len(feats) == 1
    assert_close(feats[0], token, rtol=0, atol=0)
    assert_close(out[0], token, rtol=0, atol=0)


def test_file_and_config_build_the_same(tiny_config):
    path = tiny_config()
    torch.manual_seed(1)
    by_path = mmssl.get_model(path)
    torch.manual_seed(1)
    by_text = mmssl.get_model(str(path))
    torch.manual_seed(1)
    cfg = load_config(path)
    by_config = mmssl.get_model(cfg, neck=dict(dims=(16, 24, 8)))
    for other in (by_text, by_config):
        assert_close(other.state_dict(), by_path.state_dict())
        assert other._metainfo is None
    assert by_path._config.filename == str(path)
    assert by_config._config is not cfg
    assert cfg.to_dict() == load_config(path).to_dict(), 'the config is not changed'


@pytest.mark.parametrize('model', [None, 3, ['a'], dict(model=dict(type='MoCoV3'))])
def test_another_kind_of_model_is_a_type_error(model):
    with pytest.raises(TypeError, match=r'pass a name of mmssl\.list_models'):
        mmssl.get_model(model)


def test_what_cannot_be_built_says_why(tiny_config, tmp_path, monkeypatch):
    with refuses('name', 'resnet') as caught:
        mmssl.get_model('resnet')
    assert isinstance(caught.value, ValueError)
    with refuses('file', str(tmp_path / 'gone.py')):
        mmssl.get_model(tmp_path / 'gone.py')
    with refuses('model'):
        mmssl.get_model(Config(dict(a=1)))
    with refuses('model.backbone.dept', 18) as caught:
        mmssl.get_model(tiny_config(), backbone=dict(_delete_=True, type='ResNet', dept=18))
    assert str(caught.value).startswith(str(tiny_config())) and 'depth' in str(caught.value)
    name = 'ibot_swin-tiny-w7_3rdparty_16xb64-amp-mcrop-coslr-300e_in1k'
    bare = dataclasses.replace(ModelHub.get(name), config=None)
    monkeypatch.setattr(ModelHub, 'get', lambda name: bare)
    with refuses('model', name):
        mmssl.get_model(name)


# overrides ----------------------------------------------------------------------------------------
def test_overrides_are_merged_into_the_model(tiny_config):
    model = mmssl.get_model(
        tiny_config('resnet'), backbone=dict(width=8), neck=dict(dims=(16, 24, 8))
    )
    assert model.backbone.widths == (8, 16)
    assert model.student.neck['project'][0].weight.shape == (24, 16)
    assert model._config.model.backbone.width == 8


def test_out_indices_give_all_maps(tiny_config):
    model = mmssl.get_model(
        'mocov3_resnet50_8xb512-amp-coslr-100e_in1k', backbone=dict(out_indices=(0, 1, 2, 3))
    )
    with torch.no_grad():
        shapes = [tuple(f.shape) for f in model.extract_feat(torch.rand(1, 3, 64, 64))]
    assert shapes == [(1, 256, 16, 16), (1, 512, 8, 8), (1, 1024, 4, 4), (1, 2048, 2, 2)]


def test_weights_without_a_recipe_have_a_network():
    for name, shape in (
        ('resnet50_mocov2-pre_8xb32-linear-steplr-100e_in1k', 25_557_032),
        ('swin-tiny_moby-300e-pre_3rdparty_linear-coslr-100e_in1k', 28_288_354),
        ('deit-small_moby-300e-pre_3rdparty_linear-coslr-100e_in1k', 22_050_664),
    ):
        model = mmssl.get_model(name)
        assert sum(p.numel() for p in model.parameters()) == shape
        assert len(model._dataset_meta['classes']) == 1000


# weights ------------------------------------------------------------------------------------------
def test_published_weights_come_by_name(server, tmp_path, linear):
    state = weights(linear, 1)
    url = put(server, '/a/checkpoint.pth', {'state_dict': state}, tmp_path)
    with registered(tmp_path, entry(linear, url, 'Image Classification')):
        model = mmssl.get_model('tiny_LINEAR3', pretrained=True)
        assert_close(model.state_dict(), state, rtol=0, atol=0)
        server.pages.clear()  # offline from here on
        again = mmssl.get_model('tiny_linear3', pretrained=True)
        other = mmssl.get_model(linear, pretrained='tiny_linear3')
        for found in (again, other):
            assert_close(found.state_dict(), state, rtol=0, atol=0)
    assert len(server.asked) == 1


def test_two_models_whose_files_share_a_name(server, tmp_path, image_folder):
    urls, states, configs = [], [], []
    for i in range(2):
        config = write_classifier(tmp_path, image_folder, classes=3 + i)
        configs.append(config)
        states.append(weights(config, i))
        content = {'state_dict': states[i]}
        urls.append(put(server, f'/{i}/checkpoint.pth', content, tmp_path))
    both = [entry(c, u, 'Image Classification') for c, u in zip(configs, urls, strict=True)]
    with registered(tmp_path, *both):
        for i, config in enumerate(configs):
            model = mmssl.get_model(config.stem, pretrained=True)
            assert_close(model.state_dict(), states[i], rtol=0, atol=0)


def test_a_mirror_and_a_published_hash(server, tmp_path, linear):
    state = weights(linear, 2)
    put(server, '/mirror/net.pth', {'state_dict': state}, tmp_path)
    known = entry(linear, 'https://example.invalid/net.pth', 'Image Classification')
    mirror = (r'^https://example\.invalid', server.url + '/mirror')
    with registered(tmp_path, known):
        model = mmssl.get_model('tiny_linear3', pretrained=True, url_mapping=mirror)
        assert_close(model.state_dict(), state, rtol=0, atol=0)
        other = mmssl.get_model(linear, known['Weights'], url_mapping=mirror)
        assert_close(other.state_dict(), state, rtol=0, atol=0)
    with (
        registered(tmp_path, {**known, 'Metadata': {'MD5': 'b251726a'}}),
        refuses('file', f'{server.url}/mirror/net.pth?...') as caught,
    ):
        anew = (r'^https://example\.invalid(.*)$', server.url + r'/mirror\1?again')
        mmssl.get_model('tiny_linear3', pretrained=True, url_mapping=anew)
    assert 'published is b251726a' in str(caught.value)


def test_path_address_and_load_from(server, tmp_path, linear):
    state = weights(linear, 3)
    url = put(server, '/net.pth', {'state_dict': state}, tmp_path)
    file = tmp_path / 'upload.pth'
    cfg = load_config(linear)
    cfg.load_from = str(file)
    for model, pretrained in (
        (linear, file),
        (linear, str(file)),
        (linear, file.as_uri()),
        (linear, url),
        (cfg, True),
    ):
        found = mmssl.get_model(model, pretrained=pretrained)
        assert_close(found.state_dict(), state, rtol=0, atol=0)


def test_no_weights_anywhere_is_said(tiny_config, linear):
    with pytest.warns(UserWarning, match=r'tiny_vit\.py: no weights were published.*random'):
        mmssl.get_model(tiny_config(), pretrained=True)
    with pytest.raises(TypeError, match='pretrained is a int'):
        mmssl.get_model(linear, pretrained=1)


def test_an_encoder_enters_a_classifier_through_its_config(tiny_config, tmp_path, linear):
    encoder = mmssl.get_model(tiny_config('resnet'))
    torch.save({'state_dict': encoder.state_dict()}, tmp_path / 'encoder.pth')
    init = dict(init_cfg=dict(checkpoint=str(tmp_path / 'encoder.pth')))
    model = mmssl.get_model(linear, backbone=init)
    assert_close(model.backbone.state_dict(), encoder.backbone.state_dict(), rtol=0, atol=0)


def test_a_layer_stored_alone_gets_the_network_it_was_trained_on(tmp_path, tiny_config, linear):
    encoder = tmp_path / 'tiny_resnet.py'
    encoder.write_text(tiny_config('resnet').read_text())
    state = weights(encoder, 6)
    torch.save({'state_dict': state}, tmp_path / 'encoder.pth')
    layer = {'module.linear.weight': torch.randn(3, 8), 'module.linear.bias': torch.randn(3)}
    torch.save({'epoch': 100, 'state_dict': layer}, tmp_path / 'linear.pth')
    probe = entry(linear, str(tmp_path / 'linear.pth'), 'Image Classification')
    known = entry(encoder, str(tmp_path / 'encoder.pth'), None)
    with registered(tmp_path, known, {**probe, 'Encoder': 'tiny_resnet'}):
        model = mmssl.get_model('tiny_linear3', pretrained=True)
    for key, value in model.backbone.state_dict().items():
        assert_close(value, state[f'student.backbone.{key}'], rtol=0, atol=0)
    assert_close(model.head.fc.weight.data, layer['module.linear.weight'])
    assert_close(model.head.fc.bias.data, layer['module.linear.bias'])


def test_the_file_of_another_network_is_refused(tmp_path, linear):
    wide = mmssl.get_model(linear, backbone=dict(width=8))
    torch.save({'state_dict': wide.state_dict()}, tmp_path / 'wide.pth')
    with refuses('file', str(tmp_path / 'wide.pth')):
        mmssl.get_model(linear, pretrained=tmp_path / 'wide.pth')


def test_the_side_that_its_authors_meant(tmp_path, tiny_config):
    config = tiny_config()
    state = weights(config, 4)
    for key, value in state.items():
        if key.startswith('teacher.') and value.is_floating_point():
            value += torch.randn_like(value)
    torch.save({'state_dict': state}, tmp_path / 'both.pth')
    (tmp_path / config.name).write_text(config.read_text())
    known = entry(tmp_path / config.name, str(tmp_path / 'both.pth'), None)
    inputs = torch.rand(2, 3, 16, 16)
    with registered(tmp_path, {**known, 'Metadata': dict(Branch='teacher')}):
        model = mmssl.get_model('tiny_vit', pretrained=True)
    assert MoCoV3.export == 'student'
    with torch.no_grad():
        feats = model.extract_feat(inputs)[0]
        assert_close(feats, model.teacher.backbone.summary(inputs), rtol=0, atol=0)
        assert not torch.allclose(feats, model.student.backbone.summary(inputs))


# what is attached ---------------------------------------------------------------------------------
def test_class_names_are_imagenets():
    model = mmssl.get_model('vit-small-p16_mocov3-pre_8xb128-linear-coslr-90e_in1k')
    classes = model._dataset_meta['classes']
    assert len(classes) == 1000
    assert [classes[i] for i in (0, 15, 282, 999)] == [
        'tench, Tinca tinca',
        'robin, American robin, Turdus migratorius',
        'tiger cat',
        'toilet tissue, toilet paper, bathroom tissue',
    ]


@pytest.mark.parametrize(
    ('data', 'classes', 'known'), [('imagenet', 1000, 1000), ('mine', 1000, 0), ('imagenet', 3, 0)]
)
def test_only_imagenets_classifiers_have_its_names(tmp_path, data, classes, known):
    config = write_classifier(tmp_path, data, classes)
    assert len(mmssl.get_model(config)._dataset_meta.get('classes', ())) == known


@pytest.mark.parametrize(
    ('meta', 'classes'),
    [
        ({'dataset_meta': {'classes': ('a', 'b', 'c')}}, ('a', 'b', 'c')),
        ({'dataset_meta': {'classes': [1, 2, 3]}}, ()),
        ({'dataset_meta': None}, ()),
        ('text', ()),
    ],
)
def test_class_names_of_a_file(tmp_path, linear, meta, classes):
    torch.save({'state_dict': weights(linear, 5), 'meta': meta}, tmp_path / 'net.pth')
    model = mmssl.get_model(linear, pretrained=tmp_path / 'net.pth')
    assert model._dataset_meta == ({'classes': classes} if classes else {})


def test_the_device_is_taken(linear):
    model = mmssl.get_model(linear, device='meta')
    assert {p.device.type for p in model.parameters()} == {'meta'}


def test_stages_of_a_classifier(linear):
    model = mmssl.get_model(linear)
    with torch.no_grad():
        (feature_map,) = model.extract_feat(X, stage='backbone')
        (pooled,) = model.extract_feat(X)
        last = model.extract_feat(X, stage='pre_logits')
        logits = model(X)
    assert feature_map.shape == (2, 8, 16, 16) and logits.shape == (2, 3)
    assert_close(pooled, feature_map.mean((2, 3)))
    assert_close(last, pooled)
    assert_close(logits, last @ model.head.fc.weight.T + model.head.fc.bias)


def test_published_sides_are_what_methods_and_dialects_say():
    for info in ModelHub.models().values():
        if info.config is None or info.results:
            continue
        export = {'MoCo': 'student', 'MoCoV3': 'student', 'MoBY': 'student', 'SwAV': 'student'}
        method = load_config(info.config).model.type
        usual = export.get(method, 'teacher')
        student22k = info.collection == 'iBOT' and info.name.endswith('in22k')
        assert info.branch == ('student' if student22k else usual), info.name
        layout = LAYOUTS[info.metadata['Layout']]
        branches = {str(pair.ours).partition('.')[0] for pair in layout.pairs}
        if not student22k and branches & {'student', 'teacher'}:
            assert layout.export == info.branch, info.name


def test_info_is_frozen():
    info = ModelHub.get('mocov3_resnet50_8xb512-amp-coslr-100e_in1k')
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.name = 'other'
