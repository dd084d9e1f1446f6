"""The usages of mmpretrain's page on MoCo v3, word for word, by our name.

https://mmpretrain.readthedocs.io, "MoCoV3": a server on loopback stands in for the weights.
"""

import dataclasses
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torchvision.models import resnet50
from torchvision.transforms import functional as TF

from mmssl.apis import ModelHub, get_model
from mmssl.datasets.shapes import draw_scene

from ..helpers import mmpretrain_files
from ..helpers.command import start
from ..helpers.images import make_image
from ..helpers.paths import REPO
from ..helpers.server import Server

PRETRAINED = 'mocov3_resnet50_8xb512-amp-coslr-100e_in1k'
LINEAR = 'resnet50_mocov3-100e-pre_8xb128-linear-coslr-90e_in1k'
INFERENCE = """
from mmpretrain import inference_model
predict = inference_model('resnet50_mocov3-100e-pre_8xb128-linear-coslr-90e_in1k', 'demo/bird.JPEG')
print(predict['pred_class'])
print(predict['pred_score'])
"""
MODEL = """
import torch
from mmpretrain import get_model
model = get_model('mocov3_resnet50_8xb512-amp-coslr-100e_in1k', pretrained=True)
inputs = torch.rand(1, 3, 224, 224)
out = model(inputs)
print(type(out))
# To extract features.
feats = model.extract_feat(inputs)
print(type(feats))
"""
TRAIN = 'python tools/train.py configs/mocov3/mocov3_resnet50_8xb512-amp-coslr-100e_in1k.py'
TEST = (
    'python tools/test.py configs/mocov3/benchmarks/resnet50_8xb128-linear-coslr-90e_in1k.py '
    'https://download.openmmlab.com/mmselfsup/1.x/mocov3/'
    'mocov3_resnet50_8xb512-amp-coslr-100e_in1k/resnet50_linear-8xb128-coslr-90e_in1k/'
    'resnet50_linear-8xb128-coslr-90e_in1k_20220927-8f7d937e.pth'
)

each_layout = pytest.mark.parametrize('layout', ['mmssl', 'mmpretrain'])
pytestmark = pytest.mark.slow


