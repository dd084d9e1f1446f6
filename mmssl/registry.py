"""Registries of mmssl, children of mmengine's.

mmengine allows one child registry per scope and parent, so the four words a config may use for
parts of a network are one registry.
"""

from mmengine import registry as root
from mmengine.registry import Registry


def _child(name: str, parent: Registry, *rooms: str) -> Registry:
    return Registry(name, parent=parent, scope='mmssl', locations=[f'mmssl.{r}' for r in rooms])


MODELS = _child('model', root.MODELS, 'models')
BACKBONES = NECKS = HEADS = ALGORITHMS = MODELS
DATASETS = _child('dataset', root.DATASETS, 'datasets')
DATA_SAMPLERS = _child('data sampler', root.DATA_SAMPLERS, 'datasets')
TRANSFORMS = _child('transform', root.TRANSFORMS, 'datasets')
HOOKS = _child('hook', root.HOOKS, 'engine', 'evaluation')
LOOPS = _child('loop', root.LOOPS, 'engine', 'evaluation')
RUNNERS = _child('runner', root.RUNNERS, 'engine')
METRICS = _child('metric', root.METRICS, 'evaluation')
OPTIMIZERS = _child('optimizer', root.OPTIMIZERS, 'optim')
OPTIM_WRAPPERS = _child('optim wrapper', root.OPTIM_WRAPPERS, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optim wrapper constructor', root.OPTIM_WRAPPER_CONSTRUCTORS, 'engine'
)
PARAM_SCHEDULERS = _child('parameter scheduler', root.PARAM_SCHEDULERS, 'engine')
MODEL_WRAPPERS = _child('model wrapper', root.MODEL_WRAPPERS, 'engine')
LOG_PROCESSORS = _child('log processor', root.LOG_PROCESSORS, 'engine')
# none of ours yet; without a room to look in mmengine would say that mmssl is not installed
VISUALIZERS = _child('visualizer', root.VISUALIZERS, 'engine')
VISBACKENDS = _child('vis backend', root.VISBACKENDS, 'engine')


def all_registries() -> list[Registry]:
    """Return the registries of mmssl, then those of mmengine above them, filled.

    mmengine fills some of its own only when they are asked.
    """
    own = list(dict.fromkeys(each for each in globals().values() if isinstance(each, Registry)))
    found = [*own, *(each.parent for each in own if each.parent is not None)]
    for each in found:
        each.import_from_location()
    return found
