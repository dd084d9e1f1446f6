"""Suggestions for misspelt names."""

import pytest

from mmssl.core import UserError
from mmssl.core.errors import ErrorCollector, UserErrors, closest


def test_the_nearest_names_are_offered():
    known = ['train_dataloader', 'val_dataloader', 'model']
    assert closest('train_dataloder', known).startswith(' (did you mean train_dataloader')
    assert closest('modle', known) == ' (did you mean model?)'
    assert closest('xyz', known) == ''


def test_errors_are_raised_together():
    found = ErrorCollector()
    found.raise_errors()
    with found.collect():
        raise UserError('a is wrong', key='a', value=1)
    with pytest.raises(UserError) as one:
        found.raise_errors()
    assert (one.value.key, one.value.value, str(one.value)) == ('a', 1, 'a is wrong')
    outer = ErrorCollector()
    with outer.collect():
        with found.collect():
            raise UserError('b is wrong', key='b.c', value=None)
        found.raise_errors()
    with pytest.raises(ZeroDivisionError), outer.collect():
        raise ZeroDivisionError
    with pytest.raises(UserErrors) as two:
        outer.raise_errors()
    assert (two.value.key, two.value.value) == ('a, b.c', [1, None])
    assert [str(error) for error in two.value.errors] == ['a is wrong', 'b is wrong']
    assert str(two.value) == '(1) a is wrong; (2) b is wrong'
