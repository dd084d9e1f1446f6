"""Training files of another version of mmssl are refused wherever they are read."""

import logging

import pytest
import torch

import mmssl
from mmssl.checkpoint import read, save
from mmssl.checkpoint.content_hash import add_hash
from mmssl.checkpoint.file_format import OtherVersion
from mmssl.engine.state import work_dir_files

from ..helpers.refusals import refuses
from ..helpers.training_state import smallest_file

OLD = {'format': 'mmssl-training-1', 'meta': {'version': '0.1.0'}, 'w': torch.ones(2)}


def test_both_versions_are_named_in_one_line(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    save.write(add_hash(dict(OLD)), path)
    with refuses('file', str(path), OtherVersion) as caught:
        read(path)
    assert '0.1.0' in str(caught.value) and mmssl.__version__ in str(caught.value)


def test_a_run_is_not_begun_anew_among_files_of_another_version(tmp_path):
    """Of a folder with a newest file of 0.1.0, resuming takes nothing else and writes nothing."""
    work_dir_files.write(smallest_file(), tmp_path / 'epoch_1.pth')
    save.write(add_hash(dict(OLD)), tmp_path / 'epoch_2.pth')
    with refuses('file', str(tmp_path / 'epoch_2.pth'), OtherVersion):
        work_dir_files.newest(tmp_path, logging.getLogger())
    (tmp_path / 'epoch_2.pth').unlink()
    assert work_dir_files.newest(tmp_path, logging.getLogger()).name == 'epoch_1.pth'


@pytest.mark.parametrize('found', ['mmssl-result-1', 'else', 3, None])
def test_other_files_have_no_version_to_be_refused_for(tmp_path, found):
    save.write({'format': found, 'w': torch.ones(2)}, tmp_path / 'a.pth')
    assert read(tmp_path / 'a.pth')['format'] == found
