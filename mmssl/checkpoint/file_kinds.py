"""Recognise files that are not pretraining files: detectors, fine-tuned or linear classifiers."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from ..core import UserError
from .layouts import Layout, State

# parts of other tasks' models, by which their files are known
TASKS = {
    'a detector': {
        *('rpn_head', 'roi_head', 'bbox_head', 'mask_head', 'roi_heads', 'query_head'),
        'panoptic_head',
    },
    'a segmentation network': {'decode_head', 'auxiliary_head', 'sem_seg_head'},
}


def backbone_of_task(content: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """Take the backbone out of a detector's or segmentation network's file.

    Returns (content with the tensors of its backbone alone, a sentence on what was left out); of
    other files (the content as it is, ''). Raises UserError for SwAV's file of a queue, and for
    heads without a backbone.
    """
    if list(content) == ['queue'] and isinstance(content['queue'], Tensor):
        raise UserError(
            f"{path}: is SwAV's queue of one process, not a network; give the training file of "
            'the same run',
            key='file',
            value=path,
        )
    for root in ('state_dict', 'model', ''):
        entry = content.get(root) if root else content
        if not isinstance(entry, dict):
            continue
        parts = {key: str(key).removeprefix('module.').split('.')[0] for key in entry}
        for kind, names in TASKS.items():
            if found := sorted(names.intersection(parts.values())):
                kept = {key: value for key, value in entry.items() if parts[key] == 'backbone'}
                what = f'is {kind} ({", ".join(found)})'
                if not kept:
                    raise UserError(
                        f'{path}: {what} without a backbone; give the whole file',
                        key='file',
                        value=path,
                    )
                note = (
                    f'{what}: its fine-tuned backbone is taken and the other '
                    f'{len(entry) - len(kept)} tensors are left out; to go on with the whole '
                    'model give the file as load_from'
                )
                return ({**content, root: kept} if root else kept), note
    return content, ''


def is_probe(content: dict[str, Any], ours: Iterable[str]) -> bool:
    """Whether a whole classifier was trained by its last layer alone.

    Its optimizer then has two tensors, a weight and a bias.
    """
    optimizer = content.get('optimizer')
    while isinstance(optimizer, dict) and 'param_groups' not in optimizer:
        optimizer = optimizer.get('optimizer')
    if 'head.fc.weight' not in ours or not isinstance(optimizer, dict):
        return False
    trained = 0
    for group in _as_list(optimizer['param_groups']):
        if isinstance(group, dict):
            trained += len(_as_list(group.get('params')))
    return trained == 2


def is_finetuned(content: dict[str, Any]) -> bool:
    """Whether a training file of ours holds a network that was trained on labels."""
    meta = content.get('meta')
    return isinstance(meta, dict) and meta.get('model') in ('Classifier', 'Segmenter')


def _as_list(value: Any) -> list[Any]:
    """Return a list from a file as it is, anything else as an empty one."""
    return value if isinstance(value, list) else []


def check_pretraining(
    content: dict[str, Any], layout: Layout, foreign: State, ours: State, path: str
) -> None:
    """Check that a file holds a pretrained network, not a classifier.

    ``foreign`` and ``ours`` are the file's tensors (any shapes) by its names and by ours. Raises
    UserError for the file of a linear or fine-tuned classifier.
    """
    if not any('backbone.' in name for name in ours):
        raise UserError(
            f'{path}: is a linear classifier without its network ({", ".join(list(foreign)[:2])}); '
            'give the pretraining file, and the classifier to a Classifier over it',
            key='file',
            value=path,
        )
    probe = is_probe(content, ours)
    if probe or is_finetuned(content):
        what = 'linear classifier on a frozen' if probe else 'classifier with a fine-tuned'
        raise UserError(
            f'{path}: is a {what} network ({layout.name}), not the pretraining file: give that '
            'one, or take the network out of this with '
            'tools/model_converters/extract_backbone.py',
            key='file',
            value=path,
        )


def refuse_unknown_order(model: Any, content: dict[str, Any], layout: Layout, path: str) -> None:
    """Refuse a lone layer over class token and mean patch: DINO's file and another look alike.

    DINO's columns are the two by turns, which 'interleaved' features fit; those of iBOT's sweep
    are in a row, and its file names the best of several layers. Raises UserError where a file has
    one layer and the ``model`` features in a row: it would load, and answer wrongly.
    """
    pool = getattr(model, 'pool', '')  # of classifiers only
    if layout.name == 'linear' and pool == 'cls+mean' and 'best_acc_hidx' not in content:
        raise UserError(
            f"{path}: a layer whose columns may be in a row or, as DINO's, by turns: set "
            "model.pool=interleaved for a file of DINO, or name the layout, layout='linear'",
            key='model.pool',
            value=pool,
        )


def check_classifier(model: Any, layout: Layout, foreign: State, ours: State, path: str) -> None:
    """Check that a file fills a classifier: its last layer and its network.

    ``foreign`` and ``ours`` are the file's tensors (any shapes) by its names and by ours. A
    classifier layer alone is accepted where ``model`` has its backbone from another file, which
    is loaded here if it is named and was not yet. Raises UserError for a file that leaves the
    classifier untrained or without its network.
    """
    if layout.name == 'linear' and len(foreign) > len(ours):
        raise UserError(
            f'{path}: holds {len(foreign) // 2} classifiers and does not say which is best: store '
            "its number as 'best_acc_hidx' in the file",
            key='file',
            value=path,
        )
    if 'head.fc.weight' not in ours:
        raise UserError(
            f'{path}: is a {layout.name} file without a trained classifier, so that answers would '
            'be random: to train one use load_part=backbone, to test one give its own file',
            key='file',
            value=path,
        )
    if any(name.startswith('backbone.') for name in ours):
        return
    backbone = model.backbone
    if backbone.weights_from is None and backbone.init_cfg:
        backbone.init_weights()
    if backbone.weights_from is None:
        raise UserError(
            f'{path}: holds a linear classifier only: give its network too, '
            'model.backbone.init_cfg.checkpoint=PATH (in Python, load it before)',
            key='model.backbone.init_cfg.checkpoint',
            value=None,
        )
