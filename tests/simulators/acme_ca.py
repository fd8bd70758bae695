"""A certification authority that speaks ACME (RFC 8555) and forgives nothing; it misbehaves as a test wants. For tests.

    ca = AcmeCa(now=NOW, look=over_tls(lambda: port))
    with Site(identity, ca.act) as site: ...            over TLS
    ca.answer(Asked("GET", url, {}, b""))               without
    ca.wrongs                                           what the client did that RFC 8555 or RFC 8737 does not allow
    ca.bend["order"] = lambda reply: ...                another answer of that kind

Kinds: directory, newNonce, newAccount, newOrder, authorization, challenge, order, finalize, certificate.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import secrets
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from simulators.notary.sites import Visit

BASE: Final = "https://ca.example"
ACME_IDENTIFIER: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
JSON: Final = "application/json"
Look = Callable[[str], bytes | None]  # a name; the certificate that is shown over acme-tls/1, in DER


@dataclass(frozen=True, slots=True)
class Asked:
    """A request; names of headers in lower case."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def but(self, **members: object) -> Reply:
        """With other members of its object; None removes one."""
        value = {**json.loads(self.body), **members}
        kept = {name: one for name, one in value.items() if one is not None}
        return replace(self, body=json.dumps(kept).encode())


def problem(word: str, status: int = 400, **headers: str) -> Reply:
    """A refusal: RFC 7807."""
    body = {"type": f"urn:ietf:params:acme:error:{word}", "detail": "c4n4ry of the authority", "status": status}
    return Reply(status, {"content-type": "application/problem+json", **headers}, json.dumps(body).encode())


class WrongError(Exception):
    """The client did what it may not."""


