"""Fetching collateral: what is asked, what is understood; no server can hold us, fill us or lead us elsewhere."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pluto_measure.collateral.client import INTEL, Client, NoAnswerError
from pluto_measure.collateral.transport import Answer, Clock, Limits, Transport, is_loopback
from pluto_measure.errors import UsageError
from pluto_measure.formats.collateral import Collateral
from simulators.intel import healthy, pcs_response, tcb_info
from simulators.intel.der import Machine
from simulators.pcs_server import Fault, Service, serving

NOW = datetime(2026, 11, 20, 12, 0, 0, 900, tzinfo=UTC)
GIVEN = healthy().collateral
EARLY = healthy().with_collateral(info=tcb_info(evaluation=21)).collateral
FMSPC = Machine.fmspc
QUICK = Limits(read=0.5, total=5.0)
BRIEF = Limits(read=0.4, total=0.8, attempts=1)


@dataclass
class Sleeper:
    """A clock whose waits take no time; `slept` lists them."""

    passed: float = 0.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.passed += seconds

    def monotonic(self) -> float:
        return time.monotonic() + self.passed

    def clock(self, spread: float = 0.0) -> Clock:
        return Clock(now=lambda: NOW, monotonic=self.monotonic, sleep=self.sleep, spread=lambda: spread)


@pytest.fixture
def service() -> Iterator[Service]:
    with serving(GIVEN, EARLY) as made:
        yield made


def client(service: Service, limits: Limits = QUICK, sleeper: Sleeper | None = None, spread: float = 0.0) -> Client:
    return Client(service.url, limits=limits, clock=(sleeper or Sleeper()).clock(spread))


def test_a_bundle_is_all_documents_as_they_were_signed(service: Service) -> None:
    bundle = client(service).bundle(FMSPC, "platform", updates=("standard", "early"))
    assert bundle.collateral(FMSPC, "platform") == Collateral.parse(json.dumps(GIVEN).encode())
    assert bundle.collateral(FMSPC, "platform", "early").tcb_info.body == EARLY["tcb_info"].encode()
    assert {document.fetched_at for document in bundle.documents} == {NOW.replace(microsecond=0)}
    kept = bundle.documents[0].headers
    assert kept["Request-ID"] == "1234abcd"
    assert not {"Cache-Control", "Content-Type", "Date"} & set(kept)


def test_what_is_asked(service: Service) -> None:
    client(service).bundle(FMSPC, "processor", updates=("standard", "early"))
    client(service).tcb_info(FMSPC, evaluation_number=19)
    assert [(one.path, one.query) for one in service.asked] == [
        ("/sgx/certification/v4/pckcrl", {"ca": "processor", "encoding": "der"}),
        ("/sgx/certification/v4/rootcacrl", {}),
        ("/tdx/certification/v4/tcb", {"fmspc": FMSPC.hex().upper()}),
        ("/tdx/certification/v4/qe/identity", {}),
        ("/tdx/certification/v4/tcb", {"fmspc": FMSPC.hex().upper(), "update": "early"}),
        ("/tdx/certification/v4/qe/identity", {"update": "early"}),
        ("/tdx/certification/v4/tcb", {"fmspc": FMSPC.hex().upper(), "tcbEvaluationDataNumber": "19"}),
    ]
    assert {one.headers["User-Agent"] for one in service.asked} == {"pluto-measure"}
    assert {one.headers["Accept-Encoding"] for one in service.asked} == {"identity"}


def test_intel_has_its_root_crl_on_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(_: Transport, url: str, __: float) -> Answer:
        asked.append(url)
        return Answer(404, {}, b"")  # type: ignore[arg-type]

    monkeypatch.setattr(Transport, "get", answer)
    for url in (INTEL, f"{INTEL}/sgx/certification/v4/", "https://pccs.example:8081/sgx/certification/v4"):
        with pytest.raises(NoAnswerError, match="does not know it"):
            Client(url).root_crl()
    assert asked == [
        "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der",
        "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der",
        "https://pccs.example:8081/sgx/certification/v4/rootcacrl",
    ]


@pytest.mark.parametrize("form", ["der", "hex", "pem"])
@pytest.mark.parametrize("old_header", [False, True])
def test_variants_of_a_pccs_give_the_same_collateral(form: str, old_header: bool) -> None:
    with serving(GIVEN, crl_form=form, old_header=old_header) as service:
        bundle = client(service).bundle(FMSPC, "platform")
    assert bundle.collateral(FMSPC, "platform") == Collateral.parse(json.dumps(GIVEN).encode())


def test_an_answer_in_pieces_is_whole(service: Service) -> None:
    service.faults = {"tcb": [Fault.CHUNKED]}
    assert client(service).tcb_info(FMSPC).signed().body == GIVEN["tcb_info"].encode()


@pytest.mark.parametrize(
    "fault", [Fault.BUSY, Fault.CUT, Fault.CHUNKED_CUT, Fault.RESET, Fault.NO_HTTP, Fault.THROTTLED]
)
def test_what_may_pass_is_tried_again(service: Service, fault: Fault) -> None:
    service.faults = {"tcb": [fault, fault]}
    sleeper = Sleeper()
    assert client(service, Limits(total=60.0), sleeper).tcb_info(FMSPC).body
    assert len(service.asked) == 3
    assert sleeper.slept == ([7.0, 7.0] if fault is Fault.THROTTLED else [0.5, 1.0])


def test_pauses_double_and_are_spread(service: Service) -> None:
    service.faults = {"tcb": [Fault.BUSY] * 9}
    sleeper = Sleeper()
    with pytest.raises(NoAnswerError, match=r"status 503.*, at attempt 4") as caught:
        client(service, Limits(total=60.0), sleeper, spread=0.5).tcb_info(FMSPC)
    assert sleeper.slept == [0.75, 1.5, 3.0]
    assert caught.value.fields() == {
        "document": f"TCB info (standard) of FMSPC {FMSPC.hex()}",
        "url": f"{service.url}/tdx/certification/v4/tcb?fmspc={FMSPC.hex().upper()}",
        "problem": "status 503, Error-Message 'no such thing here', Request-ID '5678cdef', at attempt 4",
        "status": 503,
    }
    assert caught.value.exit_code == 6


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("7", 7.0),
        (format_datetime(NOW.replace(microsecond=0) + timedelta(seconds=9), usegmt=True), 9.0),
        (format_datetime(NOW - timedelta(hours=1), usegmt=True), 0.5),
        ("Fri, 20 Nov 2026 12:00:20", 0.5),  # no zone
        ("soon", 0.5),
        ("-3", 0.5),
        ("0", 0.5),
    ],
)
def test_a_service_says_how_long_to_wait(service: Service, text: str, wait: float) -> None:
    service.retry_after, service.faults = text, {"tcb": [Fault.THROTTLED]}
    sleeper = Sleeper()
    assert client(service, Limits(total=60.0), sleeper).tcb_info(FMSPC).body
    assert sleeper.slept == [pytest.approx(wait, abs=0.01)]


@pytest.mark.parametrize("text", ["31", "99999999999999999999", "Fri, 20 Nov 2026 13:00:00 GMT"])
def test_nobody_makes_us_wait_for_long(service: Service, text: str) -> None:
    service.retry_after, service.faults = text, {"tcb": [Fault.THROTTLED] * 2}
    sleeper = Sleeper()
    with pytest.raises(NoAnswerError, match=r"too many requests \(status 429\).*it asks to wait for \d+ s"):
        client(service, sleeper=sleeper).tcb_info(FMSPC)
    assert sleeper.slept == []
    assert len(service.asked) == 1


def test_the_deadline_counts_the_pauses(service: Service) -> None:
    service.faults = {"tcb": [Fault.THROTTLED] * 9}
    sleeper = Sleeper()
    with pytest.raises(NoAnswerError, match="at attempt 2"):
        client(service, Limits(total=10.0, attempts=9), sleeper).tcb_info(FMSPC)
    assert sleeper.slept == [7.0]


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (Fault.NOT_FOUND, r"does not know it \(status 404\)"),
        (Fault.GONE, r"has this evaluation no more \(status 410\)"),
        (Fault.BAD_REQUEST, "status 400"),
        (Fault.REDIRECT, r"redirects are not followed \(status 302\), Location 'http://127.0.0.1:\d+/elsewhere'"),
        (Fault.WEB_PAGE, "answered with something else: .*not JSON"),
        (Fault.SHORT, "answered with something else: .*not JSON"),
        (Fault.NO_CHAIN, "has no header TCB-Info-Issuer-Chain"),
        (Fault.TWO_CHAINS, "has header TCB-Info-Issuer-Chain twice"),
        (Fault.BAD_CHAIN, "is not URL-encoded"),
        (Fault.LONG_CHAIN, "is not ASCII text of at most 32768 characters"),
        (Fault.ANNOUNCES_MUCH, "announces 1099511627776 bytes, more than 1048576"),
        (Fault.ENDLESS, "sends more than 1048576 bytes"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(service: Service, fault: Fault, problem: str) -> None:
    service.faults = {"tcb": [fault]}
    sleeper = Sleeper()
    with pytest.raises(NoAnswerError, match=problem) as caught:
        client(service, sleeper=sleeper).tcb_info(FMSPC)
    assert sleeper.slept == []
    assert len(service.asked) == 1
    assert caught.value.hint is None


@pytest.mark.parametrize("kind", ["pck_crl", "root_crl"])
@pytest.mark.parametrize("fault", [Fault.WEB_PAGE, Fault.SHORT])
def test_a_revocation_list_is_a_whole_one(service: Service, kind: str, fault: Fault) -> None:
    service.faults = {kind: [fault]}
    with pytest.raises(NoAnswerError, match="is no revocation list"):
        client(service).bundle(FMSPC, "platform")


def test_a_pck_crl_comes_with_its_chain(service: Service) -> None:
    service.faults = {"pck_crl": [Fault.NO_CHAIN]}
    with pytest.raises(NoAnswerError, match="has no header SGX-PCK-CRL-Issuer-Chain"):
        client(service).pck_crl("platform")


def test_an_answer_for_another_fmspc_is_refused(service: Service) -> None:
    with pytest.raises(NoAnswerError, match=f"is for FMSPC '{FMSPC.hex()}'"):
        client(service).tcb_info(bytes(6))


def test_a_service_without_the_early_update_is_told_apart(service: Service) -> None:
    service.early = None
    with pytest.raises(NoAnswerError, match="status 400") as caught:
        client(service).qe_identity("early")
    assert caught.value.hint == "a service without the early update: add '--update standard'"


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.DRIP, Fault.DRIP_HEAD])
def test_no_service_holds_us(service: Service, fault: Fault) -> None:
    service.faults = {"tcb": [fault]}
    began = time.monotonic()
    with pytest.raises(NoAnswerError, match=r"broke off \(timed out\)|no answer within 0.8 s|does not end its answer"):
        client(service, BRIEF).tcb_info(FMSPC)
    assert time.monotonic() - began < 2.0


def test_nobody_there_is_said_after_all_attempts() -> None:
    with serving(GIVEN) as gone:
        url = gone.url
    sleeper = Sleeper()
    with pytest.raises(NoAnswerError, match=r"no connection .*refused.*at attempt 4"):
        Client(url, limits=QUICK, clock=sleeper.clock()).root_crl()
    assert sleeper.slept == [0.5, 1.0, 2.0]


def test_a_proxy_is_not_asked_for_this_machine(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert client(service).root_crl().body == pcs_response("root_crl", GIVEN)[1]


@pytest.mark.parametrize(
    "url",
    [
        "http://pccs.example",
        "http://127.0.0.1.example",
        "ftp://pccs.example",
        "file:///etc/passwd",
        "pccs.example",
        "https://",
        "https://pccs.example?x=1",
        "https://pccs.example#x",
        "https://name:password@pccs.example",
        "https://pccs.example:99999",
        "https://[::1",
        "https://pccs.example/a b",
        "https://pccs.example/\u00e9",
    ],
)
def test_urls_that_are_not_asked(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        Client(url)
    assert "password@" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:8081", "http://[::1]:8081", "http://127.9.9.9", INTEL])
def test_urls_that_are_asked(url: str) -> None:
    assert Client(url)


def test_http_to_another_machine_is_a_choice() -> None:
    assert Client("http://pccs.example", insecure_http=True)


def test_a_context_that_does_not_verify_is_our_bug() -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    with pytest.raises(ValueError, match="does not verify"):
        Client(context=context)


def test_loopback() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost")] == [True] * 3
    assert [is_loopback(host) for host in ("10.0.0.1", "example", "localhost.example", "")] == [False] * 4


def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(tmp_path: Path) -> None:
    # A TLS service whose certificate is signed by itself.
    issued = healthy().authority.root
    pem = issued.certificate.public_bytes(Encoding.PEM)
    key = issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "tls.pem").write_bytes(pem + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            raw, _ = listener.accept()
            with raw:
                try:
                    context.wrap_socket(raw, server_side=True).close()
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        sleeper = Sleeper()
        with pytest.raises(NoAnswerError, match=r"no connection .*certificate verify failed"):
            Client(f"https://127.0.0.1:{listener.getsockname()[1]}", limits=QUICK, clock=sleeper.clock()).root_crl()
        thread.join(5)
    assert sleeper.slept == []
