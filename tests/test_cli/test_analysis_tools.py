"""The analysis tools on tiny networks: their output files and their errors."""

import json
import re

import pytest
import torch
from PIL import Image

from ..helpers.command import call, refused
from ..helpers.hub import weights

TOOLS = 'tools/analysis_tools/'


@pytest.fixture
def run(tiny_config, tmp_path, capsys):
    """Call a tool on the tiny ViT with random weights and views of 16 px."""

    def start(tool, *words, backbone='vit', network='random'):
        words = (tiny_config(backbone), *words, '--weights', network, '--out', tmp_path / 'out')
        return call(capsys, *words, script=f'{TOOLS}{tool}.py')

    return start


def written(tmp_path, page: str) -> set[str]:
    """Check a page that needs nothing else; return the names of the PNGs beside it."""
    html = (tmp_path / 'out' / f'{page}.html').read_text()
    found = {p.stem for p in (tmp_path / 'out').glob('*.png')}
    assert html.count('<img') == len(found)
    text = re.sub('src="data:image/png;base64,[^"]*"', '', html)
    assert 'src=' not in text and 'http' not in text and '<script' not in text
    return found


def test_attention(run, tmp_path, image_folder):
    done = run('attention', image_folder / 'val' / 'red', '--query', '1,0', '--block', -2)
    assert 'attention: ' in done.out and 'and 4 PNG' in done.out
    names = {'attention_0', 'attention_1', 'attention_2', 'attention_entropy'}
    assert written(tmp_path, 'attention') == names
    html = (tmp_path / 'out' / 'attention.html').read_text()
    assert (
        'Block 0 of 2' in html
        and 'weights: random' in html
        and 'the patch at 1, 0' in html
        and 'holds 60 %' in html
    )


@pytest.mark.parametrize('backbone', ['vit', 'resnet'])
def test_correspondence(run, tmp_path, image_folder, backbone):
    red, blue = image_folder / 'val' / 'red' / '0.png', image_folder / 'val' / 'blue' / '1.png'
    assert run('correspondence', red, '--pairs', 4, backbone=backbone).code == 0
    assert written(tmp_path, 'correspondence') == {'correspondence_0'}
    assert 'Green: at most one cell' in (tmp_path / 'out' / 'correspondence.html').read_text()
    assert run('correspondence', red, blue, backbone=backbone).code == 0
    assert 'Green' not in (tmp_path / 'out' / 'correspondence.html').read_text()


def test_measured_correspondence(run, tmp_path, image_folder):
    done = run('correspondence', image_folder / 'val', '--measure', '--most', 5, '--pairs', 3)
    found = json.loads((tmp_path / 'out' / 'correspondence.json').read_text())
    assert (found['images'], found['grid'], found['pairs']) == (5, [2, 2], 3)
    assert f'5 images: {100 * found["accuracy"]:.1f} % of the 3 surest matches' in done.out
    assert found['accuracy'] * 15 == pytest.approx(round(found['accuracy'] * 15), abs=1e-9)


def test_colours_of_patches(run, tmp_path, image_folder):
    assert run('patch_pca', image_folder / 'val' / 'red', '--size', 32).code == 0
    assert written(tmp_path, 'patch_pca') == {'patch_pca'}
    html = (tmp_path / 'out' / 'patch_pca.html').read_text()
    assert '3 images and their 4 × 4 patches' in html
    run('patch_pca', image_folder / 'val' / 'red', '--size', 32)
    again = (tmp_path / 'out' / 'patch_pca.html').read_text()
    assert again == html, 'a network of random weights is the same one each time'


def test_neighbours(run, tmp_path, image_folder):
    query = image_folder / 'val' / 'red' / '0.png'
    assert run('neighbours', query, image_folder / 'val', '--count', 3).code == 0
    assert written(tmp_path, 'neighbours') == {'neighbours'}
    html = (tmp_path / 'out' / 'neighbours.html').read_text()
    assert html.count('<tr>') == 4 and 'among 9 of' in html and 'Green frames' in html
    assert str(query) not in html.split('<table>')[1]  # not its own neighbour
    flat = image_folder / 'val' / 'blue'
    assert run('neighbours', query, flat, '--count', 9).code == 0
    html = (tmp_path / 'out' / 'neighbours.html').read_text()
    assert html.count('<tr>') == 4 and 'Green' not in html


