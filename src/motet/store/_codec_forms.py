"""How values of the model become JSON values and come back, worked out once from their type hints. Knows the kinds of
types that nouns are made of, not the nouns."""

import types
import typing
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final

from motet.model.payload import Kind, Payload

Encode = Callable[[Any], Any]
Decode = Callable[[Any], Any]

_REQUIRED: Final = object()
"""Stands where a field has no default; equal to nothing that a field holds."""


@dataclass(frozen=True, slots=True)
class Form:
    """How the values of one type are written and read."""

    encode: Encode | None
    """None: the value is a JSON value as it is, or the JSON encoder knows what to do with it."""
    decode: Decode
    """Raises ValueError for what the type cannot be."""


class Noun:
    """The form of one dataclass: an object of its fields, those at their defaults left out. Reading ignores fields that
    the class does not have, and gives those that are missing their defaults; so older and newer rows can be read."""

    def __init__(self, forms: "Forms", cls: type) -> None:
        self._forms = forms
        self._cls = cls
        self._read: Callable[[Any], tuple[Any, ...]] = tuple
        self._writes: list[tuple[str, Any, Encode | None]] = []
        self._reads: dict[str, Decode] = {}
        self._required: frozenset[str] = frozenset()

    def build(self) -> None:
        """Work the fields out; apart from the constructor, because nouns contain themselves."""
        hints = typing.get_type_hints(self._cls, localns=dict(self._forms.names))
        required: set[str] = set()
        for field in fields(self._cls):
            default: Any = field.default
            if field.default_factory is not MISSING:
                default = field.default_factory()
            elif default is MISSING:
                default = _REQUIRED
                required.add(field.name)
            form = self._forms.of(hints[field.name])
            self._writes.append((field.name, default, form.encode))
            self._reads[field.name] = form.decode
        names = [name for name, _, _ in self._writes]
        read = attrgetter(*names)
        self._read = read if len(names) > 1 else lambda value: (read(value),)
        self._required = frozenset(required)

    def encode(self, value: Any) -> dict[str, Any]:
        written = {}
        for (name, default, encode), item in zip(self._writes, self._read(value), strict=True):
            if item is not default and item != default:
                written[name] = item if encode is None else encode(item)
        return written

    def decode(self, value: Any) -> Any:
        if type(value) is not dict:
            raise ValueError(f"{self._cls.__name__}: {_short(value)} is not an object")
        given = {}
        key = ""
        try:
            for key, item in value.items():
                read = self._reads.get(key)
                if read is not None:
                    given[key] = read(item)
        except ValueError as error:
            raise ValueError(f"{self._cls.__name__}.{key}: {error}") from None
        if not self._required <= given.keys():
            missing = ", ".join(sorted(self._required - given.keys()))
            raise ValueError(f"{self._cls.__name__}: {missing} is missing")
        return self._cls(**given)


class Forms:
    """The forms of one format, each worked out once. `tags` has the lasting names of classes that a field may hold one
    of; `names` what forward references may need; `plain` makes JSON of values that are not the model's own."""

    def __init__(self, tags: Mapping[type, str], names: Mapping[str, type], plain: Encode | None) -> None:
        self.names = names
        self._tags = tags
        self._plain = plain
        self._nouns: dict[type, Noun] = {}

    def noun(self, cls: type) -> Noun:
        noun = self._nouns.get(cls)
        if noun is None:
            noun = self._nouns[cls] = Noun(self, cls)
            noun.build()
        return noun

    def of(self, hint: Any) -> Form:
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin is not None:
            return self._of_several(origin, arguments)
        simple = _SIMPLE.get(hint)
        if simple is not None:
            return simple
        if issubclass(hint, StrEnum):
            return Form(None, _enum(hint))
        noun = self.noun(hint)
        return Form(noun.encode, noun.decode)

    def _of_several(self, origin: Any, arguments: Sequence[Any]) -> Form:
        if origin is typing.Union or origin is types.UnionType:
            return self._union(arguments)
        if origin is Mapping:
            return self._mapping(arguments[1])
        if origin is tuple and arguments[-1] is not Ellipsis:
            return _fixed([self.of(argument) for argument in arguments])
        if origin is not tuple and origin is not Sequence:
            raise TypeError(f"{origin.__name__} has no form; give it one here")
        return _items(self.of(arguments[0]))

    def _mapping(self, hint: Any) -> Form:
        if hint is Any:
            return Form(self._plain or dict, _expect(dict))
        encode, decode = (form := self.of(hint)).encode, form.decode

        def write(value: Any) -> dict[str, Any]:
            return dict(value) if encode is None else {key: encode(item) for key, item in value.items()}

        def read(value: Any) -> dict[str, Any]:
            return {key: decode(item) for key, item in _check(value, dict).items()}

        return Form(write, read)

    def _union(self, arguments: Sequence[Any]) -> Form:
        rest = [argument for argument in arguments if argument is not types.NoneType]
        if len(rest) > 1:
            # A protocol among them stands for objects of the program's own, which have no form.
            nouns = [argument for argument in rest if is_dataclass(argument)]
            form = self._choice(nouns, text=str in rest)
        else:
            form = self.of(rest[0])
        return form if len(rest) == len(arguments) else _optional(form)

    def _choice(self, classes: Sequence[Any], *, text: bool) -> Form:
        """One of several classes, as an object whose one key is the class's tag; of one class, its object alone."""
        nouns = {cls: self.noun(cls) for cls in classes}
        tags = {cls: self._tags[cls] for cls in classes} if len(classes) > 1 else {}
        by_tag = {tag: nouns[cls] for cls, tag in tags.items()}
        (only,) = nouns.values() if len(classes) == 1 else (None,)

        def write(value: Any) -> Any:
            if text and isinstance(value, str):
                return value
            noun = nouns.get(type(value))
            if noun is None:
                raise ValueError(f"{type(value).__name__} has no form that can be kept")
            return noun.encode(value) if only else {tags[type(value)]: noun.encode(value)}

        def read(value: Any) -> Any:
            if text and isinstance(value, str):
                return value
            if only:
                return only.decode(value)
            if type(value) is not dict or len(value) != 1:
                raise ValueError(f"{_short(value)} is not an object with one key, one of {', '.join(by_tag)}")
            ((tag, item),) = value.items()
            if tag not in by_tag:
                raise ValueError(
                    f"{tag!r} is none of {', '.join(by_tag)}; a newer version wrote it: read it with that one"
                )
            return by_tag[tag].decode(item)

        return Form(write, read)


