"""The metafiles: every entry is what its config builds; the READMEs show what they say."""

import importlib.util
import re
from types import ModuleType

import pytest
import torch
import yaml
from mmengine.analysis import FlopAnalyzer
from timm.layers import set_fused_attn
from torch import Tensor, nn

from mmssl.registry import MODELS

from .conftest import REPO
from .test_configs import load, network

INDEX = yaml.safe_load((REPO / 'model-index.yml').read_text())['Import']
FILES = {path: yaml.safe_load((REPO / path).read_text()) for path in INDEX}
RECIPES = [model for content in FILES.values() for model in content['Models']]
WEIGHTS = [model for content in FILES.values() for model in content.get('Weights', ())]
ENTRIES = RECIPES + WEIGHTS
SOURCES = {'mmssl', 'OpenMMLab', 'official'}

each_entry = pytest.mark.parametrize('entry', ENTRIES, ids=lambda e: e['Name'])


@pytest.fixture(scope='module')
def make_tables() -> ModuleType:
    """Return tools/misc/make_tables.py."""
    spec = importlib.util.spec_from_file_location('tables', REPO / 'tools/misc/make_tables.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_index_lists_every_metafile():
    found = sorted(str(p.relative_to(REPO)) for p in (REPO / 'configs').glob('*/metafile.yml'))
    assert sorted(INDEX) == found


def test_names_are_unique_whatever_their_case():
    names = [entry['Name'].lower() for entry in ENTRIES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize('path', INDEX)
def test_every_config_of_the_folder_has_an_entry(path):
    folder, content = (REPO / path).parent, FILES[path]
    named = {entry['Config'] for entry in content['Models'] if entry.get('Config')}
    for collection in content['Collections']:
        assert (REPO / collection['README']).is_file()
        assert (REPO / collection['Code']['URL']).is_file()
        named |= set(collection['Metadata'].get('Unpublished', ()))  # configs without weights
    assert named == {str(p.relative_to(REPO)) for p in folder.rglob('*.py')}


@each_entry
def test_an_entry_says_whose_it_is(entry):
    meta = entry['Metadata']
    assert meta['Source'] in SOURCES and meta['Licence'] and meta['Dialect']
    if entry.get('Weights'):
        assert entry['Weights'].startswith('https://')
        assert ('openmmlab' in entry['Weights']) == (meta['Source'] == 'OpenMMLab')
    assert ('3rdparty' in entry['Name']) == (meta['Source'] == 'official')
    names = {other['Name'] for other in ENTRIES}
    assert set(entry.get('Downstream', ())) <= names
    for result in entry['Results'] or ():
        assert result['Task'] and result['Dataset'] and result['Metrics']


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


class Whole(nn.Module):
    """All that a backbone computes of an image."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone.encode(x)
        return features.pooled, features.tokens


SMALL = {
    str(e['Metadata']['FLOPs']): e
    for e in ENTRIES
    if e.get('Config') and e['Metadata']['FLOPs'] < 5e9
}


def attention(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None):
    """Fused attention, spelled out."""
    scores = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)
    return (scores if attn_mask is None else scores + attn_mask).softmax(-1) @ v


@pytest.mark.filterwarnings('ignore')  # tracing warns of every Python number
@pytest.mark.parametrize('flops', SMALL)
def test_flops_are_those_of_the_backbone(flops, monkeypatch):
    # fused kernels hide their products from the counter
    monkeypatch.setattr(nn.functional, 'scaled_dot_product_attention', attention)
    set_fused_attn(False)
    try:
        backbone = MODELS.build(load(REPO / SMALL[flops]['Config']).model.backbone).eval()
    finally:
        set_fused_attn(True)
    counter = FlopAnalyzer(Whole(backbone), torch.zeros(1, 3, 224, 224))
    counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    assert counter.total() == int(flops)


# tables of the READMEs ------------------------------------------------------------------------
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
