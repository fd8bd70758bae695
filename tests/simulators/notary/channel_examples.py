"""The examples of docs/protocol.md, computed: one session with fixed keys, and the bytes around it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import Any

from Cryptodome.Hash import keccak
from wsproto.frame_protocol import FrameProtocol

from pluto_measure.formats.strict_json import canonical
from pluto_notary.protocol import legacy
from pluto_notary.protocol.frames import TYPES, encode
from pluto_notary.protocol.inner import EXPORTER_CONTEXT, EXPORTER_LABEL
from pluto_notary.protocol.messages import (
    Error,
    Evidence,
    Fetch,
    Hello,
    Message,
    Observe,
    Progress,
    Proof,
    signed_bytes,
)
from pluto_notary.protocol.observe import Close, Closed, Connected, Data, Ended, Reveal
from pluto_notary.protocol.session import NotarySession
from pluto_notary.protocol.upgrade import Upgrade, Upgrading
from simulators.notary.channel import CHANNEL_KEY, CHANNEL_PUBLIC, EPOCH, SEED, SESSION_ID, channel_envelope
from simulators.notary.raw_tls import exporter

EXPORTER_SECRETS = {"sha256": bytes(range(32)), "sha384": bytes(range(48))}
NONCE = bytes.fromhex("0102030405060708090a0b0c0d0e0f10" * 2)
MANIFEST: dict[str, Any] = {
    "manifestVersion": "2",
    "id": "example",
    "title": "Plan of an account",
    "description": "Proves the plan that an account has",
    "request": {
        "method": "GET",
        "url": "https://api.example/v1/account",
        "headers": {"authorization": "Bearer <% token %>"},
        "vars": {"token": {"description": "the account's token", "pattern": "^[0-9a-z]{8}$"}},
    },
    "response": {
        "status": "200",
        "headers": {"content-type": "application/json"},
        "body": {
            "format": "json",
            "extractors": [{"id": "plan", "description": "the plan", "selector": ["plan"], "type": "string"}],
        },
    },
}
WEBSOCKET_NONCE = base64.b64decode("dGhlIHNhbXBsZSBub25jZQ==")  # of RFC 6455, 1.3


def ekm(algorithm: str = "sha256") -> bytes:
    """The keying material that a session with the fixed exporter secret has."""
    return exporter(EXPORTER_SECRETS[algorithm], EXPORTER_LABEL, EXPORTER_CONTEXT, algorithm)


def hello() -> Hello:
    digest = keccak.new(digest_bits=256, data=canonical(MANIFEST)).digest()
    return Hello(NONCE, digest, False)


def order() -> Fetch:
    return Fetch(
        manifest=canonical(MANIFEST),
        variables=(("token", "0123abcd"),),
        recipient=bytes.fromhex("70997970c51812dc3a010c7d01b50e0d17dc79c8"),
        chain_id=84532,
        contract=bytes.fromhex("5fbdb2315678afecb367f032d93f642f64180aa3"),
        nonce=bytes.fromhex("a0" * 32),
        reveal="values",
        legacy=False,
    )


Said = tuple[str, Message, bytes]  # client or notary, the message, its frame


def transcript() -> list[Said]:
    """Who says what in a session that fetches."""
    last = (("notary", one) for one in (Progress("resolving"), Progress("signing"), Proof(b'{"version":2}')))
    return _said([("client", order()), *last])


def observed() -> list[Said]:
    """The same in one that observes. What is relayed is shortened: no TLS begins so."""
    return _said(
        [
            ("client", Observe(order())),
            ("notary", Progress("connecting")),
            ("notary", Connected()),
            ("client", Data(bytes.fromhex("1603010200"))),
            ("notary", Data(bytes.fromhex("160303007a"))),
            ("notary", Ended()),
            ("client", Data(bytes.fromhex("1703030013"))),
            ("client", Close()),
            ("notary", Closed(10, 5)),
            ("client", Reveal(bytes(range(32)), 0)),
            ("notary", Progress("checking")),
            ("notary", Proof(b'{"version":2}')),
        ]
    )


def _said(messages: Iterable[tuple[str, Message]]) -> list[Said]:
    """A session with these messages behind its evidence, by the notary's own state machine."""
    notary = NotarySession(ekm=ekm())
    said: list[Said] = []

    def hears(message: Message) -> None:
        notary.feed(encode(message))
        assert notary.next_message() == message
        said.append(("client", message, encode(message)))

    hears(hello())
    evidence = notary.evidence(
        session_id=SESSION_ID,
        epoch=EPOCH,
        channel_key=CHANNEL_PUBLIC,
        envelope=channel_envelope(),
        sign=CHANNEL_KEY.sign,
    )
    said.append(("notary", evidence, notary.send(evidence)))
    for who, message in messages:
        if who == "client":
            hears(message)
        else:
            said.append((who, message, notary.send(message)))  # type: ignore[arg-type]
    return said


def signed() -> bytes:
    asked = hello()
    return signed_bytes(ekm=ekm(), nonce=asked.nonce, session_id=SESSION_ID, manifest_digest=asked.manifest_digest)


