"""Between plain maps and payload classes, driven by the classes' type hints.

Unknown keys are ignored, as the protocol asks. A key that is missing or has the wrong type is a
:class:`PayloadError` that names it.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")

Reader = Callable[[object, str], Any]

MAX_UINT = 2**64 - 1
MAX_NAME = 64
"""Characters of a key that an error message repeats."""


class PayloadError(ValueError):
    """A payload that the protocol does not allow; the message names the key."""


def read(cls: type[T], value: object, where: str = "d") -> T:
    """A payload of a map, or :class:`PayloadError`."""
    return typing.cast("T", _dataclass(typing.cast("Any", cls))(value, where))


def to_map(payload: object) -> dict[str, object]:
    """The map of a payload, keys in the protocol's order, ``None`` left out."""
    return {
        name: _plain(value)
        for name in _names(typing.cast("Any", type(payload)))
        if (value := getattr(payload, name)) is not None
    }


@cache
def _names(cls: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        return to_map(value)
    return value


def _wrong(where: str, wanted: str, value: object) -> PayloadError:
    return PayloadError(f"{where} must be {wanted}, not {type(value).__name__}")


def _str(value: object, where: str) -> str:
    if isinstance(value, str):
        return value
    raise _wrong(where, "a text", value)


def _bool(value: object, where: str) -> bool:
    if isinstance(value, bool):
        return value
    raise _wrong(where, "true or false", value)


def _uint(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(where, "a whole number", value)
    if not 0 <= value <= MAX_UINT:
        raise PayloadError(f"{where} must lie in 0..2^64-1")
    return value


def _float(value: object, where: str) -> float:
    return float(_number(value, where))


def _number(value: object, where: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(where, "a number", value)
    if isinstance(value, int):
        # Wider than any integer of MessagePack; a JSON text may hold one that no float takes.
        if abs(value) > MAX_UINT:
            raise PayloadError(f"{where} is too large")
    elif not math.isfinite(value):
        raise PayloadError(f"{where} must be finite")
    return value


def _bytes(value: object, where: str) -> bytes:
    """A blob: MessagePack has one, JSON writes an array of integers."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, list) and all(type(item) is int and 0 <= item <= 255 for item in value):
        return bytes(value)
    raise _wrong(where, "a blob (or an array of 0..255)", value)


def _anything(value: object, _where: str) -> object:
    return value


_SCALARS: dict[object, Reader] = {
    str: _str,
    bool: _bool,
    int: _uint,
    float: _float,
    bytes: _bytes,
    object: _anything,
}


def _reader(hint: Any) -> Reader:
    if hint in _SCALARS:
        return _SCALARS[hint]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _union(args)
    if origin is tuple:
        return _list(_reader(args[0]))
    if origin is dict:
        return _dict(_reader(args[1]))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _dataclass(hint)
    raise TypeError(f"no reader for {hint!r}")


def _union(args: tuple[Any, ...]) -> Reader:
    wanted = [arg for arg in args if arg is not type(None)]
    if set(wanted) == {int, float}:
        return _number
    words = next((arg for arg in wanted if isinstance(arg, type) and issubclass(arg, Enum)), None)
    if words is not None:
        return _word(words)
    if len(wanted) != 1:
        raise TypeError(f"no reader for {args!r}")
    return _reader(wanted[0])


def _word(words: type[Enum]) -> Reader:
    """A word of a list, or the plain text where a newer gateway has one more."""
    known = {word.value: word for word in words}

    def one(value: object, where: str) -> Enum | str:
        text = _str(value, where)
        return known.get(text, text)

    return one


def _list(item: Reader) -> Reader:
    def many(value: object, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _wrong(where, "a list", value)
        return tuple(item(each, f"{where}[{index}]") for index, each in enumerate(value))

    return many


def _dict(item: Reader) -> Reader:
    def named(value: object, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _wrong(where, "a map", value)
        for key in value:
            if not isinstance(key, str):
                raise PayloadError(f"{where} has a key that is no text")
        return {key: item(each, f"{where}.{key[:MAX_NAME]}") for key, each in value.items()}

    return named


@cache
def _dataclass(cls: Any) -> Reader:
    hints = typing.get_type_hints(cls)
    fields = [
        (field.name, _reader(hints[field.name]), field.default is dataclasses.MISSING)
        for field in dataclasses.fields(cls)
    ]

    def one(value: object, where: str) -> Any:
        if not isinstance(value, dict):
            raise _wrong(where, "a map", value)
        values: dict[str, Any] = {}
        for name, reader, required in fields:
            given = value.get(name)
            if given is not None:
                values[name] = reader(given, f"{where}.{name}")
            elif required:
                raise PayloadError(f"{where}.{name} is missing")
        return cls(**values)

    return one
