"""Evidence on Google's Confidential Space: a token that the launcher's socket gives for a nonce of ours. Thin IO.

google/go-tpm-tools, launcher/teeserver: POST /v1/token {"audience", "token_type", "nonces"}; the body of the answer is
the token. Five a second for a project and region, so callers ask per epoch, and one after the other.

    v2       nonce "pt2-" ‖ hex(SHA-256(B)), its own audience, token_type PKI: the chain up to Google's root is in it
    legacy   nonce hex(EKM), another audience, token_type OIDC, as clients of the old protocol check it

A token that was made for anything else than what was asked is refused here already; nobody's signature is checked, as
only a verifier has to trust it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import socket
import time

from pluto_measure.binding import LEGACY_SPACE_AUDIENCE, SPACE_AUDIENCE
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import canonical, loads
from pluto_measure.record import record
from pluto_notary.errors import EvidenceError
from pluto_notary.evidence.parts import LARGEST_TOKEN, TokenParts, check_token
from pluto_notary.evidence.plain_http import Answer, post

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

SOCKET: Final = "/run/container_launcher/teeserver.sock"
_NONCE_PREFIX: Final = "pt2-"

_SECONDS: Final = 10.0  # for one exchange
_BUDGET: Final = 15.0  # for one token, waits included; the notary waits for 20
_ATTEMPTS: Final = 5
_FIRST_WAIT: Final = 0.5  # seconds; doubles where the launcher does not say how long
_AGAIN: Final = frozenset({429, 500, 502, 503, 504})


def nonce_of(bound: bytes) -> str:
    """What a token carries for a binding B: 68 characters."""
    return _NONCE_PREFIX + hashlib.sha256(bound).hexdigest()


@record
class Wanted:
    """What one token is asked for."""

    audience: str
    nonce: str
    token_type: str

    def to_body(self) -> bytes:
        return canonical({"audience": self.audience, "nonces": [self.nonce], "token_type": self.token_type})


class Launcher:
    """Asks for tokens, one at a time. `exchange` takes a request's body; `sleep` waits; `clock` never goes back."""

    def __init__(
        self, exchange: Callable[[bytes], Answer], *, sleep: Callable[[float], object], clock: Callable[[], float]
    ) -> None:
        self._exchange, self._sleep, self._clock = exchange, sleep, clock
        self._busy = False

    def token(self, bound: bytes) -> str:
        """A token that carries a binding. OSError, FormatError, EvidenceError."""
        return self._token(Wanted(SPACE_AUDIENCE, nonce_of(bound), "PKI"))

    def legacy(self, ekm: bytes) -> str:
        """The token of the old protocol for a session's EKM. OSError, FormatError, EvidenceError."""
        return self._token(Wanted(LEGACY_SPACE_AUDIENCE, ekm.hex(), "OIDC"))

    def _token(self, wanted: Wanted) -> str:
        if self._busy:
            raise EvidenceError("busy", "a token is on its way already")
        self._busy = True
        try:
            return _checked(self._asked(wanted).body, wanted)
        finally:
            self._busy = False

    def _asked(self, wanted: Wanted) -> Answer:
        end, wait = self._clock() + _BUDGET, _FIRST_WAIT
        for left in reversed(range(_ATTEMPTS)):
            answer = self._exchange(wanted.to_body())
            if answer.status == 200:
                return answer
            pause = wait if answer.retry_after is None else max(wait, float(answer.retry_after))
            if answer.status not in _AGAIN or not left or self._clock() + pause > end:
                code = "busy" if answer.status == 429 else "device"
                raise EvidenceError(code, f"the launcher answers {answer.status}")
            self._sleep(pause)
            wait *= 2
        raise AssertionError("the last attempt returns or raises")


@record
class TokenSources:
    """A container of Confidential Space."""

    token: Callable[[bytes], str]  # takes the binding
    config_digest: Callable[[], bytes]

    def parts(self, bound: bytes, config_digest: bytes) -> TokenParts:
        return TokenParts(self.token(bound), config_digest)


def launcher(path: str = SOCKET) -> Launcher:
    """The launcher of this machine."""

    def connect() -> socket.socket:
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            channel.settimeout(_SECONDS)
            channel.connect(path)
        except OSError:
            channel.close()
            raise
        return channel

    def exchange(body: bytes) -> Answer:
        limit = LARGEST_TOKEN + 1
        return post(
            connect, host="localhost", path="/v1/token", body=body, limit=limit, seconds=_SECONDS, clock=time.monotonic
        )

    return Launcher(exchange, sleep=time.sleep, clock=time.monotonic)


def _checked(body: bytes, wanted: Wanted) -> str:
    try:
        token = check_token(body.decode("ascii").removesuffix("\n"))
    except UnicodeDecodeError as error:
        raise FormatError("token", "not ASCII") from error
    payload = token.split(".")[1]
    try:
        text = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    except (binascii.Error, ValueError) as error:
        raise FormatError("token", "payload is not base64url") from error
    claims = loads(text, what="token", limit=LARGEST_TOKEN)
    if not isinstance(claims, dict):
        raise FormatError("token", "payload is no object")
    # One nonce comes as text, several as a list.
    if claims.get("eat_nonce") not in (wanted.nonce, [wanted.nonce]) or claims.get("aud") != wanted.audience:
        raise EvidenceError("device", "the launcher's token is for something else than was asked")
    return token