class AcmeCa:
    """One authority with one root. `look` is how it sees what a name shows; `now` its time; `base` begins its URLs."""

    def __init__(self, *, now: datetime.datetime, look: Look, base: str = BASE) -> None:
        self.now, self.look, self.base = now, look, base
        self.days: tuple[float, float] = (-1 / 24, 90)  # of its certificates, from now
        self.names: tuple[str, ...] | None = None  # instead of the one that was ordered
        self.key: Any = None  # instead of the one of the request
        self.bend: dict[str, Callable[[Reply], Reply]] = {}
        self.wrongs: list[str] = []
        self.kinds: list[str] = []  # of all requests
        self.issued: list[bytes] = []  # DER
        self.accounts: list[dict[str, str]] = []
        self._orders: list[_Order] = []
        self._nonces: set[str] = set()
        self._lock = threading.RLock()
        self._root_key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Root that only tests know")])
        built = self._builder(name, name, self._root_key.public_key(), (-1000, 1000))
        authority = x509.BasicConstraints(ca=True, path_length=None)
        self.root = built.add_extension(authority, critical=True).sign(self._root_key, hashes.SHA256())

    def act(self, visit: Visit) -> None:
        """As a site's act."""
        head, _, body = visit.read_request().partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        method, target, _ = first.split(" ")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        reply = self.answer(Asked(method, f"https://{headers['host']}{target}", headers, body))
        names = {**reply.headers, "content-length": str(len(reply.body))}
        text = "".join(f"{name}: {value}\r\n" for name, value in names.items())
        content = b"" if method == "HEAD" else reply.body
        visit.send(f"HTTP/1.1 {reply.status} X\r\n{text}\r\n".encode() + content)
        visit.goodbye()

    def answer(self, asked: Asked) -> Reply:
        """One answer. What the client did wrong is kept, and refused."""
        kind = asked.url.removeprefix(f"{self.base}/").split("/")[0].split("?")[0]
        self.kinds.append(kind)
        try:
            reply = self._answered(kind, asked)
        except WrongError as error:
            self.wrongs.append(f"{kind}: {error}")
            reply = problem("malformed")
        if kind != "directory":
            with self._lock:
                nonce = secrets.token_urlsafe(16)
                self._nonces.add(nonce)
            reply = replace(reply, headers={"replay-nonce": nonce, **reply.headers})
        bend = self.bend.get(kind)
        return reply if bend is None else bend(reply)

    def _answered(self, kind: str, asked: Asked) -> Reply:
        if kind == "directory":
            need(asked.method == "GET", "the directory is read by GET")
            urls = {name: f"{self.base}/{name}" for name in ("newNonce", "newAccount", "newOrder", "revokeCert")}
            return _json({**urls, "meta": {"termsOfService": f"{self.base}/terms"}, secrets.token_hex(4): "any member"})
        if kind == "newNonce":
            need(asked.method in ("HEAD", "GET"), "a nonce is asked by HEAD or GET")
            return Reply(200 if asked.method == "HEAD" else 204, {"cache-control": "no-store"}, b"")
        with self._lock:
            payload, number = self._opened(kind, asked)
            if kind == "newAccount":
                need(payload == {"termsOfServiceAgreed": True}, "the terms are agreed to, and nothing else is said")
                return _json({"status": "valid"}, 201, location=f"{self.base}/account/{number}")
            if kind == "newOrder":
                return self._new_order(payload, number)
            order = self._orders[int(asked.url.rsplit("/", 1)[1])]
        return self._of_order(kind, order, payload)

    def _opened(self, kind: str, asked: Asked) -> tuple[Any, int]:
        """The payload of a signed request (None: POST-as-GET) and the number of the account."""
        need(asked.method == "POST", "objects are asked by POST")
        need(asked.headers.get("content-type") == "application/jose+json", "the content type is jose+json")
        need(bool(asked.headers.get("user-agent")), "a client says what it is")
        signed = json.loads(asked.body)
        need(signed.keys() == {"protected", "payload", "signature"}, "a flattened JWS and nothing else")
        header = json.loads(unb64(signed["protected"]))
        who = "jwk" if kind == "newAccount" else "kid"
        need(header.keys() == {"alg", "nonce", "url", who}, f"the header has alg, nonce, url and {who}")
        need(header["alg"] == "ES256", "ES256")
        need(header["url"] == asked.url, "the url is the one that is asked")
        need(header["nonce"] in self._nonces, "a nonce is used once")
        self._nonces.discard(header["nonce"])
        number = self._account(header["jwk"]) if who == "jwk" else self._known(header["kid"])
        jwk = self.accounts[number]
        x, y = (int.from_bytes(unb64(jwk[name]), "big") for name in "xy")
        raw = unb64(signed["signature"])
        need(len(raw) == 64, "a signature has 64 bytes")
        der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        try:
            key.verify(der, f"{signed['protected']}.{signed['payload']}".encode(), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as error:
            raise WrongError("the signature does not hold") from error
        return (json.loads(unb64(signed["payload"])) if signed["payload"] else None), number

    def _account(self, jwk: dict[str, str]) -> int:
        need(jwk.keys() == {"crv", "kty", "x", "y"}, "a public key, and nothing secret")
        if jwk not in self.accounts:
            self.accounts.append(jwk)
        return self.accounts.index(jwk)

    def _known(self, kid: str) -> int:
        urls = [f"{self.base}/account/{number}" for number in range(len(self.accounts))]
        need(kid in urls, "the account is known")
        return urls.index(kid)

    def _new_order(self, payload: Any, account: int) -> Reply:
        (identifier,) = payload["identifiers"]
        need(payload.keys() == {"identifiers"} and identifier.keys() == {"type", "value"}, "an order for one name")
        need(identifier["type"] == "dns" and identifier["value"].islower(), "a DNS name in lower case")
        order = _Order(len(self._orders), identifier["value"], thumbprint(self.accounts[account]), self.base)
        self._orders.append(order)
        return _json(order.shown(), 201, location=f"{self.base}/order/{order.number}")

    def _of_order(self, kind: str, order: _Order, payload: Any) -> Reply:
        if kind == "challenge":
            need(payload == {}, "the answer to a challenge is an empty object")
            order.valid = check_challenge(self.look(order.name), order) is None
            order.tried = True
            return _json(order.challenges()[1])
        if kind == "finalize":
            need(order.status == "ready", "an order is finalized when it is ready")
            order.chain = self._issued(order.name, unb64(payload["csr"]))
            return _json(order.shown())
        need(payload is None, "what exists is asked by POST-as-GET")
        if kind == "authorization":
            return _json(order.authorization())
        if kind == "order":
            return _json(order.shown())
        need(kind == "certificate" and order.chain is not None, "what is asked exists")
        return Reply(200, {"content-type": "application/pem-certificate-chain"}, order.chain or b"")

    def _issued(self, name: str, csr: bytes) -> bytes:
        asked = x509.load_der_x509_csr(csr)
        need(asked.is_signature_valid, "the request is signed by its key")
        need(len(asked.extensions) == 1, "the request asks for names and nothing else")
        names = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        need(list(names) == [x509.DNSName(name)], "the request is for the name of the order")
        need(not list(asked.subject), "the request has no subject")
        key = self.key or asked.public_key()
        built = self._builder(x509.Name([]), self.root.subject, key, self.days)
        shown = x509.SubjectAlternativeName([x509.DNSName(one) for one in self.names or (name,)])
        leaf = built.add_extension(shown, critical=True).sign(self._root_key, hashes.SHA256())
        self.issued.append(leaf.public_bytes(Encoding.DER))
        return b"\n".join(one.public_bytes(Encoding.PEM) for one in (leaf, self.root))

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, key: Any, days: tuple[float, float]
    ) -> x509.CertificateBuilder:
        first, last = (self.now + datetime.timedelta(days=one) for one in days)
        return x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number(), first, last)


