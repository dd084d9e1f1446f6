"""The linear and fine-tuning configs train and test: their own settings, a tiny network."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mmssl.checkpoint import read
from mmssl.core import UserError
from mmssl.registry import MODELS

from ..helpers.paths import REPO
from ..helpers.tiny import make_runner

FOLDER = REPO / 'configs' / 'mocov3' / 'benchmarks'
LINEAR = FOLDER / 'vit-small-p16_8xb128-linear-coslr-90e_in1k.py'
FINETUNE = FOLDER / 'vit-base-p16_8xb64-amp-coslr-150e_in1k.py'  # repeats its images
OPENMMLAB = FOLDER / 'vit-base-p16_8xb64-coslr-150e_in1k.py'  # measures the average
NETWORK = dict(type='VisionTransformer', arch=(16, 2, 2), img_size=16, patch_size=8)


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory) -> Path:
    """Return a file that holds a backbone."""
    path = tmp_path_factory.mktemp('weights') / 'pretrained.pth'
    state = MODELS.build(NETWORK).state_dict()
    torch.save({'state_dict': {f'backbone.{k}': v for k, v in state.items()}}, path)
    return path


def tiny(data: Path, sizes: dict[str, int]) -> dict[str, Any]:
    """Return options that shrink a benchmark; sizes are those of the loaders' views."""
    options: dict[str, Any] = dict(data_root=str(data), model__head__num_classes=3)
    options |= {f'model__backbone__{k}': v for k, v in NETWORK.items() if k != 'type'}
    options['model__backbone__num_heads'] = 2
    for part, batch in sizes.items():
        loader = f'{part}_dataloader'
        options |= {
            f'{loader}__batch_size': batch,
            f'{loader}__num_workers': 0,
            f'{loader}__persistent_workers': False,
            f'{loader}__dataset__pipeline__1__size': 16,
        }
    return options


@pytest.mark.parametrize('config', [LINEAR, FINETUNE], ids=['linear', 'finetune'])
def test_a_benchmark_trains_and_its_file_tests_alike(config, image_folder, pretrained, tmp_path):
    loaders = dict(train=6, val=4, test=4)
    options = tiny(image_folder, loaders)
    epochs = dict(train_cfg__max_epochs=6, default_hooks__checkpoint__interval=6)
    weights = {'model__backbone__init_cfg__checkpoint': str(pretrained)}
    runner = make_runner(config, tmp_path / 'train', **options, **epochs, **weights)
    runner.train()
    start, end = read(pretrained)['state_dict'], runner.model.state_dict()
    moved = {k for k in start if not torch.equal(start[k], end[k])}
    assert moved == (set() if config == LINEAR else set(start))
    assert runner.model.head.fc.bias.abs().sum() > 0
    last = {
        k: runner.message_hub.get_scalar(f'val/accuracy/{k}').current() for k in ('top1', 'top5')
    }
    assert last['top5'] == 100.0, '3 classes'
    # no pretrained file is needed to test a trained one
    again = make_runner(config, tmp_path / 'test', **options)
    again._load_from = str(tmp_path / 'train' / 'epoch_6.pth')
    assert again.test() == {f'accuracy/{k}': v for k, v in last.items()}


@pytest.mark.parametrize(('config', 'network'), [(FINETUNE, 'trained'), (OPENMMLAB, 'averaged')])
def test_which_weights_are_the_network(config, network, image_folder, pretrained, tmp_path):
    """DeiT keeps the average beside the network, OpenMMLab the network beside the average."""
    options = tiny(image_folder, dict(train=6, val=4))
    options |= {'default_hooks__ema__momentum': 0.5, 'default_hooks__checkpoint__interval': 6}
    weights = {'model__backbone__init_cfg__checkpoint': str(pretrained)}
    runner = make_runner(config, tmp_path, train_cfg__max_epochs=6, **options, **weights)
    name = 'backbone.net.blocks.0.attn.qkv.weight'
    measured, sums = [], []
    predict = runner.model.predict
    step = runner.model.train_step

    def noted(inputs):
        measured.append(runner.model.state_dict()[name].clone())
        return predict(inputs)

    def averaged(*batch):
        losses = step(*batch)
        weight = runner.model.state_dict()[name].clone()
        sums.append(weight if not sums else 0.5 * sums[-1] + 0.5 * weight)
        return losses

    runner.model.predict = noted
    runner.model.train_step = averaged
    runner.train()
    trained, average = runner.model.state_dict()[name], sums[-1]
    content = read(tmp_path / 'epoch_6.pth')
    first, beside = content['state_dict'][name], content['ema_state_dict'][f'module.{name}']
    order = (trained, average) if network == 'trained' else (average, trained)
    assert not torch.equal(trained, average)
    torch.testing.assert_close((first, beside), order)
    torch.testing.assert_close(measured[-1], order[0])


