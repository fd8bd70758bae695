"""Who we are to Google: credentials as Google's own libraries find them, made into tokens. Thin IO.

The order of google-auth: the file that GOOGLE_APPLICATION_CREDENTIALS names, gcloud's file, the metadata server. A file
is of the type service_account, authorized_user, external_account (workload identity federation) or
impersonated_service_account. What runs a program, or signs for another cloud, is refused in words. No error has
anything of a secret in it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from pluto_deploy.cloud.door import Door, Patience, Waiting
from pluto_deploy.google.credentials import (
    SCOPE,
    AuthorizedUser,
    External,
    Granted,
    Impersonated,
    MetadataServer,
    ServiceAccount,
    Source,
)
from pluto_deploy.google.errors import explain
from pluto_measure.errors import FormatError, SourceError, UsageError
from pluto_measure.formats.strict_json import Fields, loads

FILE: Final = "GOOGLE_APPLICATION_CREDENTIALS"
GCLOUD: Final = "CLOUDSDK_CONFIG"
METADATA: Final = "GCE_METADATA_HOST"
SERVICE: Final = "Google's token service"

_GCLOUD_FILE: Final = "application_default_credentials.json"
_LIMIT: Final = 64 * 1024
_SPARE: Final = 225.0  # seconds before its end that a token is no longer used
_LOGIN: Final = "run 'gcloud auth application-default login', or set GOOGLE_APPLICATION_CREDENTIALS to a file"
_REFUSED: Final = {
    "external_account_authorized_user": "a person's login by workforce federation",
    "gdch_service_account": "an account of Google Distributed Cloud",
    "gdch": "an account of Google Distributed Cloud",
}


class Bearer:
    """The value of Authorization, kept until shortly before the token ends. May be shared by threads."""

    def __init__(self, source: Source, clock: Callable[[], float]) -> None:
        self._source, self._clock = source, clock
        self._lock = threading.Lock()
        self._granted: Granted | None = None
        self._until = 0.0

    def __call__(self, *, fresh: bool = False) -> str:
        """SourceError where there is no token."""
        return f"Bearer {self.token(fresh=fresh)}"

    def token(self, *, fresh: bool = False) -> str:
        """The bare token, as a registry's login takes it."""
        with self._lock:
            now = self._clock()
            if self._granted is None or fresh or now >= self._until:
                granted = self._source.grant()
                self._granted, self._until = granted, now + max(0.0, granted.seconds - _SPARE)
            return self._granted.token


@dataclass(frozen=True, slots=True)
class World:
    """What credentials are looked for in. `root`: where Google's own services are, for tests to replace."""

    environ: Mapping[str, str] = field(repr=False)
    home: Path
    waiting: Waiting = field(default_factory=Waiting)
    patience: Patience = field(default_factory=lambda: Patience(connect=10, read=20, total=60, attempts=4))
    root: str = "https://{service}.googleapis.com"

    def door(self, service: str = SERVICE, *, patience: Patience | None = None) -> Door:
        return Door(service, explain, patience=patience or self.patience, waiting=self.waiting)


class Kind(Protocol):
    """Makes a source of tokens from a credentials file."""

    def __call__(self, fields: Fields, world: World) -> Source: ...


def bearer(world: World) -> Bearer:
    """The credentials of this computer. UsageError, FormatError, SourceError where there are none that can be used."""
    return Bearer(source(world), world.waiting.clock)


def source(world: World) -> Source:
    """As `bearer`, for whoever keeps tokens otherwise."""
    if named := world.environ.get(FILE, ""):
        path = Path(named)
        if not path.is_file():
            raise UsageError(f"{FILE} names {path}, and there is no such file")
        return of_file(path, world)
    config = world.environ.get(GCLOUD, "")
    path = (Path(config) if config else world.home / ".config/gcloud") / _GCLOUD_FILE
    if path.is_file():
        return of_file(path, world)
    host = world.environ.get(METADATA, "") or "metadata.google.internal"
    quick = Patience(connect=3, read=5, total=15, attempts=3, pause=0.5)
    return MetadataServer(world.door("Google's metadata server", patience=quick), f"http://{host}", _LOGIN)


def of_file(path: Path, world: World) -> Source:
    """One credentials file. FormatError with its name, SourceError."""
    what = f"credentials {path}"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{what}: {error.strerror}") from error
    if len(data) > _LIMIT:
        raise FormatError(what, f"{len(data)} bytes are more than {_LIMIT}")
    try:
        value = loads(data, what=what)
    except FormatError:
        raise FormatError(what, "is not JSON") from None  # what a parser shows of it could be a secret
    return of_value(value, what, world)


def of_value(value: Any, what: str, world: World) -> Source:
    """The object in a credentials file."""
    fields = Fields(value, what=what)
    kind: str = fields.take("type", str)
    if kind in _REFUSED:
        raise UsageError(f"{what}: {_REFUSED[kind]} ({kind}) is not used here", hint=_LOGIN)
    if kind not in _KINDS:
        raise UsageError(f"{what}: credentials of the type {kind[:40]!r} are not known", hint=_LOGIN)
    return _KINDS[kind](fields, world)


def _service_account(fields: Fields, world: World) -> Source:
    return ServiceAccount.parse(fields, world.door(), world.waiting.wall)


def _authorized_user(fields: Fields, world: World) -> Source:
    return AuthorizedUser.parse(fields, world.door(), world.root.format(service="oauth2"))


def _external(fields: Fields, world: World) -> Source:
    account = External.parse(fields, world.door())
    impersonated = fields.get("service_account_impersonation_url", None, str, type(None))
    if impersonated is None:
        return account
    lifetime = fields.get("service_account_impersonation", {}, dict).get("token_lifetime_seconds", 3600)
    return Impersonated.parse(impersonated, account, world.door(), (), lifetime, fields.what)


def _impersonated(fields: Fields, world: World) -> Source:
    inner, what = fields.take("source_credentials", dict), f"{fields.what}.source_credentials"
    if inner.get("type") == "impersonated_service_account":
        raise UsageError(f"{what}: an impersonation cannot stand for another one", hint=_LOGIN)
    url, delegates = fields.take("service_account_impersonation_url", str), fields.get("delegates", [], list)
    if not all(isinstance(one, str) for one in delegates):
        raise FormatError(f"{fields.what}.delegates", "must be texts")
    origin = of_value(inner, what, world)
    return Impersonated.parse(url, origin, world.door(), tuple(delegates), 3600, fields.what)


_KINDS: Final[dict[str, Kind]] = {
    "service_account": _service_account,
    "authorized_user": _authorized_user,
    "external_account": _external,
    "impersonated_service_account": _impersonated,
}
__all__ = ["SCOPE", "Bearer", "World", "bearer", "of_file", "of_value", "source"]
