"""Who we are to Azure: a token of the login service or of the machine itself, kept until shortly before it ends. IO.

Client credentials by secret, by certificate (a signed assertion, RFC 7523) or by the token of somebody who vouches for
us (workload identity); or the identity of the virtual machine that this runs on. No error has a secret in it: of what
the login service says only the number is repeated.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pluto_deploy.azure.wanted import Azure, refuse_login_elsewhere
from pluto_deploy.cloud import place
from pluto_deploy.cloud.door import Answer, Door, Patience, Waiting
from pluto_measure.errors import FormatError, SourceError, UsageError
from pluto_measure.formats.strict_json import loads

LOGIN: Final = "https://login.microsoftonline.com"
IMDS: Final = "http://169.254.169.254"
RESOURCE: Final = "https://management.azure.com"
ALGORITHMS: Final = ("PS256", "RS256")
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LIMIT: Final = 64 * 1024
_EARLY: Final = 300.0  # seconds before its end at which a token is not used any more
_ASSERTION_SECONDS: Final = 300
_NUMBER: Final = re.compile(r"AADSTS(\d{4,8})")
_MEANINGS: Final = {
    "7000215": "the secret is wrong (its value is needed, not its id)",
    "7000222": "the secret has expired: make a new one",
    "700016": "the tenant has no such application",
    "90002": "there is no such tenant",
    "700027": "the certificate is not registered with the application, or the signature is wrong",
    "700024": "the assertion is not valid now: check this computer's clock",
    "70021": "no federated credential of the application fits the token's issuer, subject and audience",
    "700213": "no federated credential of the application fits the token's subject",
    "700211": "no federated credential of the application fits the token's issuer",
    "50034": "there is no such application in the tenant",
}

Form = Callable[[], Mapping[str, str]]  # what proves who asks: fields of the form
Clock = Callable[[], float]  # seconds since 1970


@dataclass(frozen=True, slots=True)
class _Held:
    value: str
    until: float


class Bearer:
    """A token that is asked for when it is needed. Shared by threads; `fetch` gives it with its life in seconds."""

    def __init__(self, fetch: Callable[[], tuple[str, float]], clock: Clock = time.time) -> None:
        self._fetch, self._clock = fetch, clock
        self._held: _Held | None = None
        self._lock = threading.Lock()

    def __call__(self, *, fresh: bool = False) -> str:
        """The value of Authorization. `fresh`: the one that was given was refused."""
        with self._lock:
            now = self._clock()
            if fresh or self._held is None or now >= self._held.until:
                value, seconds = self._fetch()
                # One with a short life is used for a part of it, else it would be asked for at every request.
                self._held = _Held(f"Bearer {value}", now + max(seconds - _EARLY, seconds / 2))
            return self._held.value

    def __repr__(self) -> str:
        return "Bearer(…)"


def of(
    platform: Azure,
    environment: Mapping[str, str] | None = None,
    *,
    login: str = LOGIN,
    imds: str = IMDS,
    patience: Patience | None = None,
    waiting: Waiting | None = None,
) -> Bearer:
    """The token that a deployment's file asks for. UsageError where what it needs is not here."""
    told = dict(os.environ if environment is None else environment)
    refuse_login_elsewhere(platform.login, told)
    how, client, key = platform.login.how, platform.login.client, platform.login.key
    clock = (waiting or Waiting()).wall
    if how == "managed-identity":
        return Bearer(_Machine(imds, client, patience, waiting).fetch, clock)
    assert client is not None, "the file's reader asked for it"
    url = place.secure(f"{login}/{platform.tenant}/oauth2/v2.0/token")
    form: Form
    if how == "secret":
        form = by_secret(client, key, told)
    elif how == "certificate":
        assert key is not None, "the file's reader asked for it"
        form = by_certificate(client, key, url, clock)
    else:
        form = by_token(client, key or Path(told["AZURE_FEDERATED_TOKEN_FILE"]))
    return Bearer(_Login(url, form, patience, waiting).fetch, clock)


def by_secret(client: str, file: Path | None, environment: Mapping[str, str]) -> Form:
    """A secret from a file, else from AZURE_CLIENT_SECRET."""

    def form() -> Mapping[str, str]:
        secret = _read(file).strip() if file is not None else environment["AZURE_CLIENT_SECRET"]
        return {"client_id": client, "client_secret": secret}

    return form


def by_token(client: str, file: Path) -> Form:
    """The token in a file, which somebody else renews: read each time."""

    def form() -> Mapping[str, str]:
        assertion = _read(file).strip()
        return {"client_id": client, "client_assertion_type": _ASSERTION, "client_assertion": assertion}

    return form


def by_certificate(client: str, file: Path, audience: str, clock: Clock, *, algorithm: str = ALGORITHMS[0]) -> Form:
    """An assertion signed with the RSA key in a PEM file, which has the certificate, too."""

    def form() -> Mapping[str, str]:
        key, certificate = _key_pair(file)
        assertion = signed(client, audience, key, certificate, clock(), algorithm)
        return {"client_id": client, "client_assertion_type": _ASSERTION, "client_assertion": assertion}

    return form


