"""Features and kNN of a data set, while training, alone, and on two processes."""

import importlib
import json
import shutil

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from PIL import Image

from mmssl.apis import load_config
from mmssl.core.errors import NoData
from mmssl.engine import Runner
from mmssl.evaluation.feature_extraction import extract
from mmssl.registry import DATASETS, MODELS

from ..helpers.oracles import brute_force
from ..helpers.refusals import refuses
from ..helpers.tiny import make_runner, scalars, write_config


def prepare(path):
    """Return the tiny config's model, with fixed weights, and its loader settings."""
    init_default_scope('mmssl')  # as the runner does
    cfg = load_config(path)
    torch.manual_seed(11)
    return MODELS.build(cfg.model), cfg.val_dataloader


def features(path, **dataset):
    model, loader = prepare(path)
    loader.dataset.update(dataset)
    return extract(model, Runner.build_dataloader(loader, seed=0))


def test_features_are_those_of_each_image_in_order(tiny_config):
    """Also in the last batch, which is not full."""
    bank = features(tiny_config('resnet'), split='val')
    model, loader = prepare(tiny_config('resnet'))
    data = DATASETS.build(dict(loader.dataset, split='val'))
    assert bank.labels.tolist() == data.labels == [0] * 3 + [1] * 3 + [2] * 3
    model.eval()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for i, ours in enumerate(bank.features):
        with Image.open(data.name(i)) as image:
            w, h = image.size
            size = (16 * w // min(w, h), 16 * h // min(w, h))
            small = np.asarray(image.resize(size, Image.Resampling.BICUBIC), dtype=np.float64)
        left = round((small.shape[1] - 16) / 2)
        pixels = (small[:16, left : left + 16] / 255 - mean) / std
        x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
        with torch.no_grad():
            expected = model.student.backbone.encode(x).pooled[0]
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('training', [True, False])
def test_the_mode_of_the_model_comes_back(tiny_config, training):
    model, loader = prepare(tiny_config('resnet'))
    model.train(training)
    before = {n: v.clone() for n, v in model.state_dict().items()}
    bank = extract(model, Runner.build_dataloader(loader, seed=0))
    assert model.training == training
    assert not bank.features.requires_grad
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


def test_images_without_labels_are_marked(tiny_config):
    assert set(features(tiny_config(), with_label=False).labels.tolist()) == {-1}


def test_two_processes_equal_one(two_ranks, tiny_config):
    """9 images, so 5 on one rank and 4 on the other, in batches of 4."""
    alone = features(tiny_config(), split='val')
    for found in two_ranks(_two, tiny_config()):
        assert found['mine'] in (5, 4)
        torch.testing.assert_close(found['features'], alone.features, rtol=1e-5, atol=1e-6)
        assert torch.equal(found['labels'], alone.labels)


def _two(path):
    model, loader = prepare(path)
    built = Runner.build_dataloader(loader, seed=0)
    bank = extract(model, built)
    return dict(features=bank.features, labels=bank.labels, mine=len(built.sampler))


def test_two_processes_measure_what_one_does(two_ranks, tiny_config, tmp_path):
    """9 queries and 21 bank images: the last partial batch of either rank counts once."""
    alone, _ = _measure(tiny_config(), tmp_path / 'one')
    for metrics, answered in two_ranks(_measure, tiny_config(), tmp_path / 'two'):
        assert metrics == pytest.approx(alone, abs=1e-9)
        assert answered == 9


def _measure(path, folder):
    loader = load_config(path).val_dataloader
    loader.batch_size = 4
    loop = dict(type='KNNLoop', mode='test', k=(5, 1), bank=dict(split='train', share=(0.0, 0.9)))
    options = dict(test_cfg=loop, test_dataloader=loader, test_evaluator=[])
    runner = make_runner(path, folder, **options)
    torch.manual_seed(7)
    for parameter in runner.model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    metrics = runner.test()
    return metrics, len(runner.step_status.predictions)


@pytest.fixture(scope='module')
def trained(image_folder, tmp_path_factory):
    """A trained tiny run: config, work dir, and what the monitor said last."""
    folder = tmp_path_factory.mktemp('knn')
    path = write_config(folder, image_folder)
    make_runner(path, folder / 'run', train_cfg__max_epochs=2).train()
    monitored = [line for line in scalars(folder / 'run') if 'knn/top1' in line]
    return path, folder, monitored[-1]


def test_the_monitor_is_brute_force_knn(trained):
    path, folder, said = trained
    cfg = load_config(path)
    model = MODELS.build(cfg.model)
    state = torch.load(folder / 'run' / 'epoch_2.pth', weights_only=True)['state_dict']
    model.load_state_dict(state)
    sets = []
    for split, share in (('train', dict(per_class=50)), ('val', dict(per_class=10))):
        cfg.val_dataloader.dataset.update(split=split, **share)
        sets.append(extract(model, Runner.build_dataloader(cfg.val_dataloader, seed=0)))
    bank, query = sets
    for k in (5, 1):
        votes = brute_force(
            *(t.numpy().astype(a) for t, a in ((bank.features, float), (bank.labels, int))),
            query.features.double().numpy(),
            k,
            0.07,
            3,
        )
        right = 100 * np.mean(votes.argmax(1) == query.labels.numpy())
        assert said[f'knn/top1_k{k}'] == pytest.approx(right, abs=1e-4)
        assert said[f'knn/top5_k{k}'] == 100  # three classes
    assert said['knn/top1'] == said['knn/top1_k5']


def test_the_command_line_gives_the_monitors_figures(trained, monkeypatch):
    path, folder, said = trained
    main = importlib.import_module('mmssl.cli.test').main
    out = folder / 'metrics.json'
    metrics = main(
        [
            *(str(path), str(folder / 'run' / 'epoch_2.pth'), '--work-dir', str(folder / 'test')),
            *('--out', str(out), '--out-item', 'metrics'),
        ]
    )
    names = {name for name in said if name.startswith('knn/')}
    assert len(names) == 5
    assert {n: v for n, v in metrics.items() if n in names} == {n: said[n] for n in names}
    assert json.loads(out.read_text()) == metrics


def test_raw_pixels_are_compared_as_they_are(tiny_config, tmp_path):
    """What a network must beat: kNN of the normalised pixels themselves."""
    runner = make_runner(
        tiny_config(), tmp_path, val_cfg__feature='pixels', train_cfg=dict(max_epochs=1)
    )
    runner.train()
    loop = runner.val_loop
    bank, query = (
        torch.stack([loader.dataset[i]['inputs'] for i in range(len(loader.dataset))])
        for loader in (loop.bank, loop.dataloader)
    )
    flat = [runner.model.data_preprocessor.normalize(x).flatten(1) for x in (bank, query)]
    votes = brute_force(
        *(flat[0].double().numpy(), np.array(loop.bank.dataset.labels), flat[1].double().numpy()),
        *(5, 0.07, 3),
    )
    right = 100 * np.mean(votes.argmax(1) == np.array(loop.dataloader.dataset.labels))
    said = [line for line in scalars(tmp_path) if 'knn/top1' in line][-1]
    assert said['knn/top1'] == pytest.approx(right, abs=1e-4)


@pytest.mark.parametrize('asked', [dict(blocks=2, pool='cls+mean'), dict(pool='mean_raw')])
def test_features_of_a_layer_are_its_descriptors(tiny_config, tmp_path, asked):
    loader = load_config(tiny_config()).val_dataloader
    test = dict(test_cfg=dict(type='KNNLoop', mode='test', feature=asked), test_dataloader=loader)
    runner = make_runner(tiny_config(), tmp_path, **test, test_evaluator=[])
    metrics = runner.test()
    loop, model = runner.test_loop, runner.model
    sets = []
    for loader in (loop.bank, loop.dataloader):
        images = torch.stack([loader.dataset[i]['inputs'] for i in range(len(loader.dataset))])
        x = model.data_preprocessor.normalize(images)
        with torch.no_grad():
            sets.append(model.backbone.last_blocks_features(x, **asked).double().numpy())
    labels = np.array(loop.bank.dataset.labels)
    votes = brute_force(sets[0], labels, sets[1], 20, 0.07, 3)
    right = 100 * np.mean(votes.argmax(1) == np.array(loop.dataloader.dataset.labels))
    assert metrics['knn/top1_k20'] == pytest.approx(right, abs=1e-9)
    assert sets[0].shape[1] == {2: 48, 1: 16}[asked.get('blocks', 1)]


def test_an_unknown_feature_is_named(tiny_config, tmp_path):
    runner = make_runner(tiny_config(), tmp_path, val_cfg__feature='pixel')
    with refuses('feature', 'pixel'):
        runner.train()


def test_a_monitor_of_too_many_blocks_is_refused_before_the_first_step(tiny_config, tmp_path):
    options = dict(val_cfg__feature=dict(blocks=9), train_cfg__max_epochs=1)
    runner = make_runner(tiny_config(), tmp_path, **options)
    with refuses('feature.blocks', 9) as caught:
        runner.train()
    assert '2 blocks' in str(caught.value)
    assert runner.iter == 0


def test_queries_of_a_class_that_the_bank_lacks_are_refused(image_folder, tmp_path):
    """Folder numbers would shift, and every answer would be wrong without a word."""
    shutil.copytree(image_folder, tmp_path / 'data')
    shutil.rmtree(tmp_path / 'data' / 'train' / 'blue')
    runner = make_runner(write_config(tmp_path, tmp_path / 'data'), tmp_path / 'run')
    with refuses('bank', ('green', 'red')) as caught:
        runner.train()
    assert '1 of 3 classes (blue)' in str(caught.value)


@pytest.mark.parametrize('name', ['bank', 'query'])
def test_images_without_labels_are_refused(tiny_config, tmp_path, name):
    bank = dict(split='train', with_label=name != 'bank')
    loader = load_config(tiny_config()).val_dataloader
    loader.dataset.with_label = name != 'query'
    loop = dict(type='KNNLoop', mode='test', bank=bank)
    options = dict(test_cfg=loop, test_dataloader=loader, test_evaluator=[])
    with refuses('labels', None, NoData) as caught:
        make_runner(tiny_config(), tmp_path, **options).test()
    assert f'the {name} images' in str(caught.value)
