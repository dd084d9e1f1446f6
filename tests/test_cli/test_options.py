"""Options that the command lines share."""

import argparse
from contextlib import nullcontext

import pytest
import torch

from mmssl.apis import load_config
from mmssl.cli.options import add_run_options, apply_run_options, run_tool
from mmssl.core import UserError

from ..helpers.hub import entry, registered, write_classifier


def parse(*words):
    parser = argparse.ArgumentParser()
    add_run_options(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('3', 3),
        ('2.4e-3', 0.0024),
        ('True', True),
        ('true', True),
        ('None', None),
        ('text', 'text'),
        ('some text', 'some text'),
        ('data/my folder/', 'data/my folder/'),
        ('[1,2]', [1, 2]),
        ('1,2', [1, 2]),
        ('(0.2, 1.0)', (0.2, 1.0)),
        ('a,b', ['a', 'b']),
        ('[a,b]', ['a', 'b']),
        ('"a,b"', 'a,b'),
        ('x=y', 'x=y'),
    ],
)
def test_values_of_cfg_options(text, value):
    found = parse('--cfg-options', f'a.b={text}').cfg_options
    assert found == {'a.b': value}
    assert type(found['a.b']) is type(value)


def test_several_options_add_up():
    assert parse('--cfg-options', 'a=1', 'b=2', '--cfg-options', 'a=3').cfg_options == dict(
        a=3, b=2
    )
    assert parse().cfg_options == {}


def test_an_option_without_a_value(capsys):
    with pytest.raises(SystemExit):
        parse('--cfg-options', 'data_root')
    assert "'data_root' is not key=value" in capsys.readouterr().err


def fail(error):
    def main(_):
        raise error

    return main


def test_a_user_error_is_one_line(capsys):
    with pytest.raises(SystemExit) as caught:
        run_tool(fail(UserError('a.png: broken;\n  remove it')))
    assert caught.value.code == 2
    assert capsys.readouterr().err == 'error: a.png: broken; remove it\n'


def test_the_frames_of_a_worker_are_dropped(capsys):
    frames = (
        'Caught UnreadableImage in DataLoader worker process 0.\nOriginal Traceback (most recent '
        'call last):\n  File "x.py", line 1, in y\nmmssl.a.UnreadableImage: a.png: broken: gone\n'
    )
    with pytest.raises(SystemExit):
        run_tool(fail(UserError(frames)))
    assert capsys.readouterr().err == 'error: a.png: broken: gone\n'


def test_an_interruption_says_how_to_go_on(capsys):
    with pytest.raises(SystemExit) as caught:
        run_tool(fail(KeyboardInterrupt()))
    assert caught.value.code == 130
    assert capsys.readouterr().err == 'interrupted; a training goes on with --resume\n'


def test_other_errors_are_ours_and_keep_their_frames():
    with pytest.raises(ZeroDivisionError):
        run_tool(fail(ZeroDivisionError()))


@pytest.mark.parametrize('error', [None, UserError('wrong')])
def test_a_tool_leaves_its_process_group(tmp_path, error):
    def main(_):
        store = f'file://{tmp_path / "store"}'
        torch.distributed.init_process_group('gloo', init_method=store, rank=0, world_size=1)
        if error:
            raise error

    with pytest.raises(SystemExit) if error else nullcontext():
        run_tool(main)
    assert not torch.distributed.is_initialized()


def test_weights_may_be_the_name_of_a_published_model(tmp_path, tiny_config, image_folder):
    encoder = tmp_path / 'tiny_resnet.py'
    encoder.write_text(tiny_config('resnet').read_text())
    probe = write_classifier(tmp_path, image_folder)
    known = entry(encoder, str(tmp_path / 'encoder.pth'), None, Branch='teacher')
    args = argparse.Namespace(
        config=str(probe),
        launcher='none',
        local_rank=0,
        work_dir=None,
        no_pin_memory=False,
        dtype=None,
        cfg_options={},
    )
    name = 'model.backbone.init_cfg.checkpoint'
    with registered(tmp_path, known):
        cfg = load_config(probe, {name: 'Tiny_ResNet', 'load_from': 'tiny_resnet'})
        apply_run_options(cfg, args)
    assert cfg.model.backbone.init_cfg.checkpoint == str(tmp_path / 'encoder.pth')
    assert (cfg.load_from, cfg.branch) == (str(tmp_path / 'encoder.pth'), 'teacher')
    for other in ('some/file.pth', 'https://a.org/b.pth', 'no_model'):
        cfg = load_config(probe, {name: other, 'load_from': other})
        apply_run_options(cfg, args)
        assert cfg.model.backbone.init_cfg.checkpoint == cfg.load_from == other
        assert 'branch' not in cfg
