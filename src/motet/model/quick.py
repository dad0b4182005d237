"""Makes the frozen nouns of which every member, or every run, needs several. A frozen dataclass's own constructor sets each
field through the check that keeps it frozen, which takes longer than all else that a small member costs."""

from collections.abc import Callable
from dataclasses import fields, make_dataclass
from typing import Any, TypeVar, cast

T = TypeVar("T")


def quick(cls: type[T]) -> Callable[..., T]:
    """A constructor of a frozen, slotted dataclass that wants every field, in order or by name, and checks nothing.

    It is that of an open twin with the same slots, which turns into the frozen one once it is filled.
    """

    def turn(self: Any) -> None:
        self.__class__ = cls

    names = [each.name for each in fields(cls)]  # type: ignore[arg-type]  # a dataclass
    return cast("Callable[..., T]", make_dataclass(cls.__name__, names, slots=True, namespace={"__post_init__": turn}))
