"""The request of a manifest: read strictly, and completed to what goes out. Pure.

The URL is fixed: a manifest is for one place, so variables stand in header values and in the body only.
"""

from __future__ import annotations

import re

from pluto_measure.errors import FormatError
from pluto_notary.manifest.canonical import canonical
from pluto_notary.manifest.members import Members, below, checked_text
from pluto_notary.manifest.model import Body, Request, Variable
from pluto_notary.manifest.patterns import Patterns
from pluto_notary.manifest.template import (
    LONGEST_NAME,
    LONGEST_VALUE,
    Template,
    complete,
    is_name,
    names_in,
    parsed,
    rendered,
    unfit,
)
from pluto_notary.manifest.violation import OverworkError, Violation, Work
from pluto_notary.web import WebRequest

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
VERSIONS: Final = ("HTTP/1.1", "HTTP/2")
MOST_HEADERS: Final = 64
MOST_VARIABLES: Final = 100
WORK: Final = 100_000  # to match one default with its pattern
LONGEST_HEADER: Final = 8 * 1024
LARGEST_BODY: Final = 1024 * 1024  # bytes, completed
LONGEST_URL: Final = 8 * 1024
# Headers of the connection, which is the notary's.
CONNECTION: Final = frozenset(
    (
        "expect", "http2-settings", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade",
    )
)  # fmt: skip
# Headers that may be stated and say what is known anyway.
KNOWN: Final = ("host", "connection", "content-length")
TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
HEADER_VALUE: Final = re.compile(r"[\t -~]*")
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST: Final = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
_URL: Final = re.compile(r"https://([^/?#:@\[\]]+)(?::([1-9][0-9]{0,4}))?((?:/[^?#]*)?(?:\?[^#]*)?)")
# RFC 3986, path and query; the brackets are in every second site's queries.
_TARGET: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]-]|%[0-9A-Fa-f]{2})*")
_PLAIN: Final = frozenset(b"*-._0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_DOTS: Final = re.compile(r"(?:\.|%2e){1,2}", re.IGNORECASE)


def parse_request(members: Members, variables: Mapping[str, Variable], extra: Mapping[str, Any]) -> Request:
    """Take all members but `vars`. `extra`: more headers, of version 1. FormatError."""
    method = members.one_of("method", METHODS)
    host, port, target = split_url(members.text("url", longest=LONGEST_URL), members.at("url"))
    version = None if (value := members.get("version")) is None else value
    if version is not None and version not in VERSIONS:
        raise FormatError(members.at("version"), f"must be one of {', '.join(VERSIONS)}")
    authority = host if port == 443 else f"{host}:{port}"
    headers = _headers(members, extra, authority)
    body = _body(members.get("body"), dict(headers), members.at("body"))
    used = names_in(list(dict(headers).values())) | (names_in(body.content) if body else set())
    for name in sorted(used - variables.keys()):
        raise FormatError(members.at("vars"), f"does not declare the variable {name}, which is used")
    for variable in variables.values():
        if variable.required and variable.name not in used:
            raise FormatError(f"{members.at('vars')}.{variable.name}", "is required and not used")
    return Request(method, host, port, target, version, headers, body, tuple(variables.values()))


def parse_variable(name: str, value: object, path: str, patterns: Patterns, *, version: int) -> Variable:
    """One member of `vars`. Version 1 also knows `regex` (for `pattern`), `length` and `type`. FormatError."""
    if not is_name(name):
        raise FormatError(path, f"is not 1 to {LONGEST_NAME} letters, digits and underscores")
    members = Members(value, path)
    description = members.optional_text("description")
    required = members.flag("required", default=True)
    default = members.optional_text("default", longest=LONGEST_VALUE)
    pattern = patterns.read(members.get("pattern"), "", members.at("pattern"))
    length, encoding = None, None
    if version == 1:
        pattern = patterns.read(members.get("regex"), "", members.at("regex")) or pattern
        length = members.number("length", most=LONGEST_VALUE)
        if (kind := members.get("type")) not in (None, "string", "base64", "base64url", "hex"):
            raise FormatError(members.at("type"), "must be one of string, base64, base64url, hex")
        encoding = None if kind in (None, "string") else str(kind)
    members.end()
    variable = Variable(name, description, required, default, pattern, length, encoding)
    if not required and default is None:
        raise FormatError(members.at("default"), "is missing, and a variable that is not required needs it")
    try:
        problem = None if default is None else unfit(variable, default, Work(WORK))
    except OverworkError:
        problem = "takes too much work to match with its pattern"
    if problem:
        raise FormatError(members.at("default"), problem)
    return variable


def split_url(url: str, path: str) -> tuple[str, int, str]:
    """Host in lower case, port, and path with query. FormatError for a URL with a second reading.

    Refused: another scheme, a user, a fragment, an address in numbers, characters that are not a URL's, dot segments.
    """
    if "<%" in url:
        raise FormatError(path, "has a variable; a URL is fixed, only header values and the body have variables")
    if not url.startswith("https://"):
        raise FormatError(path, "must begin with https://")
    found = _URL.fullmatch(url)
    if found is None or not _TARGET.fullmatch(found[3]):
        raise FormatError(path, "is not https://HOST[:PORT]/PATH[?QUERY] with other characters percent-encoded")
    host, port, target = found[1].lower(), int(found[2] or 443), found[3]
    if not _HOST.fullmatch(host) or len(host) > 253 or host.rpartition(".")[2].isdigit():
        raise FormatError(path, "must name its host by a DNS name (xn-- for other alphabets)")
    if port > 65535:
        raise FormatError(path, "has a port above 65535")
    segments = target.partition("?")[0].split("/")
    if any(_DOTS.fullmatch(segment) for segment in segments):
        raise FormatError(path, "has a dot segment, which servers read differently")
    return host, port, target if target.startswith("/") else f"/{target}"


def complete_request(request: Request, variables: Mapping[str, str], work: Work) -> WebRequest:
    """What goes out, with the client's variables in it. Violation, which quotes none of them."""
    values = complete(request.variables, variables, work)
    headers = []
    for name, template in request.headers:
        value = template.render(values)
        if not HEADER_VALUE.fullmatch(value) or value != value.strip(" \t") or len(value) > LONGEST_HEADER:
            raise Violation(f"manifest.request.headers.{name}", "with its variables is no value of a header")
        headers.append((name, value))
    body = _completed_body(request.body, values)
    if len(body) > LARGEST_BODY:
        raise Violation("manifest.request.body", f"with its variables has more than {LARGEST_BODY} bytes")
    if dict(headers).get("content-length", str(len(body))) != str(len(body)):
        raise Violation("manifest.request.headers.content-length", "is not the length of the body")
    return WebRequest(request.method, request.host, request.port, request.target, tuple(headers), body)


def _headers(members: Members, extra: Mapping[str, Any], authority: str) -> tuple[tuple[str, Template], ...]:
    stated = members.named("headers", most=MOST_HEADERS)
    found: dict[str, Template] = {}
    for name, value in [*stated.items(), *extra.items()]:
        path, lower = below(members.at("headers"), name), name.lower()
        if not TOKEN.fullmatch(name):
            raise FormatError(path, "is not the name of a header")
        if lower in found:
            raise FormatError(path, "occurs twice, as case does not matter")
        if lower in CONNECTION:
            raise FormatError(path, "belongs to the connection, which is the notary's")
        template = Template.parse(checked_text(value, path, longest=LONGEST_HEADER, least=0), path)
        if not all(HEADER_VALUE.fullmatch(piece) for piece in template.literals):
            raise FormatError(path, "has characters that a header cannot have")
        known = {"host": authority, "connection": "close"}
        if lower in KNOWN and (
            template.names or template.literals[0].lower() != known.get(lower, template.literals[0])
        ):
            wanted = {"host": "the URL's host", "connection": "close"}.get(lower, "a number")
            raise FormatError(path, f"must be {wanted}, or left out")
        found[lower] = template
    return tuple(found.items())


def _body(value: Any, headers: Mapping[str, Template], path: str) -> Body | None:
    """How a body is spelt depends on the request's Content-Type: text as it is, all else as canonical JSON."""
    if value is None:
        return None
    content_type = headers.get("content-type", Template(("application/json",), ()))
    if content_type.names:
        raise FormatError(path, "needs a Content-Type without variables")
    media = content_type.literals[0].partition(";")[0].strip().lower()
    if media == "application/json" or media.endswith("+json"):
        return Body("json", parsed(value, path))
    template = Template.parse(checked_text(value, path, longest=LARGEST_BODY, least=0), path)
    if media == "application/x-www-form-urlencoded":
        return Body("urlencoded", template)
    if template.names:
        raise FormatError(path, "has variables, which only JSON and form bodies may have: elsewhere they could be code")
    return Body("text", template)


def _completed_body(body: Body | None, values: Mapping[str, str]) -> bytes:
    if body is None:
        return b""
    if body.form == "json":
        return canonical(rendered(body.content, values))
    text: str = body.content.render(values, _form_text if body.form == "urlencoded" else str)
    return text.encode()


def _form_text(text: str) -> str:
    """A value of application/x-www-form-urlencoded, which can end neither itself nor its name."""
    return "".join("+" if byte == 0x20 else chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in text.encode())
