"""The data set of docs/examples/own_views, and what goes wrong with other ones."""

import copy

import pytest
import torch
from torch.utils.data import Dataset

from mmssl.apis import load_config
from mmssl.engine import Runner
from mmssl.registry import DATASETS

from ..helpers.methods import MODELS_BY_NAME
from ..helpers.paths import REPO
from ..helpers.refusals import refuses
from ..helpers.tiny import losses
from ..helpers.training_state import interrupt

CONFIG = REPO / 'docs/examples/own_views/mocov3_resnet18_1xb64-5e_frames.py'
SMALL = {
    'train_dataloader.dataset.count': 24,
    'train_dataloader.dataset.size': 16,
    'train_dataloader.batch_size': 6,
    'train_cfg.max_epochs': 2,
    'model.backbone.width': 4,
    'model.neck.dims': (32, 24, 8),
    'model.head.predictor.dims': (8, 24, 8),
}


def build(folder, **options):
    cfg = load_config(CONFIG, SMALL | {k.replace('__', '.'): v for k, v in options.items()})
    cfg.work_dir, cfg.launcher, cfg.experiment_name = str(folder), 'none', str(folder)
    return Runner.from_cfg(cfg)


def test_it_trains_and_resumes_to_the_bit(tmp_path):
    whole = losses(build(tmp_path / 'whole'))
    assert len(set(whole)) == 8
    seen = interrupt(build(tmp_path / 'cut'), 5)
    path = str(tmp_path / 'cut' / 'cut.pth')
    assert seen + losses(build(tmp_path / 'rest', resume=True, load_from=path)) == whole


def test_each_epoch_has_views_of_its_own():
    data = DATASETS.build(dict(type='NeighbouringFrames', count=4, size=8, seed=1))
    (a, b), (c, _), (d, _) = (data[at]['inputs'] for at in ((0, 1), (0, 1), (1, 1)))
    assert torch.equal(a, c)
    assert not torch.equal(a, d)
    assert not torch.equal(a, b)
    assert a.dtype is torch.uint8


def test_float64_changes_nothing_but_the_rounding(tmp_path):
    single = losses(build(tmp_path / 'single'))
    double = losses(build(tmp_path / 'double', dtype='float64'))
    assert double == pytest.approx(single, rel=1e-2)
    assert double[0] == pytest.approx(single[0], rel=1e-4)
    assert double[0] != single[0]


@pytest.mark.parametrize('dtype', ['float16', 'double', 64])
def test_another_type_is_refused(tmp_path, dtype):
    with refuses('dtype', dtype):
        build(tmp_path, dtype=dtype).train()


# other data sets ----------------------------------------------------------------------------------
VIEW = torch.zeros(3, 16, 16, dtype=torch.uint8)


@DATASETS.register_module()
class Faulty(Dataset):
    """Yields what it was told."""

    def __init__(self, kind):
        self.kind = kind

    def __len__(self):
        return 24

    def __getitem__(self, index):
        assert type(index) is int  # takes no epoch
        return ITEMS[self.kind]


ITEMS = {
    'tuple': (VIEW, 3),
    'view': VIEW,
    'no inputs': dict(images=[VIEW, VIEW]),
    'one tensor': dict(inputs=VIEW),
    'grey': dict(inputs=[VIEW[0], VIEW[0]]),
    'two channels': dict(inputs=[VIEW[:2], VIEW[:2]]),
    'label': dict(inputs=[VIEW, VIEW], data_samples=3),
    'one view': dict(inputs=[VIEW]),
    'three views': dict(inputs=[VIEW, VIEW, VIEW]),
}


@pytest.mark.parametrize(
    ('kind', 'key', 'value'),
    [
        ('tuple', 'train_dataloader.dataset', 'a list'),
        ('view', 'train_dataloader.dataset', 'a Tensor'),
        ('no inputs', 'train_dataloader.dataset', "a dict of 'images'"),
        ('one tensor', 'inputs', 'Tensor (6, 3, 16, 16)'),
        ('grey', 'inputs', (6, 16, 16)),
        ('two channels', 'inputs', (6, 2, 16, 16)),
        ('label', 'data_samples', 'Tensor (6,)'),
        ('one view', 'inputs', 1),
        ('three views', 'inputs', 3),
    ],
)
def test_an_item_of_another_form_is_refused(tmp_path, kind, key, value):
    dataset = dict(_delete_=True, type='Faulty', kind=kind)
    with refuses(key, value):
        build(tmp_path, train_dataloader__dataset=dataset).train()


@pytest.mark.parametrize(('method', 'key'), [('ibot', 'mask'), ('sere', 'mask'), ('sere', 'box')])
def test_masks_and_boxes_are_asked_for(tmp_path, method, key):
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    samples = dict(mask=mask) if key == 'box' else {}
    ITEMS['masked'] = dict(inputs=[VIEW, VIEW], data_samples=samples)
    model = dict(copy.deepcopy(MODELS_BY_NAME[method]), _delete_=True)
    dataset = dict(_delete_=True, type='Faulty', kind='masked')
    runner = build(
        tmp_path, model=model, train_dataloader__dataset=dataset, train_dataloader__num_workers=0
    )
    with refuses(f'data_samples.{key}', None):
        runner.train()


def test_without_val_cfg_the_monitor_is_off():
    path = REPO / 'configs/quickstart/mocov3_vit-conv_1xb64-32e_shapes.py'
    cfg = load_config(path, dict(val_cfg=None))
    assert cfg.val_cfg is cfg.val_dataloader is cfg.val_evaluator is None
