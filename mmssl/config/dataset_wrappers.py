"""mmengine's data sets around data sets, rewritten as one ImageDataset over a ConcatSource."""

from typing import Any

from mmengine.config import Config, ConfigDict

from ..core import UserError

# wrapper -> its argument with the data sets, and what it becomes of a ConcatSource
WRAPPERS: dict[str, tuple[str, dict[str, str]]] = {
    'ConcatDataset': ('datasets', {}),
    'RepeatDataset': ('dataset', dict(times='repeats')),
    'ClassBalancedDataset': ('dataset', dict(oversample_thr='balance')),
}


def unwrap_datasets(cfg: Config) -> None:
    """Rewrite the wrappers around our data sets in the loaders of a config.

    Raises UserError for an argument that a wrapper does not take, and for several data sets of
    different pipelines.
    """
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(name)
        if isinstance(loader, dict) and isinstance(loader.get('dataset'), dict):
            loader['dataset'] = ConfigDict(_unwrapped(loader['dataset'], f'{name}.dataset'))


def _kind(dataset: Any) -> str:
    kind = dataset.get('type') if isinstance(dataset, dict) else None
    return kind.removeprefix('mmengine.') if isinstance(kind, str) else ''


def _is_ours(dataset: Any) -> bool:
    """Whether a data set is an ImageDataset, within any number of wrappers."""
    if _kind(dataset) not in WRAPPERS:
        return _kind(dataset) == 'ImageDataset'
    inner = dataset.get(WRAPPERS[_kind(dataset)][0])
    inner = [inner] if isinstance(inner, dict) else inner
    return bool(inner) and all(map(_is_ours, inner))


def _unwrapped(dataset: dict[str, Any], place: str) -> dict[str, Any]:
    if _kind(dataset) not in WRAPPERS or not _is_ours(dataset):
        return dataset
    key, arguments = WRAPPERS[_kind(dataset)]
    inner = dataset[key]
    parts = [inner] if isinstance(inner, dict) else list(inner)
    parts = [dict(_unwrapped(part, f'{place}.{key}')) for part in parts]
    source: dict[str, Any] = dict(type='ConcatSource')
    for name, value in dataset.items():
        if name in arguments:
            source[arguments[name]] = [value] if name == 'times' else value
        elif name not in ('type', key):
            raise UserError(
                f'{place}.{name}: {_kind(dataset)} takes {", ".join((key, *arguments))}',
                key=f'{place}.{name}',
                value=value,
            )
    pipelines = [part.pop('pipeline', ()) for part in parts]
    if any(pipeline != pipelines[0] for pipeline in pipelines):
        raise UserError(
            f'{place}.{key}: its data sets have different pipelines; give all the same one',
            key=f'{place}.{key}',
            value=_kind(dataset),
        )
    source['sources'] = parts
    return dict(type='ImageDataset', pipeline=pipelines[0], source=source)
