"""Settings that a training file of ours carries: what may be built of them."""

from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..checkpoint.reader.read_file import read_outline
from ..core import UserError
from ..registry import all_registries
from .nested import nested_dicts


def check_types(settings: Any, path: str | Path, advice: str) -> None:
    """Refuse a ``type`` that no registry of ours has, or that is a path into a module.

    A file could else name any function of any library. ``advice`` says what to do instead. Raises
    UserError naming the file and the type.
    """
    known = {name for each in all_registries() for name in each.module_dict}
    for node in nested_dicts(settings):
        kind = node.get('type')
        if kind is not None and kind not in known:
            raise UserError(
                f'{path}: its settings name type={kind!r}, which is not of mmssl; {advice}',
                key='type',
                value=kind,
            )


def stored_config(path: str | Path) -> Config:
    """Return the config of a training file's network, with its weights as ``load_from``.

    It has the model, and the images' transforms of the monitor or of the test. Raises UserError for
    a file without settings and for classes that are not of mmssl.
    """
    content = read_outline(path)
    model = _dict_at(content, 'meta', 'settings', 'model')
    if not model:
        raise UserError(
            f'{path}: holds weights and does not tell their network; name it and give the file as '
            'its weights: get_model(NAME or CONFIG, pretrained=FILE)',
            key='file',
            value=str(path),
        )
    model['backbone'] = _dict_at(model, 'backbone') | dict(init_cfg=None)
    kept: dict[str, Any] = dict(model=model, load_from=str(path))
    for loader in ('test_dataloader', 'val_dataloader'):
        dataset = _dict_at(content, 'meta', 'settings', loader, 'dataset')
        if dataset.get('pipeline'):
            kept['test_dataloader'] = dict(dataset=dict(pipeline=dataset['pipeline']))
            break
    check_types(kept, path, 'build it by a config whose classes you trust')
    return Config(kept)


def _dict_at(node: Any, *keys: str) -> dict[str, Any]:
    """Return a copy of the dict that keys lead to, {} where there is none."""
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    return dict(node) if isinstance(node, dict) else {}
