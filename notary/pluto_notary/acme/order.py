"""One order, from the directory to the certificate's chain: what is asked, in which order, and when it is over. Pure.

    directory -> nonce -> account -> order -> authorization -> [challenge shown -> told -> polled] -> order "ready"
    -> finalize -> polled -> order "valid" -> certificate                          RFC 8555, 7.1 to 7.5; RFC 8737

`order` is a generator that gives steps and is sent what comes of them: an Answer for Ask, None for Wait and Show. Its
value is the chain, not checked yet. AcmeError. Who drives it takes the challenge back, however it ends.
"""

from __future__ import annotations

from pluto_measure.formats.strict_json import canonical
from pluto_measure.record import record
from pluto_notary.acme import answers
from pluto_notary.acme.errors import AcmeError
from pluto_notary.acme.jose import AccountKey, b64

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Final, TypeVar

    from pluto_notary.web import WebRequest, WebResponse

    T = TypeVar("T")
    Known = TypeVar("Known", answers.Order, answers.Authorization)
    Steps = Generator["Ask | Wait | Show", "Answer | None", T]

LARGEST_CHAIN: Final = 128 * 1024  # bytes of PEM
_JSON: Final = ("accept", "application/json")
_CHAIN: Final = ("accept", "application/pem-certificate-chain")
_JOSE: Final = ("content-type", "application/jose+json")
_REJECTED: Final = 400
_SETTLED: Final = ("valid", "invalid", "deactivated", "expired", "revoked")  # of an authorization; RFC 8555, 7.1.6


@record
class Ask:
    """Ask the authority. `most`: bytes of the answer's body that are of use."""

    request: WebRequest
    most: int


@record
class Wait:
    """Let so many seconds pass."""

    seconds: float


@record
class Show:
    """Show the challenge's certificate from now on. `digest`: of the key authorization (RFC 8737, 3); None: no more."""

    digest: bytes | None


@record
class Answer:
    """What came, and when (Unix time)."""

    response: WebResponse
    now: float


@record
class Patience:
    """How long an authority may take. Seconds."""

    nonces: int = 5  # attempts at one request whose nonce is refused
    polls: int = 24  # of one object
    pause: float = 1.0  # before the second poll, and half as long again before each further one
    longest_pause: float = 20.0  # unless the authority says more
    longest_wanted: float = 60.0  # that it may say


@record
class Wanted:
    """What is ordered of whom. `request`: the certificate signing request in DER."""

    directory: str  # URL
    domain: str
    request: bytes
    patience: Patience = Patience()


def order(wanted: Wanted, key: AccountKey) -> Steps[bytes]:
    """The chain that the authority gives, as text (PEM)."""
    found = yield from _asked(answers.request_to(wanted.directory, headers=(_JSON,)), answers.LARGEST_OBJECT)
    places = answers.directory(answers.checked(found.response, 200, now=found.now))
    talk = _Talk(places.new_nonce, key, wanted.patience)
    yield from talk.sign_up(places.new_account)
    asked = {"identifiers": [{"type": "dns", "value": wanted.domain}]}
    made = yield from talk.post(places.new_order, canonical(asked), 201)
    place, current = answers.location_of(made.response), answers.order(made.response, wanted.domain)
    if current.status == "pending":
        yield from _authorized(talk, current.authorization, wanted.domain)

    def read(response: WebResponse) -> answers.Order:
        return answers.order(response, wanted.domain)

    current = yield from talk.poll(place, read, until=("ready", "processing", "valid"))
    taken = None
    if current.status == "ready":
        taken = yield from talk.post(current.finalize, canonical({"csr": b64(wanted.request)}), 200)
    current = yield from talk.poll(place, read, until=("valid",), after=taken)
    if current.certificate is None:
        raise AcmeError("answer", "the order is valid and names no certificate")
    given = yield from talk.post(current.certificate, b"", 200, accept=_CHAIN, most=LARGEST_CHAIN)
    kind = (answers.header(given.response, "content-type") or "").partition(";")[0].strip().lower()
    if kind != _CHAIN[1]:
        raise AcmeError("answer", "the certificate does not come as a chain in PEM")
    return given.response.body


