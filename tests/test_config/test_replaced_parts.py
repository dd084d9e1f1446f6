"""Parts of other libraries in the place of ours: they work, or are refused before anything runs."""

import pytest

from mmssl.apis import load_config
from mmssl.core import UserError

from ..helpers.refusals import check_refusal, refuses
from ..helpers.tiny import losses, make_runner

ALONE = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)
REFUSED = [
    (dict(train_cfg=dict(type='IterBasedTrainLoop', max_iters=4, _delete_=True)),
     'train_cfg.type', 'IterBasedTrainLoop'),
    (dict(train_cfg=dict(by_epoch=True, max_epochs=2, _delete_=True)), 'train_cfg.type', None),
    (dict(optim_wrapper__type='AmpOptimWrapper'), 'optim_wrapper.type', 'AmpOptimWrapper'),
    (dict(default_hooks__checkpoint__type='mmengine.CheckpointHook'),
     'default_hooks.checkpoint.type', 'mmengine.CheckpointHook'),
    (dict(custom_hooks=[dict(type='EMAHook'), dict(type='mmengine.CheckpointHook')]),
     'custom_hooks.1.type', 'mmengine.CheckpointHook'),
    (dict(train_cfg=dict(type='EpochLoop', _delete_=True)), 'train_cfg.max_epochs', None),
    (dict(default_hooks__param_scheduler=None), 'default_hooks.param_scheduler', None),
    (dict(train_dataloader__dataset=dict(type='ConcatDataset', datasets=[], _delete_=True)),
     'train_dataloader.dataset.type', 'ConcatDataset'),
    (dict(train_dataloader__dataset=dict(
        type='RepeatDataset', times=2, dataset=dict(type='FolderSource'), _delete_=True)),
     'train_dataloader.dataset.type', 'RepeatDataset'),
    (dict(train_dataloader__dataset=dict(type='ClassBalancedDataset', _delete_=True)),
     'train_dataloader.dataset.type', 'ClassBalancedDataset'),
]  # fmt: skip


@pytest.mark.parametrize(('options', 'key', 'value'), REFUSED, ids=lambda x: str(x)[:40])
def test_refused_before_anything_is_built(tiny_config, tmp_path, options, key, value):
    with refuses(key, value):
        load_config(tiny_config(), {k.replace('__', '.'): v for k, v in options.items()})


def test_a_number_is_no_schedule(tiny_config):
    with pytest.raises(UserError) as caught:
        make_runner(tiny_config(), tiny_config().parent, model__momentum=0.99)
    check_refusal(caught.value, 'model.momentum', 0.99)


@pytest.mark.parametrize(
    'schedulers',
    [
        [dict(type='MultiStepLR', milestones=[1, 2], gamma=0.1, by_epoch=True)],
        [dict(type='CosineAnnealingLR', T_max=12, by_epoch=False)],
        [dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=6)],
    ],
    ids=lambda s: s[0]['type'],
)
def test_schedulers_of_mmengine_resume_exactly(tiny_config, tmp_path, schedulers):
    settings = dict(ALONE, param_scheduler=schedulers)
    whole = make_runner(tiny_config(), tmp_path, **settings)
    expected = losses(whole)
    rate = whole.optim_wrapper.optimizer.param_groups[0]['lr']
    file = str(tmp_path / 'epoch_1.pth')
    again = make_runner(tiny_config(), tmp_path, **settings, resume=True, load_from=file)
    assert losses(again) == expected[4:]
    assert again.optim_wrapper.optimizer.param_groups[0]['lr'] == rate


def test_the_epoch_loop_has_the_name_of_mmengines_too(tiny_config, tmp_path):
    loop = dict(type='EpochBasedTrainLoop', max_epochs=2, _delete_=True)
    runner = make_runner(tiny_config(), tmp_path, **ALONE, train_cfg=loop)
    expected = losses(runner)
    file = str(tmp_path / 'epoch_1.pth')
    again = make_runner(
        tiny_config(), tmp_path, **ALONE, train_cfg=loop, resume=True, load_from=file
    )
    assert losses(again) == expected[4:]


@pytest.mark.parametrize('options', [dict(param_scheduler=[]), dict(default_hooks=None)])
def test_a_teacher_moves_whatever_is_left_out(tiny_config, tmp_path, options):
    runner = make_runner(tiny_config(), tmp_path, **ALONE, train_cfg__max_epochs=1, **options)
    before = {n: v.clone() for n, v in runner.model.teacher.named_parameters()}
    losses(runner)
    moved = [n for n, v in runner.model.teacher.named_parameters() if not v.equal(before[n])]
    fixed = {'backbone.net.pos_embed', *(n for n in before if 'patch_embed' in n)}
    assert set(before) - set(moved) <= fixed
