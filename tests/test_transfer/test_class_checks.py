"""Classes of heads, metainfo and COCO's lists are compared before training."""

import json
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from PIL import Image
from torch import nn

from mmssl.transfer.class_checks import check_data_classes, check_heads

from ..helpers.refusals import refuses

pytestmark = pytest.mark.transfer
PERSON = (dict(id=1, name='person'),)
TWO = (*PERSON, dict(id=2, name='dog'))
KEY = 'train_dataloader.dataset.metainfo.classes'


def config(
    tmp_path: Path, categories: Any = PERSON, classes: Any = ('person',), **more: Any
) -> Config:
    """Write three photographs with two boxes each, of the categories by turns; return a config.

    ``bom``, ``images`` and ``boxes`` change the list, the others the config.
    """
    (tmp_path / 'images').mkdir(exist_ok=True)
    bom, images, boxes = more.pop('bom', ''), more.pop('images', 3), more.pop('boxes', True)
    for i in range(3):
        Image.new('RGB', (8, 8)).save(tmp_path / 'images' / f'{i}.png')
    content: dict[str, Any] = dict(
        images=[dict(id=i, file_name=f'{i}.png', width=8, height=8) for i in range(images)],
        categories=list(categories),
        annotations=[
            dict(id=2 * i + j, image_id=i, category_id=categories[j % len(categories)]['id'],
                 bbox=[0, 0, 4, 4], area=16, iscrowd=0)
            for i in range(images) for j in range(2)
        ] if boxes else [],
    )  # fmt: skip
    (tmp_path / 'a.json').write_text(bom + json.dumps(content), encoding='utf-8')
    data = dict(
        type='CocoDataset', data_root=str(tmp_path), ann_file='a.json',
        data_prefix=dict(img='images'), metainfo=dict(classes=classes),
    )  # fmt: skip
    settings = dict(
        train_dataloader=dict(dataset=data), work_dir=str(tmp_path / 'w'), model={}, **more
    )
    return Config(settings)


def test_names_that_agree(tmp_path: Path) -> None:
    assert check_data_classes(config(tmp_path), 'mmdet') == ('person',)
    assert check_data_classes(config(tmp_path, TWO, ('person', 'dog')), 'mmdet') == (
        'person', 'dog'
    )  # fmt: skip


@pytest.mark.parametrize(
    ('categories', 'classes', 'facts'),
    [
        # mmdet drops the boxes, shifts the labels, or numbers them as the list does, without a word
        (TWO, ('person',), ('3 of its 6 boxes', 'other_classes=drop', 'person, dog')),
        (PERSON, ('person', 'dog'), ('no category dog',)),
        ((dict(id=1, name='pedestrian'),), ('person',), ('no category person', 'pedestrian')),
        (TWO, ('dog', 'person'), ('another order', 'dog, person', 'person, dog')),
    ],
)
def test_names_that_differ(
    categories: Any, classes: Any, facts: tuple[str, ...], tmp_path: Path
) -> None:
    cfg = config(tmp_path, categories, classes)
    with refuses(KEY, classes) as caught:
        check_data_classes(cfg, 'mmdet')
    assert str(tmp_path / 'a.json') in str(caught.value)
    assert all(fact in str(caught.value) for fact in facts)


def test_a_data_set_named_by_its_class(tmp_path: Path) -> None:
    from mmdet.datasets import CocoDataset

    cfg = config(tmp_path, TWO, ('person',))
    data = dict(cfg.train_dataloader.dataset, type=CocoDataset)
    cfg._cfg_dict.train_dataloader = dict(dataset=data)
    with refuses(KEY, ('person',)):
        check_data_classes(cfg, 'mmdet')


def test_boxes_of_other_classes_are_left_out_on_demand(tmp_path: Path) -> None:
    cfg = config(tmp_path, TWO, ('person',), other_classes='drop')
    assert check_data_classes(cfg, 'mmdet') == ('person',)


def test_a_name_as_text_is_no_list_of_letters(tmp_path: Path) -> None:
    with refuses('metainfo.classes', 'person'):
        check_data_classes(config(tmp_path, classes='person'), 'mmdet')


def test_all_loaders_have_the_same_classes(tmp_path: Path) -> None:
    cfg = config(tmp_path, TWO, ('person', 'dog'))
    other = dict(cfg.train_dataloader.dataset, metainfo=dict(classes=('dog', 'person')))
    cfg.val_dataloader = dict(dataset=dict(type='RepeatDataset', times=2, dataset=other))
    with refuses('val_dataloader.dataset.dataset.metainfo.classes', ('dog', 'person')):
        check_data_classes(cfg, 'mmdet')


@pytest.mark.parametrize(
    ('change', 'fact'),
    [
        (dict(images=0), 'no images'),
        (dict(boxes=False), 'no boxes'),
        (dict(images=4), '1 of its 4 images are not in'),
        (dict(bom='['), 'JSON'),
        (dict(bom='{"images": []} '), 'JSON'),
    ],
)
def test_lists_that_nothing_can_be_made_of(
    change: dict[str, Any], fact: str, tmp_path: Path
) -> None:
    cfg = config(tmp_path, **change)
    with refuses('file', str(tmp_path / 'a.json')) as caught:
        check_data_classes(cfg, 'mmdet')
    assert fact in str(caught.value)


