"""Which tensor of a file fills which tensor of a model."""

import pytest
import torch

from mmssl.checkpoint.matching import match_branches, match_state, shape_difference

FILES = {
    'none': ['backbone.net.w', 'head.fc.weight'],
    'student': ['student.backbone.net.w', 'student.neck.p', 'head.q'],
    'both': [
        *('student.backbone.net.w', 'student.neck.p'),
        *('teacher.backbone.net.w', 'teacher.neck.p', 'head.q'),
    ],
}
MODELS = {
    'backbone': ['net.w'],
    'classifier': ['backbone.net.w', 'head.fc.weight'],
    **{name: FILES[name] for name in ('student', 'both')},
}
# (file, model, branch asked for) -> (the branch taken, {name in the model: name in the file})
TABLE = {
    ('none', 'backbone', 'export'): ('teacher', {'net.w': 'backbone.net.w'}),
    ('none', 'classifier', 'export'): ('teacher', {name: name for name in FILES['none']}),
    ('none', 'student', 'export'): (
        'both from one', {'student.backbone.net.w': 'backbone.net.w'},
    ),
    ('none', 'both', 'student'): (
        'both from one',
        {f'{branch}.backbone.net.w': 'backbone.net.w' for branch in ('student', 'teacher')},
    ),
    ('student', 'backbone', 'student'): ('student', {'net.w': 'student.backbone.net.w'}),
    ('both', 'backbone', 'export'): ('teacher', {'net.w': 'teacher.backbone.net.w'}),
    ('both', 'classifier', 'student'): ('student', {'backbone.net.w': 'student.backbone.net.w'}),
    ('both', 'student', 'export'): ('both', {name: name for name in FILES['both']}),
    ('both', 'both', 'export'): ('both', {name: name for name in FILES['both']}),
    ('both', 'both', 'teacher'): (
        'both from one',
        {
            'student.backbone.net.w': 'teacher.backbone.net.w',
            'student.neck.p': 'teacher.neck.p',
            'teacher.backbone.net.w': 'teacher.backbone.net.w',
            'teacher.neck.p': 'teacher.neck.p',
            'head.q': 'head.q',
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize(('file', 'model', 'asked'), TABLE)
def test_names_by_branch(file: str, model: str, asked: str) -> None:
    taken, wanted = TABLE[file, model, asked]
    assert match_branches(FILES[file], MODELS[model], 'teacher', asked) == (wanted, taken)


def test_a_student_alone_fills_both() -> None:
    names, taken = match_branches(FILES['student'], MODELS['both'], 'student', 'export')
    assert taken == 'both from one'
    assert names['teacher.neck.p'] == 'student.neck.p'


def test_a_teacher_may_lack_a_mask_token() -> None:
    file = [*FILES['both'], 'student.backbone.mask_token']
    names, _ = match_branches(file, file, 'student', 'student')
    assert names['student.backbone.mask_token'] == 'student.backbone.mask_token'
    assert 'teacher.backbone.mask_token' not in names


def test_states_by_name() -> None:
    target = {name: torch.zeros(2) for name in ('a', 'b', 'c', 'd', 'e', 'f', 'g')}
    target['bn.num_batches_tracked'] = torch.tensor(3)
    given = {
        'x': torch.ones(1),
        'a': torch.ones(2),
        'b': torch.ones(3),
        'c': torch.ones(2, dtype=torch.int64),
        'd': torch.tensor([1.0, torch.inf]),
        'f': torch.full((2,), 1e300, dtype=torch.float64),
        'g': torch.full((2,), 1e30, dtype=torch.float64),
    }
    match = match_state(target, given)
    assert match.matched == ['a', 'g']
    assert match.missing == ['e']
    assert match.computed == ['bn.num_batches_tracked']
    assert match.mismatched == {
        'b': '(3,) for (2,)',
        'c': 'int64 for float32',
        'd': 'with numbers that are not finite',
        'f': 'with numbers beyond float32',
    }
    assert match.unexpected == ['x']
    assert match_state(target, given, shape_difference).matched == ['a', 'c', 'd', 'f', 'g']