def test_map(run, tmp_path, image_folder):
    done = run('embedding', image_folder / 'val', '--method', 'pca', '--most', 8, backbone='resnet')
    assert done.code == 0
    assert written(tmp_path, 'embedding_pca') == {'pca_points', 'pca_pictures'}
    assert '8 images of' in (tmp_path / 'out' / 'embedding_pca.html').read_text()


def test_views_and_schedules(tiny_config, tmp_path, image_folder, capsys):
    words = (image_folder / 'val' / 'red', '--out', tmp_path / 'out', '--count', 2, '--repeat', 2)
    assert call(capsys, tiny_config(), *words, script=f'{TOOLS}browse_views.py').code == 0
    assert written(tmp_path, 'views') == {'views_0_0', 'views_0_1', 'views_1_0', 'views_1_1'}
    script = f'{TOOLS}plot_schedule.py'
    assert call(capsys, tiny_config(), '--out', tmp_path / 'out', script=script).code == 0
    html = (tmp_path / 'out' / 'schedules.html').read_text()
    assert html.count('<img') == 1 and '3 epochs of 20 iterations' in html


@pytest.mark.parametrize(
    ('tool', 'words', 'key', 'value', 'fact'),
    [
        ('attention', ('--block', 2), '--block', 2, 'has 2 blocks'),
        ('attention', ('--query', '2,0'), '--query', '2,0', '2 x 2 patches'),
        ('attention', ('--query', 'all'), '--query', 'all', 'cls, mean or ROW,COLUMN'),
        ('attention', ('--mass', 1.5), '--mass', 1.5, ''),
        ('attention', ('--size', 7), '--size', 7, 'use --size 8 or more'),
        ('patch_pca', ('--size', 0), '--size', 0, ''),
        ('embedding', ('--method', 'lda'), '--method', 'lda', 'pca, tsne, umap'),
        ('embedding', ('--most', 3), 'features', 3, ''),
    ],
)
def test_mistakes_are_one_line(run, image_folder, tool, words, key, value, fact):
    folder = tool == 'embedding'
    images = image_folder / 'val' if folder else image_folder / 'val' / 'red' / '0.png'
    assert fact in refused(run(tool, images, *words), key, value)


def test_networks_without_attention_or_weights_are_named(run, image_folder, tiny_config, capsys):
    image = image_folder / 'val' / 'red' / '0.png'
    refused(run('attention', image, backbone='resnet'), 'backbone', 'ResNet')
    words = (tiny_config(), image, '--out', 'x')
    refused(call(capsys, *words, script=f'{TOOLS}attention.py'), '--weights')


def test_a_folder_that_holds_only_the_query(run, tmp_path, image_folder):
    query = tmp_path / 'alone' / '0.png'
    query.parent.mkdir()
    query.write_bytes((image_folder / 'val' / 'red' / '0.png').read_bytes())
    refused(run('neighbours', query, query.parent), 'folder', str(query.parent))


@pytest.mark.parametrize('tool', ['attention', 'correspondence', 'patch_pca', 'embedding'])
def test_damaged_weights_are_named(run, tiny_config, tmp_path, image_folder, tool):
    state = weights(tiny_config(), 1)
    state = {k: v.fill_(float('nan')) if 'norm1.weight' in k else v for k, v in state.items()}
    torch.save({'state_dict': state}, tmp_path / 'nan.pth')
    images = image_folder / 'val' if tool == 'embedding' else image_folder / 'val' / 'red' / '0.png'
    done = run(tool, images, network=tmp_path / 'nan.pth')
    assert 'not finite' in refused(done, 'file', str(tmp_path / 'nan.pth'))


def test_an_unreadable_image_is_named(run, tmp_path, tiny_config, capsys):
    (tmp_path / 'a.png').write_bytes(b'nothing')
    assert 'a.png: not a readable image' in refused(run('attention', tmp_path / 'a.png'))
    Image.new('RGB', (1, 1)).save(tmp_path / 'a.png')  # the smallest there is
    assert run('attention', tmp_path / 'a.png').code == 0
    words = (tiny_config(), tmp_path / 'b.png', '--out', tmp_path / 'out')
    done = call(capsys, *words, script=f'{TOOLS}browse_views.py')
    refused(done, 'file', str(tmp_path / 'b.png'))
    none = ('--cfg-options', 'train_cfg=None', 'train_dataloader=None')
    words = (tiny_config(), tmp_path, '--out', tmp_path / 'out', *none)
    refused(call(capsys, *words, script=f'{TOOLS}browse_views.py'), 'train_dataloader')