def _items(form: Form) -> Form:
    encode, decode = form.encode, form.decode

    def write(value: Any) -> list[Any]:
        return list(value) if encode is None else [encode(item) for item in value]

    def read(value: Any) -> tuple[Any, ...]:
        return tuple([decode(item) for item in _check(value, list)])

    return Form(write, read)


def _fixed(forms: Sequence[Form]) -> Form:
    def write(value: Any) -> list[Any]:
        return [item if form.encode is None else form.encode(item) for form, item in zip(forms, value, strict=True)]

    def read(value: Any) -> tuple[Any, ...]:
        if len(_check(value, list)) != len(forms):
            raise ValueError(f"{_short(value)} has not {len(forms)} items")
        return tuple([form.decode(item) for form, item in zip(forms, value, strict=True)])

    return Form(write, read)


def _optional(form: Form) -> Form:
    encode, decode = form.encode, form.decode

    def write(value: Any) -> Any:
        return None if value is None or encode is None else encode(value)

    def read(value: Any) -> Any:
        return None if value is None else decode(value)

    return Form(None if encode is None else write, read)


def _enum(cls: type[StrEnum]) -> Decode:
    members = {member.value: member for member in cls}

    def read(value: Any) -> StrEnum:
        member = members.get(value) if isinstance(value, str) else None
        if member is None:
            raise ValueError(f"{_short(value)} is none of {', '.join(members)}")
        return member

    return read


def _expect(*kinds: type) -> Decode:
    def read(value: Any) -> Any:
        return _check(value, *kinds)

    return read


def _check(value: Any, *kinds: type) -> Any:
    # The type itself: JSON's true is no number.
    if type(value) not in kinds:
        raise ValueError(f"{_short(value)} is no {kinds[-1].__name__}")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."


def _write_time(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError(f"{value} has no time zone; give one in UTC")
    return value.astimezone(UTC).isoformat()


def _read_time(value: Any) -> datetime:
    time = datetime.fromisoformat(_check(value, str))
    if time.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{value!r} is out of range") from None


def _write_payload(value: Payload) -> dict[str, str]:
    content = b64encode(value.data).decode() if value.kind == "data" else value.text
    return {value.kind: content, "media_type": value.media_type} if value.media_type else {value.kind: content}


_KINDS: Final[tuple[Kind, ...]] = ("text", "json", "data")


def _read_payload(value: Any) -> Payload:
    for kind in _KINDS:
        if kind in _check(value, dict):
            content = _check(value[kind], str)
            media_type = _check(value.get("media_type", ""), str)
            return Payload(kind, b64decode(content, validate=True) if kind == "data" else content, media_type)
    raise ValueError(f"{_short(value)} has none of {', '.join(_KINDS)}")


_SIMPLE: Final[dict[Any, Form]] = {
    str: Form(None, _expect(str)),
    bool: Form(None, _expect(bool)),
    # An agent of a program's own may report whole tokens as 1.0: what was kept can be read.
    int: Form(None, _expect(int, float)),
    float: Form(None, _expect(int, float)),
    datetime: Form(_write_time, _read_time),
    Payload: Form(_write_payload, _read_payload),
}
