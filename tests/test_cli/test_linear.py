"""Linear probes from the command line: 45 rates at once, and the cached probe."""

import json
import shutil

import pytest
import torch

from mmssl.models.heads.sweep import RATES
from mmssl.registry import MODELS

from ..helpers.command import call
from ..helpers.packed import copy
from ..helpers.paths import REPO

TRAIN, TEST = 'tools/train.py', 'tools/test.py'
NET = dict(type='VisionTransformer', arch=(16, 4, 2), img_size=16, patch_size=8)
SWEEP = '''
"""iBOT's probe of a network as small as it can be."""

_base_ = '{repo}/configs/ibot/benchmarks/vit-small-p16_8xb128-linear-sweep-coslr-100e_in1k.py'

data_root = '{data}'
less = dict(num_workers=0, persistent_workers=False, batch_size=6)
seen = [dict(type='LoadImage'), dict(type='CenterView', size=16, resize=16)]
train_dataloader = dict(
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='TrainView', size=16)]), **less)
val_dataloader = dict(dataset=dict(pipeline=seen), **less)
test_dataloader = val_dataloader
model = dict(backbone=dict(arch=(16, 4, 2), img_size=16, patch_size=8), head=dict(num_classes=3))
train_cfg = dict(max_epochs=2)
'''
PROBE = '''
"""The cached probe of a network as small as it can be."""

_base_ = '{repo}/configs/_base_/probe.py'

data_root = '{data}'
seen = [dict(type='LoadImage'), dict(type='CenterView', size=16, resize=16)]
test_dataloader = dict(num_workers=0, batch_size=6, dataset=dict(pipeline=seen))
test_cfg = dict(probe=dict(held_out=0.25))
model = dict(backbone={net})
'''


@pytest.fixture
def encoder(tmp_path):
    """Return a file of a tiny network."""
    net = MODELS.build(NET)
    state = {f'backbone.{k}': v for k, v in net.state_dict().items()}
    torch.save({'state_dict': state}, tmp_path / 'encoder.pth')
    return tmp_path / 'encoder.pth'


def test_many_rates_at_once(tmp_path, image_folder, encoder, capsys):
    config, run = tmp_path / 'sweep.py', tmp_path / 'run'
    config.write_text(SWEEP.format(repo=REPO, data=image_folder))
    options = ('--cfg-options', f'pretrained={encoder}')
    done = call(capsys, config, '--work-dir', run, *options, script=TRAIN)
    assert done.code == 0, done.err
    found = json.loads((run / 'result.json').read_text())
    assert found['protocol'] == 'linear sweep: best of 45 rates on the test images'
    assert found['metric']['name'] == 'sweep/top1_best'
    metrics = found['metrics']
    # rates are a float32 buffer of the head
    each = {float(torch.tensor(r)): metrics[f'sweep/top1_rate{r:g}'] for r in RATES}
    assert metrics['sweep/top1_best'] == max(each.values())
    assert each[metrics['sweep/best_rate']] == metrics['sweep/top1_best']
    # the file of the best epoch answers with the layer that was best in it
    best = max(found['history'], key=lambda past: past['sweep/top1_best'])
    state = torch.load(run / 'best.pth', weights_only=True)['state_dict']
    rate = float(state['head.rates'][state['head.best']])
    assert rate == pytest.approx(best['sweep/best_rate'])
    again = call(capsys, config, run / 'best.pth', '--work-dir', tmp_path / 'test', script=TEST)
    assert again.code == 0, again.err
    tested = json.loads((tmp_path / 'test' / 'result.json').read_text())
    assert tested['metrics']['sweep/top1_best'] == pytest.approx(best['sweep/top1_best'])


def test_a_validation_set_that_lacks_a_class(tmp_path, image_folder, encoder, capsys):
    root = copy(image_folder, tmp_path / 'data', [])
    shutil.rmtree(root / 'val' / min(path.name for path in (root / 'val').iterdir()))
    config, run = tmp_path / 'sweep.py', tmp_path / 'run'
    config.write_text(SWEEP.format(repo=REPO, data=root))
    options = ('--cfg-options', f'pretrained={encoder}', 'train_cfg.max_epochs=1')
    done = call(capsys, config, '--work-dir', run, *options, script=TRAIN)
    assert done.code == 0, done.err
    assert 0 <= json.loads((run / 'result.json').read_text())['metrics']['sweep/top1_best'] <= 100


def test_the_cached_probe_writes_its_result(tmp_path, image_folder, encoder, capsys):
    config, run = tmp_path / 'probe.py', tmp_path / 'run'
    config.write_text(PROBE.format(repo=REPO, data=image_folder, net=NET))
    done = call(capsys, config, encoder, '--work-dir', run, script=TEST)
    assert done.code == 0, done.err
    found = json.loads((run / 'result.json').read_text())
    assert (found['protocol'], found['metric']['name']) == ('cached probe', 'probe/top1')
    settings = found['settings']
    assert settings['standardised'] and settings['bank']['images'] == 24
    assert settings['probe']['held_out'] == 0.25
    assert found['metrics']['probe/rate'] in settings['probe']['rates']
    assert found['metrics']['probe/decay'] in settings['probe']['decays']
