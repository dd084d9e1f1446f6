"""Pretraining, a classifier and predictions on a folder of one's own images."""

import argparse
import csv
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import mmssl
from mmssl.apis import load_config
from mmssl.apis.images import ImageReader, open_image
from mmssl.apis.methods import list_methods
from mmssl.cli import finetune, own_images, predict, pretrain, probe, train_and_measure
from mmssl.cli import test as run_test
from mmssl.cli.own_images import read_folder
from mmssl.config.method_recipes import RECIPES
from mmssl.core.errors import NoData
from mmssl.engine import Runner
from mmssl.registry import MODELS

from ..helpers.refusals import refuses
from ..helpers.tiny import write_config

COLORS = {'blue': (0, 0, 200), 'green': (0, 180, 0), 'red': (200, 0, 0)}
NAMES = ('method', 'backbone', 'img_size', 'batch_size', 'pretrained', 'distill')


def draw(folder: Path, count: int, color: tuple[int, int, int], size: int = 36) -> None:
    """Fill a folder with noisy images of one colour."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng([*folder.name.encode()])
    for i in range(count):
        pixels = np.clip(rng.normal(color, 25, (size + i % 3, size, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f'{i}.png')


def given(**values: Any) -> argparse.Namespace:
    """Return a command line with some values."""
    return argparse.Namespace(**dict.fromkeys(NAMES) | values)


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the commands call others within this process, in ``tmp_path``; return the names."""
    names: list[str] = []

    def main_of(tool: str) -> Any:
        names.append(tool)
        return importlib.import_module(f'mmssl.cli.{tool.rpartition("/")[2]}').main

    for module in (train_and_measure, pretrain, probe, finetune):
        monkeypatch.setattr(module, 'call', lambda tool, *words: main_of(tool)(words))
    monkeypatch.setattr(
        'mmssl.cli.folder_classifier.tool_status',
        lambda tool, *words: 0 if main_of(tool)([str(word) for word in words]) < 1e-4 else 1,
    )
    monkeypatch.chdir(tmp_path)
    return names


# what is in a folder ------------------------------------------------------------------------------
def test_folders_are_understood(tmp_path: Path) -> None:
    root = tmp_path / 'both'
    for split, count in (('train', 16), ('val', 4)):
        for name in ('a', 'b'):
            draw(root / split / name, count, (9, 9, 9))
    both = read_folder(root)
    assert both[1:] == (32, 8, ('a', 'b'), 36, (dict(split='train'), dict(split='val')))
    (root / 'val').rename(root / 'test')
    assert read_folder(root).parts[1] == dict(split='test')

    (root / 'test').rename(tmp_path / 'val')
    alone = read_folder(root)
    assert alone[1:4] == (26, 6, ('a', 'b'))  # 13 and 3 of each 16
    train = dict(split='train')
    assert alone.parts == (train | dict(share=(0.0, 0.8)), train | dict(share=(0.8, 1.0)))

    one = read_folder(root / 'train' / 'a')
    assert one[1:4] == (16, 0, ())
    assert one.parts == (dict(split='', with_label=False),) * 2
    for i in range(16):
        draw(tmp_path / 'single' / str(i), 1, (9, 9, 9))
    assert read_folder(tmp_path / 'single').classes == ()


def test_folders_without_images_or_classes(tmp_path: Path) -> None:
    (tmp_path / 'empty').mkdir()
    with refuses('folder', str(tmp_path / 'empty'), NoData):
        read_folder(tmp_path / 'empty')
    with refuses('folder', str(tmp_path / 'no')):
        read_folder(tmp_path / 'no')
    draw(tmp_path / 'flat', 20, (9, 9, 9))
    for command in (probe, finetune):
        with refuses('folder', str(tmp_path / 'flat')):
            command.main([str(tmp_path / 'flat'), '--pretrained', 'x.pth'])


