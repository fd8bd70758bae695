"""What version 1 of the format had otherwise, mapped to the model of version 2. Pure.

Version 1 had one path in the body and proved little: that its last key exists. Here the value at the path is taken and
goes into the statement, as that of an extractor with the id "json" and any type.
"""

from __future__ import annotations

from pluto_measure.errors import FormatError
from pluto_notary.manifest.members import Members, checked_text
from pluto_notary.manifest.model import Extractor, Response
from pluto_notary.manifest.response import media_type, parse_head

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Any, Final

ID: Final = "json"
LONGEST_PATH: Final = 100
LARGEST_STEP: Final = 2**53 - 1


def extra_headers(members: Members) -> dict[str, Any]:
    """`request.extra.headers`: more headers to send. FormatError."""
    extra = members.get("extra")
    if extra is None:
        return {}
    inner = Members(extra, members.at("extra"))
    headers = inner.named("headers", most=64)
    inner.end()
    return headers


def parse_response(members: Members) -> Response:
    """FormatError; what version 2 has instead is an error, too."""
    status, version, message, headers = parse_head(members)
    body = members.sub("body")
    members.end()
    if media_type(dict(headers)["content-type"]) == "text/html":
        raise FormatError(members.at("headers"), "must not state text/html, from which version 1 can take nothing")
    steps = body.items("json", least=1, most=LONGEST_PATH)
    path = tuple(_step(step, f"{body.at('json')}[{index}]") for index, step in enumerate(steps))
    body.end()
    selector = tuple(str(step) for step in path)
    return Response(
        status, version, message, headers, "json", (Extractor(ID, None, selector, None, True, (), None, path),)
    )


def walk(document: Any, path: tuple[str | int, ...]) -> tuple[bool, Any]:
    """Whether the path is in the document, and the value where it ends.

    The last step is a key, an index, or the very value that the others lead to.
    """
    value = document
    for step in path[:-1]:
        found, value = _into(value, step)
        if not found:
            return False, None
    last = path[-1]
    found, inner = _into(value, last)
    if found:
        return True, inner
    is_value = not isinstance(value, bool | list | dict) and isinstance(value, str) == isinstance(last, str)
    return is_value and value == last, value


def _into(value: Any, step: str | int) -> tuple[bool, Any]:
    if isinstance(step, str):
        return (True, value[step]) if isinstance(value, dict) and step in value else (False, None)
    return (True, value[step]) if isinstance(value, list) and step < len(value) else (False, None)


def _step(value: object, path: str) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_STEP:
        return value
    if isinstance(value, str):
        return checked_text(value, path, longest=1024, least=0)
    raise FormatError(path, "must be text or an integer from 0")
