"""The services that give tokens: they check what they are shown, as the real ones do. For tests alone.

A service account's JWT is verified with the public key of a generated account; subject tokens, refresh tokens and the
metadata server's header are compared. Tokens end, and one that was taken back is refused.
"""

from __future__ import annotations

import base64
import datetime
import functools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from simulators.google import schema

EMAIL = "deployer@our-project.iam.gserviceaccount.com"
OTHER = "other@our-project.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
SECRET, REFRESH, SUBJECT = "client-secret-1", "refresh-token-1", "subject-token-1"
AUDIENCE = "//iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/pool/providers/ci"
IMPERSONATION = f"/v1/projects/-/serviceAccounts/{OTHER}:generateAccessToken"
_METADATA = "/computeMetadata/v1/instance/service-accounts/default/token"


@functools.cache
def account_key() -> rsa.RSAPrivateKey:
    """The account's key, made once."""
    return rsa.generate_private_key(65537, 2048)


@dataclass
class Given:
    """An answer, and what was wrong with the request."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


@dataclass
class Tokens:
    """What was given out. `seconds`: how long tokens hold; `flavour`: whether the metadata server says what it is."""

    url: str
    seconds: int = 3600
    flavour: bool = True
    given: int = 0
    good: set[str] = field(default_factory=set)
    refuse: tuple[int, str] | None = None
    kinds: list[str] = field(default_factory=list)

    def new(self, kind: str) -> str:
        self.given += 1
        self.kinds.append(kind)
        token = f"ya29.token-{self.given}"
        self.good.add(token)
        return token

    def holds(self, authorization: str) -> bool:
        """Whether a request may do what it asks for."""
        return authorization.removeprefix("Bearer ") in self.good and authorization.startswith("Bearer ")

    def end(self) -> None:
        """All tokens run out."""
        self.good.clear()

    # Credentials files, as gcloud and the console write them.

    def service_account(self) -> dict[str, Any]:
        key = account_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return {
            "type": "service_account", "project_id": "our-project", "private_key_id": "0123abcd", "private_key": key,
            "client_email": EMAIL, "client_id": "1", "token_uri": f"{self.url}/token",
        }  # fmt: skip

    def authorized_user(self) -> dict[str, Any]:
        secrets = {"client_secret": SECRET, "refresh_token": REFRESH}
        return {"type": "authorized_user", "client_id": "id-1", **secrets, "token_uri": f"{self.url}/token"}

    def external(self, source: dict[str, Any], *, impersonated: bool = False) -> dict[str, Any]:
        made = {
            "type": "external_account", "audience": AUDIENCE, "credential_source": source,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": f"{self.url}/v1/token",
        }  # fmt: skip
        more = {"service_account_impersonation_url": self.url + IMPERSONATION}
        return made | (more if impersonated else {})

    def impersonated(self, source: dict[str, Any]) -> dict[str, Any]:
        url = self.url + IMPERSONATION
        return {
            "type": "impersonated_service_account", "service_account_impersonation_url": url, "delegates": [],
            "source_credentials": source,
        }  # fmt: skip

    def environ(self, folder: Path, value: dict[str, Any] | None = None) -> dict[str, str]:
        """GOOGLE_APPLICATION_CREDENTIALS with such a file in it."""
        path = folder / "credentials.json"
        path.write_text(json.dumps(value or self.service_account()))
        return {"GOOGLE_APPLICATION_CREDENTIALS": str(path)}


def answer(tokens: Tokens, verb: str, path: str, query: Mapping[str, str], headers: Any, data: bytes) -> Given | None:
    """None for what is no request for a token."""
    if path not in ("/token", "/v1/token", "/subject", IMPERSONATION, _METADATA):
        return None
    if tokens.refuse is not None:
        status, word = tokens.refuse
        return Given(status, json.dumps({"error": word, "error_description": "Bad request."}).encode())
    if path == _METADATA:
        return _metadata(tokens, headers)
    if path == "/subject":
        right = headers.get("X-Secret") == SECRET
        return Given(200 if right else 403, json.dumps({"value": SUBJECT}).encode())
    if verb != "POST":
        return Given(405, b"{}", wrong=[f"{verb} {path}"])
    if path == IMPERSONATION:
        return _impersonated(tokens, headers, data)
    form = {name: values[0] for name, values in parse_qs(data.decode()).items()}
    wrong = _exchange(form) if path == "/v1/token" else _grant(tokens, form)
    if headers.get("Content-Type") != "application/x-www-form-urlencoded":
        wrong = [*wrong, "a form is said to be one"]
    if wrong:
        return Given(400, json.dumps({"error": "invalid_grant", "error_description": wrong[0]}).encode(), wrong=wrong)
    found = {"access_token": tokens.new(path), "expires_in": tokens.seconds, "token_type": "Bearer"}
    if path == "/v1/token":
        found["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token"
    return Given(200, json.dumps(found).encode())


def _metadata(tokens: Tokens, headers: Any) -> Given:
    if headers.get("Metadata-Flavor") != "Google":
        return Given(403, b"Forbidden", wrong=["the metadata server was asked without its header"])
    found = {"access_token": tokens.new("metadata"), "expires_in": tokens.seconds, "token_type": "Bearer"}
    return Given(200, json.dumps(found).encode(), {"Metadata-Flavor": "Google"} if tokens.flavour else {})


def _impersonated(tokens: Tokens, headers: Any, data: bytes) -> Given:
    if not tokens.holds(headers.get("Authorization", "")):
        return Given(401, b'{"error": {"code": 401, "message": "no", "status": "UNAUTHENTICATED"}}')
    body = json.loads(data)
    path = IMPERSONATION.removeprefix("/")
    try:
        schema.call_of("iamcredentials.v1", "POST", path, {}, body)
        wrong = [] if body["scope"] == [SCOPE] else ["another scope"]
    except schema.WrongRequestError as error:
        wrong = [str(error)]
    if wrong:
        return Given(400, b"{}", wrong=wrong)
    end = datetime.datetime.fromtimestamp(time.time() + int(body["lifetime"][:-1]), datetime.UTC)
    found = {"accessToken": tokens.new("impersonated"), "expireTime": end.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return Given(200, json.dumps(found).encode())


def _exchange(form: dict[str, str]) -> list[str]:
    known = schema.documents()["sts.v1"]["schemas"]["GoogleIdentityStsV1ExchangeTokenRequest"]["properties"]
    names = {name.replace("_", "").lower() for name in form}
    if unknown := names - {name.lower() for name in known}:
        return [f"unknown members {unknown}"]
    right = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "subject_token": SUBJECT,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "audience": AUDIENCE,
        "scope": SCOPE,
    }
    return [f"{name} is not right" for name in right if form.get(name) != right[name]]


def _grant(tokens: Tokens, form: dict[str, str]) -> list[str]:
    if form.get("grant_type") == "refresh_token":
        right = {"client_id": "id-1", "client_secret": SECRET, "refresh_token": REFRESH, "grant_type": "refresh_token"}
        return [] if form == right else ["the refresh token is not right"]
    if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" or set(form) != {
        "grant_type",
        "assertion",
    }:
        return ["an unknown grant"]
    head, claims, signature = form["assertion"].split(".")
    try:
        signed = f"{head}.{claims}".encode()
        account_key().public_key().verify(_bytes(signature), signed, padding.PKCS1v15(), SHA256())
    except InvalidSignature:
        return ["Invalid JWT Signature."]
    said, now = json.loads(_bytes(claims)), time.time()
    wrong = [] if json.loads(_bytes(head)) == {"alg": "RS256", "typ": "JWT", "kid": "0123abcd"} else ["another head"]
    if (said["iss"], said["aud"], said["scope"]) != (EMAIL, f"{tokens.url}/token", SCOPE):
        wrong.append("another account, audience or scope")
    if not now - 60 < said["iat"] <= now + 60 or not 0 < said["exp"] - said["iat"] <= 3600:
        wrong.append("times that cannot be")
    return wrong


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
