"""What an authority answers, bounded and checked before it is used. Pure.

Objects of ACME may have members that nobody here knows (RFC 8555, 6.1 and 9.7), so those are not refused; whatever is
read is. AcmeError, code "answer", for an answer that is not one; "ca-…" for one that says no.
"""

from __future__ import annotations

import calendar

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads
from pluto_measure.record import record
from pluto_notary.acme.errors import AcmeError
from pluto_notary.config import host_and_port
from pluto_notary.events import CA_PROBLEMS
from pluto_notary.web import WebRequest

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final, TypeVar

    from pluto_notary.web import Headers, WebResponse

    T = TypeVar("T")

LARGEST_OBJECT: Final = 64 * 1024  # bytes of one answer in JSON
_LONGEST_URL, _LONGEST_TOKEN, _LONGEST_NONCE = 2048, 512, 512  # characters
_MOST_CHALLENGES: Final = 32
_BASE64URL: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_URL_LETTERS: Final = frozenset(map(chr, range(0x21, 0x7F))) - frozenset('#"<>\\^`{|}')
_PROBLEM: Final = "urn:ietf:params:acme:error:"
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
TLS_ALPN: Final = "tls-alpn-01"


@record
class Directory:
    """RFC 8555, 7.1.1."""

    new_nonce: str
    new_account: str
    new_order: str


@record
class Order:
    """RFC 8555, 7.1.3. `authorization`: of the one name that was asked for; `certificate`: its URL, if it is there."""

    status: str
    authorization: str
    finalize: str
    certificate: str | None


@record
class Challenge:
    """RFC 8555, 8, and RFC 8737, 3."""

    url: str
    token: str
    status: str
    problem: str | None  # the code of its error


@record
class Authorization:
    """RFC 8555, 7.1.4, with the one challenge that we can meet, if the authority offers it."""

    status: str
    challenge: Challenge | None


def request_to(url: str, method: str = "GET", headers: Headers = (), body: bytes = b"") -> WebRequest:
    """The request for a URL that came from outside. AcmeError unless it is https://host[:port]/… in our spelling."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    place = host_and_port(authority)
    if len(url) > _LONGEST_URL or scheme != "https" or not slash or place is None or not _URL_LETTERS.issuperset(path):
        raise AcmeError("answer", "a URL is not https://host[:port]/path")
    return WebRequest(method, *place, f"/{path}", headers, body)


def header(response: WebResponse, name: str) -> str | None:
    """The value of a header that may come once."""
    values = [value for known, value in response.headers if known == name]
    if len(values) > 1:
        raise AcmeError("answer", f"the header {name} comes more than once")
    return values[0] if values else None


def nonce_of(response: WebResponse) -> str | None:
    """The next nonce. RFC 8555, 6.5.1: one that is not base64url is as if it were not there."""
    nonce = header(response, "replay-nonce")
    return nonce if nonce and len(nonce) <= _LONGEST_NONCE and _BASE64URL.issuperset(nonce) else None


def location_of(response: WebResponse) -> str:
    """The URL of what was made."""
    if (url := header(response, "location")) is None:
        raise AcmeError("answer", "the answer does not say where the new object is")
    request_to(url)
    return url


def retry_after(response: WebResponse, now: float) -> float | None:
    """Seconds to wait, by the header in either form (RFC 9110, 10.2.3); None without one. `now`: Unix time."""
    if (value := header(response, "retry-after")) is None:
        return None
    if value.isascii() and value.isdigit() and len(value) < 10:
        return float(value)
    at = _date(value)
    return None if at is None else max(0.0, at - now)


def checked(response: WebResponse, *statuses: int, now: float) -> WebResponse:
    """The answer, if it has one of these statuses. Else AcmeError with the code of its problem (RFC 7807)."""
    if response.status in statuses:
        return response
    wait = retry_after(response, now) or 0.0
    code = "ca-other"
    if (header(response, "content-type") or "").partition(";")[0].strip().lower() == "application/problem+json":
        code = problem_code(_get(_fields(response), "type", "about:blank", str))
    elif response.status < 400:
        code = "answer"
    raise AcmeError(code, f"the authority answered with status {response.status}", retry_after=wait)


def problem_code(kind: object) -> str:
    """The code of a problem's type. What is not in RFC 8555 is "ca-other"."""
    word = kind.removeprefix(_PROBLEM) if isinstance(kind, str) and kind.startswith(_PROBLEM) else ""
    return f"ca-{word}" if word in CA_PROBLEMS else "ca-other"


