"""The messages of a channel. Pure. Format: docs/protocol.md, section 5.

Bodies are strict JSON in UTF-8 and in canonical form; but the manifest in `fetch` is spelled as its author likes, and
`proof` is handed on as it is. Those that only `observe` has are in `pluto_notary.protocol.observe`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, Self

from pluto_measure.binding import TAG
from pluto_measure.formats.strict_json import canonical
from pluto_measure.record import record
from pluto_notary.protocol import observe
from pluto_notary.protocol.body import VERSION, Members, spelled
from pluto_notary.protocol.errors import CODES, ChannelError
from pluto_notary.protocol.observe import Close, Closed, Connected, Data, Ended, Reveal

HELLO, EVIDENCE, FETCH, PROGRESS, PROOF, ERROR = range(1, 7)
LIMITS: Final[Mapping[int, int]] = {
    HELLO: 4 << 10,
    EVIDENCE: 4 << 20,
    FETCH: 2 << 20,
    PROGRESS: 256,
    PROOF: 8 << 20,
    ERROR: 1 << 10,
    **observe.LIMITS,
}
STEPS: Final = ("resolving", "connecting", "fetching", "checking", "signing")
REVEALS: Final = ("values", "commitments")
SIGNED_PURPOSE: Final = b"session-signature"

_PROGRESS: Final = {step: canonical({"version": VERSION, "step": step}) for step in STEPS}
_MOST_VARIABLES, _LONGEST_NAME = 100, 64
_LONGEST_MESSAGE, _LONGEST_PATH = 200, 160  # characters of an error


def signed_bytes(*, ekm: bytes, nonce: bytes, session_id: bytes, manifest_digest: bytes) -> bytes:
    """What the channel key signs, 64 bytes: B("session-signature", EKM, nonce, session id, manifest digest).

    The rule is that of `pluto_measure.binding`; no evidence can carry this purpose.
    """
    parts = (SIGNED_PURPOSE, ekm, nonce, session_id, manifest_digest)
    return hashlib.sha512(TAG + b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()


@record
class Hello:
    """The client's commitment: its nonce, and what it is going to ask for."""

    nonce: bytes  # 32
    manifest_digest: bytes  # 32, keccak-256 of the canonical manifest
    fresh: bool  # evidence for this session alone is wanted

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """ChannelError `json`, `version`, `nonce`."""
        members = Members(body, "hello")
        hello = cls(members.nonce("nonce"), members.hex("manifestDigest", 32), members.take("fresh", bool))
        members.end()
        return hello

    def to_body(self) -> bytes:
        return canonical(
            {
                "version": VERSION,
                "nonce": self.nonce.hex(),
                "manifestDigest": self.manifest_digest.hex(),
                "fresh": self.fresh,
            }
        )


@record
class Evidence:
    """The notary's answer: the epoch's evidence, and the channel key's signature over this very session."""

    session_id: bytes  # 32, the notary's
    epoch: int
    channel_key: bytes  # 32, Ed25519
    envelope: bytes  # canonical JSON of an object; what it says is not looked at here
    signature: bytes  # 64

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """ChannelError `json`, `version`."""
        members = Members(body, "evidence")
        evidence = cls(
            session_id=members.hex("sessionId", 32),
            epoch=members.number("epoch"),
            channel_key=members.hex("channelKey", 32),
            envelope=canonical(members.take("envelope", dict)),
            signature=members.hex("signature", 64),
        )
        members.end()
        return evidence

    def to_body(self) -> bytes:
        """Canonical, since `envelope` is; the envelope of an epoch is encoded once, not for every session."""
        # The members in the order of their names, the envelope being the second.
        first, rest = (
            canonical({"channelKey": self.channel_key.hex()}),
            canonical(
                {
                    "epoch": self.epoch,
                    "sessionId": self.session_id.hex(),
                    "signature": self.signature.hex(),
                    "version": VERSION,
                }
            ),
        )
        return first[:-1] + b',"envelope":' + self.envelope + b"," + rest[1:]


