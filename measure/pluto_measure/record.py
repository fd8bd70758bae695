"""Frozen values for modules that the trust domain's programs import at every start. Pure.

`@record` stands where `@dataclass(frozen=True, slots=True)` would: constructor, comparison, hash and text are the same,
and type checkers treat both alike. The standard library's module imports `inspect` and compiles new source for each
class, which was a quarter of a small program's start. Modules that stay out of the trust domain use dataclasses.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Any, TypeVar, dataclass_transform

    T = TypeVar("T")
else:

    def dataclass_transform(**_: object) -> object:
        """What `typing` has of that name, which tells type checkers something and does nothing."""
        return lambda function: function


class _Record:
    """The methods of all records. A record's `__post_init__` is called as a dataclass's is."""

    __slots__ = ()
    __match_args__: tuple[str, ...] = ()
    _defaults: dict[str, Any] = {}  # noqa: RUF012  each record has its own

    def __init__(self, *values: Any, **named: Any) -> None:
        fields = self.__match_args__
        given = dict(zip(fields, values, strict=False))
        if len(values) > len(fields) or named.keys() & given.keys() or named.keys() - set(fields):
            raise TypeError(f"{type(self).__name__} takes {', '.join(fields)}, each once")
        given = {**self._defaults, **given, **named}
        for name in fields:
            if name not in given:
                raise TypeError(f"{type(self).__name__} needs {name}")
            object.__setattr__(self, name, given[name])
        if check := getattr(self, "__post_init__", None):
            check()

    def __setattr__(self, name: str, _: object) -> None:
        raise AttributeError(f"cannot assign to {name}: a {type(self).__name__} is frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"cannot delete {name}: a {type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return _values(self) == _values(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(_values(self))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__qualname__}({fields})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), _values(self)


@dataclass_transform(frozen_default=True)
def record(kind: type[T]) -> type[T]:
    """The class with its annotated names as fields, in order, frozen and slotted. It may not have base classes."""
    content = {name: value for name, value in vars(kind).items() if name not in ("__dict__", "__weakref__")}
    fields = tuple(kind.__annotations__)
    content["_defaults"] = {name: content.pop(name) for name in fields if name in content}
    content["__slots__"] = content["__match_args__"] = fields
    return type(kind.__name__, (_Record,), content)


def replace(value: T, **changes: Any) -> T:
    """The same record with other values in some fields. TypeError for a field that it does not have."""
    fields: tuple[str, ...] = value.__match_args__  # type: ignore[attr-defined]
    return type(value)(**{name: getattr(value, name) for name in fields} | changes)


def _values(value: Any) -> tuple[Any, ...]:
    return tuple(getattr(value, name) for name in value.__match_args__)