@dataclass
class _Order:
    number: int
    name: str
    thumbprint: str
    base: str
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    tried: bool = False
    valid: bool = False
    chain: bytes | None = None

    @property
    def status(self) -> str:
        if self.chain is not None:
            return "valid"
        return "ready" if self.valid else "invalid" if self.tried else "pending"

    def shown(self) -> dict[str, object]:
        found: dict[str, object] = {
            "status": self.status,
            "identifiers": [{"type": "dns", "value": self.name}],
            "authorizations": [f"{self.base}/authorization/{self.number}"],
            "finalize": f"{self.base}/finalize/{self.number}",
        }
        return found | ({} if self.chain is None else {"certificate": f"{self.base}/certificate/{self.number}"})

    def authorization(self) -> dict[str, object]:
        status = "valid" if self.valid else "invalid" if self.tried else "pending"
        identifier = {"type": "dns", "value": self.name}
        return {"status": status, "identifier": identifier, "challenges": self.challenges()}

    def challenges(self) -> list[dict[str, object]]:
        status = "valid" if self.valid else "invalid" if self.tried else "pending"
        more = {"error": json.loads(problem("unauthorized", 403).body)} if status == "invalid" else {}
        ours = {
            "type": "tls-alpn-01",
            "token": self.token,
            "url": f"{self.base}/challenge/{self.number}",
            "status": status,
        }
        other = {"type": "http-01", "token": self.token, "url": f"{self.base}/other/{self.number}", "status": "pending"}
        return [other, {**ours, **more}]


def shown_by_name(address: tuple[str, int], name: str) -> bytes:
    """The certificate that a client gets who comes by this name, in DER; nobody judges it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(address, timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=name) as tls,
    ):
        return tls.getpeercert(binary_form=True) or b""


def over_tls(port: Callable[[], int], address: str = "127.0.0.1") -> Look:
    """What this address shows an authority: RFC 8737, 3. None if it does not speak acme-tls/1, or speaks too much."""

    def look(name: str) -> bytes | None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["acme-tls/1"])
        try:
            plain = socket.create_connection((address, port()), timeout=10)
            with context.wrap_socket(plain, server_hostname=name) as connection:
                shown = connection.getpeercert(binary_form=True)
                ours = connection.selected_alpn_protocol() == "acme-tls/1"
                return shown if ours and connection.recv(100) == b"" else None
        except OSError:
            return None

    return look


def check_challenge(der: bytes | None, order: _Order) -> str | None:
    """What is wrong with a challenge's certificate: RFC 8737, 3."""
    if der is None:
        return "nothing is shown"
    shown = x509.load_der_x509_certificate(der)
    shown.verify_directly_issued_by(shown)
    names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    proof = shown.extensions.get_extension_for_oid(ACME_IDENTIFIER)
    digest = hashlib.sha256(f"{order.token}.{order.thumbprint}".encode()).digest()
    if list(names) != [x509.DNSName(order.name)]:
        return "another name"
    ours = proof.critical and proof.value.public_bytes() == b"\x04\x20" + digest
    return None if ours else "another key authorization"


def thumbprint(jwk: dict[str, str]) -> str:
    """RFC 7638."""
    text = json.dumps({name: jwk[name] for name in sorted(jwk)}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def unb64(text: str) -> bytes:
    """base64url without padding, in its one spelling."""
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    need(base64.urlsafe_b64encode(data).decode().rstrip("=") == text, "base64url without padding")
    return data


def need(holds: bool, what: str) -> None:
    """WrongError unless it holds."""
    if not holds:
        raise WrongError(what)


def _json(value: object, status: int = 200, **headers: str) -> Reply:
    return Reply(status, {"content-type": JSON, **headers}, json.dumps(value).encode())
