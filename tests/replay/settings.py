"""From the replay block to the configs of optimizer, parameter rules and schedules."""

from typing import Any

Block = dict[str, Any]


def optimizer(block: Block) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Config of the optimizer wrapper, and its parameter rules."""
    o = block['optimizer']
    kind = {'LARC(SGD)': 'LARC'}.get(o['type'], o['type'])
    settings: dict[str, Any] = dict(type=kind, lr=block['schedule']['lr']['base'])
    settings['weight_decay'] = o.get(
        'weight_decay', block['schedule'].get('weight_decay', {}).get('start', 0.0)
    )
    names = {'betas': 'betas', 'eps': 'eps', 'momentum': 'momentum', 'trust_coefficient': 'trust'}
    if kind in ('Adam', 'AdamW'):  # a case may list what its other optimizers have
        names = {'betas': 'betas', 'eps': 'eps'}
    settings.update({ours: o[theirs] for theirs, ours in names.items() if theirs in o})
    clip = block.get('clip')
    return dict(
        type='OptimWrapper',
        optimizer=settings,
        clip_grad=dict(clip) if clip else None,
    ), decay_rules(o['decay'], o['type'] == 'LARS') + frozen_rules(block)


def decay_rules(decay: str, lars: bool) -> list[dict[str, Any]]:
    """Parameter rules of the official code's groups."""
    effect: dict[str, Any] = dict(decay_mult=0.0, **({'adapt': False} if lars else {}))
    one_dim = dict(ndim=1, **effect)
    return {
        'all': [],
        'not_1d_nor_bias': [one_dim],
        'ndim_gt_1': [one_dim],
        'not_1d_unless_bias': [one_dim, dict(match=r'\.bias$', decay_mult=1.0)],
    }[decay]


def frozen_rules(block: Block) -> list[dict[str, Any]]:
    """Rules that freeze last layer or prototypes at the start."""
    rules = []
    if block.get('frozen_last_layer'):
        rules.append(dict(match='last_layer', frozen_epochs=block['frozen_last_layer']['epochs']))
    if block.get('frozen_prototypes'):
        rules.append(
            dict(match='prototypes', frozen_iters=block['frozen_prototypes']['iterations'])
        )
    return rules


# how each method's official schedule ends its warm-up and what its cosine spans
SHAPES: dict[str, dict[str, Any]] = {
    'mocov3': {},
    'moby': dict(after_warmup=False, lag=1),  # its scheduler is called after the step
    'mocov2': dict(hold_epochs=True),
    'swav': dict(warmup_reaches=True),
    'dino': dict(warmup_reaches=True),
    'esvit': dict(warmup_reaches=True),
    'sere': dict(warmup_reaches=True),
    'ibot': dict(warmup_reaches=True),
}


def schedules(block: Block) -> list[dict[str, Any]]:
    """Configs of the schedulers of learning rate and weight decay."""
    lr = block['schedule']['lr']
    lists: list[dict[str, Any]] = [
        dict(
            type='ScheduleParam',
            param_name='lr',
            final=lr.get('final'),
            shape=lr.get('shape', 'cosine'),
            warmup=lr.get('warmup_epochs', 0),
            warmup_start=lr.get('warmup_start', 0.0),
            milestones=lr.get('milestones', ()),
            gamma=lr.get('gamma', 0.1),
            **(SHAPES[block['method']] | ({'lag': lr['lag']} if 'lag' in lr else {})),
        )
    ]
    if 'weight_decay' in block['schedule']:
        final = block['schedule']['weight_decay']['final']
        lists.append(dict(type='ScheduleParam', param_name='weight_decay', final=final))
    return lists
