"""Reads what Azure answers: a member by its path, of the kind that it must have. SourceError names the member. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pluto_deploy.cloud.door import Answer
from pluto_measure.errors import SourceError

SERVICE: Final = "Azure"
Json = dict[str, Any]
T = TypeVar("T")


def document(answer: Answer, act: str) -> Json:
    """The body as a JSON object."""
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise SourceError(f"{SERVICE}: {act}: the answer is no JSON object")
    return value


def find(value: Mapping[str, Any], path: str, kind: type[T], what: str) -> T | None:
    """The member at `path` (names with dots); None where it, or what it is in, is not there."""
    here: Any = value
    for name in path.split("."):
        if not isinstance(here, Mapping):
            raise SourceError(f"{SERVICE}: {what}: {path} cannot be read: what holds {name} is no object")
        here = here.get(name)
        if here is None:
            return None
    if not isinstance(here, kind) or (isinstance(here, bool) and kind is not bool):
        raise SourceError(f"{SERVICE}: {what}: {path} is not {kind.__name__}")
    return here


def need(value: Mapping[str, Any], path: str, kind: type[T], what: str) -> T:
    """The member at `path`, which has to be there."""
    found = find(value, path, kind, what)
    if found is None:
        raise SourceError(f"{SERVICE}: {what}: {path} is missing")
    return found


def objects(value: Mapping[str, Any], path: str, what: str) -> list[Json]:
    """A list of objects; none where the member is not there."""
    found = find(value, path, list, what) or []
    if not all(isinstance(one, dict) for one in found):
        raise SourceError(f"{SERVICE}: {what}: {path} is not a list of objects")
    return found


def tags(value: Mapping[str, Any], what: str) -> dict[str, str]:
    """A resource's tags."""
    found: dict[str, Any] = find(value, "tags", dict, what) or {}
    if not all(isinstance(one, str) for one in found.values()):
        raise SourceError(f"{SERVICE}: {what}: tags are not all text")
    return found


def same_id(one: str | None, other: str | None) -> bool:
    """Ids are compared without regard to case: services answer in the case that they like."""
    return one is not None and other is not None and one.lower() == other.lower()
