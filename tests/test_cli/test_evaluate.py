"""`mmssl evaluate` on tiny data: figures against oracles, restarts, new rows, the page."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression

from mmssl.cli import correspondence, evaluate
from mmssl.datasets import ImageDataset
from mmssl.encoder_report import measures
from mmssl.encoder_report.encoders import load_encoder
from mmssl.encoder_report.models import Run
from mmssl.evaluation import segmentation
from mmssl.registry import TRANSFORMS

from ..helpers.images import make_image
from ..helpers.oracles import brute_force
from ..helpers.refusals import refuses


@pytest.fixture(scope='module')
def maps(tmp_path_factory):
    """Return a folder of label maps: dark pixels are class 0, bright ones 1."""
    root = tmp_path_factory.mktemp('maps')
    for split, count in (('train', 10), ('val', 4)):
        for kind in ('images', 'labels'):
            (root / kind / split).mkdir(parents=True)
        for i in range(count):
            image = make_image((40, 32), 50 * len(split) + i)
            bright = np.asarray(image).mean(2) > 128
            image.save(root / 'images' / split / f'{i}.png')
            Image.fromarray(bright.astype(np.uint8)).save(root / 'labels' / split / f'{i}.png')
    return root


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """Return a config of a network with 36 patches."""
    path = tmp_path_factory.mktemp('config') / 'tiny.py'
    path.write_text(
        "model = dict(type='Encoder', backbone=dict(type='VisionTransformer', arch=(16, 2, 2),\n"
        '    img_size=24, patch_size=4))\n'
        "test_dataloader = dict(dataset=dict(type='ImageDataset', pipeline=[\n"
        "    dict(type='LoadImage'), dict(type='CenterView', size=24, resize=24)]))\n"
    )
    return str(path)


@pytest.fixture(scope='module')
def words(network, image_folder, maps, tmp_path_factory):
    """Return a command line, without its models, and run it with two models."""
    out = tmp_path_factory.mktemp('out')
    sets = [f'pets={image_folder}', f'maps={maps}']
    return ['--data', *sets, '--out', str(out), '--workers', '0'], out


@pytest.fixture(scope='module')
def measured(words, network):
    given, out = words
    return evaluate.main([f'vit={network}@random,random', 'pixels', *given]), out


def value(content, model, data, measure):
    found = [
        f
        for f in content['figures']
        if (f['model'], f['data'], f['measure']) == (model, data, measure)
    ]
    assert len(found) == 1, (model, data, measure)
    return found[0]


def features(network, seed, image_folder):
    """The features and labels of both parts, image by image."""
    encoder = load_encoder(Run('x', seed, 'random', network))
    view = TRANSFORMS.build(encoder.preparation.pipeline[1])
    found = []
    for split in ('train', 'val'):
        images = ImageDataset(str(image_folder), split)
        pixels = torch.stack([
            torch.from_numpy(np.array(view.view(Image.open(images.name(i))))).permute(2, 0, 1)
            for i in range(len(images))
        ])  # fmt: skip
        with torch.no_grad():
            inputs = encoder.model.data_preprocessor(dict(inputs=pixels))['inputs']
            found += [encoder.model.encode(inputs).pooled.double(), np.array(images.labels)]
    return found


def per_class(answers, labels):
    return 100 * np.mean([(answers[labels == c] == c).mean() for c in np.unique(labels)])


def test_figures_are_those_of_plain_code(measured, network, image_folder):
    content, _ = measured
    for seed in (0, 1):
        bank, labels, queries, truth = features(network, seed, image_folder)
        votes = brute_force(bank.numpy(), labels, queries.numpy(), 20, 0.07, 3)
        expected = per_class(votes.argmax(1), truth)
        found = value(content, 'vit', 'pets', 'knn')['seeds'][seed]
        assert found == pytest.approx(expected, abs=0.01)
        mean, std = bank.mean(0), bank.std(0, correction=0)
        x, asked = (((part - mean) / std / 4).numpy() for part in (bank, queries))
        shares = []
        for number in range(5):
            order = torch.randperm(24, generator=torch.Generator().manual_seed(number)).numpy()
            rows = np.concatenate([order[labels[order] == c][:4] for c in range(3)])
            model = LogisticRegression(max_iter=1000).fit(x[rows], labels[rows])
            shares.append(per_class(model.predict(asked), truth))
        found = value(content, 'vit', 'pets', 'few_labels_4')['seeds'][seed]
        assert found == pytest.approx(np.mean(shares), abs=0.01)


def test_segmentation_by_knn_is_that_of_plain_code(measured, network, maps):
    content, _ = measured
    encoder = load_encoder(Run('x', 0, 'random', network))
    tokens, shares, counts = {}, [], []
    for split in ('train', 'val'):
        views, masks = [], []
        for i in range(10 if split == 'train' else 4):
            image = Image.open(maps / 'images' / split / f'{i}.png').resize((48, 48), 3)
            views.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
            masks.append(np.asarray(Image.open(maps / 'labels' / split / f'{i}.png')))
        with torch.no_grad():
            inputs = encoder.model.data_preprocessor(dict(inputs=torch.stack(views)))['inputs']
            tokens[split] = encoder.model.encode(inputs).tokens
        if split == 'train':
            shares = [segmentation.patch_shares(mask, (12, 12), 2) for mask in masks]
    bank = segmentation.Patches(tokens['train'].flatten(0, 1), torch.cat(shares), torch.zeros(0))
    right = np.zeros(2)
    union = np.zeros(2)
    for own, mask in zip(tokens['val'], masks, strict=True):
        found = segmentation.predicted_mask(segmentation.knn_shares(bank, own), (12, 12), (32, 40))
        for c in range(2):
            right[c] += ((found.numpy() == c) & (mask == c)).sum()
            union[c] += ((found.numpy() == c) | (mask == c)).sum()
    counts = value(content, 'vit', 'maps', 'knn_segmentation')
    assert counts['seeds'][0] == pytest.approx(100 * (right / union).mean(), abs=0.2)
    assert 20 < counts['seeds'][0] < 100


def test_correspondence_is_that_of_its_own_command(measured, network, image_folder, tmp_path):
    content, _ = measured
    words = [network, str(image_folder / 'val'), '--measure', '--weights', 'random']
    correspondence.main([*words, '--device', 'cpu', '--out', str(tmp_path)])
    expected = json.loads((tmp_path / 'correspondence.json').read_text())['accuracy']
    found = value(content, 'vit', 'pets', 'correspondence')['seeds'][0]
    assert found == pytest.approx(100 * expected, abs=0.01) and found > 0


def test_images_alone_have_correspondence(network, image_folder, tmp_path):
    (tmp_path / 'plain').mkdir()
    for i, file in enumerate(sorted((image_folder / 'train').rglob('*.png'))[:16]):
        (tmp_path / 'plain' / f'{i}.png').write_bytes(file.read_bytes())
    words = ['--data', f'plain={tmp_path}/plain', '--workers', '0', '--out', str(tmp_path / 'out')]
    content = evaluate.main([f'vit={network}@random', *words, '--suite', 'dense'])
    assert [(f['data'], f['measure']) for f in content['figures']] == [('plain', 'correspondence')]
    assert content['figures'][0]['images'] == 16
    assert '<h2>Attention: plain</h2>' in (tmp_path / 'out' / 'index.html').read_text()


@pytest.mark.nightly
def test_fine_tuning_is_measured_on_all_test_images(network, image_folder, tmp_path):
    words = ['--data', f'pets={image_folder}', '--workers', '0', '--out', str(tmp_path)]
    content = evaluate.main([f'vit={network}@random', *words, '--finetune', '2'])
    found = value(content, 'vit', 'pets', 'finetune')
    (file,) = tmp_path.glob('finetune/*/pets/predictions.json')
    answers = json.loads(file.read_text())
    labels = np.array([answer['gt_label'] for answer in answers])
    predicted = np.array([answer['pred_label'] for answer in answers])
    assert found['value'] == pytest.approx(per_class(predicted, labels), abs=0.01)
    assert found['images'] == 9


def test_every_measure_of_its_kind_of_data_is_there(measured):
    content, _ = measured
    found = {(f['model'], f['data'], f['measure']) for f in content['figures']}
    few = {f'few_labels_{n}' for n in (1, 2, 4, 8)}  # 8 training images of a class
    of_classes = {'knn', 'retrieval', 'correspondence', *few}
    dense = {'knn_segmentation', 'linear_segmentation', 'correspondence'}
    expected = {(m, 'pets', name) for m in ('vit', 'pixels') for name in of_classes | {'linear'}}
    expected |= {(m, 'maps', name) for m in ('vit', 'pixels') for name in dense}
    assert found == expected
    for figure in content['figures']:
        low, high = figure['over_images']
        assert 0 <= low <= figure['value'] + 1e-3 and figure['value'] - 1e-3 <= high <= 100
        assert (figure['over_seeds'] is None) == (figure['model'] == 'pixels')
    assert content['costs']['vit']['parameters'] > 1000
    assert content['costs']['pixels']['flops'] == 0


def test_what_is_measured_is_not_measured_again(measured, words, network, monkeypatch, capsys):
    content, out = measured
    given, _ = words
    before = {file: file.stat().st_mtime_ns for file in out.rglob('cells/**/result.json')}
    assert len(before) > 20

    def refuse(*_, **__):
        raise AssertionError('nothing is left to measure')

    monkeypatch.setattr(measures, 'extract', refuse)
    monkeypatch.setattr(measures.Maker, 'dense_counts', property(refuse))
    again = evaluate.main([f'vit={network}@random,random', 'pixels', *given])
    assert again['figures'] == content['figures'] and again['verdicts'] == content['verdicts']
    assert before == {file: file.stat().st_mtime_ns for file in before}
    assert '(stored)' in capsys.readouterr().out
    # a lost cell is made from stored features
    lost = next(out.glob('cells/vit/pets/retrieval/result.json'))
    lost.unlink()
    again = evaluate.main([f'vit={network}@random,random', 'pixels', *given])
    assert again['figures'] == content['figures'] and lost.is_file()


def test_a_new_model_adds_a_row_and_leaves_the_others(measured, words, network):
    content, out = measured
    given, _ = words
    before = {file: file.stat().st_mtime_ns for file in out.glob('cells/vit*/**/result.json')}
    more = evaluate.main(
        [f'vit={network}@random,random', 'pixels', f'new={network}@random', *given]
    )
    kept = [f for f in more['figures'] if f['model'] != 'new']
    assert kept == content['figures'] and len(more['figures']) > len(kept)
    assert before == {file: file.stat().st_mtime_ns for file in before}
    # the same weights as the first seed of the other
    for figure in more['figures']:
        if figure['model'] == 'new':
            twin = value(more, 'vit', figure['data'], figure['measure'])
            assert figure['value'] == twin['seeds'][0]


def test_the_page_is_whole_and_fetches_nothing(measured):
    _, out = measured
    html = (out / 'index.html').read_text()
    assert not re.search(r'<script|<link|src="(?!data:)|href=|url\(', html)
    for title in ('Which is better', 'kNN', 'Retrieval', 'Linear segmentation', 'Cost',
                  'Neighbours: pets', 'Attention: pets', 'Attention: maps'):  # fmt: skip
        assert f'<h2>{title}</h2>' in html, title
    assert html.count('<img') > 10
    rows = (out / 'evaluate.csv').read_text().splitlines()
    assert len(rows) == 1 + len(json.loads((out / 'evaluate.json').read_text())['figures'])


def test_results_of_other_runs_stand_beside(measured, tmp_path, capsys):
    _, out = measured
    cells = [out / 'cells' / name / 'pets' / 'knn' for name in ('vit', 'pixels')]
    cells.append(out / 'cells' / 'vit' / 'pets' / 'linear')
    assert evaluate.main(['--results', *map(str, cells), '--out', str(tmp_path)]) == {}
    lines = capsys.readouterr().out.splitlines()
    assert f'{cells[0]} and {cells[1]}: comparable' in lines
    assert any(line.startswith(f'{cells[0]} and {cells[2]}: NOT comparable') for line in lines)
    assert 'NOT comparable' in (tmp_path / 'index.html').read_text()


@pytest.mark.parametrize(
    ('given', 'key', 'value'),
    [
        (['--data', 'x=.'], 'MODEL', None),
        (['pixels'], '--data', None),
        (['pixels', '--data', '.', '--suite', 'smal'], '--suite', 'smal'),
        (['pixels', '--data', '.', '--workers', '-1'], '--workers', -1),
        (['pixels', '--data', '.', '--images', '-1'], '--images', -1),
        (['pixels', '--data', '.', '--finetune', '0'], '--finetune', 0),
        (['pixels', '--data', 'x=gone'], '--data', 'x=gone'),
    ],
    ids=str,
)
def test_bad_command_lines_are_refused(given, key, value):
    with refuses(key, value):
        evaluate.main(given)