# what is chosen -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ('images', 'side', 'where', 'size', 'batch'),
    [
        (100, 20, 'cpu', 64, 16),  # below the smallest size
        (500, 63, 'cpu', 64, 32),  # 15 steps; of 64 there would be 7
        (500, 40, 'cuda', 32, 32),
        (5000, 500, 'cpu', 64, 128),
        (10**6, 500, 'cuda', 224, 256),
        (700, 127, 'cuda', 96, 64),
    ],
)
def test_sizes_and_batches(images: int, side: int, where: str, size: int, batch: int) -> None:
    folder = own_images.Folder(Path('x'), images, 0, (), side, ({}, {}))
    chosen = pretrain.choose(folder, where, given())
    assert (chosen.method, chosen.img_size, chosen.batch_size) == ('mocov3', size, batch)
    assert chosen.reasons['img_size'] != 'as given'
    chosen = pretrain.choose(folder, where, given(method='dino', img_size=48))
    assert (chosen.method, chosen.img_size, chosen.reasons['img_size']) == ('dino', 48, 'as given')


def test_bank_and_queries_are_capped_by_class() -> None:
    folder = own_images.Folder(Path('x'), 80_000, 4_000, ('a', 'b', 'c'), 64, ({}, {}))
    assert pretrain.capped(folder, (5000, 2000)) == {
        'val_cfg.bank.per_class': 1667,
        'val_dataloader.dataset.per_class': 667,
    }
    assert pretrain.capped(folder, (80_000, 3999))['val_cfg.bank.per_class'] is None