def test_an_average_goes_on_after_a_break(image_folder, pretrained, tmp_path):
    options = tiny(image_folder, dict(train=6, val=4))
    options |= {'default_hooks__ema__momentum': 0.5, 'default_hooks__checkpoint__interval': 3}
    options |= {'model__backbone__init_cfg__checkpoint': str(pretrained)}
    whole = make_runner(FINETUNE, tmp_path / 'whole', train_cfg__max_epochs=6, **options)
    whole.train()
    resumed = make_runner(FINETUNE, tmp_path / 'rest', train_cfg__max_epochs=6, **options)
    resumed._load_from, resumed._resume = str(tmp_path / 'whole' / 'epoch_3.pth'), True
    resumed.train()
    parts = [read(tmp_path / name / 'epoch_6.pth') for name in ('whole', 'rest')]
    for entry in ('state_dict', 'ema_state_dict'):
        torch.testing.assert_close(parts[1][entry], parts[0][entry], rtol=0, atol=0)


def test_a_linear_probe_starts_from_load_from(image_folder, pretrained, tmp_path):
    """The same rule as for pretraining; a file without a classifier must be asked for by part."""
    options = tiny(image_folder, dict(train=6, val=4))
    options |= dict(train_cfg__max_epochs=1, load_from=str(pretrained))
    with pytest.raises(UserError, match='load_part=backbone'):
        make_runner(LINEAR, tmp_path / 'all', **options).train()
    runner = make_runner(LINEAR, tmp_path / 'part', **options, load_part='backbone')
    runner.train()
    start, end = read(pretrained)['state_dict'], runner.model.state_dict()
    assert all(torch.equal(end[k], v) for k, v in start.items())


def test_a_transfer_trains(image_folder, pretrained, tmp_path):
    """MoCo v3's to Pets, whose folders are train/ and test/: images are mixed, none is pasted."""
    config = FOLDER / 'vit-base-p16_8xb128-amp-coslr-100e_pets37.py'
    options = tiny(image_folder, dict(train=6, val=4))
    options |= {'val_dataloader__dataset__split': 'val', 'default_hooks__checkpoint__interval': 4}
    weights = {'model__backbone__init_cfg__checkpoint': str(pretrained)}
    runner = make_runner(config, tmp_path, train_cfg__max_epochs=4, **options, **weights)
    runner.train()
    assert runner.model.mixup.mixup.cutmix_alpha == 0.0
    start, end = read(pretrained)['state_dict'], runner.model.state_dict()
    assert all(not torch.equal(end[key], value) for key, value in start.items())


def test_ibots_few_labels_train_from_inside_the_projector(image_folder, tmp_path):
    """At a rate of 1e-5 at most, what came from the file stays near it."""
    config = REPO / 'configs/ibot/benchmarks/vit-small-p16_8xb128-amp-coslr-1000e_in1k-1percent.py'
    neck = dict(type='DINONeck', dims=(16, 12, 6), prototypes=9)
    parts = {'backbone': MODELS.build(NETWORK), 'neck.view': MODELS.build(neck)}
    state = {
        f'{branch}.{part}.{k}': v
        for branch in ('student', 'teacher')
        for part, module in parts.items()
        for k, v in module.state_dict().items()
    }
    torch.save(dict(state_dict=state, meta=dict(export='teacher')), tmp_path / 'ibot.pth')
    options = tiny(image_folder, dict(train=6, val=4))
    options |= {'train_dataloader__dataset__subset': None, 'model__head__hidden': 12}
    options |= {'model__backbone__init_cfg__checkpoint': str(tmp_path / 'ibot.pth')}
    runner = make_runner(config, tmp_path / 'run', train_cfg__max_epochs=6, **options)
    runner.train()
    start, end = state['teacher.neck.view.mlp.0.weight'], runner.model.head.first.weight
    far = float((end - start).abs().max())
    assert 0 < far < 1e-3
