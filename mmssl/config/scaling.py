"""Views and schedules of a recipe, brought to other patches and to a shorter training."""

from typing import Any

PUBLISHED_SIZE = 224


def fit_views(multi: dict[str, Any], cell: int, mask_cell: int) -> dict[str, Any]:
    """Return MultiView settings whose views are whole cells of ``cell`` pixels, the nearest.

    Masks have cells of ``mask_cell`` pixels.
    """
    views = []
    for view in multi['views']:
        cells = max(round(view.get('size', PUBLISHED_SIZE) / cell), 1)
        views.append({**view, 'size': cells * cell})
    fitted = {**multi, 'views': views}
    if multi.get('mask'):
        fitted['mask'] = {**multi['mask'], 'patch_size': mask_cell}
    return fitted


def shorten(settings: dict[str, Any], share: float) -> dict[str, Any]:
    """Return a schedule whose lengths in epochs are ``share`` of the published ones."""
    lengths: dict[str, Any] = {
        k: settings[k] * share for k in ('warmup', 'delay') if k in settings and share < 1
    }
    if 'milestones' in settings:
        lengths['milestones'] = tuple(m * share for m in settings['milestones'])
    return {**settings, **lengths}
