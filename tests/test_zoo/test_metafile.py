"""The metafiles: every entry matches its config, and the READMEs show its figures."""

import importlib.util
import re
from types import ModuleType
from urllib.parse import urlsplit

import pytest
import torch
import yaml

from mmssl.apis import ModelHub, load_config
from mmssl.apis.model import read_config
from mmssl.checkpoint.fetch import fetch
from mmssl.checkpoint.layouts import LAYOUTS
from mmssl.planning.complexity import count, flops
from mmssl.registry import MODELS
from mmssl.results.reference import published_figure

from ..helpers.configs import KNN, load, network
from ..helpers.paths import REPO

INDEX = yaml.safe_load((REPO / 'model-index.yml').read_text())['Import']
TRANSFER = 'configs/transfer/metafile.yml'  # see test_transfer/test_published.py
FILES = {p: yaml.safe_load((REPO / p).read_text()) for p in INDEX if p != TRANSFER}
RECIPES = [model for content in FILES.values() for model in content['Models']]
WEIGHTS = [model for content in FILES.values() for model in content.get('Weights', ())]
ENTRIES = RECIPES + WEIGHTS
SOURCES = {'mmssl', 'OpenMMLab', 'official'}

each_entry = pytest.mark.parametrize('entry', ENTRIES, ids=lambda e: e['Name'])


