"""A server of tokens for a real registry: the other half of its token protocol, with a key of its own. For tests."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from simulators.cloud.wire import Reply, Request, Wire, only, problem, serving

SERVICE = "our registry"
ISSUER = "our token server"


@dataclass
class TokenServer:
    """`lifetime`: seconds that a token is good for; `actions`: what it allows."""

    wire: Wire
    key: rsa.RSAPrivateKey
    certificate: x509.Certificate
    login: str = "Basic " + base64.b64encode(b"pusher:word").decode()
    lifetime: int = 60
    actions: tuple[str, ...] = ("pull", "push")

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def serve(self, request: Request) -> Reply:
        only(request.query, {"service", "scope"}, "parameter")
        if request.value("service") != SERVICE:
            problem("another service")
        if request.headers.get("authorization") != self.login:
            return Reply(401, {"WWW-Authenticate": "Basic"})
        kind, name, actions = (request.value("scope") or problem("no scope")).split(":")
        granted = [action for action in actions.split(",") if action in self.actions]
        now = int(time.time())
        claims = {
            "iss": ISSUER, "sub": "pusher", "aud": SERVICE, "iat": now, "nbf": now - 120,
            "exp": now + self.lifetime, "jti": str(time.monotonic_ns()),
            "access": [{"type": kind, "name": name, "actions": granted}],
        }  # fmt: skip
        return Reply(200, body=json.dumps({"token": self._signed(claims)}).encode())

    def _signed(self, claims: dict[str, object]) -> str:
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        head = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        parts = ".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
        return f"{parts}.{_encoded(self.key.sign(parts.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def certificate_and_key() -> tuple[bytes, bytes]:
    """A certificate that nobody vouches for, and its key, both PEM."""
    certificate, key = _self_signed()
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    return certificate.public_bytes(pem), key.private_bytes(pem, *private)


def _self_signed() -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


@contextmanager
def tokens() -> Iterator[TokenServer]:
    """A server whose certificate a registry is to trust."""
    certificate, key = _self_signed()
    made: list[TokenServer] = []

    def begin(wire: Wire) -> TokenServer:
        made.append(TokenServer(wire, key, certificate))
        return made[0]

    with serving(lambda wire: begin(wire).serve):
        yield made[0]