def scramble(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Give a model weights that no fresh one has."""
    torch.manual_seed(seed)
    for key, value in model.state_dict().items():
        if 'bn' in key and value.is_floating_point():
            value.uniform_(0.5, 1.5)
    if hasattr(model.head, 'fc'):  # scores that are no certainties; the classes of the test win
        with torch.no_grad():
            size = model.eval().extract_feat(torch.rand(1, 3, 224, 224))[0].norm()
            model.head.fc.weight.normal_(std=1 / size)
            model.head.fc.bias[:3] = 4.0
    return model.eval()


@pytest.fixture(scope='module')
def trained() -> dict[str, torch.nn.Module]:
    return {name: scramble(get_model(name), i) for i, name in enumerate((PRETRAINED, LINEAR))}


@pytest.fixture
def published(
    server: Server, tmp_path: Path, trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str], str]]:
    """Put a model's file in a layout on the server, and its address into the hub."""

    def publish(name: str, layout: str) -> str:
        model = trained[name]
        writer = {PRETRAINED: mmpretrain_files.mocov3, LINEAR: mmpretrain_files.classifier}[name]
        content = {'state_dict': model.state_dict()} if layout == 'mmssl' else writer(model)
        torch.save(content, tmp_path / 'upload.pth')
        body = (tmp_path / 'upload.pth').read_bytes()
        info = ModelHub.get(name)
        path = info.weights.removeprefix('https://download.openmmlab.com')
        path = path.replace(path[-12:-4], hashlib.sha256(body).hexdigest()[:8])
        address = server.put(path, body)
        monkeypatch.setitem(
            ModelHub._added, name.lower(), dataclasses.replace(info, weights=address)
        )
        return address

    yield publish


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working folder with demo/bird.JPEG, drawn by our generator, and a small data set."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'demo').mkdir()
    Image.fromarray(draw_scene(0, 4, 256)[0]).save(tmp_path / 'demo' / 'bird.JPEG')
    for split in ('train', 'val'):
        for label in range(3):
            folder = tmp_path / 'data' / 'imagenet' / split / f'n0{label}'
            folder.mkdir(parents=True)
            for i in range(3):
                make_image((60 + label, 50), 10 * label + i).save(folder / f'{i}.png')
    # three of a thousand classes: only a list can say which
    lines = ''.join(f'n0{label}/{i}.png {label}\n' for label in range(3) for i in range(3))
    (tmp_path / 'data' / 'imagenet' / 'meta').mkdir()
    for split in ('train', 'val'):
        (tmp_path / 'data' / 'imagenet' / 'meta' / f'{split}.txt').write_text(lines)
    return tmp_path


def said_by_torchvision(model: torch.nn.Module, image: Image.Image) -> torch.Tensor:
    """Return logits (1, 1000) of a image, by torchvision's network and transforms."""
    net = resnet50()
    net.load_state_dict(
        {
            **model.backbone.net.state_dict(),
            **mmpretrain_files.under('fc', model.head.fc.state_dict()),
        }
    )
    x = TF.center_crop(TF.resize(image.convert('RGB'), 256), [224])
    x = TF.normalize(TF.to_tensor(x), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with torch.no_grad():
        return net.eval()(x[None])


def run(code: str) -> dict[str, Any]:
    space: dict[str, Any] = {}
    exec(code.replace('mmpretrain', 'mmssl'), space)
    return space


@each_layout
def test_inference_model(layout, published, place, trained, capsys):
    published(LINEAR, layout)
    predict = run(INFERENCE)['predict']
    scores = said_by_torchvision(trained[LINEAR], Image.open('demo/bird.JPEG')).softmax(1)[0]
    score, label = scores.max(0)
    from timm.data import ImageNetInfo

    assert predict['pred_label'] == int(label)
    assert predict['pred_score'] == pytest.approx(float(score), abs=1e-5)
    assert predict['pred_class'] == ImageNetInfo().index_to_description(int(label))
    printed = capsys.readouterr().out.splitlines()[-2:]
    assert printed == [predict['pred_class'], str(predict['pred_score'])]


@each_layout
def test_get_model(layout, published, place, trained, capsys):
    published(PRETRAINED, layout)
    space = run(MODEL)
    assert capsys.readouterr().out.splitlines()[-2:] == ["<class 'tuple'>"] * 2
    with torch.no_grad():
        wanted = trained[PRETRAINED].student.backbone(space['inputs'])[0]
    for answer in (space['out'], space['feats']):
        assert len(answer) == 1 and answer[0].shape == (1, 2048, 7, 7)
        torch.testing.assert_close(answer[0].detach(), wanted, rtol=0, atol=1e-5)


def test_the_guide_runs(published, place, capsys):
    published(LINEAR, 'mmssl')
    published(PRETRAINED, 'mmssl')
    text = (REPO / 'docs' / 'api.md').read_text()
    blocks = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
    assert len(blocks) >= 8
    space: dict[str, Any] = {}
    for block in blocks:
        exec(block, space)
        said = capsys.readouterr().out
        for promised in re.findall(r'^print.*# ([\[{].*)$', block, re.MULTILINE):
            assert promised in said
    assert space['feature'].shape == (2048, 7, 7)
    assert len(list((place / 'drawn').iterdir())) == 1
    assert space['result']['pred_class'] in space['infer'].classes


SHRUNK = """
'''The recipe of the page on a network, images and batches that a test can afford.'''

_base_ = '{base}'

crop = dict(type='RandomView', size=32, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.2, 0.1))
views = [dict(crop, blur=1.0), dict(crop, blur=0.1, solarize=0.2)]
train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=views)]))
model = dict(backbone=dict(width=4), neck=dict(dims=(128, 16, 8)),
             head=dict(predictor=dict(dims=(8, 16, 8))))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=1)]
train_cfg = dict(max_epochs=1)
"""


def words(command: str) -> list[str]:
    python, script, *rest = command.split()
    assert python == 'python' and (REPO / script).is_file()
    return [script, *rest]


def test_train(place):
    script, config = words(TRAIN)
    (place / config).parent.mkdir(parents=True)
    (place / config).write_text(SHRUNK.format(base=REPO / config))
    done = start(config, cwd=place, script=script)
    assert done.code == 0, done.err
    name = Path(config).stem
    state = torch.load(place / 'work_dirs' / name / 'epoch_1.pth')
    assert state['progress']['iter'] == 2  # 9 images in batches of 4


@each_layout
def test_test(layout, published, place, trained):
    address = published(LINEAR, layout)
    script, config, url = words(TEST)
    shutil.copytree(REPO / 'configs', place / 'configs')
    assert url.rpartition('-')[0].endswith(address.rpartition('-')[0].partition('/mmselfsup')[2])
    done = start(config, address, cwd=place, script=script, TORCH_HOME=str(place / 'torch'))
    assert done.code == 0, done.err
    files = sorted((place / 'data/imagenet/val').rglob('*.png'))
    right, right5 = 0, 0
    for file in files:
        best = said_by_torchvision(trained[LINEAR], Image.open(file)).topk(5).indices[0].tolist()
        label = int(file.parent.name[1:])
        right, right5 = right + (best[0] == label), right5 + (label in best)
    line = f'result  top-1 {100 * right / 9:.1f} %  top-5 {100 * right5 / 9:.1f} %'
    assert line in done.out and 0 < right < right5
