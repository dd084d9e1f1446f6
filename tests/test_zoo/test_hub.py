"""Models by name, as listed in the metafiles."""

import pytest
import yaml

import mmssl
from mmssl.zoo import hub
from mmssl.zoo.hub import ModelHub, root
from mmssl.zoo.metafile import Result

from ..helpers.hub import entry, registered, write_classifier
from ..helpers.paths import REPO
from ..helpers.refusals import refuses

LINEAR = 'resnet50_mocov3-100e-pre_8xb128-linear-coslr-90e_in1k'
OPENMMLAB = [
    'resnet50_mocov3-100e-pre_8xb128-linear-coslr-90e_in1k',
    'resnet50_mocov3-300e-pre_8xb128-linear-coslr-90e_in1k',
    'resnet50_mocov3-800e-pre_8xb128-linear-coslr-90e_in1k',
    'vit-base-p16_mocov3-pre_8xb128-linear-coslr-90e_in1k',
    'vit-base-p16_mocov3-pre_8xb64-coslr-150e_in1k',
    'vit-large-p16_mocov3-pre_8xb64-coslr-100e_in1k',
    'vit-small-p16_mocov3-pre_8xb128-linear-coslr-90e_in1k',
]


def entries() -> list[dict]:
    index = yaml.safe_load((REPO / 'model-index.yml').read_text())['Import']
    files = [yaml.safe_load((REPO / path).read_text()) for path in index]
    found = [e for f in files for e in (*f['Models'], *f.get('Weights', ()))]
    return [e for e in found if 'Library' not in e['Metadata']]  # mmdet's and mmseg's


def test_all_names_are_listed_in_order():
    names = mmssl.list_models()
    assert names == sorted(e['Name'] for e in entries())
    assert len(names) == len(set(names)) == len(ModelHub.models())


def test_a_pattern_is_a_beginning_unless_it_says_otherwise():
    begin = mmssl.list_models('mocov3_vit')
    assert begin and all(n.startswith('mocov3_vit') for n in begin)
    assert LINEAR not in mmssl.list_models('mocov3')
    assert mmssl.list_models('MoCoV3_vit') == begin
    found = mmssl.list_models(
        '*mocov3*', exclude_patterns=['*3rdparty'], task='Image Classification'
    )
    assert found == OPENMMLAB
    assert mmssl.list_models('nothing') == []
    with pytest.raises(TypeError, match='list of patterns'):
        mmssl.list_models(exclude_patterns='mocov3')


def test_tasks_divide_the_models():
    null, task = mmssl.list_models(task='null'), mmssl.list_models(task='image classification')
    assert sorted(null + task) == mmssl.list_models()
    assert not set(null) & set(task)
    assert set(task) == {e['Name'] for e in entries() if e['Results']}


def test_an_entry_is_found_whatever_its_case():
    info = ModelHub.get(LINEAR.upper())
    assert info is ModelHub.get(LINEAR)
    assert (info.name, info.collection) == (LINEAR, 'MoCoV3')
    assert info.results == (
        Result('Image Classification', 'ImageNet-1k', {'Top 1 Accuracy': 69.6}),
    )
    assert info.config == root() / 'configs/mocov3/benchmarks' / (
        'resnet50_8xb128-linear-coslr-90e_in1k.py'
    )
    assert info.config.is_file()
    assert info.weights.endswith('_20220927-8f7d937e.pth')
    assert info.logs['Train'] == info.weights.replace('.pth', '.json')
    assert info.logs['Train (mmselfsup)'].endswith('_20220920_113350.json')
    assert info.metadata['Licence'] == 'Apache-2.0'
    pretrained = ModelHub.get('mocov3_resnet50_8xb512-amp-coslr-100e_in1k')
    assert pretrained.downstream == (LINEAR,) and pretrained.results == ()


def test_a_name_is_known_or_not():
    assert not ModelHub.has('mocov3_resnet50_8xb512-amp-coslr-200e_in1k')
    assert ModelHub.has(LINEAR.upper())


def test_files_that_an_address_alone_does_not_bring(monkeypatch, tmp_path):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.delenv('MMSSL_ESVIT_QUERY', raising=False)
    names = mmssl.list_models('esvit')
    assert names
    for name in names:
        with refuses('MMSSL_ESVIT_QUERY'):
            ModelHub.get(name).fetch()


def test_own_models_are_added(tmp_path):
    config = write_classifier(tmp_path, tmp_path)
    with registered(tmp_path, entry(config, None, 'Image Classification')):
        assert mmssl.list_models('tiny') == ['TINY_LINEAR3']
        assert ModelHub.get('tiny_linear3').config == config
        with pytest.raises(ValueError, match="'tiny_linear3' exists already"):
            ModelHub.register_model_index(tmp_path / 'model-index.yml')
    assert mmssl.list_models('tiny') == []


def test_configs_come_from_the_package_when_it_carries_them(tmp_path, monkeypatch):
    from mmssl.zoo import hub

    monkeypatch.setattr(hub, 'PACKAGE', tmp_path / 'mmssl')
    assert root() == tmp_path
    inside = tmp_path / 'mmssl' / '.mim'
    inside.mkdir(parents=True)
    (inside / 'model-index.yml').write_text('')
    assert root() == inside


@pytest.mark.parametrize('install', ['editable', 'wheel', 'none'])
def test_the_root_is_the_repository_or_the_installed_folder(install, tmp_path, monkeypatch):
    package = tmp_path / 'mmssl'
    (package / '.mim').mkdir(parents=True)
    place = package / '.mim' if install == 'wheel' else tmp_path
    (place / 'model-index.yml').write_text('Import: []\n')
    if install == 'editable':
        (package / '.mim' / 'model-index.yml').symlink_to('../../model-index.yml')
    monkeypatch.setattr(hub, 'PACKAGE', package)
    assert hub.root() == place