def directory(response: WebResponse) -> Directory:
    """Where things are."""
    fields = _fields(response)
    found = Directory(*(_url(fields, name) for name in ("newNonce", "newAccount", "newOrder")))
    meta: dict[str, object] = _get(fields, "meta", {}, dict)
    if meta.get("externalAccountRequired", False) is not False:
        raise AcmeError("ca-externalAccountRequired", "the authority wants an account that was opened elsewhere")
    return found


def account_is_valid(response: WebResponse) -> None:
    """AcmeError unless the account may be used."""
    if _status(_fields(response)) != "valid":
        raise AcmeError("ca-unauthorized", "the account is not valid")


def order(response: WebResponse, domain: str) -> Order:
    """An order for exactly this name."""
    fields = _fields(response)
    status, certificate = _status(fields), _get(fields, "certificate", "", str) or None
    if _take(fields, "identifiers", list) != [{"type": "dns", "value": domain}]:
        raise AcmeError("identifier", "the order is for another name")
    authorizations: list[object] = _take(fields, "authorizations", list)
    if len(authorizations) != 1 or not isinstance(authorizations[0], str):
        raise AcmeError("answer", "an order for one name must have one authorization")
    if status == "invalid":
        raise AcmeError(_problem_in(fields) or "ca-other", "the order has failed")
    request_to(authorizations[0])
    if certificate is not None:
        request_to(certificate)
    return Order(status, authorizations[0], _url(fields, "finalize"), certificate)


def authorization(response: WebResponse, domain: str) -> Authorization:
    """The authorization of exactly this name."""
    fields = _fields(response)
    status, wildcard = _status(fields), _get(fields, "wildcard", False, bool)
    challenges: list[object] = _take(fields, "challenges", list)
    if _take(fields, "identifier", dict) != {"type": "dns", "value": domain} or wildcard:
        raise AcmeError("identifier", "the authorization is for another name")
    if len(challenges) > _MOST_CHALLENGES:
        raise AcmeError("answer", "the authorization has too many challenges")
    ours = [one for one in challenges if isinstance(one, dict) and one.get("type") == TLS_ALPN]
    if len(ours) > 1:
        raise AcmeError("answer", f"the authorization has more than one challenge {TLS_ALPN}")
    return Authorization(status, _challenge(ours[0]) if ours else None)


def _challenge(value: dict[str, object]) -> Challenge:
    fields = Fields(value, what="answer")
    token = _take(fields, "token", str)
    if not 0 < len(token) <= _LONGEST_TOKEN or not _BASE64URL.issuperset(token):
        raise AcmeError("answer", "a token is not base64url")
    return Challenge(_url(fields, "url"), token, _status(fields), _problem_in(fields))


def _problem_in(fields: Fields) -> str | None:
    error: dict[str, object] = _get(fields, "error", {}, dict)
    return problem_code(error.get("type")) if error else None


def _fields(response: WebResponse) -> Fields:
    try:
        return Fields(loads(response.body, what="answer", limit=LARGEST_OBJECT), what="answer")
    except FormatError as error:
        raise AcmeError("answer", "the answer is not a JSON object") from error


def _take(fields: Fields, name: str, kind: type[T]) -> T:
    """A required member of this kind."""
    try:
        value: T = fields.take(name, kind)
    except FormatError as error:
        raise AcmeError("answer", f"{name} is missing or not what it must be") from error
    return value


def _get(fields: Fields, name: str, default: T, kind: type[T]) -> T:
    """A member of this kind that need not be there."""
    try:
        value: T = fields.get(name, default, kind)
    except FormatError as error:
        raise AcmeError("answer", f"{name} is not what it must be") from error
    return value


def _url(fields: Fields, name: str) -> str:
    url = _take(fields, name, str)
    request_to(url)
    return url


def _status(fields: Fields) -> str:
    return _take(fields, "status", str)


def _date(text: str) -> int | None:
    """Unix time of "Sun, 06 Nov 1994 08:49:37 GMT": RFC 9110, 5.6.7; the forms of old are not read."""
    parts = text.split(" ")
    if len(text) != 29 or len(parts) != 6 or parts[5] != "GMT" or parts[2] not in _MONTHS:
        return None
    digits = [parts[1], parts[3], *parts[4].split(":")]
    if len(digits) != 5 or not all(one.isascii() and one.isdigit() for one in digits):
        return None
    day, year, hour, minute, second = map(int, digits)
    if not (year and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 61):
        return None
    return calendar.timegm((year, _MONTHS.index(parts[2]) + 1, day, hour, minute, second))
