"""Fine-tuning from the command line: whole labels, few labels, masks."""

import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from mmssl.apis import load_config
from mmssl.checkpoint import load
from mmssl.datasets import ImageDataset
from mmssl.evaluation.predictions import HEIGHT, palette
from mmssl.registry import MODELS

from ..helpers.command import call, refused
from ..helpers.imagenet_s import write
from ..helpers.oracles import by_hand
from ..helpers.paths import REPO
from ..helpers.tiny import log, scalars

VIT = (
    'model.backbone.arch=(16,2,2)',
    'model.backbone.img_size=16',
    'model.backbone.patch_size=8',
)
VIEWS = (
    'train_dataloader.dataset.pipeline.1.size=16',
    'val_dataloader.dataset.pipeline.1.size=16',
    'val_dataloader.dataset.pipeline.1.resize=16',
)


def small(data, *more, epochs=1, batch=4):
    """Return options that make a recipe for ImageNet one for a few images."""
    loaders = [
        f'{part}_dataloader.{option}'
        for part in ('train', 'val', 'test')
        for option in ('num_workers=0', 'persistent_workers=False', 'pin_memory=False')
    ]
    return (
        *('--cfg-options', 'pretrained=random', f'data_root={data}', *loaders),
        *(f'train_dataloader.batch_size={batch}', f'train_cfg.max_epochs={epochs}'),
        *('default_hooks.logger.interval=1', 'default_hooks.checkpoint.interval=1', *more),
    )


def test_all_labels_with_layer_decay_and_mixing(image_folder, tmp_path, capsys):
    config = REPO / 'configs/sere/benchmarks/vit-base-p16_8xb128-amp-coslr-100e_in1k.py'
    more = (*VIT, *VIEWS, 'model.head.num_classes=3', 'param_scheduler.0.warmup=1')
    done = call(capsys, config, '--work-dir', tmp_path, *small(image_folder, *more, epochs=2))
    assert done.code == 0, done.err
    text = log(tmp_path)
    # embeddings, two blocks, what is above; decayed and not
    for scale in ('0.274625', '0.4225', '0.65'):
        assert text.count(f'lr_mult {scale}') == 2
    lines = scalars(tmp_path)
    rates = [line['lr'] for line in lines if 'lr' in line]
    assert rates[:6] == pytest.approx([2e-3 * step / 6 for step in range(6)])  # the first epoch
    assert len([line for line in lines if 'accuracy/top1' in line]) == 2


def test_an_odd_batch_is_refused_in_words(image_folder, tmp_path, capsys):
    config = REPO / 'configs/sere/benchmarks/vit-base-p16_8xb128-amp-coslr-100e_in1k.py'
    more = (*VIT, *VIEWS, 'model.head.num_classes=3', 'param_scheduler.0.warmup=1')
    done = call(capsys, config, '--work-dir', tmp_path, *small(image_folder, *more, batch=3))
    refused(done, 'train_dataloader.batch_size', 3)


@pytest.fixture
def few(image_folder, tmp_path):
    """Return a data root whose file names are unique, and a list of five of them."""
    for path in image_folder.rglob('*.png'):
        split, wnid = path.parts[-3:-1]
        to = tmp_path / 'data' / split / wnid / f'{wnid}_{path.name}'
        to.parent.mkdir(parents=True, exist_ok=True)
        to.symlink_to(path)
    names = ('red_0', 'red_3', 'blue_1', 'blue_7', 'green_2')
    (tmp_path / 'data/1percent.txt').write_text(''.join(f'{name}.png\n' for name in names))
    return tmp_path / 'data'


def test_few_labels_by_a_list_with_a_faster_head(few, tmp_path, capsys):
    config = REPO / 'configs/swav/benchmarks/resnet50_8xb32-steplr-20e_in1k-1percent.py'
    net = ('model.backbone.depth=18', 'model.backbone.layers=(1,1)', 'model.backbone.width=4')
    more = (*net, *VIEWS, 'model.head.num_classes=3', 'param_scheduler.0.milestones=(1,2)')
    words = (config, '--work-dir', tmp_path / 'work', *small(few, *more, epochs=3, batch=5))
    done = call(capsys, *words)
    assert done.code == 0, done.err
    assert 'Classifier on 5 images of 3 classes' in log(tmp_path / 'work')
    assert 'lr_mult 250' in log(tmp_path / 'work')
    rates = [line['lr'] for line in scalars(tmp_path / 'work') if 'lr' in line]
    assert rates == pytest.approx([0.02, 0.004, 0.0008])
    with (few / '1percent.txt').open('a') as lines:
        lines.write('red_99.png\n')
    done = call(capsys, config, '--work-dir', tmp_path / 'other', *words[3:])
    told = refused(done, 'file', str(few / '1percent.txt'))
    assert '1 of its 6 names' in told and 'red_99.png' in told


