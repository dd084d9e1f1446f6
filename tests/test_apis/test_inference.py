"""Features and classes of images given as files, arrays, PIL images, folders or URLs."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close
from torchvision.transforms import functional as TF

import mmssl
from mmssl import FeatureExtractor, ImageClassificationInferencer, get_model, inference_model
from mmssl.apis import images
from mmssl.datasets.sources import UnreadableImage
from mmssl.models.backbones import ResNet

from ..helpers.hub import entry, put, registered, weights, write_classifier
from ..helpers.images import make_image
from ..helpers.refusals import refuses

IMAGE = make_image((31, 22), 7)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope='module')
def config(tmp_path_factory, image_folder):
    return write_classifier(tmp_path_factory.mktemp('linear'), image_folder)


@pytest.fixture(scope='module')
def model(config):
    model = get_model(config)
    model.load_state_dict(weights(config, 1))
    return model.eval()


def view(image: Image.Image) -> torch.Tensor:
    """Short side 18, centre 16, normalised, by torchvision: (1, 3, 16, 16)."""
    x = TF.center_crop(TF.resize(image, 18, TF.InterpolationMode.BICUBIC), [16])
    return TF.normalize(TF.to_tensor(x), MEAN, STD)[None]


def expected(model, image: Image.Image = IMAGE) -> np.ndarray:
    with torch.no_grad():
        return model(view(image)).softmax(1)[0].numpy()


# kinds of images ----------------------------------------------------------------------------------
def test_all_kinds_of_one_image_give_the_same(model, tmp_path, server):
    file = tmp_path / 'a.png'
    IMAGE.save(file)
    url = server.put('/a.png?size=1', file.read_bytes(), kind='image/png')
    server.pages['/a.png'] = server.pages.pop('/a.png?size=1')
    rgb = np.asarray(IMAGE)
    wanted = expected(model)
    for image in (
        file,
        str(file),
        file.as_uri(),
        url,
        rgb[..., ::-1],
        IMAGE,
        IMAGE.convert('RGBA'),
    ):
        found = ImageClassificationInferencer(model)(image)
        assert len(found) == 1
        assert_close(found[0]['pred_scores'], wanted, rtol=0, atol=1e-6)
        assert inference_model(model, image)['pred_label'] == int(wanted.argmax())
    assert not np.allclose(ImageClassificationInferencer(model)(rgb)[0]['pred_scores'], wanted)


def test_grey_images_have_three_equal_channels(model):
    grey = IMAGE.convert('L')
    wanted = expected(model, grey.convert('RGB'))
    for image in (grey, np.asarray(grey), np.asarray(grey)[..., None]):
        assert_close(inference_model(model, image)['pred_scores'], wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize('batch_size', [1, 4, 64])
def test_lists_and_folders_in_batches(model, tmp_path, batch_size):
    image_folder = [make_image((20 + i, 24), i) for i in range(5)]
    for i, image in enumerate(image_folder):
        image.save(tmp_path / f'{4 - i}.png')  # names turn the order round
    (tmp_path / 'notes.txt').write_text('no picture')
    wanted = [expected(model, image) for image in image_folder]
    infer = ImageClassificationInferencer(model)
    in_list = infer(image_folder, batch_size=batch_size)
    in_folder = infer(tmp_path, batch_size=batch_size)
    assert len(in_list) == len(in_folder) == 5
    for i in range(5):
        assert_close(in_list[i]['pred_scores'], wanted[i], rtol=0, atol=1e-5)
        assert_close(in_folder[4 - i]['pred_scores'], wanted[i], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ('image', 'key', 'value'),
    [
        ('gone.png', 'file', 'gone.png'),
        (np.zeros((4, 4, 3)), 'image', 'float64 (4, 4, 3)'),
        (np.zeros((2, 4, 4, 3), np.uint8), 'image', 'uint8 (2, 4, 4, 3)'),
        ([], 'images', []),
    ],
)
def test_what_is_no_image_is_named(model, image, key, value):
    with refuses(key, value):
        inference_model(model, image)


def test_another_kind_of_image_or_address_is_named(model):
    with pytest.raises(TypeError, match='an image is a int'):
        inference_model(model, 3)
    with refuses('file', 'ftp://a.org/b.png'):
        inference_model(model, 'ftp://a.org/b.png')


def test_bad_images_from_the_web_and_folders_are_named(model, server, tmp_path, monkeypatch):
    with refuses('folder', str(tmp_path)):
        inference_model(model, tmp_path)
    with pytest.raises(UnreadableImage, match=r'/a\.png: not a readable image'):
        inference_model(model, server.put('/a.png', b'no picture'))
    monkeypatch.setattr(images, 'MAX_BYTES', 5)
    with refuses('file', f'{server.url}/a.png') as caught:
        inference_model(model, f'{server.url}/a.png')
    assert 'above the limit of 5' in str(caught.value)
    with refuses('batch_size', 0):
        inference_model(model, IMAGE, batch_size=0)


# results ------------------------------------------------------------------------------------------
def test_a_result_holds_scores_label_and_class(model):
    found = ImageClassificationInferencer(model, classes=['blue', 'green', 'red'])(IMAGE)[0]
    wanted = expected(model)
    assert set(found) == {'pred_scores', 'pred_label', 'pred_score', 'pred_class'}
    assert found['pred_scores'].dtype == np.float32
    assert_close(found['pred_scores'], wanted, rtol=0, atol=1e-6)
    label = int(wanted.argmax())
    assert (type(found['pred_label']), found['pred_label']) == (int, label)
    assert found['pred_score'] == pytest.approx(wanted.max(), abs=1e-6)
    assert found['pred_class'] == ['blue', 'green', 'red'][label]
    assert 'pred_class' not in inference_model(model, IMAGE)
    with refuses('classes', ['a', 'b']) as caught:
        ImageClassificationInferencer(model, classes=['a', 'b'])
    assert '2 names for 3 outputs' in str(caught.value)


def test_data_elements_hold_the_same(model):
    (found,) = ImageClassificationInferencer(model)(IMAGE, return_datasamples=True)
    assert_close(found.pred_score, torch.from_numpy(expected(model)), rtol=0, atol=1e-6)
    assert found.pred_label.tolist() == [int(expected(model).argmax())]


def test_a_model_by_name_has_its_published_weights(server, tmp_path, config, model):
    url = put(server, '/n.pth', {'state_dict': model.state_dict()}, tmp_path)
    with registered(config.parent, entry(config, url, 'Image Classification')):
        found = inference_model('tiny_linear3', IMAGE, device='cpu', batch_size=2)
    assert_close(found['pred_scores'], expected(model), rtol=0, atol=1e-6)


def test_a_config_without_weights_says_so(config):
    with pytest.warns(UserWarning, match='stays random'):
        inference_model(config, IMAGE)


def test_a_pretraining_model_has_no_classes(tiny_config):
    name = 'mocov3_resnet50_8xb512-amp-coslr-100e_in1k'
    for model in (name, tiny_config(), get_model(tiny_config())):
        with pytest.raises(NotImplementedError, match=r'FeatureExtractor'):
            inference_model(model, IMAGE)


def test_options_of_building_need_a_name(model):
    with pytest.raises(TypeError, match='head: only for a model given by name'):
        inference_model(model, IMAGE, head=dict(norm=True))


# images of results ------------------------------------------------------------------------------
def test_results_are_drawn(model, tmp_path):
    infer = ImageClassificationInferencer(model, classes=['a', 'b', 'c'])
    infer([IMAGE, IMAGE], show_dir=tmp_path / 'drawn')
    files = sorted((tmp_path / 'drawn').iterdir())
    assert [file.name for file in files] == ['000000.png', '000001.png']
    drawn = Image.open(files[0])
    assert drawn.size == (round(31 * 256 / 22), 256 + 20)
    assert (np.asarray(drawn)[256:] < 128).any(), 'the prediction is written below'
    inference_model(model, IMAGE, show_dir=tmp_path / 'one')
    assert [file.name for file in (tmp_path / 'one').iterdir()] == ['000000.png']


# features -----------------------------------------------------------------------------------------
def test_features_come_image_by_image(tiny_config):
    model = get_model(tiny_config('resnet'))
    image_folder = [make_image((20 + i, 24), i) for i in range(3)]
    alone = FeatureExtractor(model)(image_folder)
    joint = FeatureExtractor(model)(image_folder, batch_size=2)
    assert len(alone) == len(joint) == 3
    x = TF.resize(image_folder[2], 16, TF.InterpolationMode.BICUBIC)
    x = TF.normalize(TF.to_tensor(TF.center_crop(x, [16])), MEAN, STD)[None]
    with torch.no_grad():
        wanted = model(x)[0][0]
    assert type(alone[2]) is tuple and len(alone[2]) == 1
    assert_close(alone[2][0], wanted, rtol=0, atol=1e-5)
    assert_close(joint[2][0], wanted, rtol=0, atol=1e-5)


def test_features_of_a_classifiers_stages(model):
    extract = FeatureExtractor(model)
    (feature_map,) = extract(IMAGE, stage='backbone')[0]
    (pooled,) = extract(IMAGE)[0]
    last = extract(IMAGE, stage='pre_logits')[0]
    assert feature_map.shape == (8, 8, 8)
    assert_close(pooled, feature_map.mean((1, 2)))
    assert_close(last, pooled)


def test_features_of_several_maps(tiny_config):
    model = get_model(tiny_config('resnet'), backbone=dict(out_indices=(0, 1)))
    shapes = [tuple(f.shape) for f in FeatureExtractor(model)(IMAGE)[0]]
    assert shapes == [(4, 16, 16), (8, 8, 8)]
    assert isinstance(model.backbone, ResNet)


def test_the_package_offers_all_this():
    for name in mmssl.__all__:
        assert getattr(mmssl, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'get_modle'"):
        mmssl.get_modle  # noqa: B018