def test_a_list_without_categories(tmp_path: Path) -> None:
    cfg = config(tmp_path)
    (tmp_path / 'a.json').write_text('{"images": [], "annotations": []}')
    with refuses('file', str(tmp_path / 'a.json')) as caught:
        check_data_classes(cfg, 'mmdet')
    assert 'no categories' in str(caught.value)


def test_images_alone_as_for_a_test_server(tmp_path: Path) -> None:
    cfg = config(tmp_path)
    content = json.loads((tmp_path / 'a.json').read_text())
    del content['annotations']
    (tmp_path / 'a.json').write_text(json.dumps(content))
    assert check_data_classes(cfg, 'mmdet') == ('person',)


def test_a_byte_order_mark_is_taken_off(tmp_path: Path) -> None:
    """By a copy, which loaders and evaluators name, as pycocotools cannot read the mark."""
    from pycocotools.coco import COCO

    cfg = config(tmp_path, bom='\ufeff')
    cfg.val_evaluator = [dict(type='CocoMetric', ann_file=str(tmp_path / 'a.json'))]
    check_data_classes(cfg, 'mmdet')
    copied = cfg.train_dataloader.dataset.ann_file
    assert copied == cfg.val_evaluator[0].ann_file == str(tmp_path / 'w' / 'annotations' / 'a.json')
    assert len(COCO(copied).getImgIds()) == 3
    assert (tmp_path / 'a.json').read_bytes()[:3] == b'\xef\xbb\xbf'


def test_the_list_of_an_evaluator(tmp_path: Path) -> None:
    (tmp_path / 'other').mkdir()
    config(tmp_path / 'other', (dict(id=1, name='cat'),))
    cfg = config(tmp_path)
    cfg.val_evaluator = dict(type='CocoMetric', ann_file=str(tmp_path / 'other' / 'a.json'))
    with refuses('val_dataloader.dataset.metainfo.classes', ('person',)) as caught:
        check_data_classes(cfg, 'mmdet')
    assert 'cat' in str(caught.value)


def test_data_sets_without_lists_of_names_pass(tmp_path: Path) -> None:
    cfg = config(tmp_path)
    cfg.train_dataloader.dataset = dict(type='BaseSegDataset', data_root=str(tmp_path))
    assert check_data_classes(cfg, 'mmseg') is None
    cfg.train_dataloader.dataset.type = 'BaseSegDatasat'
    with refuses('train_dataloader.dataset.type', 'BaseSegDatasat'):
        check_data_classes(cfg, 'mmseg')


# heads --------------------------------------------------------------------------------------------
class FCNHead(nn.Module):
    """Any head, of the name of mmseg's auxiliary one."""

    def __init__(self, num_classes: int, **more: Any) -> None:
        super().__init__()
        self.num_classes = num_classes
        for key, value in more.items():
            setattr(self, key, value)


class OtherHead(FCNHead):
    """A head that judges something else than the classes of the data."""


def detector(**heads: nn.Module) -> nn.ModuleDict:
    backbone = nn.ModuleDict({'x_head': FCNHead(0)})
    return nn.ModuleDict({'backbone': backbone, 'rpn_head': FCNHead(1), **heads})


@pytest.mark.parametrize(
    ('heads', 'library', 'wrong'),
    [
        (dict(bbox_head=FCNHead(2)), 'mmdet', None),
        (dict(bbox_head=FCNHead(80)), 'mmdet', ('bbox_head', 80)),
        (dict(roi_head=nn.ModuleDict({'bbox_head': nn.ModuleList([FCNHead(2), FCNHead(3)])})),
         'mmdet', ('roi_head.bbox_head.1', 3)),
        (dict(mask_head=FCNHead(80, class_agnostic=True)), 'mmdet', None),
        (dict(semantic_head=FCNHead(183)), 'mmdet', None),
        (dict(decode_head=FCNHead(150)), 'mmseg', ('decode_head', 150)),
        (dict(decode_head=FCNHead(1)), 'mmseg', None),  # one output tells two classes apart
        (dict(decode_head=FCNHead(1)), 'mmdet', ('decode_head', 1)),
        (dict(auxiliary_head=FCNHead(19)), 'mmseg', ('auxiliary_head', 19)),
        (dict(auxiliary_head=OtherHead(1)), 'mmseg', None),  # of edges
    ],
)  # fmt: skip
def test_heads_have_the_classes_of_the_data(
    heads: dict[str, nn.Module], library: str, wrong: tuple[str, int] | None
) -> None:
    model = detector(**heads)
    if wrong is None:
        check_heads(model, ('person', 'dog'), library)
        return
    key = f'model.{wrong[0]}.num_classes'
    with refuses(key, wrong[1]) as caught:
        check_heads(model, ('person', 'dog'), library)
    assert f'{key}=2' in str(caught.value) and 'person, dog' in str(caught.value)


def test_all_wrong_heads_are_named_at_once() -> None:
    model = detector(bbox_head=FCNHead(80), mask_head=FCNHead(80))
    with refuses('model.bbox_head.num_classes', 80) as caught:
        check_heads(model, ('person',), 'mmdet')
    assert 'model.bbox_head.num_classes=1 model.mask_head.num_classes=1' in str(caught.value)
