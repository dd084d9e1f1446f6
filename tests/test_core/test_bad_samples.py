"""Count unreadable samples."""

import re

import pytest

from mmssl.core.bad_samples import BadSamples

from ..helpers.refusals import refuses


def test_faults_are_listed_once():
    faults = BadSamples(1000)
    assert faults.add(['a: x', '', 'b: y\nc: z'], 3) == ['a: x', 'b: y', 'c: z']
    assert faults.add(['a: x', 'd: w'], 2) == ['d: w']
    assert (faults.seen, len(faults.files)) == (5, 4)


@pytest.mark.parametrize(
    ('total', 'seen', 'bad', 'stops'),
    [
        (1000, 1000, 10, False),
        (1000, 1000, 11, True),
        (10**6, 1000, 26, False),  # 10 + 4 sqrt(10) + 4 = 26.6: beyond accident
        (10**6, 1000, 27, True),
        (10**6, 64, 5, False),
        (10**6, 64, 64, True),
        (24, 24, 1, True),
        (24, 24, 0, False),
    ],
)
def test_too_many_are_more_than_the_share_or_beyond_accident(total, seen, bad, stops):
    faults = BadSamples(total)
    faults.add([f'{i}.png: gone' for i in range(bad)], seen)
    if not stops:
        return faults.check()
    with refuses('default_hooks.bad_samples.share', faults.share) as found:
        faults.check()
    assert re.findall(r'\d+', str(found.value))[:3] == [str(bad), str(seen), str(total)]
    assert str(found.value).count('.png: gone') == min(bad, 20)
    return None
