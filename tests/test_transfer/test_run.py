"""tools/train.py and tools/test.py on configs of mmdet and mmseg, as a user calls them."""

import json
from types import SimpleNamespace

import pytest
import torch

from mmssl.checkpoint import read
from mmssl.transfer.runner import Runner

from ..helpers.command import call, refused
from ..helpers.refusals import check_refusal, refuses
from ..helpers.transfer_nets import SMALL, VIT

pytestmark = pytest.mark.transfer
DETECTOR, SEGMENTOR = 'mask-rcnn_vit-conv_simple-fpn_10e_shapes.py', 'fpn_vit-conv_300i_shapes.py'
NET = dict(_delete_=True, type='mmssl.VisionTransformer', **VIT)
SMALL_DETECTOR = dict(backbone=NET, neck=dict(in_channels=24, out_channels=64))
PYRAMID = [
    dict(type='Feature2Pyramid', embed_dim=24, rescales=[2, 1, 0.5, 0.25]),
    dict(type='FPN', in_channels=[24] * 4, out_channels=64, num_outs=4),
]
SMALL_SEGMENTOR = dict(
    backbone=dict(NET, out_indices=(0, 1, 2, 3)), neck=PYRAMID,
    decode_head=dict(norm_cfg=dict(type='SyncBN')),
)  # fmt: skip
EPOCH = ('train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'train_dataloader.batch_size=2')
EPOCH += ('default_hooks.checkpoint.interval=1', 'default_hooks.checkpoint.save_optimizer=True')
TWO = ('train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'train_dataloader.batch_size=2')
TWO += ('default_hooks.checkpoint.interval=2',)


def tool(capsys, *words, script='tools/train.py'):
    """Call a tool with new writers of images, as a new process would have."""
    from mmdet.visualization import DetLocalVisualizer
    from mmseg.visualization import SegLocalVisualizer

    for kind in (DetLocalVisualizer, SegLocalVisualizer):
        kind._instance_dict.clear()
    return call(capsys, *words, script=script)


def test_a_detector_trains_is_resumed_tested_and_drawn(
    write_config, pretrained, scenes, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    config = write_config(DETECTOR, **SMALL_DETECTOR)
    data, start = f'data_root={scenes}', f'pretrained={pretrained("vit")}'
    words = (config, '--work-dir', tmp_path / 'w')
    done = tool(capsys, *words, '--cfg-options', data, start, *EPOCH)
    assert done.code == 0, done.err
    assert 'backbone: 54 of 54 tensors of' in done.out
    assert 'coco/bbox_mAP: ' in done.out and 'coco/segm_mAP: ' in done.out

    # a training file is data: text that mmengine would run as a config stays text
    content = torch.load(tmp_path / 'w' / 'epoch_1.pth', weights_only=False)
    content['meta']['config'] = f"open({str(tmp_path / 'ran')!r}, 'w')"
    torch.save(content, tmp_path / 'w' / 'epoch_1.pth')
    done = tool(capsys, *words, '--resume', '--cfg-options', data, *EPOCH, 'train_cfg.max_epochs=2')
    assert done.code == 0, done.err
    assert 'resumed epoch: 1, iter: 2' in done.out
    assert not (tmp_path / 'ran').exists()
    steps = read(tmp_path / 'w' / 'epoch_2.pth')['optimizer']['state']
    assert {int(s['step']) for s in steps.values()} == {4}

    out = ('--out', tmp_path / 'm.json', '--out-item', 'metrics', '--show-dir', tmp_path / 'shown')
    last = tmp_path / 'w' / 'epoch_2.pth'
    done = tool(capsys, *words[:1], last, '--work-dir', tmp_path / 't', *out, '--cfg-options',
                data, script='tools/test.py')  # fmt: skip
    assert done.code == 0, done.err
    assert 0 <= json.loads((tmp_path / 'm.json').read_text())['coco/bbox_mAP'] <= 1
    assert len(list((tmp_path / 'shown').glob('*.png'))) == 2


def rows(folder):
    """Return what was logged of each step of the newest run in a work dir."""
    log = max(folder.glob('*/vis_data/scalars.json'))
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.slow
def test_rates_and_optimizer_go_on_after_resuming(
    write_config, pretrained, scenes, tmp_path, capsys
):
    config = write_config(DETECTOR, **SMALL_DETECTOR)
    options = (*EPOCH, 'train_cfg.max_epochs=2', 'default_hooks.logger.interval=1')
    options = ('--no-validate', '--cfg-options', f'data_root={scenes}', *options)
    whole, part = tmp_path / 'whole', tmp_path / 'part'
    done = tool(capsys, config, '--work-dir', whole, *options, f'pretrained={pretrained("vit")}')
    assert done.code == 0, done.err
    first = whole / 'epoch_1.pth'
    done = tool(capsys, config, '--work-dir', part, '--resume', first, *options)
    assert done.code == 0, done.err
    assert [row['lr'] for row in rows(part)] == [row['lr'] for row in rows(whole)[2:]]
    steps = read(part / 'epoch_2.pth')['optimizer']['state']
    assert {int(state['step']) for state in steps.values()} == {4}


@pytest.mark.parametrize('key', ['optimizer', 'param_schedulers'])
def test_a_run_does_not_go_on_from_a_part_of_a_file(key):
    """mmengine would begin the optimizer or the rates anew, without a word."""
    running = SimpleNamespace(optim_wrapper=object(), param_schedulers=[object()])
    content = dict(optimizer=dict(state={}), param_schedulers=[{}])
    Runner._check_whole_run(running, content, 'x.pth')
    del content[key]
    with refuses('file', 'x.pth') as caught:
        Runner._check_whole_run(running, content, 'x.pth')
    assert f'no {key}' in str(caught.value) and 'load_from=x.pth' in str(caught.value)
    running.param_schedulers = []
    if key == 'param_schedulers':  # a run without any needs none
        Runner._check_whole_run(running, content, 'x.pth')


def test_a_segmentor_trains_is_tested_and_drawn(write_config, pretrained, scenes, tmp_path, capsys):
    config = write_config(SEGMENTOR, **SMALL_SEGMENTOR)
    data, start = f'data_root={scenes}', f'pretrained={pretrained("vit")}'
    done = tool(capsys, config, '--work-dir', tmp_path / 'w', '--cfg-options', data, start, *TWO)
    assert done.code == 0, done.err
    assert 'no GPU: every process has its own batch norms' in done.out or torch.cuda.is_available()
    assert 'mIoU: ' in done.out
    last, show = tmp_path / 'w' / 'iter_2.pth', ('--show-dir', tmp_path / 'shown')
    done = tool(capsys, config, last, '--work-dir', tmp_path / 't', *show, '--cfg-options', data,
                script='tools/test.py')  # fmt: skip
    assert done.code == 0, done.err
    assert len(list((tmp_path / 'shown').rglob('*.png'))) == 2


@pytest.mark.parametrize(
    ('script', 'words', 'key', 'value'),
    [
        (
            'train',
            ('pretrained=random', 'model.roi_head.bbox_head.num_classes=80'),
            'model.roi_head.bbox_head.num_classes',
            '80',
        ),
        ('train', (), 'pretrained', None),
        ('train', ('pretrained={resnet}',), 'file', '{resnet}'),
        ('train', ('data_root=gone',), 'folder', 'gone'),
        ('test', (), 'file', '{vit}'),
    ],
)
def test_bad_input_is_one_line(
    script, words, key, value, write_config, pretrained, scenes, tmp_path, capsys
):
    config = write_config(DETECTOR, **SMALL_DETECTOR)
    files = {kind: str(pretrained(kind)) for kind in ('resnet', 'vit')}
    first = (files['vit'],) if script == 'test' else ()
    options = [f'data_root={scenes}', *(word.format(**files) for word in words)]
    done = tool(capsys, config, *first, '--work-dir', tmp_path / 'w', '--cfg-options', *options,
                script=f'tools/{script}.py')  # fmt: skip
    assert done.code == 2
    wanted = value and value.format(**files)
    check_refusal(done.error, key, int(wanted) if str(wanted).isdigit() else wanted)
    assert done.err.splitlines()[-1] == f'error: {done.error}'


def test_a_file_that_is_not_there_is_named(write_config, scenes, tmp_path, capsys):
    words = (write_config(DETECTOR, **SMALL_DETECTOR), '--work-dir', tmp_path / 'w')
    options = ('--cfg-options', f'data_root={scenes}', 'pretrained=gone.pth')
    done = tool(capsys, *words, *options)
    assert done.code == 2
    last = done.err.splitlines()[-1]
    assert last.startswith('error: ') and 'gone.pth' in last


def test_out_of_a_transfer_config_is_its_metrics(tmp_path, capsys):
    config = SMALL / DETECTOR
    done = tool(capsys, config, 'x.pth', '--out', tmp_path / 'x.json', script='tools/test.py')
    assert 'add --out-item metrics' in refused(done)
