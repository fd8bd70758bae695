"""Waiting for a certificate: what is said of each thing that may be seen, by real handshakes on this computer."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from pluto_deploy import certificate
from pluto_deploy.certificate import Awaited, NotCertifiedError, Verdict, connected, note, trusting
from pluto_deploy.deployment import Certificate, Deployment
from pluto_deploy.engine.target import Address
from pluto_measure.errors import FormatError, SourceError, UsageError
from pluto_measure.progress import Silent
from simulators.notary.certificates import Authority, Identity
from simulators.tls_fronts import Front, front

NAME = "notary.example"
CA = Authority()
SEEN = "it shows no certificate that counts, but one "


@dataclass
class Waiting(Silent):
    """Time that passes by sleeping alone; `at`: what happens before which sleep."""

    site: Front
    now: float = 0.0
    told: list[str] = field(default_factory=list)
    at: dict[int, Callable[[], None]] = field(default_factory=dict)
    naps: int = 0

    def doing(self, text: str) -> None:
        self.told.append(text)

    def sleep(self, seconds: float) -> None:
        assert 0 < seconds <= 2
        self.at.get(self.naps, lambda: None)()
        self.now, self.naps = self.now + seconds, self.naps + 1

    def public(self) -> Address:
        return Address("127.0.0.1", self.site.port)


@pytest.fixture
def site() -> Iterator[Front]:
    with front() as one:
        yield one


@pytest.fixture
def waiting(site: Front) -> Waiting:
    return Waiting(site)


@pytest.fixture
def waits(waiting: Waiting, tmp_path: Path) -> Awaited:
    roots = tmp_path / "roots.pem"
    roots.write_text(CA.pem)
    asked = Certificate("https://ca.example/directory", NAME, roots)
    return Awaited(asked, trusting(roots), 20.0, waiting, lambda: waiting.now, waiting.sleep)


def test_one_that_is_there_ends_the_wait_at_once(waits: Awaited, waiting: Waiting) -> None:
    waiting.site.shown = CA.issue(NAME)
    waits(waiting.public)
    assert (waiting.naps, waiting.site.seen, waiting.told) == (0, 1, [])
    until = waits.look(waiting.public()).until
    assert until is not None
    assert timedelta(29) < until - datetime.now(UTC) < timedelta(31)


def test_one_that_comes_is_waited_for(waits: Awaited, waiting: Waiting) -> None:
    own, right = CA.issue("pluto-notary", self_signed=True), CA.issue(NAME)
    waiting.at = {0: lambda: show(waiting, own), 3: lambda: show(waiting, right)}
    waits(waiting.public)
    assert waiting.site.seen == 5
    assert [one.removeprefix(f"waiting for the certificate of {NAME}: ") for one in waiting.told[1:]] == [
        SEEN + "that it signed itself"
    ] * 3


def show(waiting: Waiting, shown: Identity) -> None:
    waiting.site.shown = shown


WRONG: dict[str, tuple[Callable[[], Identity], str]] = {
    "its own": (lambda: CA.issue(NAME, self_signed=True), SEEN + "that it signed itself"),
    "another name": (lambda: CA.issue("other.example"), SEEN + "for another name"),
    "no name": (lambda: CA.issue(common_name=NAME, alternatives=False), SEEN + "for another name"),
    "expired": (lambda: CA.issue(NAME, from_day=-9, to_day=-1), SEEN + "that has expired"),
    "not yet": (lambda: CA.issue(NAME, from_day=1), SEEN + "that is not valid yet"),
    "another root": (lambda: Authority().issue(NAME), SEEN + "by somebody whose word does not count"),
    "for clients": (
        lambda: CA.issue(NAME, purpose=ExtendedKeyUsageOID.CLIENT_AUTH),
        SEEN + "that is not accepted (unsuitable certificate purpose)",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_one_that_never_comes_is_told_by_what_was_seen_last(waits: Awaited, waiting: Waiting, what: str) -> None:
    make, words = WRONG[what]
    waiting.site.shown = make()
    with pytest.raises(NotCertifiedError) as caught:
        waits(waiting.public)
    assert (caught.value.exit_code, waiting.now, waiting.site.seen) == (6, 20.0, 11)
    address = waiting.public()
    assert str(caught.value) == f"{NAME} got no certificate within 20 s: {address}: {words}"
    assert "pluto-deploy logs" in str(caught.value.hint)


def test_nobody_who_answers(waits: Awaited, waiting: Waiting) -> None:
    assert waits.look(waiting.public()).problem.startswith("no answer: "), "it goes away before it says anything"
    gone = Address("127.0.0.1", 1)
    with pytest.raises(NotCertifiedError, match=r"127\.0\.0\.1:1: no answer: Connection refused$"):
        waits(lambda: gone)


def test_a_server_that_says_nothing_is_given_up(
    waits: Awaited, waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificate, "_TRY_SECONDS", 0.2)
    waiting.site.silent = True
    assert waits.look(waiting.public()) == Verdict(None, "no answer within 0 s")


def test_the_address_is_connected_to_wherever_the_name_leads(waits: Awaited, waiting: Waiting) -> None:
    """The name is asked for, and nobody is asked where it leads."""
    waiting.site.shown = CA.issue(NAME)
    asked: list[Address] = []

    def connect(address: Address, timeout: float) -> Any:
        asked.append(address)
        return connected(address, timeout)

    replace(waits, connect=connect)(waiting.public)
    assert asked == [waiting.public()]


def test_what_the_target_raises_is_raised(waits: Awaited) -> None:
    def public() -> Address:
        raise SourceError("the cloud is away")

    with pytest.raises(SourceError, match="the cloud is away"):
        waits(public)


class Error(ssl.SSLCertVerificationError):
    """As OpenSSL makes one."""

    def __init__(self, code: int) -> None:
        super().__init__(1, "verify failed")
        self.verify_code, self.verify_message = code, "the reason"


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        ({"notAfter": "Nov 26 18:00:00 2026 GMT"}, Verdict(datetime(2026, 11, 26, 18, tzinfo=UTC))),
        ({}, Verdict(None, "it shows no certificate")),
        (None, Verdict(None, "it shows no certificate")),
        (Error(10), Verdict(None, SEEN + "that has expired")),
        (Error(20), Verdict(None, SEEN + "by somebody whose word does not count")),
        (Error(77), Verdict(None, SEEN + "that is not accepted (the reason)")),
        (TimeoutError("x"), Verdict(None, "no answer within 10 s")),
        (ConnectionResetError(104, "Connection reset by peer"), Verdict(None, "no answer: Connection reset by peer")),
        (ssl.SSLEOFError(8, "EOF occurred"), Verdict(None, "no answer: EOF occurred")),
        (OSError(), Verdict(None, "no answer: OSError")),
    ],
)
def test_verdicts(seen: object, verdict: Verdict) -> None:
    assert Verdict.of(seen) == verdict
    assert verdict.to_json()["until"] == (None if verdict.until is None else "2026-11-26T18:00:00Z")


def test_roots_are_a_file_or_the_computers_own(tmp_path: Path) -> None:
    path = tmp_path / "roots.pem"
    for data in (b"", b"no certificates", b"\xff", CA.pem.encode()[:200]):
        path.write_bytes(data)
        with pytest.raises(FormatError, match=f"roots {path}: has no certificates in PEM"):
            trusting(path)
    with pytest.raises(UsageError):
        trusting(tmp_path / "nowhere")
    path.write_text(CA.pem + Authority().pem)
    assert trusting(path).cert_store_stats()["x509_ca"] == 2
    for context in (trusting(path), trusting(None)):
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_note_is_never_a_failure(tmp_path: Path, waiting: Waiting) -> None:
    waiting.site.shown = CA.issue(NAME)
    asked = Certificate("https://ca.example/directory", NAME, tmp_path / "roots.pem")
    deployment = cast(Deployment, cast(Any, Told)(asked))
    found = note(deployment, cast(Any, waiting))
    assert found is not None
    assert found[1].startswith(f"the certificate of {NAME} is not there for clients: ")
    (tmp_path / "roots.pem").write_text(CA.pem)
    found = note(deployment, cast(Any, waiting))
    assert found is not None
    assert found[1].startswith(f"the certificate of {NAME} that clients see is valid until 20")
    assert note(cast(Deployment, cast(Any, Told)(None)), cast(Any, waiting)) is None


@dataclass
class Told:
    """As much of a deployment as is asked for."""

    certificate: Certificate | None
    timeout: int = 20
