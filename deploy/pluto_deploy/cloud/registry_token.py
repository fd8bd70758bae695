"""What a registry wants to be shown: a password, or a token that another address of its gives for one.

The registry says which in WWW-Authenticate. A password goes to the registry's own host, and to others only where they
were named beforehand. Formats: RFC 7235, section 4.1; RFC 7617; the token protocol of the Docker registry ("Token
Authentication Specification"), which registries of OCI images speak.
"""

from __future__ import annotations

import json
import re
import threading
from base64 import b64encode
from collections.abc import Collection, Mapping
from typing import Final, Protocol
from urllib.parse import urlsplit

from pluto_deploy.cloud import place
from pluto_deploy.cloud.door import Answer, Door, Token
from pluto_measure.errors import SourceError, UsageError

_PARAMETER: Final = re.compile(r'\s*,?\s*([A-Za-z]+)="((?:[^"\\]|\\.)*)"')
_SCHEME: Final = re.compile(r"\s*,?\s*(Basic|Bearer)\s", re.I)
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=:-]{1,65536}")


class Login(Protocol):
    """Gives user and password; asked anew after they were refused."""

    def __call__(self, *, fresh: bool = False) -> tuple[str, str]: ...


def explain(answer: Answer) -> tuple[str, str]:
    """Code and words of a registry's refusal (OCI Distribution Specification 1.1, "Error Codes")."""
    try:
        first = json.loads(answer.body)["errors"][0]
        code, words = first.get("code", ""), first.get("message", "")
    except (ValueError, LookupError, TypeError, AttributeError):
        return "", ""
    return (code, words) if isinstance(code, str) and isinstance(words, str) else ("", "")


def for_challenge(
    answer: Answer, login: Login | None, plain: Door, *, base: str, scope: str, realms: Collection[str]
) -> Token:
    """What gives the value of Authorization that a 401 asks for. SourceError where it asks for something else."""
    challenge = parse_challenge(answer.headers.get("www-authenticate", ""))
    if challenge is None:
        raise SourceError(f"{plain.service}: asks for a login of an unknown kind")
    scheme, parameters = challenge
    if scheme == "basic":
        if login is None:
            raise UsageError(f"{plain.service} asks for a login, and there is none")
        return _basic(login)
    realm = _realm(parameters, base, realms, plain.service)
    token = None if login is None else _basic(login)
    query = {"service": parameters["service"]} if "service" in parameters else {}
    return _Bearer(plain.with_token(token), realm, query | {"scope": scope})


def parse_challenge(text: str) -> tuple[str, Mapping[str, str]] | None:
    """Scheme and parameters of WWW-Authenticate, of Bearer where it offers several; None where it offers neither."""
    found: dict[str, dict[str, str]] = {}
    at = 0
    while (scheme := _SCHEME.match(text, at)) is not None:
        parameters, at = found.setdefault(scheme[1].lower(), {}), scheme.end()
        while (one := _PARAMETER.match(text, at)) is not None:
            parameters.setdefault(one[1].lower(), re.sub(r"\\(.)", r"\1", one[2]))
            at = one.end()
    scheme_name = next((name for name in ("bearer", "basic") if name in found), None)
    return None if scheme_name is None else (scheme_name, found[scheme_name])


def _realm(parameters: Mapping[str, str], base: str, realms: Collection[str], service: str) -> str:
    realm = parameters.get("realm", "")
    host = urlsplit(realm).hostname or ""
    if realm and host in realms:
        return place.secure(realm)
    if not realm or "?" in realm or host != urlsplit(base).hostname:
        raise SourceError(
            f"{service}: sends us for a token to {host[:80] or '?'}, which is not allowed to see a password"
        )
    return place.secure(realm)


def _basic(login: Login) -> Token:
    def value(*, fresh: bool = False) -> str:
        user, password = login(fresh=fresh)
        return "Basic " + b64encode(f"{user}:{password}".encode()).decode()

    return value


class _Bearer:
    """Keeps a token until it is refused. Used by many threads."""

    def __init__(self, door: Door, realm: str, query: Mapping[str, str]) -> None:
        self._door, self._realm, self._query = door, realm, query
        self._lock, self._value = threading.Lock(), ""

    def __call__(self, *, fresh: bool = False) -> str:
        with self._lock:
            if fresh or not self._value:
                self._value = f"Bearer {self._get()}"
            return self._value

    def _get(self) -> str:
        answer = self._door.ask("GET", self._realm, "asking for a token", query=self._query)
        try:
            members = answer.json()
        except ValueError:
            members = None
        if isinstance(members, dict):
            for name in ("token", "access_token"):
                token = members.get(name)
                if isinstance(token, str) and _TOKEN.fullmatch(token):
                    return token
        raise SourceError(f"{self._door.service}: an answer has no token, or one that cannot be")
