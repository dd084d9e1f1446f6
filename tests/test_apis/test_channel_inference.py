"""Inference and export of a classifier of five channels of 12 bits, from TIFFs."""

import json

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from mmssl import FeatureExtractor
from mmssl.apis import get_model, inference_model
from mmssl.cli import export, extract_features, predict
from mmssl.datasets.sources import UnreadableImage
from mmssl.evaluation.predictions import caption, captioned

from ..helpers.channels import pixels
from ..helpers.refusals import refuses

SIZE = 16
RANGE = (0, 4095)
MEAN, STD = (0.5, 0.4, 0.3, 0.2, 0.1), (0.2, 0.25, 0.3, 0.2, 0.25)
CONFIG = f"""
model = dict(
    type='Classifier',
    backbone=dict(type='ResNet', layers=(1, 1), width=8, small_stem=True, in_channels=5),
    head=dict(type='LinearHead', num_classes=2),
    data_preprocessor=dict(type='ViewPreprocessor', mean={MEAN}, std={STD}))
test_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadImage', channels=5, value_range={RANGE}),
    dict(type='CenterView', size={SIZE}, resize={SIZE})]))
"""


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A folder of TIFFs, a config, and the weights of a network whose scores are not all alike."""
    folder = tmp_path_factory.mktemp('channels')
    (folder / 'five.py').write_text(CONFIG)
    model = get_model(folder / 'five.py', pretrained=False)
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    torch.save(dict(state_dict=model.state_dict()), folder / 'weights.pth')
    for split in ('train', 'val'):
        for label in (0, 1):
            (folder / 'data' / split / f'c{label}').mkdir(parents=True)
            for i in range(6):
                values = pixels(5, 100 * label + i + 50 * (split == 'val'), (SIZE, SIZE))
                file = folder / 'data' / split / f'c{label}' / f'{i}.tif'
                tifffile.imwrite(file, values, photometric='minisblack', planarconfig='contig')
    return folder


@pytest.fixture
def model(files):
    return get_model(files / 'five.py', str(files / 'weights.pth')).eval()


def normalised(path):
    """Return what the network takes of a TIFF (1, 5, SIZE, SIZE), by numpy alone."""
    shares = tifffile.imread(path).astype(np.float64) / RANGE[1]
    return torch.from_numpy((shares - MEAN) / STD).permute(2, 0, 1)[None].float()


def features(model, image):
    return FeatureExtractor(model)(image, stage='pre_logits')[0]


@torch.no_grad()
def test_features_and_classes_of_a_tiff(files, model):
    path = files / 'data' / 'val' / 'c1' / '3.tif'
    batch = normalised(path)
    expected = model.extract_feat(batch, stage='pre_logits')[0]
    assert torch.allclose(features(model, str(path)), expected, rtol=1e-3, atol=1e-3)
    scores = model.logits(batch).softmax(1)[0]
    prediction = inference_model(model, str(path))
    assert np.allclose(prediction['pred_scores'], scores.numpy(), atol=1e-4)
    assert prediction['pred_label'] == int(scores.argmax())


def test_arrays_are_the_values_of_files(files, model):
    path = files / 'data' / 'train' / 'c0' / '2.tif'
    values = tifffile.imread(path)
    assert torch.equal(features(model, str(path)), features(model, values))
    assert not torch.allclose(features(model, values), features(model, values[..., ::-1]))


@pytest.mark.parametrize(
    ('image', 'kind'),
    [
        (pixels(3), 'uint16 (20, 24, 3)'),
        (np.zeros((8, 8), np.uint8), 'uint8 (8, 8)'),
        (Image.new('RGB', (8, 8)), 'uint8 (8, 8, 3)'),
    ],
)
def test_other_channels_are_refused(model, image, kind):
    with refuses('file', f'an array {kind}', UnreadableImage):
        FeatureExtractor(model)(image)


def test_values_that_are_no_numbers(model):
    image = np.zeros((2, 2, 5), bool)
    with refuses('image', 'bool (2, 2, 5)'):
        FeatureExtractor(model)(image)


def test_a_file_of_other_channels_is_named(model, tmp_path):
    Image.new('RGB', (20, 20)).save(tmp_path / 'a.png')
    with refuses('file', str(tmp_path / 'a.png'), UnreadableImage):
        FeatureExtractor(model)(str(tmp_path / 'a.png'))


def test_predict_and_what_it_shows(files, model, tmp_path):
    words = [str(files / 'five.py'), str(files / 'data' / 'val' / 'c0'), '--device', 'cpu']
    words += ['--weights', str(files / 'weights.pth'), '--out', str(tmp_path / 'a.json')]
    rows = predict.main([*words, '--show-dir', str(tmp_path / 'shown')])
    assert len(rows) == 6 and json.loads((tmp_path / 'a.json').read_text()) == rows
    for row in rows:
        scores = inference_model(model, row['path'])['pred_scores']
        assert row['pred_score'] == pytest.approx(float(scores.max()), abs=1e-6)
    values = tifffile.imread(rows[0]['path'])[..., :3].astype(np.float64)
    eight = (np.rint(values / RANGE[1] * 65535).astype(np.uint16) >> 8).astype(np.uint8)
    expected = captioned(Image.fromarray(eight), caption(rows[0]), 'black')
    shown = Image.open(tmp_path / 'shown' / '000000.png')
    assert np.array_equal(np.asarray(shown), np.asarray(expected))


def test_features_of_a_folder(files, model, tmp_path):
    words = [str(files / 'five.py'), str(files / 'data' / 'val'), '--workers', '0']
    words += ['--weights', str(files / 'weights.pth'), '--out', str(tmp_path / 'a.npz')]
    extract_features.main(words)
    found = np.load(tmp_path / 'a.npz')
    assert found['labels'].tolist() == [0] * 6 + [1] * 6
    one = features(model, str(found['paths'][7]))
    assert np.allclose(found['features'][7], one.numpy(), rtol=1e-4, atol=1e-4)


def test_a_classifier_as_onnx_takes_five_channels(files, model, tmp_path):
    runtime = pytest.importorskip('onnxruntime')
    out = tmp_path / 'five.onnx'
    words = ['onnx', str(files / 'five.py'), str(out), '--weights', str(files / 'weights.pth')]
    export.main([*words, '--classifier', '--size', str(SIZE)])
    session = runtime.InferenceSession(out)
    path = files / 'data' / 'val' / 'c1' / '0.tif'
    mean, std = (np.reshape(values, (-1, 1, 1)) for values in (MEAN, STD))
    shown = (normalised(path).numpy() * std + mean) * 255  # 0 to 255 over the range
    scores = session.run(None, {'image': shown.astype(np.float32)})[0][0]
    assert np.allclose(scores, inference_model(model, str(path))['pred_scores'], atol=1e-4)
