"""BatchMixup of a batch against timm's Mixup."""

import numpy as np
import pytest
import torch
from timm.data import Mixup
from torch.testing import assert_close

from mmssl.models.mixup import BatchMixup

MAE = dict(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1)


@pytest.mark.parametrize('seed', range(4))
def test_it_is_timms(seed):
    images, labels = torch.randn(4, 3, 8, 8), torch.tensor([0, 4, 2, 2])
    np.random.seed(seed)
    expected = Mixup(prob=1.0, switch_prob=0.5, mode='batch', num_classes=5, **MAE)(
        images.clone(), labels
    )
    np.random.seed(seed)
    found = BatchMixup(MAE, 5)(images.clone(), labels)
    assert_close(found, expected, rtol=0, atol=0)
    assert_close(found[1].sum(1), torch.ones(4))
    assert not torch.equal(found[0], images)