@pytest.fixture(scope='module')
def make_tables() -> ModuleType:
    """Return tools/dev/make_tables.py."""
    spec = importlib.util.spec_from_file_location('tables', REPO / 'tools/dev/make_tables.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_index_lists_every_metafile():
    found = sorted(str(p.relative_to(REPO)) for p in (REPO / 'configs').glob('*/metafile.yml'))
    assert sorted(INDEX) == found


def test_names_are_unique_whatever_their_case():
    names = [entry['Name'].lower() for entry in ENTRIES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize('path', FILES)
def test_every_config_of_the_folder_has_an_entry(path):
    folder, content = (REPO / path).parent, FILES[path]
    named = {entry['Config'] for entry in content['Models'] if entry.get('Config')}
    for collection in content['Collections']:
        assert (REPO / collection['README']).is_file()
        assert (REPO / collection['Code']['URL']).is_file()
        named |= set(collection['Metadata'].get('Unpublished', ()))  # configs without weights
    found = {str(p.relative_to(REPO)) for p in folder.rglob('*.py')}
    assert named <= found
    # a protocol is for all pretrained files, whose entries hold the figures
    assert not [path for path in found - named if '/benchmarks/' not in path]


@each_entry
def test_an_entry_says_whose_it_is(entry):
    meta = entry['Metadata']
    assert meta['Source'] in SOURCES and meta['Licence'] and meta['Layout']
    if entry.get('Weights'):
        assert entry['Weights'].startswith('https://')
        assert ('openmmlab' in entry['Weights']) == (meta['Source'] == 'OpenMMLab')
    assert ('3rdparty' in entry['Name']) == (meta['Source'] == 'official')
    names = {other['Name'] for other in ENTRIES}
    assert {*entry.get('Downstream', ()), entry.get('Encoder') or entry['Name']} <= names
    assert meta['Layout'] in LAYOUTS
    for result in entry['Results'] or ():
        assert result['Task'] and result['Dataset'] and result['Metrics']


# collection: entries with weights, of OpenMMLab and of the authors
PUBLISHED = {
    'DINO': (0, 17),
    'EsViT': (0, 19),
    'iBOT': (0, 9),
    'MoBY': (0, 5),
    'MoCoV1': (0, 1),
    'MoCoV2': (2, 2),
    'MoCoV3': (13, 10),
    'SERE': (0, 2),
    'SwAV': (2, 11),
}


def test_every_published_file_is_there_once():
    found = {}
    for entry in ENTRIES:
        if entry['Weights']:
            counts = found.setdefault(entry['In Collection'], [0, 0])
            counts[entry['Metadata']['Source'] == 'official'] += 1
    assert {name: tuple(counts) for name, counts in found.items()} == PUBLISHED
    addresses = [entry['Weights'] for entry in ENTRIES if entry['Weights']]
    assert len(set(addresses)) == len(addresses)
    esvit = {a.rpartition('/')[2] for a in addresses if 'blob.core.windows.net' in a}
    assert esvit == {'checkpoint.pth', 'checkpoint_best.pth'}, 'never a key for a cache'


# address of a file: host -> its path, and what the entry has beside it
OPENMMLAB = r'/mmselfsup/1\.x/(mocov2|mocov3|swav)/[\w/-]+_\d{8}-[0-9a-f]{8}\.pth'
HOSTS = {
    'download.openmmlab.com': OPENMMLAB,
    'dl.fbaipublicfiles.com': r'/(moco|moco-v3|deepcluster)/[\w/-]+\.pth\.tar|/dino/[\w/]+\.pth',
    'github.com': r'/SwinTransformer/storage/releases/download/v1\.0\.\d/\w+\.pth',
    'chunyleu.blob.core.windows.net': r'/output/ckpts/esvit/[\w./-]+/checkpoint(_best)?\.pth',
    'lf3-nlp-opensource.bytetos.com': r'/obj/[\w/-]+/archive/2022/ibot/\w+/checkpoint\.pth',
    'drive.google.com': r'/file/d/[\w-]{33}/view',
}


@pytest.mark.parametrize('entry', [e for e in ENTRIES if e['Weights']], ids=lambda e: e['Name'])
def test_an_address_is_a_file_of_its_host(entry):
    parts, meta = urlsplit(entry['Weights']), entry['Metadata']
    assert parts.scheme == 'https' and not parts.query and not parts.fragment
    assert re.fullmatch(HOSTS[parts.netloc], parts.path)
    assert (parts.netloc in fetch.KEYED) == (meta.get('Download') == 'token')
    assert (parts.netloc in fetch.BY_HAND) == (meta.get('Download') == 'by hand')
    hashes = dict(fetch._published_hashes(entry['Weights'], meta.get('MD5', '')))
    assert ('sha256' in hashes) == (meta['Source'] == 'OpenMMLab')
    assert ('md5' in hashes) == (entry['In Collection'] in ('MoCoV1', 'MoCoV2')
                                 and meta['Source'] == 'official')  # fmt: skip
    for log in entry.get('Logs', {}).values():
        assert urlsplit(log).netloc == parts.netloc and log.endswith(('.json', '.txt'))
    for mirror in entry.get('Mirrors', ()):
        assert re.fullmatch(HOSTS['drive.google.com'], urlsplit(mirror).path)


@each_entry
def test_a_pretraining_file_says_which_side_is_meant(entry):
    assert (entry['Results'] is None) == (entry['Metadata'].get('Branch') is not None)
    assert entry['Metadata'].get('Branch') in (None, 'student', 'teacher')


@each_entry
def test_weights_of_others_keep_their_licence(entry):
    wanted = {
        'DINO': 'Apache-2.0',
        'EsViT': 'MIT',
        'iBOT': 'Apache-2.0',
        'MoBY': 'MIT',
        'MoCoV1': 'MIT or CC BY-NC 4.0',
        'MoCoV2': 'MIT or CC BY-NC 4.0',
        'MoCoV3': 'CC BY-NC 4.0',
        'SERE': 'CC BY-NC-SA 4.0',
        'SwAV': 'CC BY-NC 4.0',
    }
    ours = entry['Metadata']['Source'] == 'OpenMMLab'
    assert entry['Metadata']['Licence'] == (
        'Apache-2.0' if ours else wanted[entry['In Collection']]
    )


@pytest.mark.parametrize('entry', [e for e in WEIGHTS if e.get('Network')], ids=lambda e: e['Name'])
def test_weights_without_a_recipe_have_the_network_they_fit(entry):
    assert 'Config' not in entry, 'that would be a recipe'
    cfg, _ = read_config(entry['Name'])
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    w5 = 'resnet50w5' in entry['Name']  # its heads are not known, the backbone counts
    assert count(model.backbone if w5 else model) == entry['Metadata']['Parameters']
    assert (entry['Results'] is not None) == (cfg.model.type == 'Classifier')


@pytest.mark.parametrize('entry', RECIPES, ids=lambda e: e['Name'])
def test_an_entry_is_what_its_config_builds(entry):
    path, meta = REPO / entry['Config'], entry['Metadata']
    cfg = load(path)
    assert sum(p.numel() for p in network(path).parameters()) == meta['Parameters']
    assert cfg.train_cfg.max_epochs == meta['Epochs']
    assert cfg.auto_scale_lr.base_batch_size == meta['Batch Size']
    assert (entry['Results'] is not None) == (cfg.model.type == 'Classifier')
    length = re.search(r'-(\d+)e_', entry['Name'])
    assert int(length[1]) == meta['Epochs']


SMALL = {str(e['Metadata']['FLOPs']): e for e in RECIPES if e['Metadata']['FLOPs'] < 5e9}


@pytest.mark.filterwarnings('ignore')  # tracing warns of every Python number
@pytest.mark.parametrize('operations', SMALL)
def test_flops_are_those_of_the_backbone(operations):
    backbone = MODELS.build(load(REPO / SMALL[operations]['Config']).model.backbone)
    assert flops(backbone) == int(operations)


# tables of the READMEs ----------------------------------------------------------------------------
def test_readme_tables_are_up_to_date(make_tables, capsys):
    assert make_tables.main(['--check']) == 0, capsys.readouterr().out


def test_an_outdated_table_is_found_and_made_anew(make_tables, tmp_path, monkeypatch, capsys):
    folder = tmp_path / 'configs' / 'mocov3'
    folder.mkdir(parents=True)
    (folder / 'metafile.yml').write_text((REPO / 'configs/mocov3/metafile.yml').read_text())
    readme = folder / 'README.md'
    readme.write_text('# A\n\n<!-- table:mocov3 begin -->\nold\n<!-- table:mocov3 end -->\nafter\n')
    monkeypatch.setattr(make_tables, 'ROOT', tmp_path)
    assert make_tables.main(['--check']) == 1
    assert 'configs/mocov3/README.md: outdated' in capsys.readouterr().out
    assert 'old' in readme.read_text()
    assert make_tables.main([]) == 0
    assert make_tables.main(['--check']) == 0
    text = readme.read_text()
    assert 'old' not in text and text.startswith('# A\n') and text.endswith('after\n')
    assert '`resnet50_mocov3-100e-pre_8xb128-linear-coslr-90e_in1k`' in text


def test_ours_and_published_figures_stand_in_tables_of_their_own(make_tables):
    models = make_tables.read('mocov3')
    own = dict(
        models[0], Name='own', Downstream=[], Metadata=dict(models[0]['Metadata'], Source='mmssl')
    )
    tables = make_tables.tables([*models, own]).split('**Pretraining')
    assert len(tables) == 4
    assert '`own`' in tables[1] and 'OpenMMLab' not in tables[1]
    assert all('`own`' not in table for table in tables[2:])


def shapes(model):
    """Return the shapes of a backbone's tensors; of two networks, of the one used downstream."""
    return {key: value.shape for key, value in model.backbone.state_dict().items()}


WITH_KNN = [
    entry
    for entry in RECIPES
    if any(key.startswith('kNN') for key in entry['Metadata'].get('Published', ()))
]


@pytest.mark.parametrize('entry', WITH_KNN, ids=lambda e: e['Name'])
def test_a_published_knn_figure_has_a_config_and_is_told(entry):
    cfg = load_config(KNN, {'pretrained': entry['Name']})
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert shapes(model) == shapes(network(REPO / entry['Config']))
    said, loop = entry['Metadata']['Published'], cfg.test_cfg
    facts = dict(k=loop.k, temperature=loop.temperature, features=loop.feature)
    found = published_figure(ModelHub.get(entry['Name']), cfg.protocol, KNN, facts)
    assert found.value == said.get('kNN k=20', said.get('kNN Top 1'))
    assert found.source == f'{entry["Name"]}, {entry["Metadata"]["Source"]}'
