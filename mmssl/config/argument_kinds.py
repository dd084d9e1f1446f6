"""Check the values of a config's arguments against the annotations of what takes them."""

import inspect
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

PLAIN = {
    int: 'a whole number',
    float: 'a number',
    bool: 'True or False',
    str: 'text',
    dict: 'a dict',
    list: 'a list',
    tuple: 'a tuple',
    type(None): 'None',
}
SETTINGS = ConfigDict(arbitrary_types_allowed=True, strict=True)


def wrong_arguments(target: Any, arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (argument, what to give) for each value that is not of its parameter's kind.

    ``target`` is a class or function of ours; annotations of others are not written for this.
    """
    if not getattr(target, '__module__', '').startswith('mmssl.'):
        return
    for name, annotation in _annotations(target).items():
        if name in arguments and not fits(annotation, arguments[name]):
            yield name, description(annotation)


@cache
def _annotations(target: Any) -> dict[str, Any]:
    """Return the annotations of a target's parameters, following ``**kwargs`` up its bases."""
    if not inspect.isclass(target):
        return _hints(target)
    found: dict[str, Any] = {}
    for constructor in constructors(target)[0]:
        if getattr(constructor, '__module__', '').startswith('mmssl.'):
            found = _hints(constructor) | found
    return found


def constructors(cls: type) -> tuple[list[Any], bool]:
    """Return the constructors that share a class's arguments, by passing ``**kwargs`` upwards.

    The other value says whether the last of them takes any argument, too.
    """
    found = []
    for base in cls.__mro__:
        if '__init__' not in vars(base):
            continue
        found.append(vars(base)['__init__'])
        taken = inspect.signature(found[-1]).parameters.values()
        if not any(p.kind is p.VAR_KEYWORD for p in taken):
            return found, False
    return found, True


def _hints(function: Any) -> dict[str, Any]:
    """Return the annotations of a function's named parameters."""
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError:  # names that are imported for type checkers only
        return {}
    named = inspect.signature(function).parameters.values()
    open_ended = {p.name for p in named if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    return {k: v for k, v in hints.items() if k != 'return' and k not in open_ended}


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any] | None:
    """Return pydantic's validator of an annotation, None where it makes none."""
    try:
        return TypeAdapter(annotation, config=SETTINGS)
    except PydanticSchemaGenerationError:
        return None


def fits(annotation: Any, value: Any) -> bool:
    """Whether a value is of an annotation's kind; lists and tuples are one, as are 1 and 1.0."""
    adapter = _adapter(annotation)
    if adapter is None:
        return True
    return any(_validates(adapter, form) for form in (value, _as(tuple, value), _as(list, value)))


def _validates(adapter: TypeAdapter[Any], value: Any) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


def _as(kind: type, value: Any) -> Any:
    """Return nested lists and tuples as ``kind``, and mappings as plain dicts."""
    if isinstance(value, (list, tuple)):
        return kind(_as(kind, item) for item in value)
    if isinstance(value, Mapping):
        return {key: _as(kind, item) for key, item in value.items()}
    return value


def description(annotation: Any) -> str:
    """Return what an annotation asks for, in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        texts = [m.description for m in inner[1:] if isinstance(m, FieldInfo)]
        return next((text for text in texts if text), description(inner[0]))
    if origin in (typing.Union, types.UnionType):
        return ' or '.join(dict.fromkeys(description(part) for part in inner))
    if origin is Literal:
        return ' or '.join(map(repr, inner))
    if origin is tuple and Ellipsis not in inner:
        alike = len(set(inner)) == 1
        parts = f'each {description(inner[0])}' if alike else ', '.join(map(description, inner))
        return f'{len(inner)} values, {parts}'
    if inner and inspect.isclass(origin) and issubclass(origin, Sequence):
        return f'a list, each {description(inner[0])}'
    base = origin or annotation
    return PLAIN.get(base, getattr(base, '__name__', str(base)))
