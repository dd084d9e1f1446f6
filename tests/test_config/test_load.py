"""Configs are read over the defaults, with their helper names gone and options merged last."""

import pytest

from mmssl.apis import load_config
from mmssl.config.defaults import DEFAULTS
from mmssl.core import UserError
from mmssl.registry import DATASETS, MODELS

from ..helpers.tiny import CONFIG


def test_unknown_arguments_of_a_models_curve_are_named_when_it_is_built(tiny_config):
    cfg = load_config(tiny_config(), {'model.momentum.strat': 0.9})
    with pytest.raises(UserError, match=r"model.momentum: .* 'strat' \(did you mean start"):
        MODELS.build(cfg.model)


def roots(node):
    """Every data_root below a node."""
    if isinstance(node, dict):
        found = [node['data_root']] if 'data_root' in node else []
        return found + [r for v in node.values() for r in roots(v)]
    return [r for v in node for r in roots(v)] if isinstance(node, (list, tuple)) else []


def test_data_root_reaches_every_data_set(tiny_config, image_folder, tmp_path):
    for options, expected in (
        ({}, str(image_folder)),
        ({'data_root': str(tmp_path)}, str(tmp_path)),
    ):
        cfg = load_config(tiny_config(), options)
        found = [roots(cfg[f'{mode}_dataloader']) for mode in ('train', 'val')]
        assert found == [[expected], [expected]]
    assert len(DATASETS.build(load_config(tiny_config()).train_dataloader.dataset)) == 24


def test_a_data_set_of_its_own_folder_keeps_it(tiny_config, tmp_path):
    cfg = load_config(
        tiny_config(), {'data_root': 'here', 'val_dataloader.dataset.data_root': 'there'}
    )
    assert (roots(cfg.train_dataloader), roots(cfg.val_dataloader)) == (['here'], ['there'])


def test_helper_names_are_gone_and_options_are_last(tiny_config):
    cfg = load_config(tiny_config(), {'train_cfg.max_epochs': 7, 'model.head.temperature': 0.5})
    assert not {'crop', 'views'} & set(cfg)
    assert (cfg.train_cfg.max_epochs, cfg.model.head.temperature) == (7, 0.5)
    assert cfg.train_cfg.type == 'EpochLoop'  # from the base


def test_a_helper_of_the_base_may_be_read_by_name(tmp_path):
    base = tmp_path / 'base.py'
    base.write_text('width = 16\n')
    path = tmp_path / 'config.py'
    path.write_text(
        "_base_ = ['./base.py']\nmodel = dict(type='MLP', dims=({{_base_.width}}, 8))\n"
    )
    cfg = load_config(path)
    assert MODELS.build(cfg.model).dims == (16, 8)
    assert 'width' not in cfg


def test_the_tiny_config_is_what_users_write():
    """The config of the tests has no more lines than the published ones may have."""
    lines = [line for line in CONFIG.splitlines() if line.strip()]
    assert len(lines) <= 60


# defaults -----------------------------------------------------------------------------------------
MODEL = "model = dict(type='MLP', dims=(8, 8))\n"


def hooks(tmp_path, text, base=''):
    """Return the default hooks of a config with this text, over a base with another."""
    (tmp_path / 'base.py').write_text(base)
    path = tmp_path / 'config.py'
    path.write_text(f"_base_ = './base.py'\n{MODEL}{text}\n")
    return load_config(path).default_hooks


def test_a_config_without_a_base_has_all_defaults(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(MODEL)
    cfg = load_config(path).to_dict()
    assert {key: cfg[key] for key in DEFAULTS} == DEFAULTS


def test_a_configs_own_keys_are_merged_over_the_defaults(tmp_path):
    found = hooks(tmp_path, 'default_hooks = dict(checkpoint=dict(interval=1), health=None)')
    assert found.checkpoint == {**DEFAULTS['default_hooks']['checkpoint'], 'interval': 1}
    assert found.health is None and found.timer == dict(type='IterTimerHook')
    found = hooks(
        tmp_path,
        'default_hooks = dict(ema=None)',
        "default_hooks = dict(ema=dict(type='EMAHook'), logger=dict(interval=7))",
    )
    assert found.ema is None and found.logger == dict(type='LoggerHook', interval=7)
    assert DEFAULTS['default_hooks']['logger']['interval'] == 50, 'changed in place'


@pytest.mark.parametrize('base', ['', 'default_hooks = dict(checkpoint=dict(interval=7))'])
def test_delete_replaces_the_defaults_below_any_base(tmp_path, base):
    found = hooks(tmp_path, 'default_hooks = dict(_delete_=True, logger=dict(interval=1))', base)
    assert found == dict(logger=dict(interval=1))
    other = "dict(_delete_=True, type='CheckpointHook', save_best='knn/top1')"
    found = hooks(tmp_path, f'default_hooks = dict(checkpoint={other})', base)
    assert found.checkpoint == dict(type='CheckpointHook', save_best='knn/top1')
    assert found.timer == dict(type='IterTimerHook')
