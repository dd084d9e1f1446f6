"""Words that are not used as names: one word has one meaning, and it is the field's."""

import ast
import re

import pytest

from .helpers.paths import REPO

# retired name -> the name that took its place
MODULES = {
    'album': 'figure_page', 'as_cuda': 'cuda_emulation', 'bank_loop': 'feature_loop',
    'blocked': 'chunked', 'clock': 'schedule', 'convert': 'load', 'curve': 'schedule',
    'detection': 'simple_fpn', 'dialects': 'layouts', 'draw': 'view_params',
    'dry_run': 'fake_tensor_step', 'encoder': 'pretrained',
    'facts': 'result_file', 'faults': 'bad_samples, non_finite_hook or error_advice',
    'gallery_page': 'html_page', 'identity': 'fingerprint', 'image_set': 'image_dataset',
    'looking': 'session', 'loops': 'knn_loop', 'mixing': 'mixup', 'monitor': 'health_hook',
    'page': 'html_page', 'picture': 'encoded_image', 'published': 'reference',
    'record': 'run_info_hook', 'recompute': 'activation_checkpointing',
    'refusals': 'sanity_checks', 'rehearsal': 'standalone_step', 'remembered': 'table_cache',
    'rules': 'param_groups', 'shard': 'fsdp', 'sheet': 'visualizer', 'sizes': 'resize',
    'watch': 'watchdog',
}  # fmt: skip
NAMES = {
    'Clock': 'Progress', 'ClockHook': 'MethodHook', 'Curve': 'Schedule',
    'CurveScheduler': 'ScheduleParam', 'Drawn': 'ViewParams', 'Factors': 'FactoredLogits',
    'FaultHook': 'NonFiniteHook', 'Here': 'ProcessStatus', 'ImageFolder': 'ImageDataset',
    'ImageSet': 'ImageDataset', 'Looker': 'AnalysisSession', 'Picture': 'EncodedImage',
    'RecordHook': 'RunInfoHook', 'RuleConstructor': 'ParamGroupConstructor',
    'agreement': 'teacher_cosine', 'bare': 'unwrap_model', 'by_depth': 'layer_groups',
    'descriptor': 'last_blocks_features', 'dialect': 'layout', 'gives': 'out_dim',
    'meeting': 'collective', 'most_views': 'max_views', 'move_teacher': 'update_teacher',
    'needs_views': 'min_views', 'noisy': 'train_mode', 'pretrain_key': 'pretrained',
    'rank_me': 'rankme', 'settle': 'finalize', 'takes': 'in_dim', 'teacher_moves': 'teacher_update',
}  # fmt: skip
KEYS = {
    'block': 'chunk_size', 'dialect': 'layout', 'faults': 'non_finite or bad_samples',
    'most_views': 'max_views', 'needs_views': 'min_views', 'noisy': 'backbone_train_mode',
    'pretrain': 'pretrained', 'rank': 'rankme', 'record': 'run_info', 'side': 'branch',
    'size_by_size': 'with_cp', 'spread': 'embedding_std', 'teacher_moves': 'teacher_update',
}  # fmt: skip
WHERE_A_MODULE_IS_RIGHT = {'mmssl/models/encoder.py'}
FILES = sorted((REPO / 'mmssl').rglob('*.py'))
CONFIGS = sorted(file for file in (REPO / 'configs').rglob('*.py'))


def defined(tree: ast.AST) -> set[str]:
    """Return what a module defines: classes, functions, their arguments, and attributes of self."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return {name.lstrip('_') for name in found}


def keys(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value) | set().union(*map(keys, value.values()), set())
    if isinstance(value, (list, tuple)):
        return set().union(*map(keys, value), set())
    return set()


def test_the_walk_sees_every_kind_of_name():
    code = 'class A:\n    def f(self, b):\n        self._c = 1\n'
    assert defined(ast.parse(code)) == {'A', 'f', 'self', 'b', 'c'}
    assert keys({'a': [{'b': ({'c': 1},)}]}) == {'a', 'b', 'c'}


def test_no_module_has_a_retired_name():
    found = {
        str(f.relative_to(REPO)): MODULES[f.stem]
        for f in FILES
        if f.stem in MODULES and str(f.relative_to(REPO)) not in WHERE_A_MODULE_IS_RIGHT
    }
    assert not found


@pytest.mark.parametrize('file', FILES, ids=lambda f: str(f.relative_to(REPO / 'mmssl')))
def test_no_class_function_or_argument_has_a_retired_name(file):
    found = defined(ast.parse(file.read_text())) & set(NAMES)
    assert not found, {name: NAMES[name] for name in found}


def test_no_config_has_a_retired_key():
    found = {}
    for file in CONFIGS:
        tree = ast.parse(file.read_text())
        named = {k.arg for n in ast.walk(tree) if isinstance(n, ast.Call) for k in n.keywords}
        if bad := named & set(KEYS):
            found[str(file.relative_to(REPO))] = bad
    assert not found, KEYS


def test_no_option_has_a_retired_name():
    retired = {key.replace('_', '-') for key in {**KEYS, **NAMES} if key not in ('block', 'record')}
    for file in (REPO / 'mmssl' / 'cli').glob('*.py'):
        found = set(re.findall(r"'--([a-z-]+)'", file.read_text())) & retired
        assert not found, f'{file.name}: {found}'
