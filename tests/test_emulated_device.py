"""Tensors of models travel on the models' device: every such call site, on an emulated device."""

import json
import subprocess
import sys
from collections import Counter

import pytest

from .helpers.emulated import DEVICE, DEVICE_SITES, PARTS, SYNC_BN
from .helpers.methods import MODELS_BY_NAME
from .helpers.paths import REPO

pytestmark = pytest.mark.slow
CENTRE = 'models/heads/distillation.py:end_step'
# how often one step, or part of one, calls each
SENT: dict[str, dict[str, int]] = {
    'update': {'engine/optim/wrapper.py:_agree': 1},
    'clip_shards': {'optim/shards.py:tensor_norms': 1},
    'end_epoch': {'models/heads/distillation.py:drop_incomplete': 1},
    'health': {'engine/hooks/health_hook.py:statistics': 2},
    'begin_evaluation': {'engine/hooks/method_hook.py:before_val': 3},
    'features': {'evaluation/feature_extraction.py:extract': 6},
    'accuracy': {},
    'moco': {
        'functional/batch_shuffle.py:shuffle': 2,
        'functional/batch_shuffle.py:unshuffle': 1,
        'models/queue.py:push': 1,
    },
    'mocov3': {'functional/contrast.py:info_nce': 2, SYNC_BN: 92},
    'moby': {'models/queue.py:push': 2, SYNC_BN: 12},
    # of two crops: the sum of all, and three of prototypes
    'swav': {'functional/assign.py:sinkhorn': 2 * 4, 'models/queue.py:end_step': 2, SYNC_BN: 38},
    'esvit': {CENTRE: 2, SYNC_BN: 12},
    'dino': {CENTRE: 1, SYNC_BN: 4},
    'ibot': {CENTRE: 2},
    'sere': {CENTRE: 2, SYNC_BN: 24},
}
ON_HOST = {
    'features': {'core/bad_samples.py:joined': 1},
    'accuracy': {'evaluation/metrics/accuracy.py:evaluate': 1},
}


@pytest.fixture(scope='module')
def sent() -> dict[str, list[tuple[str, str, str]]]:
    """Return what each part has sent: (call site, device, group)."""
    done = subprocess.run(
        [sys.executable, '-m', 'tests.helpers.emulated'],
        capture_output=True,
        text=True,
        cwd=REPO,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_parts_call_every_site():
    assert set(SENT) == set(PARTS) | set(MODELS_BY_NAME)
    called = {site for sites in SENT.values() for site in sites}
    assert called == DEVICE_SITES | {SYNC_BN}


@pytest.mark.parametrize('part', SENT)
def test_tensors_of_the_model_stay_on_its_device(sent, part):
    """They travel on the default group, which is NCCL's; objects on that of the host."""
    expected = Counter({(site, DEVICE, 'default'): n for site, n in SENT[part].items()})
    expected |= Counter({(site, 'object', 'host'): n for site, n in ON_HOST.get(part, {}).items()})
    assert Counter(map(tuple, sent[part])) == expected