@record
class Fetch:
    """What the client wants to have proved. `variables` and `manifest` may hold secrets: they are not in its text."""

    manifest: bytes  # JSON of an object, as the client spelled its members
    variables: tuple[tuple[str, str], ...]
    recipient: bytes  # 20
    chain_id: int
    contract: bytes  # 20
    nonce: bytes  # 32, the statement's
    reveal: str  # of REVEALS
    legacy: bool

    def __repr__(self) -> str:
        return f"Fetch(manifest of {len(self.manifest)} bytes)"

    @classmethod
    def parse(cls, body: bytes, *, what: str = "fetch") -> Self:
        """ChannelError `json`, `version`, `nonce`."""
        members = Members(body, what, one_spelling=False)
        fetch = cls(
            manifest=spelled(members.take("manifest", dict), "manifest"),
            variables=_variables(members.take("variables", dict)),
            recipient=members.address("recipient"),
            chain_id=members.number("chainId"),
            contract=members.address("contract"),
            nonce=members.nonce("nonce"),
            reveal=members.one_of("reveal", REVEALS),
            legacy=members.take("legacy", bool),
        )
        members.end()
        return fetch

    def to_body(self) -> bytes:
        head = canonical({"chainId": self.chain_id, "contract": f"0x{self.contract.hex()}", "legacy": self.legacy})
        rest = {
            "nonce": self.nonce.hex(),
            "recipient": f"0x{self.recipient.hex()}",
            "reveal": self.reveal,
            "variables": dict(self.variables),
            "version": VERSION,
        }
        return head[:-1] + b',"manifest":' + self.manifest + b"," + spelled(rest, "variables")[1:]


@record
class Observe:
    """The same, to be proved of what the client's own TLS connection is going to carry."""

    order: Fetch

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """ChannelError `json`, `version`, `nonce`; `unsupported` for the old format, which says nothing of a mode."""
        order = Fetch.parse(body, what="observe")
        if order.legacy:
            raise ChannelError("unsupported", "what is observed is not signed in the old format", path="legacy")
        return cls(order)

    def to_body(self) -> bytes:
        return self.order.to_body()


@record
class Progress:
    """How far the notary is."""

    step: str  # of STEPS

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """ChannelError `json`, `version`."""
        members = Members(body, "progress")
        progress = cls(members.one_of("step", STEPS))
        members.end()
        return progress

    def to_body(self) -> bytes:
        return _PROGRESS.get(self.step) or canonical({"version": VERSION, "step": self.step})


@record
class Proof:
    """The proof's JSON, untouched: docs/formats/proof.md. The last message of a session that went well."""

    document: bytes

    @classmethod
    def parse(cls, body: bytes) -> Self:
        return cls(body)

    def to_body(self) -> bytes:
        return self.document


@record
class Error:
    """Why there is no proof. The last message of its session."""

    code: str  # of CODES
    message: str
    path: str | None = None  # of the member that is wrong

    @classmethod
    def of(cls, error: ChannelError) -> Self:
        return cls(error.code, error.problem, error.path)

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """ChannelError `json`, `version`."""
        members = Members(body, "error")
        error = cls(members.one_of("code", CODES), members.take("message", str), members.take("path", str, type(None)))
        members.end()
        return error

    def to_body(self) -> bytes:
        """At most the limit: long texts are cut, and a path that still does not fit is left out."""
        path = None if self.path is None else _printable(self.path)[:_LONGEST_PATH]
        value = {"version": VERSION, "code": self.code, "message": _printable(self.message)[:_LONGEST_MESSAGE]}
        body = canonical({**value, "path": path})
        return body if len(body) <= LIMITS[ERROR] else canonical({**value, "path": None})


Message = (
    Hello | Evidence | Fetch | Progress | Proof | Error
    | Observe | Connected | Data | Ended | Close | Closed | Reveal
)  # fmt: skip


def _variables(value: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    if len(value) > _MOST_VARIABLES:
        raise ChannelError("json", f"there are at most {_MOST_VARIABLES} variables", path="variables")
    for name, text in value.items():
        if not isinstance(text, str) or len(name) > _LONGEST_NAME:
            raise ChannelError("json", f"variables are texts under names of at most {_LONGEST_NAME} characters",
                               path="variables")  # fmt: skip
    spelled(value, "variables")
    return tuple(value.items())


def _printable(text: str) -> str:
    return text.encode(errors="replace").decode()
