"""No command runs code from a file of weights."""

import ast
import os
import shutil

import pytest
import torch

from mmssl.apis import get_model
from mmssl.checkpoint import read
from mmssl.checkpoint.reader.builders import Refused
from mmssl.core import UserError
from mmssl.engine.state import work_dir_files

from .helpers.command import call, refused
from .helpers.paths import REPO
from .helpers.payloads import Payload
from .helpers.refusals import refuses
from .helpers.tiny import log, make_runner

pytestmark = pytest.mark.slow

WAYS = ['load_from', 'init_cfg', 'resume', 'test', 'convert']
QUICK = ('train_cfg.max_epochs=1', 'val_cfg=None', 'val_dataloader=None', 'val_evaluator=None')


@pytest.fixture(scope='module')
def trained(tiny_config, tmp_path_factory):
    work = tmp_path_factory.mktemp('trained')
    options = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)
    make_runner(tiny_config(), work, train_cfg__max_epochs=1, **options).train()
    return work / 'epoch_1.pth'


def words(way, config, path, work):
    """The command line that gives the file to a tool."""
    if way == 'test':
        return 'tools/test.py', (config, path, '--work-dir', work)
    if way == 'convert':
        return 'tools/model_converters/extract_backbone.py', (path, work)
    options = {
        'load_from': ('--cfg-options', *QUICK, f'load_from={path}'),
        'init_cfg': (
            *('--cfg-options', *QUICK, 'model.backbone.init_cfg.type=Pretrained'),
            f'model.backbone.init_cfg.checkpoint={path}',
        ),
        'resume': ('--resume', path, '--cfg-options', *QUICK),
    }
    return 'tools/train.py', (config, '--work-dir', work, *options[way])


@pytest.mark.parametrize('way', WAYS)
def test_a_malicious_file_is_refused_by_every_command(tiny_config, trained, tmp_path, capsys, way):
    """All of a real training file, and an object that would touch a file on being built."""
    marker, path = tmp_path / 'marker', tmp_path / 'x.pth'
    content = torch.load(trained, weights_only=True)
    torch.save(content | {'extra': Payload(os.system, f'touch {marker}')}, path)
    script, line = words(way, tiny_config(), path, tmp_path / 'w')
    done = call(capsys, *line, script=script)
    assert str(path) in refused(done, 'file', str(path))
    assert isinstance(done.error.__context__, Refused)
    assert not marker.exists()


def test_the_api_refuses_a_malicious_file(tiny_config, tmp_path):
    marker, path = tmp_path / 'marker', tmp_path / 'x.pth'
    torch.save({'extra': Payload(os.system, f'touch {marker}')}, path)
    with refuses('file', str(path)) as caught:
        get_model(tiny_config(), pretrained=path)
    assert isinstance(caught.value.__context__, Refused)
    assert not marker.exists()


@pytest.mark.parametrize('way', WAYS)
def test_a_changed_file_is_refused_by_every_command(tiny_config, trained, tmp_path, capsys, way):
    """One number of one tensor differs from what was written, its hash does not."""
    path = tmp_path / 'x.pth'
    content = torch.load(trained, weights_only=True)
    next(t for t in content['state_dict'].values() if t.is_floating_point()).view(-1)[0] += 1
    torch.save(content, path)
    script, line = words(way, tiny_config(), path, tmp_path / 'w')
    found = refused(call(capsys, *line, script=script), 'file', str(path))
    assert str(path) in found and 'hash' in found


def test_a_malicious_newest_file_is_passed_over(tiny_config, trained, tmp_path, capsys):
    marker = tmp_path / 'marker'
    shutil.copy(trained, tmp_path / 'epoch_1.pth')
    os.utime(tmp_path / 'epoch_1.pth', (1, 1))
    torch.save({'extra': Payload(os.system, f'touch {marker}')}, tmp_path / 'z.pth')
    options = ('train_cfg.max_epochs=2', *QUICK[1:])
    line = (tiny_config(), '--work-dir', tmp_path, '--resume', '--cfg-options', *options)
    assert call(capsys, *line).code == 0
    assert f'passed over while resuming: {tmp_path}/z.pth: refused' in log(tmp_path)
    assert read(tmp_path / 'epoch_2.pth')['progress']['iter'] == 8
    assert not marker.exists()


def test_text_in_a_resumed_file_is_never_run(tiny_config, trained, tmp_path, capsys):
    """mmengine runs ``meta['config']`` as Python when it resumes."""
    marker = tmp_path / 'marker'
    content = torch.load(trained, weights_only=True)
    text = f"import os\nos.system('touch {marker}')\n"
    content['meta'] |= dict(config=text, cfg=text, settings=dict(config=text))
    work_dir_files.write(content, tmp_path / 'x.pth')
    options = ('train_cfg.max_epochs=2', *QUICK[1:])
    line = (tiny_config(), '--work-dir', tmp_path / 'w', '--resume', tmp_path / 'x.pth')
    assert call(capsys, *line, '--cfg-options', *options).code == 0
    assert (tmp_path / 'w' / 'epoch_2.pth').is_file()
    assert not marker.exists()


@pytest.mark.parametrize('address', ['ftp://a/b.pth', 's3://a/b.pth', 'data://x', 'ssh://a/b'])
def test_addresses_are_http_or_files(tiny_config, tmp_path, capsys, address):
    script, line = words('load_from', tiny_config(), address, tmp_path)
    assert address in refused(call(capsys, *line, script=script), 'file', address)


def test_no_value_reaches_a_shell():
    """Nothing of the package starts one or evaluates text; scripts quote every word."""
    calls = []
    for file in (REPO / 'mmssl').rglob('*.py'):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            shell = any(k.arg == 'shell' for k in node.keywords)
            if shell or name in ('eval', 'exec', 'os.system', 'os.popen', 'pickle.load', 'input'):
                calls.append(f'{file.name}: {name}')
    assert calls == []
    for script in (REPO / 'tools').glob('*.sh'):
        assert ' eval ' not in script.read_text(), script


def test_a_foreign_file_is_no_training_state(tmp_path):
    torch.save({'state_dict': {'a': torch.ones(1)}}, tmp_path / 'a.pth')
    with pytest.raises(UserError, match='holds no training state of mmssl'):
        work_dir_files.open_training(tmp_path / 'a.pth')
