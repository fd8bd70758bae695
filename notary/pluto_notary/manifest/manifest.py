"""The manifest: what a client wants to be seen, committed to by its digest before anything is asked. Pure.

    bytes -> Manifest -> request(variables) -> [somebody fetches] -> values(request, exchange)

Format: docs/formats/manifest.md, schemas/manifest.v2.json.
"""

from __future__ import annotations

from functools import reduce

from pluto_measure.errors import FormatError
from pluto_measure.record import record
from pluto_notary.manifest import response as version2
from pluto_notary.manifest import version1
from pluto_notary.manifest.canonical import InexactError, canonical
from pluto_notary.manifest.document import JsonLimits, read
from pluto_notary.manifest.enforce import enforce
from pluto_notary.manifest.members import ROOT, Members, below
from pluto_notary.manifest.model import LARGEST_BODY, Request, Response, Value
from pluto_notary.manifest.patterns import Patterns
from pluto_notary.manifest.request import MOST_VARIABLES, complete_request, parse_request, parse_variable
from pluto_notary.manifest.violation import Work
from pluto_notary.statement.keccak import keccak256
from pluto_notary.web import Exchange, WebRequest

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

LIMITS: Final = JsonLimits(size=256 * 1024, depth=64, values=16 * 1024)
VERSIONS: Final = ("1", "2")
# Work that is done at once: a tenth of a second or so. More belongs into a process of its own: worker.py.
AT_ONCE: Final = 1_000_000


@record
class Manifest:
    """A manifest that was read; equal ones have the same canonical form."""

    version: int
    id: str | None
    title: str | None
    description: str | None
    asked: Request
    answered: Response
    text: bytes  # canonical
    keccak: bytes  # the digest of that, 32 bytes

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """FormatError, whose `what` is the path of the member that is wrong, as in `manifest.request.url`."""
        document = read(data, LIMITS, what=ROOT)
        try:
            text = canonical(document, exact=True)
        except InexactError as error:
            raise FormatError(
                reduce(below, error.path, ROOT), "is a number that RFC 8785 would round; no canonical form has it"
            ) from None
        # From here on it is its canonical form: what has one digest is one request, down to the order of its headers.
        members = Members(document if text == data else read(text, LIMITS, what=ROOT), ROOT)
        version = int(members.one_of("manifestVersion", VERSIONS))
        words = (members.optional_text("id"), members.optional_text("title"), members.optional_text("description"))
        members.optional_text("prepareUrl")  # where a person goes first; nothing that a notary could enforce
        patterns = Patterns()
        asked = _request(members.sub("request"), version, patterns)
        sub = members.sub("response")
        answered = version1.parse_response(sub) if version == 1 else version2.parse_response(sub, patterns)
        members.end()
        if asked.version and answered.version and asked.version != answered.version:
            raise FormatError(sub.at("version"), "is not that of the request, and both are of one connection")
        return cls(version, *words, asked, answered, text, keccak256(text))

    @property
    def host(self) -> str:
        """The one host that may be asked, in lower case."""
        return self.asked.host

    @property
    def port(self) -> int:
        return self.asked.port

    @property
    def http_version(self) -> str | None:
        """The one version that may be spoken ("HTTP/1.1", "HTTP/2"), or None."""
        return self.asked.version or self.answered.version

    @property
    def largest_body(self) -> int:
        """Bytes that the body of an answer may have, decoded: of a larger one nothing is judged."""
        return LARGEST_BODY[self.answered.format]

    def canonical(self) -> bytes:
        """RFC 8785 of the whole document, just as its author wrote it: no default is filled in."""
        return self.text

    def digest(self) -> bytes:
        """Keccak-256 of the canonical form, 32 bytes."""
        return self.keccak

    def request(self, variables: Mapping[str, str]) -> WebRequest:
        """What is to be asked, with the client's variables. Violation, which quotes none of them."""
        return complete_request(self.asked, variables, Work(AT_ONCE))

    def values(self, request: WebRequest, exchange: Exchange, *, units: int = AT_ONCE) -> tuple[Value, ...]:
        """The values that the manifest asks for, if all holds that it states of request and response; else Violation.

        `request` is what `request()` gave. `units`: work that may be done; OverworkError (a Violation), if more is
        needed. HTML takes longer than a program with other duties can wait, so `Workers` is the place to ask.
        """
        return enforce(self.asked, self.answered, request, exchange, Work(units))


def _request(members: Members, version: int, patterns: Patterns) -> Request:
    extra = version1.extra_headers(members) if version == 1 else {}
    path = members.at("vars")
    declared = members.named("vars", most=MOST_VARIABLES)
    variables = {
        name: parse_variable(name, value, below(path, name), patterns, version=version)
        for name, value in declared.items()
    }
    request = parse_request(members, variables, extra)
    members.end()
    return request
