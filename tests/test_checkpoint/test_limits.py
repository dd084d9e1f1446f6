"""Files whose reading would cost more than their size: limits, linear time, escaped names."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mmssl.checkpoint import load, read
from mmssl.checkpoint.architecture import sizes
from mmssl.checkpoint.content_hash import KEY
from mmssl.checkpoint.export import export
from mmssl.checkpoint.layouts import LAYOUTS, detect
from mmssl.checkpoint.reader import limits
from mmssl.checkpoint.reader.builders import Refused
from mmssl.checkpoint.reader.limits import check_header, check_limits
from mmssl.cli import extract_backbone
from mmssl.cli.converter_report import check_whole_swin
from mmssl.core import UserError
from mmssl.models.backbones import ResNet, SwinTransformer

from ..helpers.counting import calls
from ..helpers.refusals import refuses

ESCAPE = '\x1b[31mred\x07'


def written(folder: Path, content: Any) -> Path:
    torch.save(content, folder / 'x.pth')
    return folder / 'x.pth'


def doubled(levels: int) -> list[Any]:
    """Lists that hold the one below twice: 2^levels leaves in a few bytes."""
    node: list[Any] = ['leaf']
    for _ in range(levels):
        node = [node, node]
    return node


def holding_itself() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found['optimizer'] = [found, found]
    return found


def nested(levels: int) -> list[Any]:
    node: list[Any] = []
    for _ in range(levels):
        node = [node]
    return node


CONTENTS: dict[str, tuple[Any, str]] = {
    'lists of lists': ({'a': doubled(60), KEY: '0' * 64}, f'{limits.ENTRIES} entries'),
    'a dict that holds itself': (holding_itself(), 'holds itself'),
    'a deep list': ({'a': nested(200)}, f'more than {limits.DEPTH} '),
    'a long name': ({'blocks.' + '9' * 5000 + '.w': torch.ones(1)}, f'{limits.NAME} characters'),
    'a long number': ({'epoch': 10**5000}, f'{limits.BITS} bits'),
}


@pytest.mark.parametrize('name', CONTENTS)
def test_contents_beyond_a_limit_are_refused_by_their_file(name: str, tmp_path: Path) -> None:
    content, reason = CONTENTS[name]
    path = written(tmp_path, content)
    with refuses('file', str(path)) as caught:
        read(path)
    assert isinstance(caught.value.__context__, Refused)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 500


def test_tensors_that_view_the_same_bytes() -> None:
    """A million bytes viewed ten times are one file's, a billion times they are not."""
    weight = torch.ones(limits.SPARE // 4)
    stored = weight.numel() * 4
    content = {str(i): weight for i in range(limits.COPIES)}
    check_limits(content, stored)
    check_limits(content | {'one': weight}, stored)  # SPARE: small files may
    with pytest.raises(Refused, match=str(limits.COPIES)):
        check_limits(content | {'one': weight, 'more': weight}, stored)


def test_what_is_at_a_limit_is_read() -> None:
    check_limits(nested(limits.DEPTH - 1), 100)
    check_limits({'x' * limits.NAME: 2**limits.BITS - 1, 'log': 'y' * 10 * limits.NAME}, 100)
    shared = doubled(20)  # 2^20 leaves, 3 million entries with the lists
    with pytest.raises(Refused):
        check_limits(shared, 100)
    check_limits(shared[0], 100)
    with pytest.raises(Refused):
        check_limits(nested(limits.DEPTH), 100)


def test_safetensors_of_too_many_tensors(tmp_path: Path) -> None:
    path = tmp_path / 'x.safetensors'
    many = limits.TENSORS + 1
    entry = {'dtype': 'F32', 'shape': [0], 'data_offsets': [0, 0]}
    header = json.dumps({str(i): entry for i in range(many)}).encode()
    check_header(header.replace(b'data_offsets', b'', 1))
    path.write_bytes(struct.pack('<Q', len(header)) + header)
    with refuses('file', str(path)) as caught:
        read(path)
    assert str(limits.TENSORS) in str(caught.value)
    path.write_bytes(struct.pack('<Q', limits.HEADER + 1) + b'{}')
    with refuses('file', str(path)) as caught:
        read(path)
    assert isinstance(caught.value.__context__, Refused)


# linear time --------------------------------------------------------------------------------------
def names(count: int) -> dict[str, torch.Tensor]:
    one = torch.ones(1)
    return {f'module.base_encoder.blocks.{i}.head.{i}.weight': one for i in range(count)}


def translated(count: int) -> None:
    layout, state = detect({'state_dict': names(count)}, 'x.pth')
    ours, _ = layout.translate(state)
    assert len(ours) == count


def swin_sizes(count: int) -> None:
    """A Swin of as many stages as there are names."""
    state = {f'net.layers.{i}.blocks.0.attn.x': torch.ones(1) for i in range(count)}
    table = {f'net.layers.{i}.blocks.0.attn.relative_position_bias_table': torch.ones(9, 1)
             for i in range(count)}  # fmt: skip
    state |= table | {'net.patch_embed.proj.weight': torch.ones(4, 3, 4, 4)}
    with refuses('state', 'swin'):
        sizes(state | {'net.layers.0.blocks.0.mlp.fc1.weight': torch.ones(16, 4)})


@pytest.mark.parametrize('function', [translated, swin_sizes])
def test_time_grows_with_the_names(function: Callable[[int], None]) -> None:
    """Ten times the names take ten times the calls, not a hundred."""
    function(100)  # compiles patterns
    assert calls(function, 10_000) < 11 * calls(function, 1_000)


def test_a_zip_of_many_storages_is_read_in_linear_time(tmp_path: Path) -> None:
    """Each storage was compared with all before it."""

    def of(count: int) -> Path:
        return written(tmp_path, {str(i): torch.ones(1) for i in range(count)})

    few = calls(read, of(500))
    assert calls(read, of(5_000)) < 11 * few


# sizes of a file ----------------------------------------------------------------------------------
def swin(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    net = SwinTransformer((8, (1, 1, 1, 2), (1, 2, 4, 8)))
    return net.state_dict() | {key.replace('__', '.'): value for key, value in changes.items()}


TABLE = 'net.layers.0.blocks.0.attn.relative_position_bias_table'
SIZES: dict[str, dict[str, torch.Tensor]] = {
    'no columns': {TABLE: torch.zeros(169, 0)},
    'no rows': {TABLE: torch.zeros(0, 1)},
    'a first convolution of width 0': {'net.patch_embed.proj.weight': torch.zeros(0, 3, 4, 4)},
    'windows of 200': {TABLE: torch.zeros(399**2, 1)},
}


@pytest.mark.parametrize('name', SIZES)
@pytest.mark.parametrize('target', ['mmdet', 'timm'])
def test_sizes_that_no_network_has(name: str, target: str, tmp_path: Path) -> None:
    state = swin() | SIZES[name]
    path = written(tmp_path, {'state_dict': state})
    with refuses('state', 'swin'):
        sizes(state)
    with refuses('file', str(path)):
        extract_backbone.main([str(path), str(tmp_path / 'out.pth'), '--to', target])
    assert not (tmp_path / 'out.pth').exists()


def test_indices_take_no_more_than_their_limit() -> None:
    """Windows of 32 take 8 MB a block; of 200 blocks 1.6 GB are refused before they are made."""
    state = swin()
    blocks = {
        key.replace('layers.0.blocks.0', f'layers.0.blocks.{i}'): value
        for key, value in state.items()
        if key.startswith('net.layers.0.blocks.0.')
        for i in range(200)
    }
    state |= blocks
    for key in state:
        if key.endswith('bias_table'):
            state[key] = torch.zeros(63**2, state[key].shape[1])
    with refuses('state', 32):
        export(state, 'mmdet')
    assert len(export(state, 'timm').state) == len(state)


def test_a_network_wider_than_its_file_is_not_built() -> None:
    """Sizes of a million from a file of a few numbers: other shapes, and no memory for them."""
    state = swin()
    state['net.patch_embed.proj.weight'] = torch.zeros(1 << 18, 3, 4, 4)[:, :1, :1, :1]
    state['net.layers.0.blocks.0.mlp.fc1.weight'] = torch.zeros(1 << 20, 1)
    with refuses('file', 'x.pth'):
        check_whole_swin(state, 'x.pth', 'mmdet')
    check_whole_swin(swin(), 'x.pth', 'mmdet')


# what is printed ----------------------------------------------------------------------------------
def test_messages_hold_nothing_that_a_terminal_obeys() -> None:
    error = UserError(f'{ESCAPE}: wrong', key=ESCAPE, value=ESCAPE)
    assert str(error) == r'\x1b[31mred\x07: wrong'
    assert (error.key, error.value) == (ESCAPE, ESCAPE)


@pytest.mark.parametrize('where', ['a name', 'an entry', 'a layout'])
def test_names_of_a_file_are_printed_escaped(where: str, tmp_path: Path) -> None:
    net = ResNet(layers=(1, 1, 1, 1), width=4)
    state = net.state_dict()
    if where == 'a name':
        state[f'net.layer1.0.{ESCAPE}'] = torch.ones(1)
    content: dict[str, Any] = {'state_dict': state}
    if where == 'an entry':
        content = {ESCAPE: {ESCAPE: 1}}
    elif where == 'a layout':
        content = {'model': {f'rpn_head.{ESCAPE}': torch.ones(1)}}
    path = written(tmp_path, content)
    with refuses('file', str(path)) as caught:
        load(net, path)
    assert str(caught.value).isprintable()


def test_reports_are_printed_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = ResNet(layers=(1, 1, 1, 1), width=4)
    state = net.state_dict() | {f'head.{ESCAPE}': torch.ones(1)}
    report = load(net, written(tmp_path, {'state_dict': state}), verbose=False)
    assert str(report).isprintable()
    assert r'\x1b[31mred\x07' in str(report)


def test_every_layout_still_finds_its_own() -> None:
    """`strip_prefixes` looks for what it removes; names without it are left as they are."""
    for layout in LAYOUTS.values():
        assert layout.strip_prefixes('module.x.y') == 'x.y'
        assert layout.strip_prefixes('x.y') == 'x.y'
