"""The kinds of credentials that Google's files name: each asks one service for a token. Thin IO.

service_account     a JWT signed with its key (RFC 7523)         authorized_user   a refresh token (RFC 6749, section 6)
external_account    somebody else's token, exchanged (RFC 8693)  impersonated      generateAccessToken of IAM
"""

from __future__ import annotations

import base64
import datetime
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Protocol, Self
from urllib.parse import urlencode, urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pluto_deploy.cloud import place
from pluto_deploy.cloud.door import Answer, CloudError, Door
from pluto_deploy.google.reply import Reply
from pluto_measure.errors import FormatError, SourceError, UsageError
from pluto_measure.formats.strict_json import Fields, canonical

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_ACT: Final = "asking for a token"
_SECONDS: Final = 3600
_LARGEST: Final = 64 * 1024  # bytes of an answer, and of a token in a file
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,16384}")
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
_JSON: Final = {"Content-Type": "application/json"}
_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  a type's name
_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_FLAVOUR: Final = "Metadata-Flavor"
_ACCOUNT: Final = re.compile(r"/v1/projects/-/serviceAccounts/[a-zA-Z0-9@.:-]{3,200}:generateAccessToken")


@dataclass(frozen=True, slots=True)
class Granted:
    """A token, and for how many seconds it holds from when it was asked for."""

    token: str = field(repr=False)
    seconds: float