def signed(
    client: str, audience: str, key: rsa.RSAPrivateKey, certificate: x509.Certificate, now: float, algorithm: str
) -> str:
    """A JWT that says that we are `client` (RFC 7523, section 3), for one use."""
    if algorithm not in ALGORITHMS:
        raise UsageError(f"{algorithm[:20]!r} is not one of {', '.join(ALGORITHMS)}")
    header = {"alg": algorithm, "typ": "JWT", "x5t#S256": _b64(certificate.fingerprint(hashes.SHA256()))}
    begin = int(now)
    claims = {"aud": audience, "iss": client, "sub": client, "jti": secrets.token_hex(16)}
    times = {"iat": begin, "nbf": begin - 60, "exp": begin + _ASSERTION_SECONDS}
    text = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps({**claims, **times}).encode())}"
    if algorithm == "RS256":
        signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    else:
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
        signature = key.sign(text.encode(), pss, hashes.SHA256())
    return f"{text}.{_b64(signature)}"


class _Login:
    """The login service."""

    def __init__(self, url: str, form: Form, patience: Patience | None, waiting: Waiting | None) -> None:
        self._url, self._form = url, form
        self._door = Door("Azure login", _explain, patience=patience, waiting=waiting)

    def fetch(self) -> tuple[str, float]:
        fields = {**self._form(), "grant_type": "client_credentials", "scope": f"{RESOURCE}/.default"}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(fields).encode()
        answer = self._door.ask("POST", self._url, "getting a token", headers=headers, body=body, repeatable=True)
        return _token(answer, "Azure login")


class _Machine:
    """The identity service of the virtual machine that this runs on."""

    def __init__(self, base: str, client: str | None, patience: Patience | None, waiting: Waiting | None) -> None:
        self._base, self._client = base, client
        self._door = Door("Azure identity service", _explain_machine, patience=patience, waiting=waiting)

    def fetch(self) -> tuple[str, float]:
        query = {"api-version": "2018-02-01", "resource": f"{RESOURCE}/"}
        if self._client is not None:
            query["client_id"] = self._client
        url = f"{self._base}/metadata/identity/oauth2/token"
        answer = self._door.ask("GET", url, "getting a token", query=query, headers={"Metadata": "true"})
        return _token(answer, "Azure identity service")


def _token(answer: Answer, service: str) -> tuple[str, float]:
    try:
        document: Any = loads(answer.body, what="token", limit=_LIMIT)
    except FormatError:
        document = None
    if not isinstance(document, dict):
        raise SourceError(f"{service}: the answer is no JSON object")
    value, kind, seconds = (document.get(name) for name in ("access_token", "token_type", "expires_in"))
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not value:
        raise SourceError(f"{service}: the answer has no access_token")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise SourceError(f"{service}: the answer's token_type is not Bearer")
    # The one service writes a number, the other one digits.
    if isinstance(seconds, bool) or not re.fullmatch(r"[0-9]{1,8}", str(seconds)):
        raise SourceError(f"{service}: the answer's expires_in is not a number of seconds")
    return value, float(str(seconds))


def _explain(answer: Answer) -> tuple[str, str]:
    """The error's name and number, and what the number means: the text itself may repeat what was sent."""
    try:
        document: Any = json.loads(answer.body)
    except ValueError:
        return "", "the answer is no JSON"
    if not isinstance(document, dict):
        return "", "the answer is no JSON object"
    name, text = str(document.get("error", ""))[:60], str(document.get("error_description", ""))
    found = _NUMBER.search(text)
    if found is None:
        return name, "refused"
    return f"{name} AADSTS{found[1]}", _MEANINGS.get(
        found[1], "refused; look the number up at login.microsoftonline.com/error"
    )


def _explain_machine(answer: Answer) -> tuple[str, str]:
    name, _ = _explain(answer)
    if answer.status == 400:
        return name, "this machine has no such identity, or more than one: name one by `client`"
    return name, "refused"


def _key_pair(file: Path) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    data = _read(file).encode()
    try:
        key = serialization.load_pem_private_key(data, None)
        certificate = x509.load_pem_x509_certificate(data[data.find(b"-----BEGIN CERTIFICATE") :])
    except (ValueError, TypeError, x509.InvalidVersion) as error:
        raise UsageError(
            f"{file}: must be a PEM file with an RSA key without a password and its certificate"
        ) from error
    if not isinstance(key, rsa.RSAPrivateKey) or certificate.public_key() != key.public_key():
        raise UsageError(f"{file}: the key is not RSA, or the certificate is another key's")
    return key, certificate


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(_LIMIT + 1)
        if len(data) > _LIMIT:
            raise UsageError(f"{file}: more than {_LIMIT} bytes")
        text = data.decode("ascii")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: has bytes that are not ASCII") from error
    if not text.strip():
        raise UsageError(f"{file} is empty")
    return text


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
