"""Waits until what clients reach has the certificate that a CA gives, and says what it shows until then. Thin IO.

The target's own address is connected to, wherever the domain leads by now. The key of the certificate is none of this
module's concern: evidence vouches for it, which is appraised right after.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from pluto_deploy.deployment import Certificate, Deployment
from pluto_deploy.engine.target import Address, Target
from pluto_measure.commands import files
from pluto_measure.errors import FormatError, PlutoError, SourceError
from pluto_measure.progress import Progress, Silent

_ROOTS_LIMIT: Final = 1 << 20
_TRY_SECONDS: Final = 10.0  # to connect, and again for the handshake
_PAUSE: Final = 2.0
# OpenSSL's reasons (x509_vfy.h), in the words of whoever looks at the certificate.
_REASONS: Final = {
    2: "one by somebody whose word does not count",
    9: "one that is not valid yet",
    10: "one that has expired",
    18: "one that it signed itself",
    19: "one by somebody whose word does not count",
    20: "one by somebody whose word does not count",
    21: "one by somebody whose word does not count",
    62: "one for another name",
}

Connect = Callable[[Address, float], socket.socket]


class NotCertifiedError(SourceError):
    """What clients reach got no certificate in time."""

    hint = "'pluto-deploy logs' shows what the notary said of it"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one connection showed. `until`: the end of a certificate that counts; None: `problem` says what was seen."""

    until: datetime | None
    problem: str = ""

    @classmethod
    def of(cls, seen: object) -> Self:
        """Of the certificate of a handshake that verified it, as `getpeercert` gives it, or of the error of one."""
        match seen:
            case {"notAfter": str(end)}:
                return cls(datetime.fromtimestamp(ssl.cert_time_to_seconds(end), UTC))
            case ssl.SSLCertVerificationError():
                shown = _REASONS.get(seen.verify_code, f"one that is not accepted ({seen.verify_message})")
                return cls(None, f"it shows no certificate that counts, but {shown}")
            case TimeoutError():
                return cls(None, f"no answer within {_TRY_SECONDS:.0f} s")
            case OSError():
                return cls(None, f"no answer: {seen.strerror or type(seen).__name__}")
        return cls(None, "it shows no certificate")

    def to_json(self) -> dict[str, object]:
        return {
            "until": None if self.until is None else f"{self.until:%Y-%m-%dT%H:%M:%SZ}",
            "problem": self.problem or None,
        }


def connected(address: Address, timeout: float) -> socket.socket:
    """A connection to where a machine answers; `timeout` in seconds. OSError."""
    if address.socket is None:
        return socket.create_connection((address.host, address.port), timeout)
    made = socket.socket(socket.AF_UNIX)
    try:
        made.settimeout(timeout)
        made.connect(str(address.socket))
    except BaseException:
        made.close()
        raise
    return made


def trusting(roots: Path | None) -> ssl.SSLContext:
    """Verifies as clients do, by these roots (PEM), or by this computer's own. UsageError, FormatError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which asks for a certificate, and for its name
    context.hostname_checks_common_name = False  # browsers do not, either
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if roots is None:
        context.load_default_certs()
        return context
    data = files.read(roots, what="roots", limit=_ROOTS_LIMIT)
    try:
        context.load_verify_locations(cadata=data.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise FormatError(f"roots {roots}", "has no certificates in PEM") from error
    return context


@dataclass(frozen=True, slots=True)
class Awaited:
    """Waits for a certificate, for `timeout` seconds by `clock`, which never goes back."""

    certificate: Certificate
    context: ssl.SSLContext
    timeout: float
    progress: Progress
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    connect: Connect = connected

    def __call__(self, public: Callable[[], Address]) -> None:
        """Return when what answers at `public()` has it. NotCertifiedError when time is over, and what that raises."""
        limit = self.clock() + self.timeout
        while True:
            address = public()
            found = self.look(address)
            left = limit - self.clock()
            if found.until is not None:
                return
            if left <= 0:
                what = f"{self.certificate.domain} got no certificate within {self.timeout:.0f} s"
                raise NotCertifiedError(f"{what}: {address}: {found.problem}")
            self.progress.doing(f"waiting for the certificate of {self.certificate.domain}: {found.problem}")
            self.sleep(min(_PAUSE, left))

    def look(self, address: Address) -> Verdict:
        """One connection, which takes no longer than its own limits."""
        try:
            return Verdict.of(self._shown(address))
        except OSError as error:  # ssl.SSLError is one
            return Verdict.of(error)

    def _shown(self, address: Address) -> Any:
        with self.connect(address, _TRY_SECONDS) as plain:
            plain.settimeout(_TRY_SECONDS)
            name = self.certificate.domain
            with self.context.wrap_socket(plain, server_hostname=name, do_handshake_on_connect=False) as wrapped:
                wrapped.do_handshake()
                return wrapped.getpeercert()


def awaited(deployment: Deployment, progress: Progress) -> Awaited | None:
    """What waits for the certificate of a deployment; None where none is asked for. UsageError, FormatError."""
    asked = deployment.certificate
    if asked is None:
        return None
    return Awaited(asked, trusting(asked.roots), deployment.timeout, progress)


def note(deployment: Deployment, target: Target) -> tuple[Verdict, str] | None:
    """What clients see now, and the same in a sentence; None where no certificate is asked for. Ends nothing."""
    if deployment.certificate is None:
        return None
    what = f"the certificate of {deployment.certificate.domain}"
    try:
        waits = awaited(deployment, Silent())
        assert waits is not None, "one is asked for"
        found = waits.look(target.public())
    except PlutoError as error:
        found = Verdict(None, str(error))
    if found.until is not None:
        return found, f"{what} that clients see is valid until {found.until:%Y-%m-%d %H:%M} UTC"
    return found, f"{what} is not there for clients: {found.problem}"