def session_vector() -> dict[str, Any]:
    """What tests/vectors/notary/protocol/session.json holds."""
    evidence = transcript()[1][1]
    return {
        "comment": "one session with fixed keys: docs/protocol.md, section 10; envelope and proof are shortened",
        "exporter": [
            {
                "hash": name,
                "exporterMasterSecret": secret.hex(),
                "label": EXPORTER_LABEL.decode(),
                "context": EXPORTER_CONTEXT.hex(),
                "ekm": ekm(name).hex(),
            }
            for name, secret in EXPORTER_SECRETS.items()
        ],
        "ekm": ekm().hex(),
        "channelSeed": SEED.hex(),
        "channelKey": CHANNEL_PUBLIC.hex(),
        "nonce": NONCE.hex(),
        "sessionId": SESSION_ID.hex(),
        "manifest": MANIFEST,
        "manifestDigest": hello().manifest_digest.hex(),
        "signed": signed().hex(),
        "signature": evidence.signature.hex(),  # type: ignore[union-attr]
        "frames": _frames(transcript()),
    }


def observed_vector() -> dict[str, Any]:
    """What tests/vectors/notary/protocol/observed.json holds."""
    return {
        "comment": "as session.json, but it observes: docs/protocol.md, section 13; what is relayed is shortened",
        "ekm": ekm().hex(),
        "frames": _frames(observed()),
    }


def _frames(said: list[Said]) -> list[dict[str, Any]]:
    return [
        {"from": who, "type": TYPES[type(message)], "body": _body(message), "frame": frame.hex()}
        for who, message, frame in said
    ]


def _body(message: Message) -> str:
    """Of `data` in hex, else as text."""
    return message.data.hex() if isinstance(message, Data) else message.to_body().decode()


def examples() -> dict[str, str]:
    """The blocks of the document by their names."""
    asking = Upgrading(protocol="websocket", authority="notary.example", random=WEBSOCKET_NONCE)
    request = asking.start().decode()
    headers = [tuple(part.encode() for part in line.split(": ", 1)) for line in request.split("\r\n")[1:] if line]
    granted = Upgrade.parse("/v1/tee", [(pair[0].lower(), pair[1]) for pair in headers]).head().decode()
    said = transcript()
    blocks = {
        "upgrade": _crlf(request) + "\n\n" + _crlf(granted),
        "websocket": _websocket(said[0][2]),
        "exporter": "\n".join(
            f"{name}\n  exporter master secret  {_hex(secret)}\n  EKM                     {_hex(ekm(name))}"
            for name, secret in EXPORTER_SECRETS.items()
        ),
        "signed": _signed(),
        "legacy": f"client  {_hex(legacy.MAGIC)}\nnotary  {_hex(_token())}",
        "error": _frame(Error("violation", "the status is another", "response.status")),
    }
    for who, message, frame in said:
        name = type(message).__name__.lower()
        if name not in blocks:
            blocks[name] = f"{who}\nhead  {_hex(frame[:5])}\nbody  {_folded(_body(message))}"
    lines = (
        f"{who}  {type(message).__name__.lower():9}  {_hex(frame[:5])}  {_body(message)}"
        for who, message, frame in observed()
        if not isinstance(message, Observe | Hello | Evidence)
    )
    blocks["observed"] = "\n".join(lines)
    return blocks


def _signed() -> str:
    asked = hello()
    parts = {
        "tag": b"pluto-tee/v2",
        "purpose": b"session-signature",
        "EKM": ekm(),
        "nonce": asked.nonce,
        "session id": SESSION_ID,
        "manifest digest": asked.manifest_digest,
    }
    lines, whole = [], b""
    for name, part in parts.items():
        piece = part if name == "tag" else len(part).to_bytes(4, "big") + part
        lines.append(f"{name:16} {_hex(piece)}")
        whole += piece
    assert hashlib.sha512(whole).digest() == signed()
    lines += [f"{'SHA-512':16} {_hex(signed())}", f"{'channel key':16} {_hex(CHANNEL_PUBLIC)}"]
    return "\n".join([*lines, f"{'signature':16} {_hex(CHANNEL_KEY.sign(signed()))}"])


def _websocket(data: bytes) -> str:
    mask = bytes.fromhex("37fa213d")
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data[:6]))
    wire = bytes([0x82, 0x80 | 6]) + mask + masked
    frames = FrameProtocol(client=False, extensions=[])
    frames.receive_bytes(wire)
    assert next(frames.received_frames()).payload == data[:6]
    return f"bytes of the stream  {_hex(data[:6])}\nbytes of the wire    {_hex(wire)}"


def _token() -> bytes:
    opening = legacy.LegacyOpening(confidential_space=True)
    opening.feed(legacy.MAGIC)
    return opening.send_token(b"eyJhbGciOiJSUzI1NiJ9.e30.c2ln")


def _frame(message: Message) -> str:
    return f"head  {_hex(encode(message)[:5])}\nbody  {_folded(message.to_body().decode())}"


def _hex(data: bytes) -> str:
    return data.hex()


def _folded(text: str, width: int = 110) -> str:
    return "\n      ".join(text[at : at + width] for at in range(0, len(text), width))


def _crlf(head: str) -> str:
    return head.removesuffix("\r\n\r\n").replace("\r\n", "\n")