class Source(Protocol):
    """Asks for one token."""

    def grant(self) -> Granted:
        """A new token. SourceError, FormatError."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A service account whose key is in the file."""

    email: str
    key_id: str
    key: rsa.RSAPrivateKey = field(repr=False)
    token_uri: str
    door: Door = field(repr=False)
    wall: Callable[[], float] = field(repr=False)

    @classmethod
    def parse(cls, fields: Fields, door: Door, wall: Callable[[], float]) -> Self:
        """FormatError."""
        email, key_id = fields.take("client_email", str), fields.get("private_key_id", "", str)
        try:
            key = load_pem_private_key(fields.take("private_key", str).encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise FormatError(f"{fields.what}.private_key", "is no private key in PEM form") from None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise FormatError(f"{fields.what}.private_key", "is no RSA key")
        uri = _checked_url(fields.take("token_uri", str), f"{fields.what}.token_uri")
        return cls(email, key_id, key, uri, door, wall)

    def grant(self) -> Granted:
        now = int(self.wall())
        claims = {"iss": self.email, "aud": self.token_uri, "scope": SCOPE, "iat": now, "exp": now + _SECONDS}
        head = {"alg": "RS256", "typ": "JWT", **({"kid": self.key_id} if self.key_id else {})}
        signed = f"{_base64(canonical(head))}.{_base64(canonical(claims))}"
        signature = self.key.sign(signed.encode(), padding.PKCS1v15(), SHA256())
        return _form(self.door, self.token_uri, {"grant_type": _BEARER, "assertion": f"{signed}.{_base64(signature)}"})


@dataclass(frozen=True, slots=True)
class AuthorizedUser:
    """A person who logged in with gcloud."""

    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str = field(repr=False)
    token_uri: str
    door: Door = field(repr=False)

    @classmethod
    def parse(cls, fields: Fields, door: Door, root: str) -> Self:
        """`root`: of the token service that a file need not name. FormatError."""
        uri = fields.get("token_uri", f"{root}/token", str)
        return cls(
            fields.take("client_id", str),
            fields.take("client_secret", str),
            fields.take("refresh_token", str),
            _checked_url(uri, f"{fields.what}.token_uri"),
            door,
        )

    def grant(self) -> Granted:
        given = {"client_id": self.client_id, "client_secret": self.client_secret, "refresh_token": self.refresh_token}
        try:
            return _form(self.door, self.token_uri, {"grant_type": "refresh_token", **given})
        except CloudError as error:
            if error.code == "invalid_grant":
                error.hint = "the login ran out: run 'gcloud auth application-default login'"
            raise


@dataclass(frozen=True, slots=True)
class External:
    """An identity of somebody else, such as a CI's, that a pool of Google's accepts."""

    audience: str
    token_type: str
    token_url: str
    subject: Callable[[], str] = field(repr=False)
    door: Door = field(repr=False)

    @classmethod
    def parse(cls, fields: Fields, door: Door) -> Self:
        """FormatError; UsageError for a source that runs a program, or signs for another cloud."""
        url = _checked_url(fields.take("token_url", str), f"{fields.what}.token_url")
        source = fields.sub("credential_source")
        for name, word in (("executable", "a program"), ("environment_id", "AWS"), ("certificate", "a certificate")):
            if source.get(name, None) is not None:
                problem = f"a subject token that comes from {word} is not used here"
                raise UsageError(f"{source.what}: {problem}", hint="name a file or a url in credential_source")
        subject = _subject(source, door)
        return cls(fields.take("audience", str), fields.take("subject_token_type", str), url, subject, door)

    def grant(self) -> Granted:
        given = {"subject_token": self.subject(), "subject_token_type": self.token_type, "audience": self.audience}
        asked = {"grant_type": _EXCHANGE, "requested_token_type": _ACCESS_TOKEN, "scope": SCOPE}
        return _form(self.door, self.token_url, {**asked, **given})


@dataclass(frozen=True, slots=True)
class Impersonated:
    """A service account that another identity may act as."""

    url: str
    origin: Source
    door: Door = field(repr=False)
    delegates: tuple[str, ...]
    lifetime: int  # seconds

    @classmethod
    def parse(
        cls,
        url: str,
        origin: Source,
        door: Door,
        delegates: tuple[str, ...],
        lifetime: object,
        what: str,
    ) -> Self:
        """FormatError."""
        checked = _checked_url(url, f"{what}.service_account_impersonation_url")
        if not _ACCOUNT.fullmatch(urlsplit(checked).path):
            raise FormatError(f"{what}.service_account_impersonation_url", "is not generateAccessToken of an account")
        if isinstance(lifetime, bool) or not isinstance(lifetime, int) or not 600 <= lifetime <= 43200:
            raise FormatError(f"{what}.service_account_impersonation", "token_lifetime_seconds is from 600 to 43200")
        return cls(checked, origin, door, delegates, lifetime)

    def grant(self) -> Granted:
        wanted = {"delegates": list(self.delegates), "lifetime": f"{self.lifetime}s", "scope": [SCOPE]}
        headers = {"Authorization": f"Bearer {self.origin.grant().token}", **_JSON}
        act = "asking for another account's token"
        answer = self.door.ask(
            "POST", self.url, act, headers=headers, body=canonical(wanted), repeatable=True, limit=_LARGEST
        )
        found = _object(answer, act)
        try:
            end = datetime.datetime.fromisoformat(found.text("expireTime")).timestamp()
        except ValueError:
            raise SourceError(f"{act}: expireTime is no time") from None
        left = min(float(self.lifetime), end - self.door.waiting.wall())
        return Granted(_token(found.text("accessToken"), act), max(0.0, left))


@dataclass(frozen=True, slots=True)
class MetadataServer:
    """The service account of the machine that this runs on. `root`: http://HOST."""

    door: Door = field(repr=False)
    root: str
    hint: str

    def grant(self) -> Granted:
        url = f"{self.root}/computeMetadata/v1/instance/service-accounts/default/token"
        try:
            answer = self.door.ask("GET", url, _ACT, headers={_FLAVOUR: "Google"}, limit=_LARGEST)
        except CloudError as error:
            problem = "no credentials were found: none are set, gcloud has none, and this is no machine of Google's"
            raise error if error.status else SourceError(problem, hint=self.hint) from None
        if answer.headers.get(_FLAVOUR.lower()) != "Google":
            raise SourceError(f"{self.door.service}: what answers there is not it", hint=self.hint)
        return _granted(answer)


def _subject(source: Fields, door: Door) -> Callable[[], str]:
    """Reads the token of somebody else, anew each time: it may be renewed meanwhile."""
    form, path, url = source.optional("format"), source.get("file", None, str), source.get("url", None, str)
    kind = "text" if form is None else form.get("type", "text", str)
    if kind not in ("text", "json") or (path is None) == (url is None):
        raise FormatError(source.what, "has a file or a url, and the format text or json")
    name = form.take("subject_token_field_name", str) if kind == "json" and form is not None else None
    headers = source.get("headers", {}, dict)
    if not all(isinstance(one, str) for one in headers.values()):
        raise FormatError(f"{source.what}.headers", "must be texts")
    if url is not None:
        asked = url if _is_near(url) else _checked_url(url, f"{source.what}.url")

    def read() -> str:
        act = "reading the subject token"
        if path is not None:
            try:
                data = Path(path).read_bytes()[:_LARGEST]
            except OSError as error:
                raise SourceError(f"{act}: {path}: {error.strerror}") from error
        else:
            data = door.ask("GET", asked, act, headers=headers, limit=_LARGEST).body
        return _token(_subject_in(data, name, act), act)

    return read


def _subject_in(data: bytes, name: str | None, act: str) -> str:
    try:
        if name is None:
            return data.decode("ascii").strip()
        return Reply(json.loads(data), act).text(name)
    except (ValueError, RecursionError):
        raise SourceError(f"{act}: it is not there in the form that was said") from None


def _form(door: Door, url: str, form: Mapping[str, str]) -> Granted:
    # Asking twice gives two tokens, of which one is used.
    body = urlencode(form).encode()
    return _granted(door.ask("POST", url, _ACT, headers=_FORM, body=body, repeatable=True, limit=_LARGEST))


def _granted(answer: Answer) -> Granted:
    found = _object(answer, _ACT)
    if found.maybe("token_type").lower() not in ("", "bearer"):
        raise SourceError(f"{_ACT}: token_type is not Bearer")
    return Granted(_token(found.text("access_token"), _ACT), float(found.number("expires_in")))


def _object(answer: Answer, act: str) -> Reply:
    try:
        value: Any = answer.json()
    except (ValueError, RecursionError):
        raise SourceError(f"{act}: the answer is not JSON") from None
    return Reply(value, act)


def _token(text: str, act: str) -> str:
    """A token as it may stand in a header."""
    if not _TOKEN.fullmatch(text):
        raise SourceError(f"{act}: what came is no token")
    return text


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _checked_url(text: str, what: str) -> str:
    """A URL that secrets may be sent to: over TLS, or to this computer."""
    try:
        return place.secure(text)
    except UsageError:
        raise FormatError(what, "is no URL of a service that begins with https://") from None


def _is_near(url: str) -> bool:
    """An address of this computer's link, such as a metadata server: nobody else is on the way."""
    try:
        return ip_address(urlsplit(url).hostname or "").is_link_local
    except ValueError:
        return False