def _authorized(talk: _Talk, place: str, domain: str) -> Steps[None]:
    """The authority is convinced that the name leads here."""

    def read(response: WebResponse) -> answers.Authorization:
        return answers.authorization(response, domain)

    found = yield from talk.post(place, b"", 200)
    current = read(found.response)
    if current.status == "pending":
        if (challenge := current.challenge) is None:
            raise AcmeError("challenge", f"the authority does not offer {answers.TLS_ALPN}")
        yield Show(talk.key.authorization(challenge.token))
        taken = (yield from talk.post(challenge.url, b"{}", 200)) if challenge.status == "pending" else None
        current = yield from talk.poll(place, read, until=_SETTLED, after=taken)
        yield Show(None)
    if current.status != "valid":
        problem = current.challenge.problem if current.challenge is not None else None
        raise AcmeError(problem or "ca-other", "the authority is not convinced that the name leads here")


class _Talk:
    """Signed requests of one account: each with a nonce of its own."""

    def __init__(self, new_nonce: str, key: AccountKey, patience: Patience) -> None:
        self._new_nonce, self.key, self._patience = new_nonce, key, patience
        self._nonce: str | None = None
        self._kid: str | None = None

    def sign_up(self, new_account: str) -> Steps[None]:
        """Open the account, or find it again: RFC 8555, 7.3."""
        found = yield from self.post(new_account, canonical({"termsOfServiceAgreed": True}), 200, 201)
        answers.account_is_valid(found.response)
        self._kid = answers.location_of(found.response)

    def post(
        self,
        url: str,
        payload: bytes,
        *statuses: int,
        accept: tuple[str, str] = _JSON,
        most: int = answers.LARGEST_OBJECT,
    ) -> Steps[Answer]:
        """One answer with one of these statuses. A refused nonce is replaced: RFC 8555, 6.5."""
        for _ in range(self._patience.nonces):
            nonce = yield from self._fresh_nonce()
            body = self.key.signed(payload, url=url, nonce=nonce, kid=self._kid)
            found = yield from _asked(answers.request_to(url, "POST", (_JOSE, accept), body), most)
            self._nonce = answers.nonce_of(found.response)
            try:
                answers.checked(found.response, *statuses, now=found.now)
            except AcmeError as error:
                if error.code != "ca-badNonce" or found.response.status != _REJECTED:
                    raise
            else:
                return found
        raise AcmeError("ca-badNonce", "the authority refuses every nonce that it gives")

    def poll(
        self, url: str, read: Callable[[WebResponse], Known], *, until: tuple[str, ...], after: Answer | None = None
    ) -> Steps[Known]:
        """The object once its status is one of `until`, asked as late as the authority wants, but not for ever.

        `after`: what the authority said when it began to work on it.
        """
        pause = 0.0
        for _ in range(self._patience.polls):
            if seconds := self._pause(after, pause):
                yield Wait(seconds)
            after = yield from self.post(url, b"", 200)
            if (current := read(after.response)).status in until:
                return current
            pause = min(pause * 1.5, self._patience.longest_pause) or self._patience.pause
        raise AcmeError("late", "the authority takes too long")

    def _pause(self, after: Answer | None, pause: float) -> float:
        wanted = None if after is None else answers.retry_after(after.response, after.now)
        return pause if wanted is None else min(max(wanted, pause), self._patience.longest_wanted)

    def _fresh_nonce(self) -> Steps[str]:
        nonce, self._nonce = self._nonce, None
        if nonce is None:
            found = yield from _asked(answers.request_to(self._new_nonce, "HEAD"), 0)
            nonce = answers.nonce_of(answers.checked(found.response, 200, 204, now=found.now))
        if nonce is None:
            raise AcmeError("answer", "the authority gives no nonce")
        return nonce


def _asked(request: WebRequest, most: int) -> Steps[Answer]:
    found = yield Ask(request, most)
    if found is None:
        raise TypeError("a question is answered with an Answer")
    return found
