"""What the probe finds out about the PCCS: configuration, TLS, answers, and this machine's certificate."""

from __future__ import annotations

import datetime
import json
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from pluto_deploy.metal.check import probe
from simulators.host_trees import write
from simulators.intel import world
from simulators.served import served

PCK = world().pck
QUOTING = {"state": "answered", "tdqe": 4, "pce": 0x10D, "platform": "aa" * 16, "cpuSvn": "bb" * 16}


class Pccs(BaseHTTPRequestHandler):
    """Answers from `answers`, by the path without its query; notes every request."""

    answers: dict[str, tuple[int, bytes]]
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        status, body = self.answers.get(self.path.partition("?")[0].rpartition("/")[2], (404, b""))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        del format, args


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of localhost, with its key, as PCCS makes itself one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "pccs.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + made.public_bytes(Encoding.PEM))
    return path


@pytest.fixture
def pccs(certificate: Path) -> Iterator[HTTPServer]:
    handler = type("Handler", (Pccs,), {"asked": [], "answers": {}})
    handler.answers = {"rootcacrl": (200, b"crl"), "pckcert": (200, PCK.chain_pem.encode())}  # type: ignore[attr-defined]
    server = HTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with served(server):
        yield server


def url(server: HTTPServer) -> str:
    return f"https://localhost:{server.server_port}/sgx/certification/v4/"


def provisioning(root: Path, quoting: object = None, **fields: object) -> Any:
    write(root, "etc/sgx_default_qcnl.conf", "// PCCS\n" + json.dumps(fields))
    return probe._provisioning(str(root), quoting or {"state": "absent"})


def handler_of(server: HTTPServer) -> Any:
    return server.RequestHandlerClass


def test_a_certificate_of_its_own_making_is_accepted_only_where_the_host_does_so(
    pccs: HTTPServer, tmp_path: Path
) -> None:
    found = provisioning(tmp_path, pccs_url=url(pccs), use_secure_cert=False)
    assert found["answer"] == {"state": "answered", "status": 200, "tls": "unverified"}
    assert handler_of(pccs).asked == ["/sgx/certification/v4/rootcacrl"]
    for strict in ({"use_secure_cert": True}, {}, {"use_secure_cert": "false"}):
        found = provisioning(tmp_path, pccs_url=url(pccs), **strict)
        assert found["answer"]["state"] == "untrusted"
    assert len(handler_of(pccs).asked) == 1


def test_a_certificate_that_holds_is_told_so(
    pccs: HTTPServer, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    found = provisioning(tmp_path, pccs_url=url(pccs), use_secure_cert=False)
    assert found["answer"] == {"state": "answered", "status": 200, "tls": "verified"}


def test_this_machines_certificate_is_asked_for_as_qgsd_does(pccs: HTTPServer, tmp_path: Path) -> None:
    found = provisioning(tmp_path, QUOTING, pccs_url=url(pccs), use_secure_cert=False)
    asked = handler_of(pccs).asked[-1]
    assert asked == f"/sgx/certification/v4/pckcert?qeid={'aa' * 16}&cpusvn={'bb' * 16}&pcesvn=0d01&pceid=0000"
    assert found["certificate"]["ppid"] == PCK.machine.ppid.hex()


def test_a_machine_that_the_pccs_does_not_know(pccs: HTTPServer, tmp_path: Path) -> None:
    del handler_of(pccs).answers["pckcert"]
    found = provisioning(tmp_path, QUOTING, pccs_url=url(pccs), use_secure_cert=False)
    assert found["certificate"] == {"state": "answered", "status": 404, "tls": "unverified", "ppid": None}


def test_nothing_is_asked_for_without_an_answer_of_qgs(pccs: HTTPServer, tmp_path: Path) -> None:
    assert provisioning(tmp_path, pccs_url=url(pccs), use_secure_cert=False)["certificate"] is None


def test_a_pccs_that_is_not_there(tmp_path: Path) -> None:
    found = provisioning(tmp_path, pccs_url="https://127.0.0.1:9/", use_secure_cert=False)
    assert found["answer"]["state"] == "unreachable"


@pytest.mark.parametrize("address", ["http://localhost/", "nonsense", "https://", "https://[", "https://h:99999999/"])
def test_an_address_that_is_none(tmp_path: Path, address: str) -> None:
    assert provisioning(tmp_path, pccs_url=address)["answer"] == {"state": "no-https"}


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('{"a": 1}', {"a": 1}),
        ('// first\n{ // here\n "a": "x//y", /* there\n */ "b": "/*no*/" }', {"a": "x//y", "b": "/*no*/"}),
        ('{"a": "quote \\" // inside"} // end', {"a": 'quote " // inside'}),
        ("[1]", None),
        ("PCCS_URL=https://h", None),
        ("", None),
        ("[" * 100_000, None),
    ],
)
def test_json_with_comments(text: str, fields: dict[str, object] | None) -> None:
    assert probe._commented_json(text) == fields


@pytest.mark.parametrize(
    "pem",
    [b"", b"-----BEGIN CERTIFICATE-----\nAAA\n-----END", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END", b"\xff" * 99],
)
def test_a_certificate_without_a_ppid(pem: bytes) -> None:
    assert probe._ppid(pem) is None
