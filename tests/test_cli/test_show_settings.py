"""Settings inside files, shown and compared with a config."""

from pathlib import Path

import pytest

from mmssl.checkpoint.file_settings import read_arguments, settings_of
from mmssl.cli.show_settings import main

from ..helpers.command import call, refused
from ..helpers.configs import find
from ..helpers.paths import GOLDEN
from ..helpers.refusals import refuses
from ..helpers.tiny import make_runner

TOOL = 'tools/model_converters/show_settings.py'


def official(case: str) -> Path:
    return GOLDEN / case / 'official.pth'


def differing(*words):
    return {row.name: (row.config, row.file) for row in main(words) if not row.equal}


# case: settings of the file by name
OFFICIAL = {
    'dino_vit_a': {'lr': 0.128, 'clip_grad': 0.3, 'global_crops_scale': (0.4, 1.0)},
    'esvit_vil_a': {'epochs': 4, 'local_crops_number': [2]},
    'sere_vit_a': {'pred_ratio': [0.0, 0.3], 'temperature_channel': 0.1},
    'moby_swin_a': {'TRAIN.EPOCHS': 10, 'MODEL.MOBY.CONTRAST_NUM_NEGATIVE': 64},
}


@pytest.mark.parametrize('case', OFFICIAL)
def test_the_settings_of_official_files_are_shown(case, capsys):
    done = call(capsys, official(case), script=TOOL)
    assert (done.code, done.err) == (0, '')
    lines = dict(line.split(maxsplit=1) for line in done.out.splitlines())
    assert not [name for name in lines if '__' in name.rpartition('.')[2][:2]]
    for name, value in OFFICIAL[case].items():
        assert lines[name] == repr(value)


# config: a recorded run of its method, and all that differ
COMPARED = {
    'dino_vit_a': (
        'esvit/esvit_swin-tiny-w7-v_16xb32',
        {
            'epochs': (300, 10), 'batch_size_per_gpu': (32, 4), 'lr': (5e-4, 0.128),
            'warmup_epochs': (10, 2), 'clip_grad': (3.0, 0.3), 'freeze_last_layer': (1, 3),
            'warmup_teacher_temp_epochs': (30, 5), 'out_dim': (65536, 32),
            'drop_path_rate': (0.1, 0.0), 'local_crops_number': (8, 4),
        },
    ),
    'sere_vit_a': (
        'sere/sere_vit-small',
        {
            'epochs': (100, 10), 'warmup_epochs': (10, 2), 'warmup_teacher_temp_epochs': (30, 5),
            'out_dim': (8192, 32), 'patch_out_dim': (8192, 32), 'drop_path': (0.1, 0.0),
            'local_crops_number': (10, 2), 'overlap_size': ((13, 13), [5, 4]),
        },
    ),
    'moby_swin_a': (
        'moby/moby_swin-tiny_8xb64-amp-coslr-300e',
        {
            'TRAIN.EPOCHS': (300, 10), 'TRAIN.WARMUP_EPOCHS': (5, 2), 'DATA.BATCH_SIZE': (64, 4),
            'MODEL.MOBY.ONLINE_DROP_PATH_RATE': (0.2, 0.0),
            'MODEL.MOBY.CONTRAST_NUM_NEGATIVE': (4096, 64),
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize('case', COMPARED)
def test_official_settings_beside_a_recipe(case):
    short, expected = COMPARED[case]
    assert differing(str(official(case)), '--config', str(find(short))) == expected


def test_no_clipping_is_no_bound(tmp_path):
    (tmp_path / 'args.txt').write_text('clip_grad: 0\nlr: 0.0005\noutput_dir: /some/where\n')
    config = str(find('mocov2/mocov2_resnet50_8xb32-coslr-200e'))
    rows = main([str(tmp_path / 'args.txt'), '--config', config])
    assert [(row.name, row.file, row.equal) for row in rows] == [
        ('lr', 5e-4, False), ('clip_grad', 0.0, True)
    ]  # fmt: skip


def test_a_files_own_recipe_differs_in_what_was_changed(tiny_config, tmp_path, capsys):
    runner = make_runner(tiny_config(), tmp_path, train_cfg__max_epochs=1)
    runner.train()
    found = differing(str(tmp_path / 'epoch_1.pth'), '--config', str(tiny_config()))
    assert found['train_cfg.max_epochs'][1] == 1
    assert 'model.backbone.type' not in found
    words = ('--cfg-options', 'train_cfg.max_epochs=1')
    assert 'train_cfg.max_epochs' not in differing(
        str(tmp_path / 'epoch_1.pth'), '--config', str(tiny_config()), *words
    )
    done = call(capsys, tmp_path / 'epoch_1.pth', '--config', tiny_config(), script=TOOL)
    assert 'train_cfg.max_epochs' in done.out


def test_what_has_no_settings(tmp_path, capsys):
    file = official('mocov3_vit_a')
    refused(call(capsys, file, script=TOOL), 'file', str(file))
    with refuses('file', 'x.pth'):
        settings_of({'state_dict': {}, 'args': {}}, 'x.pth')
    (tmp_path / 'args.txt').write_text('epochs: 3\n\nno colon\n')
    with refuses('file', str(tmp_path / 'args.txt')):
        read_arguments(tmp_path / 'args.txt')


def test_a_config_of_another_kind(tmp_path, capsys):
    config = find('mocov3/mocov3_vit-base')
    (tmp_path / 'args.txt').write_text('norm_in_head: None\n')
    done = call(capsys, tmp_path / 'args.txt', '--config', config, script=TOOL)
    refused(done, '--config', str(config))