def test_masks_of_imagenet_s(tmp_path, capsys):
    """Train, test the file; the figure is the confusion matrix of the network in it."""
    data, work = write(tmp_path / 'data', count=2), tmp_path / 'work'
    config = REPO / 'configs/sere/benchmarks/vit-small-p16_8xb32-amp-coslr-100e_imagenet-s50.py'
    options = small(
        data,
        *(*VIT, 'model.head.num_classes=4', 'optim_wrapper.optimizer.lr=0.01'),
        *('train_dataloader.dataset.pipeline.1.size=16', 'param_scheduler.0.warmup=0'),
        *('val_dataloader.dataset.pipeline.1.resize=20',),
        *('test_dataloader.dataset.pipeline.1.resize=20',),
        epochs=3,
    )
    done = call(capsys, config, '--work-dir', work, *options)
    assert done.code == 0, done.err
    assert re.search(r'epoch 3  mIoU \d+\.\d %$', log(work), re.MULTILINE)
    shown = [x['segmentation/miou'] for x in scalars(work) if 'segmentation/miou' in x]
    assert len(shown) == 3
    show = tmp_path / 'show'
    where = ('--work-dir', tmp_path / 'test', '--show-dir', show)
    words = (config, work / 'epoch_3.pth', *where, *options)
    done = call(capsys, *words, script='tools/test.py')
    assert done.code == 0, done.err
    cfg = load_config(config)
    cfg.model.backbone.update(arch=(16, 2, 2), img_size=16, patch_size=8, init_cfg=None)
    cfg.model.head.num_classes = 4
    model = MODELS.build(cfg.model).eval()
    load(model, work / 'epoch_3.pth', verbose=False)
    pipeline = [dict(type='LoadImage'), dict(type='SegmentTestView', resize=20)]
    images = ImageDataset(
        str(data), 'validation', source=dict(type='ImageNetSSource'), pipeline=pipeline
    )
    pairs = []
    for item in (images[i] for i in range(len(images))):
        x = model.data_preprocessor.normalize(item['inputs'])[None]
        mask = item['data_samples']['label']
        with torch.no_grad():
            scores = torch.nn.functional.interpolate(model(x), mask.shape, mode='bilinear')
        pairs.append((scores[0].argmax(0), mask))
    assert len(pairs) == 6
    drawn = sorted(show.iterdir())
    assert [int(file.name[:6]) for file in drawn] == list(range(6))
    check_overlay(drawn[0], images, pairs[0][0])
    expected = by_hand(pairs, 4)
    assert shown[-1] == pytest.approx(expected, abs=1e-6)
    result = json.loads((tmp_path / 'test/result.json').read_text())
    assert result['metric']['name'] == 'segmentation/miou'
    assert result['metric']['last'] == pytest.approx(expected, abs=1e-6)
    assert result['protocol'] == 'ImageNet-S50 segmentation'
    assert result['data']['test']['classes'] == 4


def check_overlay(drawn, images, predicted):
    """Check a drawn image: background as it was, other classes half their colour."""
    image = Image.open(io.BytesIO(images.read(0))).convert('RGB')
    colors = palette()[predicted.numpy()].astype(int)
    under = np.asarray(image).astype(int)
    seen = predicted.numpy()[..., None] > 0
    expected = np.where(seen, np.round((under * 127 + colors * 128) / 255), under)
    width = max(round(image.width * HEIGHT / image.height), 160)
    expected = Image.fromarray(expected.astype(np.uint8)).resize((width, HEIGHT))
    found = Image.open(drawn).convert('RGB').crop((0, 0, width, HEIGHT))
    assert np.abs(np.asarray(found).astype(int) - np.asarray(expected)).max() <= 2


def test_images_without_a_mask_end_the_run_before_it_starts(tmp_path, capsys):
    data = write(tmp_path / 'data', count=1)
    (data / 'train-semi-segmentation/n02/n02_0.png').unlink()
    config = REPO / 'configs/sere/benchmarks/vit-small-p16_8xb32-amp-coslr-100e_imagenet-s50.py'
    options = small(data, *VIT, 'param_scheduler.0.warmup=0')
    done = call(capsys, config, '--work-dir', tmp_path / 'other', *options)
    told = refused(done, 'folder', str(data / 'train-semi-segmentation'))
    assert '1 of 3 images' in told and 'n02_0.JPEG' in told


def test_classes_that_do_not_fit_end_it_too(tmp_path, capsys):
    data = write(tmp_path / 'data', count=2)
    config = REPO / 'configs/sere/benchmarks/vit-small-p16_8xb32-amp-coslr-100e_imagenet-s50.py'
    options = small(data, *VIT, 'param_scheduler.0.warmup=0')
    done = call(capsys, config, '--work-dir', tmp_path / 'other', *options)
    assert '4 classes (other, n01, n02, ...)' in refused(done, 'model.head.num_classes', 51)