@pytest.mark.parametrize(
    ('minutes', 'epochs', 'share'), [(10, 6, 1.0), (2000, 800, 1.0), (0.75, 1, 0.45)]
)
def test_the_length_fits_the_time(
    minutes: float, epochs: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 steps of a second an epoch."""
    monkeypatch.setattr(train_and_measure, 'seconds_of_a_step', lambda cfg, device: 1.0)
    cfg = load_config(pretrain.CONFIG, {'train_dataloader.batch_size': 16})
    found = train_and_measure.fitting_length(1650, cfg, minutes * 103 / 100, pretrain.MAX_EPOCHS)
    assert found[0] == epochs
    assert found[1] == pytest.approx(share, rel=1e-3)


def test_what_is_clearly_above() -> None:
    """Wilson's intervals of 1000 images: 40 % to 37.0 .. 43.1, 46 % to 42.9 .. 49.1."""
    top1 = dict(pixels=30.0, random=40.0, pretrained=46.0)
    text = pretrain.verdict(top1, 1000)
    assert 'pretrained 46.0 % (95 % interval 42.9 to 49.1)' in text
    assert 'not clearly above' in text
    assert 'not clearly above' not in pretrain.verdict(top1 | dict(pretrained=47.0), 1000)
    beside = pretrain.verdict(top1, 1000, start=45.0)
    assert '45.0 %' in beside and 'not clearly above' not in beside


@pytest.mark.parametrize('method', [name for name in list_methods() if name != 'distillation'])
def test_any_method_has_a_config(tmp_path: Path, method: str) -> None:
    """It builds the network that `build_method` builds, with its rate and its groups."""
    draw(tmp_path / 'x', 64, (9, 9, 9))
    folder = read_folder(tmp_path / 'x')
    # of the kind that the method's first recipe is for
    backbone = {'convnet': 'resnet18', 'vit': 'vit_tiny_patch16_224', 'swin': None}[
        next(iter(RECIPES[method]))
    ]
    choice = pretrain.choose(
        folder, 'cpu', given(method=method, backbone=backbone, img_size=64, batch_size=8)
    )
    options = pretrain.options_of(folder, choice, 'cpu', 2)
    cfg = load_config(pretrain.CONFIG, options)
    built = MODELS.build(cfg.model)
    expected = mmssl.build_method(
        method, backbone, img_size=64, batch_size=8, epochs=2, steps_per_epoch=8
    )
    shapes = {k: v.shape for k, v in built.state_dict().items()}
    assert shapes == {k: v.shape for k, v in expected.state_dict().items()}
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(expected.recipe.optimizer['lr'])
    assert cfg.train_dataloader.batch_size == 8 and cfg.train_cfg.max_epochs == 2


# encoders -----------------------------------------------------------------------------------------
STUDENT = dict(type='ResNet', layers=(1, 1), width=4, small_stem=True)


@pytest.fixture
def encoder(tmp_path: Path) -> str:
    """Return a training file of an encoder with random weights."""
    torch.manual_seed(7)
    model = dict(type='Encoder', backbone=STUDENT)
    file = tmp_path / 'encoder.pth'
    meta = dict(model='Encoder', settings=dict(model=model))
    torch.save({'state_dict': MODELS.build(model).state_dict(), 'meta': meta}, file)
    return str(file)


@pytest.mark.parametrize('method', [None, 'dino'])
def test_going_on_from_an_encoder(tmp_path: Path, encoder: str, method: str | None) -> None:
    draw(tmp_path / 'x', 40, (9, 9, 9))
    folder = read_folder(tmp_path / 'x')
    size = dict(img_size=32, batch_size=8)
    choice = pretrain.choose(folder, 'cpu', given(method=method, pretrained=encoder, **size))
    cfg = pretrain.config_of(choice, pretrain.options_of(folder, choice, 'cpu', 3))
    assert cfg.train_cfg.max_epochs == 3 and cfg.train_cfg.val_at_start
    assert cfg.model.type == ('DINO' if method else 'MoCoV3')
    built = MODELS.build(cfg.model)
    built.init_weights()
    state = torch.load(encoder)['state_dict']
    for branch in (built.student, built.teacher):
        found = branch.backbone.state_dict()
        assert all(torch.equal(found[k.removeprefix('backbone.')], v) for k, v in state.items())
    rules = cfg.optim_wrapper.paramwise_cfg.rules
    assert rules[0]['layer_decay'] < 1 and rules[-1]['frozen_epochs'] == 1
    kinds = [hook['type'] for hook in cfg.custom_hooks]
    assert kinds == ['StartHook']


def test_random_is_random_where_a_method_goes_on_from_an_encoder(
    tmp_path: Path, encoder: str, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def run(self) -> dict[str, float]:
        model = self.model
        self.call_hook('before_run')
        self.load_or_resume()
        seen['state'] = {k: v.clone() for k, v in model.student.backbone.state_dict().items()}
        return {}

    monkeypatch.setattr(Runner, 'test', run)
    monkeypatch.chdir(tmp_path)
    config = write_config(tmp_path, image_folder, 'resnet')
    words = ['--cfg-options', f'pretrained={encoder}']
    run_test.main([str(config), 'random', *words])
    stored = torch.load(encoder)['state_dict']['backbone.net.conv1.weight']
    found = seen['state']['net.conv1.weight']
    assert found.shape == stored.shape and not torch.equal(found, stored)


def test_distillation_from_an_encoder(tmp_path: Path, encoder: str, called: list[str]) -> None:
    draw(tmp_path / 'flat', 20, (0, 99, 0))
    words = [str(tmp_path / 'flat'), '--distill', encoder, '--epochs', '1', '--img-size', '32']
    pretrain.main(words)
    cfg = load_config('work_dirs/pretrain_flat/pretrain.py')
    assert cfg.model.type == 'Distillation' and cfg.model.backbone.width == 16
    assert cfg.model.teacher.init_cfg.checkpoint == encoder
    content = torch.load('work_dirs/pretrain_flat/epoch_1.pth', weights_only=False)
    assert {k.split('.')[0] for k in content['state_dict']} == {'student'}
    for option in ('--method', '--pretrained'):
        value = 'dino' if option == '--method' else encoder
        with refuses(option, value):
            pretrain.main([*words, option, value])


# from images to classes ---------------------------------------------------------------------------
@pytest.mark.slow
def test_three_commands_from_images_to_classes(tmp_path: Path, called, capsys) -> None:
    data = tmp_path / 'my pictures, 2026'  # spaces and commas are usual in names of folders
    for name, color in COLORS.items():
        draw(data / name, 24, color)
    last = pretrain.main([str(data), '--epochs', '2', '--batch-size', '16'])
    assert called == ['train', 'test', 'test', 'test', 'analysis_tools/report']
    work_dir = Path('work_dirs', f'pretrain_{data.name}')
    assert last == work_dir / 'epoch_2.pth' and (work_dir / 'report.html').is_file()
    told = capsys.readouterr().out
    top1 = json.loads((work_dir / 'results' / 'pretrained.json').read_text())['knn/top1']
    assert f'pretrained {top1:.1f} % (95 %' in told
    assert f'next: mmssl probe {data} --pretrained {last}' in told

    del called[:]
    assert pretrain.main([str(data), '--epochs', '2', '--batch-size', '16']) == last
    assert called == ['analysis_tools/report'], 'what is there is not done again'

    found = probe.main([str(data), '--pretrained', str(last)])
    folder = Path('work_dirs', f'probe_{data.name}')
    stored = json.loads((folder / 'predictions.json').read_text())
    assert found == json.loads((folder / 'result.json').read_text())['metrics']['probe/top1']
    rows = predict.main(
        [str(folder / 'classifier.pth'), *(p['path'] for p in stored), '--out', 'found.csv']
    )
    for row, ours in zip(rows, stored, strict=True):
        assert (row['pred_class'], row['pred_label']) == (ours['pred_class'], ours['pred_label'])
        assert row['pred_score'] == pytest.approx(ours['pred_score'], abs=2e-5)
    with open('found.csv', newline='') as file:
        assert [line['pred_class'] for line in csv.DictReader(file)] == [
            row['pred_class'] for row in rows
        ]
    onnx_agrees(folder, rows)
    # the config of the work dir takes another encoder
    cfg = load_config(folder / 'probe.py', {'pretrained': 'random'})
    assert cfg.model.backbone.init_cfg is None
    assert load_config(folder / 'probe.py').model.backbone.init_cfg.checkpoint == str(last)

    found = finetune.main([str(data), '--pretrained', str(last), '--epochs', '2'])
    folder = Path('work_dirs', f'finetune_{data.name}')
    stored = json.loads((folder / 'predictions.json').read_text())
    assert found == pytest.approx(100 * np.mean([p['gt_label'] == p['pred_label'] for p in stored]))
    rows = predict.main([str(folder / 'classifier.pth'), *(p['path'] for p in stored)])
    assert [r['pred_label'] for r in rows] == [p['pred_label'] for p in stored]
    assert f'{found:.1f} %' in (folder / 'classifier.html').read_text()
    with open(folder / 'confusion.csv', newline='') as file:
        lines = list(csv.reader(file))
    assert lines[0][1:] == sorted(COLORS)
    diagonal = sum(int(line[i + 1]) for i, line in enumerate(lines[1:]))
    assert 100 * diagonal / len(stored) == pytest.approx(found)


def onnx_agrees(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Check the ONNX file: names of classes, and scores of resized RGB pixels."""
    import onnx
    import onnxruntime

    file = folder / 'classifier.onnx'
    names = {p.key: p.value for p in onnx.load(file).metadata_props}
    assert json.loads(names['classes']) == sorted(COLORS)
    session = onnxruntime.InferenceSession(file, providers=['CPUExecutionProvider'])
    reader = ImageReader(mmssl.get_model(folder / 'classifier.pth'))
    for row in rows[:3]:
        pixels = reader.view(open_image(row['path']))
        (scores,) = session.run(None, {'image': pixels[None].float().numpy()})
        assert scores[0].argmax() == row['pred_label']
        assert scores[0].max() == pytest.approx(row['pred_score'], abs=1e-4)


def test_images_without_classes(tmp_path: Path, called, capsys) -> None:
    draw(tmp_path / 'flat', 20, (0, 99, 0))
    pretrain.main([str(tmp_path / 'flat'), '--epochs', '1'])
    assert called == ['train', 'analysis_tools/report']
    told = capsys.readouterr().out
    assert told.count('kNN monitor off') == 1 and 'next:' not in told
    html = Path('work_dirs/pretrain_flat/report.html').read_text()
    assert 'No accuracy: the images have no labels' in html
    assert '20 images without labels' in html and 'the images nearest to it' in html


def test_a_model_without_classes_predicts_none(tmp_path: Path) -> None:
    draw(tmp_path / 'a', 1, (9, 9, 9))
    with refuses('model', 'mocov3_resnet50_8xb512-amp-coslr-100e_in1k'):
        predict.main(['mocov3_resnet50_8xb512-amp-coslr-100e_in1k', str(tmp_path / 'a'),
                      '--weights', 'random'])  # fmt: skip
