"""The login service and the identity service of a machine: forms and assertions checked, tokens that end."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

TENANT = "11111111-1111-1111-1111-111111111111"
CLIENT = "33333333-3333-3333-3333-333333333333"
SECRET = "~S3cr3t~never~shown~"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass
class Logins:
    """Who may log in. `life`: of a token, in seconds; `federated`: tokens of somebody who vouches."""

    secret: str = SECRET
    certificates: list[x509.Certificate] = field(default_factory=list)
    federated: set[str] = field(default_factory=set)
    identities: set[str | None] = field(default_factory=lambda: {None, CLIENT})
    life: int = 3600
    issued: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)  # assertions, each good for once
    failures: list[str] = field(default_factory=list)

    def token(self, path: str, body: bytes, url: str, now: float) -> tuple[int, Any]:
        """The answer to a form."""
        form = dict(parse_qsl(body.decode(), strict_parsing=True))
        if path != f"/{TENANT}/oauth2/v2.0/token":
            return _refused("invalid_request", 90002, "Tenant not found.")
        if (
            form.pop("grant_type", "") != "client_credentials"
            or form.pop("scope", "") != "https://management.azure.com/.default"
        ):
            self.failures.append(f"login: {sorted(form)}")
            return _refused("invalid_request", 900144, "The request body must contain more.")
        if form.pop("client_id", "") != CLIENT:
            return _refused("unauthorized_client", 700016, "Application not found.")
        if set(form) == {"client_secret"}:
            if form["client_secret"] != self.secret:
                # Some texts repeat what was sent; ours must not come out anywhere.
                return _refused("invalid_client", 7000215, f"Invalid client secret provided: {form['client_secret']}")
        elif set(form) == {"client_assertion", "client_assertion_type"} and form["client_assertion_type"] == _ASSERTION:
            assertion = form["client_assertion"]
            if assertion not in self.federated and (problem := self._unproven(assertion, url, now)):
                return _refused("invalid_client", 700027, problem)
        else:
            self.failures.append(f"login: {sorted(form)}")
            return _refused(
                "invalid_request", 7000218, "The request body must contain client_assertion or client_secret."
            )
        return 200, {
            "token_type": "Bearer",
            "expires_in": self.life,
            "ext_expires_in": self.life,
            "access_token": self._new(),
        }

    def machine(self, query: dict[str, str], headers: dict[str, str]) -> tuple[int, Any]:
        """The answer of the machine's identity service."""
        if headers.get("metadata") != "true" or "x-forwarded-for" in headers:
            return 400, {"error": "invalid_request", "error_description": "Required metadata header not specified"}
        if query.get("api-version") != "2018-02-01" or query.get("resource") != "https://management.azure.com/":
            self.failures.append(f"identity: {query}")
            return 400, {"error": "invalid_request", "error_description": "bad"}
        if query.get("client_id") not in self.identities:
            return 400, {"error": "invalid_request", "error_description": "Identity not found"}
        # All of it is text there.
        return 200, {
            "access_token": self._new(),
            "expires_in": str(self.life),
            "token_type": "Bearer",
            "resource": query["resource"],
        }

    def _new(self) -> str:
        self.issued.append(secrets.token_urlsafe(24))
        return self.issued[-1]

    def _unproven(self, assertion: str, url: str, now: float) -> str:
        try:
            head, claims, signature = assertion.split(".")
            header, said = json.loads(_unb64(head)), json.loads(_unb64(claims))
        except ValueError:
            return "malformed"
        for certificate in self.certificates:
            if _unb64(header.get("x5t#S256", "")) != certificate.fingerprint(hashes.SHA256()):
                continue
            key = certificate.public_key()
            assert isinstance(key, rsa.RSAPublicKey)
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
            scheme = {"PS256": pss, "RS256": padding.PKCS1v15()}[header["alg"]]
            try:
                key.verify(_unb64(signature), f"{head}.{claims}".encode(), scheme, hashes.SHA256())
            except InvalidSignature:
                return "the signature is wrong"
            good = (
                said["aud"] == url
                and said["iss"] == said["sub"] == CLIENT
                and said["nbf"] <= now < said["exp"] <= now + 600
            )
            if not good or said["jti"] in self.seen:
                return f"claims: {sorted(said)}"
            self.seen.add(said["jti"])
            return ""
        return "the certificate is not registered"


def _refused(error: str, number: int, text: str) -> tuple[int, Any]:
    return 400 if error == "invalid_request" else 401, {
        "error": error,
        "error_description": f"AADSTS{number}: {text}",
        "error_codes": [number],
    }


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
