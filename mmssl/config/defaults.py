"""Default settings of every config: `load_config` merges a config's own keys over them."""

import ast
import copy
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

DEFAULTS: dict[str, Any] = dict(
    default_scope='mmssl',
    default_hooks=dict(
        runtime_info=dict(type='RuntimeInfoHook'),
        timer=dict(type='IterTimerHook'),
        sampler_seed=dict(type='DistSamplerSeedHook'),
        logger=dict(type='LoggerHook', interval=50),
        param_scheduler=dict(type='ParamSchedulerHook'),
        checkpoint=dict(type='CheckpointHook', interval=10, max_keep_ckpts=3, iterations=1000),
        non_finite=dict(type='NonFiniteHook', action='stop'),
        bad_samples=dict(type='BadSamplesHook'),
        health=dict(type='HealthHook'),
        run_info=dict(type='RunInfoHook'),
    ),
    env_cfg=dict(
        cudnn_benchmark=True,
        mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
        dist_cfg=dict(timeout=1800),
    ),
    visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
    log_processor=dict(type='LineProcessor'),
    log_level='INFO',
    load_from=None,
    resume=False,
    randomness=dict(seed=0),
)


def merge_over_defaults(cfg: Config, files: Iterable[Path]) -> Config:
    """Return a config merged over `DEFAULTS`, as mmengine merges a file over its base.

    ``files`` are the config's file and all its bases. A dict with ``_delete_=True`` in any of them
    replaces that of the defaults. Raises TypeError where a dict meets another kind of value.
    """
    below = copy.deepcopy(DEFAULTS)
    for file in files:
        if file.suffix != '.py':
            continue
        for *above, last in _deleted(ast.parse(file.read_text())):
            node: Any = below
            for key in above:
                node = node.get(key) if isinstance(node, dict) else None
            if isinstance(node, dict) and isinstance(node.get(last), dict):
                node[last] = {}
    merged = Config._merge_a_into_b(cfg._cfg_dict, ConfigDict(below))
    return Config(merged, cfg.text, cfg.filename, cfg.env_variables)


def _deleted(node: ast.AST, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the keys that lead to each ``dict(_delete_=...)`` of a parsed file.

    mmengine removes the mark when a base in a file has the same dict, so it is read here.
    """
    pairs: list[tuple[str | None, ast.expr]] = []
    if isinstance(node, ast.Module):
        for line in node.body:
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                pairs.append((line.targets[0].id, line.value))
    elif isinstance(node, ast.Call):
        pairs = [(word.arg, word.value) for word in node.keywords]
    for key, value in pairs:
        if key == '_delete_':
            yield at
        elif key is not None:
            yield from _deleted(value, (*at, key))
