"""Suggestions for misspelt names."""

from mmssl.core.errors import closest


def test_the_nearest_names_are_offered():
    known = ['train_dataloader', 'val_dataloader', 'model']
    assert closest('train_dataloder', known).startswith(' (did you mean train_dataloader')
    assert closest('modle', known) == ' (did you mean model?)'
    assert closest('xyz', known) == ''
