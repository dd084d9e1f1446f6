"""Steps of a longer tool: run once, and skipped where their result is there."""

import json

import pytest

from mmssl.cli.subprocess_tools import call_tool, json_or_run, prepare_folder, stored_json


def test_a_step_runs_only_where_its_result_is_missing(tmp_path):
    file = tmp_path / 'metrics.json'
    runs = []

    def run():
        runs.append(1)
        file.write_text(json.dumps({'top1': 50.0}))

    assert stored_json(file) is None
    assert json_or_run(file, run) == json_or_run(file, run) == {'top1': 50.0}
    assert len(runs) == 1


def test_a_failing_tool_ends_the_caller_with_its_status(capfd):
    with pytest.raises(SystemExit) as stopped:
        call_tool('analysis_tools/report', 'no_such_folder', threads=1)
    assert stopped.value.code == 2
    assert '$ python' in capfd.readouterr().out


def test_results_of_other_settings_do_not_mix(tmp_path, capsys):
    folder = tmp_path / 'run'
    prepare_folder(folder, 'a')
    (folder / 'epoch_1.pth').touch()
    prepare_folder(folder, 'a')
    assert (folder / 'epoch_1.pth').exists() and not capsys.readouterr().out
    prepare_folder(folder, 'b')
    assert not (folder / 'epoch_1.pth').exists()
    assert (tmp_path / 'run.1' / 'epoch_1.pth').exists()
    assert str(tmp_path / 'run.1') in capsys.readouterr().out
