"""Features and classes of pictures, however they are handed over."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close
from torchvision.transforms import functional as TF

import mmssl
from mmssl import FeatureExtractor, ImageClassificationInferencer, get_model, inference_model
from mmssl.apis import images
from mmssl.core import UserError
from mmssl.models.backbones import ResNet

from ..conftest import picture
from .hub import entry, put, registered, weights, write_classifier

PICTURE = picture((31, 22), 7)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope='module')
def config(tmp_path_factory, pictures):
    return write_classifier(tmp_path_factory.mktemp('linear'), pictures)


@pytest.fixture(scope='module')
def model(config):
    model = get_model(config)
    model.load_state_dict(weights(config, 1))
    return model.eval()


def view(image: Image.Image) -> torch.Tensor:
    """Short side 18, centre 16, normalised, by torchvision: (1, 3, 16, 16)."""
    x = TF.center_crop(TF.resize(image, 18, TF.InterpolationMode.BICUBIC), [16])
    return TF.normalize(TF.to_tensor(x), MEAN, STD)[None]


def expected(model, image: Image.Image = PICTURE) -> np.ndarray:
    with torch.no_grad():
        return model(view(image)).softmax(1)[0].numpy()


# kinds of pictures ------------------------------------------------------------------------------
def test_all_kinds_of_one_picture_give_the_same(model, tmp_path, server):
    file = tmp_path / 'a.png'
    PICTURE.save(file)
    url = server.put('/a.png?size=1', file.read_bytes(), kind='image/png')
    server.pages['/a.png'] = server.pages.pop('/a.png?size=1')
    rgb = np.asarray(PICTURE)
    wanted = expected(model)
    for image in (
        file,
        str(file),
        file.as_uri(),
        url,
        rgb[..., ::-1],
        PICTURE,
        PICTURE.convert('RGBA'),
    ):
        found = ImageClassificationInferencer(model)(image)
        assert len(found) == 1
        assert_close(found[0]['pred_scores'], wanted, rtol=0, atol=1e-6)
        assert inference_model(model, image)['pred_label'] == int(wanted.argmax())
    assert not np.allclose(ImageClassificationInferencer(model)(rgb)[0]['pred_scores'], wanted)


def test_grey_pictures_have_three_equal_channels(model):
    grey = PICTURE.convert('L')
    wanted = expected(model, grey.convert('RGB'))
    for image in (grey, np.asarray(grey), np.asarray(grey)[..., None]):
        assert_close(inference_model(model, image)['pred_scores'], wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize('batch_size', [1, 4, 64])
def test_lists_and_folders_in_batches(model, tmp_path, batch_size):
    pictures = [picture((20 + i, 24), i) for i in range(5)]
    for i, image in enumerate(pictures):
        image.save(tmp_path / f'{4 - i}.png')  # names turn the order round
    (tmp_path / 'notes.txt').write_text('no picture')
    wanted = [expected(model, image) for image in pictures]
    infer = ImageClassificationInferencer(model)
    in_list = infer(pictures, batch_size=batch_size)
    in_folder = infer(tmp_path, batch_size=batch_size)
    assert len(in_list) == len(in_folder) == 5
    for i in range(5):
        assert_close(in_list[i]['pred_scores'], wanted[i], rtol=0, atol=1e-5)
        assert_close(in_folder[4 - i]['pred_scores'], wanted[i], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ('image', 'kind', 'message'),
    [
        ('gone.png', UserError, r'gone\.png: not a readable image'),
        (3, TypeError, 'an image is a int'),
        (np.zeros((4, 4, 3)), UserError, r'float64 \(4, 4, 3\); pass uint8'),
        (np.zeros((2, 4, 4, 3), np.uint8), UserError, r'uint8 \(2, 4, 4, 3\)'),
        ([], UserError, 'an empty list'),
        ('ftp://a.org/b.png', UserError, r'ftp://a\.org/b\.png: addresses begin with'),
    ],
)
def test_what_is_no_picture_is_named(model, image, kind, message):
    with pytest.raises(kind, match=message):
        inference_model(model, image)


def test_bad_pictures_from_the_web_and_folders_are_named(model, server, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r'no images in it'):
        inference_model(model, tmp_path)
    with pytest.raises(UserError, match=r'/a\.png: not a readable image'):
        inference_model(model, server.put('/a.png', b'no picture'))
    monkeypatch.setattr(images, 'LIMIT', 5)
    with pytest.raises(UserError, match='above the limit of 5'):
        inference_model(model, server.url + '/a.png')
    with pytest.raises(UserError, match='batch_size=0'):
        inference_model(model, PICTURE, batch_size=0)


# results ----------------------------------------------------------------------------------------
def test_a_result_holds_scores_label_and_class(model):
    found = ImageClassificationInferencer(model, classes=['blue', 'green', 'red'])(PICTURE)[0]
    wanted = expected(model)
    assert set(found) == {'pred_scores', 'pred_label', 'pred_score', 'pred_class'}
    assert found['pred_scores'].dtype == np.float32
    assert_close(found['pred_scores'], wanted, rtol=0, atol=1e-6)
    label = int(wanted.argmax())
    assert (type(found['pred_label']), found['pred_label']) == (int, label)
    assert found['pred_score'] == pytest.approx(wanted.max(), abs=1e-6)
    assert found['pred_class'] == ['blue', 'green', 'red'][label]
    assert 'pred_class' not in inference_model(model, PICTURE)
    with pytest.raises(UserError, match='classes: 2 names for 3 outputs'):
        ImageClassificationInferencer(model, classes=['a', 'b'])


def test_data_elements_hold_the_same(model):
    (found,) = ImageClassificationInferencer(model)(PICTURE, return_datasamples=True)
    assert_close(found.pred_score, torch.from_numpy(expected(model)), rtol=0, atol=1e-6)
    assert found.pred_label.tolist() == [int(expected(model).argmax())]


def test_a_model_by_name_has_its_published_weights(server, tmp_path, config, model):
    url = put(server, '/n.pth', {'state_dict': model.state_dict()}, tmp_path)
    with registered(config.parent, entry(config, url, 'Image Classification')):
        found = inference_model('tiny_linear3', PICTURE, device='cpu', batch_size=2)
    assert_close(found['pred_scores'], expected(model), rtol=0, atol=1e-6)


def test_a_config_without_weights_says_so(config):
    with pytest.warns(UserWarning, match='stays random'):
        inference_model(config, PICTURE)


def test_a_pretraining_model_has_no_classes(tiny_config):
    name = 'mocov3_resnet50_8xb512-amp-coslr-100e_in1k'
    for model in (name, tiny_config(), get_model(tiny_config())):
        with pytest.raises(NotImplementedError, match=r'FeatureExtractor'):
            inference_model(model, PICTURE)


def test_options_of_building_need_a_name(model):
    with pytest.raises(TypeError, match='head: only for a model given by name'):
        inference_model(model, PICTURE, head=dict(norm=True))


# pictures of results ----------------------------------------------------------------------------
def test_results_are_drawn(model, tmp_path):
    infer = ImageClassificationInferencer(model, classes=['a', 'b', 'c'])
    folders = [tmp_path / name for name in ('plain', 'small', 'mute')]
    infer([PICTURE, PICTURE], show_dir=folders[0])
    infer(PICTURE, show_dir=folders[1], resize=100, rescale_factor=2)
    infer(PICTURE, show_dir=folders[2], draw_score=False)
    names = [sorted(p.name for p in folder.iterdir()) for folder in folders]
    assert names == [['000000.png', '000001.png'], ['000000.png'], ['000000.png']]
    plain, small, mute = (Image.open(folder / '000000.png') for folder in folders)
    assert plain.size == (round(31 * 256 / 22), 256 + 20)
    assert small.size == (160, 100 + 40)
    assert_close(TF.to_tensor(plain)[:, :256], TF.to_tensor(mute)[:, :256])
    ink = [(np.asarray(image)[256:] < 128).sum() for image in (plain, mute)]
    assert ink[0] > ink[1] > 0, 'without the score there is less text'


def test_a_window_is_asked_for(model, monkeypatch):
    from matplotlib import pyplot

    pyplot.switch_backend('agg')
    seen = []
    monkeypatch.setattr(pyplot, 'pause', seen.append)
    monkeypatch.setattr(pyplot, 'show', lambda: seen.append('until closed'))
    inference_model(model, PICTURE, show=True, wait_time=2)
    inference_model(model, PICTURE, show=True)
    assert seen == [2, 'until closed'] and pyplot.get_fignums() == []


# features ---------------------------------------------------------------------------------------
def test_features_come_image_by_image(tiny_config):
    model = get_model(tiny_config('resnet'))
    pictures = [picture((20 + i, 24), i) for i in range(3)]
    alone = FeatureExtractor(model)(pictures)
    joint = FeatureExtractor(model)(pictures, batch_size=2)
    assert len(alone) == len(joint) == 3
    x = TF.resize(pictures[2], 16, TF.InterpolationMode.BICUBIC)
    x = TF.normalize(TF.to_tensor(TF.center_crop(x, [16])), MEAN, STD)[None]
    with torch.no_grad():
        wanted = model(x)[0][0]
    assert type(alone[2]) is tuple and len(alone[2]) == 1
    assert_close(alone[2][0], wanted, rtol=0, atol=1e-5)
    assert_close(joint[2][0], wanted, rtol=0, atol=1e-5)


def test_features_of_a_classifiers_stages(model):
    extract = FeatureExtractor(model)
    (feature_map,) = extract(PICTURE, stage='backbone')[0]
    (pooled,) = extract(PICTURE)[0]
    last = extract(PICTURE, stage='pre_logits')[0]
    assert feature_map.shape == (8, 8, 8)
    assert_close(pooled, feature_map.mean((1, 2)))
    assert_close(last, pooled)


def test_features_of_several_maps(tiny_config):
    model = get_model(tiny_config('resnet'), backbone=dict(out_indices=(0, 1)))
    shapes = [tuple(f.shape) for f in FeatureExtractor(model)(PICTURE)[0]]
    assert shapes == [(4, 16, 16), (8, 8, 8)]
    assert isinstance(model.backbone, ResNet)


def test_the_package_offers_all_this():
    for name in mmssl.__all__:
        assert getattr(mmssl, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'get_modle'"):
        mmssl.get_modle  # noqa: B018
