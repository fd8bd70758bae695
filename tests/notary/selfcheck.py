"""What the trust domain's programs do, end to end over loopback, with nothing that the image does not carry.

`python3 selfcheck.py DIRECTORY` with pluto_notary and pluto_measure importable; DIRECTORY is an empty folder for
sockets. Runs under the image's own pruned interpreter, so it needs no test runner and no HTTP library. A web site is a
function here, and the time always the same.
No network but loopback, no device, no root. Prints one line for each check; exit code 1 if one fails.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pluto_measure.claims import KeyClaims
from pluto_measure.evidence import BANKS, REGISTERS, Claims, Envelope, TpmQuote, binding, tpm_extra_data
from pluto_measure.formats.strict_json import canonical
from pluto_notary import __version__, config, events, fetch_config
from pluto_notary.evidence import __main__ as helper_program
from pluto_notary.evidence.client import HelperProvider
from pluto_notary.evidence.helper import Helper, Sources
from pluto_notary.evidence.provider import Issue, Provider
from pluto_notary.evidence.requests import EvidenceRequest, NodeRequest
from pluto_notary.evidence.serving import serve as serve_helper
from pluto_notary.fetch.errors import TargetError
from pluto_notary.limits import Limits, TokenBucket
from pluto_notary.manifest import Manifest
from pluto_notary.protocol.inner import InnerTls, client_context
from pluto_notary.protocol.upgrade import Upgrading
from pluto_notary.serial import EventWriter
from pluto_notary.server.run import Settings, serve
from pluto_notary.server.seeing import Sight
from pluto_notary.server.world import World
from pluto_notary.statement.proof import Proof
from pluto_notary.web import Exchange, WebRequest, WebResponse

BUILD_ID = bytes(range(32))
EMPTY_DIGEST = hashlib.sha256(b"").digest()
LOG = b"the firmware's log" * 1000
REGISTER_VALUES = {
    bank: {name: bytes([i]) * (32 if bank == "sha256" else 48) for i, name in enumerate(REGISTERS)} for bank in BANKS
}
PAGE = b'{"price": "12.50"}'
MANIFEST = {
    "manifestVersion": "2",
    "request": {"method": "GET", "url": "https://shop.example/item", "headers": {}},
    "response": {
        "status": "200",
        "headers": {"content-type": "application/json"},
        "body": {"format": "json", "extractors": [{"id": "price", "selector": ["price"], "type": "string"}]},
    },
}


class TellingProvider:
    """Says what it was asked for, and proves nothing."""

    async def node(self, request: NodeRequest, issue: Issue) -> dict[str, object]:
        return await self.evidence(request, issue)

    async def evidence(self, request: EvidenceRequest, issue: Issue) -> dict[str, object]:
        return {"type": "insecure", "claims": request.claims(EMPTY_DIGEST, issue.build_id).to_json()}


class StillClock:
    """It is always the same time."""

    def interval(self, now: float) -> tuple[float, float]:
        del now
        return 1_800_000_000.0, 1_800_000_000.5

    async def run(self) -> None:
        await asyncio.Event().wait()


async def one_site(request: WebRequest, *, step: Callable[[str], None], **_: Any) -> Exchange:
    """The only web site that there is."""
    step("fetching")
    response = WebResponse("HTTP/1.1", 200, "OK", (("content-type", "application/json"),), PAGE)
    return Exchange(request, response, b"\x1e" * 32, "93.184.215.14", 1.0, 2.0)


async def no_connection(_: WebRequest, *, step: Callable[[str], None]) -> socket.socket:
    """What is observed is the web's own, and there is none here."""
    step("connecting")
    raise TargetError("connect", "no address of the site takes a connection")


def nothing_seen(*_: object, **__: object) -> Sight:
    raise AssertionError("nothing was recorded")


class RunningServer:
    """The server in a thread, on a free loopback port. As a context manager: started and stopped."""

    def __init__(self, provider: Provider, limits: Limits | None = None) -> None:
        self.lines: list[str] = []
        self.key_digest = b""
        self.port = 0
        self._ready = threading.Event()
        self._provider, self._limits = provider, limits or Limits()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    def __enter__(self) -> RunningServer:
        self._thread.start()
        if not self._ready.wait(20):
            raise TimeoutError("the server does not get ready")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        if self._thread.is_alive():
            raise TimeoutError("the server does not stop")

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        writer = EventWriter(lambda line: self.lines.append(line.decode()), clock=time.monotonic)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            world = World(one_site, no_connection, nothing_seen, StillClock())
            settings = Settings(
                (listener,), BUILD_ID, self._provider, lambda: world, writer, self._limits, self._note_ready
            )
            await serve(settings, self._stop)

    def _note_ready(self, port: int, key_digest: bytes) -> None:
        self.port, self.key_digest = port, key_digest
        self._ready.set()

    def connect(self) -> ssl.SSLSocket:
        """A TLS connection, the way a client does that knows no certificate yet."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return context.wrap_socket(raw)

    def get(self, target: str) -> tuple[int, Any]:
        """Status and JSON of one request in a connection of its own."""
        with self.connect() as connection:
            connection.sendall(f"GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), json.loads(body)


class Session:
    """A channel over a connection, as a client has it: frames out, frames in."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection
        asking = Upgrading(protocol="websocket", authority="localhost", random=os.urandom(16))
        connection.sendall(asking.start())
        while (granted := asking.feed(connection.recv(65536))) is None:
            pass
        self._stream, early = granted
        self._tls, self._buffer = InnerTls(client_context(), server=False), b""
        self._tls.feed(self._stream.feed(early) if early else b"")
        self._flush()
        while not self._tls.established:
            self._more()
        self.ekm = self._tls.ekm

    def say(self, kind: int, body: object) -> None:
        text = canonical(body)
        self._tls.write(bytes([kind]) + len(text).to_bytes(4, "big") + text)
        self._flush()

    def hear(self) -> tuple[int, bytes]:
        """Type and body of the next frame."""
        while len(self._buffer) < 5 or len(self._buffer) < 5 + int.from_bytes(self._buffer[1:5], "big"):
            self._more()
        end = 5 + int.from_bytes(self._buffer[1:5], "big")
        kind, body, self._buffer = self._buffer[0], self._buffer[5:end], self._buffer[end:]
        return kind, body

    def _more(self) -> None:
        data = self._connection.recv(65536)
        assert data, "the notary is still there"
        self._tls.feed(self._stream.feed(data))
        self._buffer += self._tls.read()
        self._flush()

    def _flush(self) -> None:
        self._connection.sendall(self._stream.replies())
        while data := self._tls.data_to_send():
            self._connection.sendall(self._stream.send(data))


class RunningHelper:
    """The evidence helper's socket loop in a thread, over sources that are given."""

    def __init__(self, directory: Path, sources: Sources) -> None:
        self.path = str(directory / "evidence.sock")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(4)
        bucket = TokenBucket(rate=1000, burst=1000, now=time.monotonic())
        helper = Helper(sources, bucket=bucket, clock=time.monotonic)
        self._thread = threading.Thread(target=serve_helper, args=(self._listener, helper), daemon=True)

    def __enter__(self) -> RunningHelper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accept
        self._thread.join(20)
        self._listener.close()


def fake_sources(quoted: list[bytes], config_digest: Callable[[], bytes]) -> Sources:
    """Sources that quote into a list."""

    def quote(extra_data: bytes) -> TpmQuote:
        quoted.append(extra_data)
        return TpmQuote(b"attest", b"signature", REGISTER_VALUES)

    return Sources(quote, lambda: b"public", lambda: LOG, config_digest)


def check_health_tells_version_and_build(_: Path) -> None:
    with RunningServer(TellingProvider()) as server:
        expected = {"status": "ok", "version": __version__, "buildId": BUILD_ID.hex()}
        assert server.get("/health") == (200, expected)


def check_evidence_names_the_nonce_and_the_key_that_ends_tls(_: Path) -> None:
    with RunningServer(TellingProvider()) as server:
        status, envelope = server.get("/v1/evidence?nonce=00ff")
        assert (status, envelope["type"]) == (200, "insecure")
        assert envelope["claims"]["nonce"] == "00ff"
        assert envelope["claims"]["outerKeyDigest"] == server.key_digest.hex()


def check_the_claimed_key_is_in_the_certificate_and_tls_is_1_3(_: Path) -> None:
    with RunningServer(TellingProvider()) as server, server.connect() as connection:
        certificate = connection.getpeercert(binary_form=True) or b""
        assert connection.version() == "TLSv1.3"
        start = certificate.index(bytes.fromhex("3059301306072a8648ce3d0201"))  # the SubjectPublicKeyInfo
        assert hashlib.sha256(certificate[start : start + 91]).digest() == server.key_digest


def check_what_is_not_served_is_an_error_and_not_the_end(_: Path) -> None:
    with RunningServer(TellingProvider()) as server:
        for target, status in (("/", 404), ("/v1/evidence", 400), ("/v1/evidence?nonce=", 400), ("/health?a", 400)):
            assert server.get(target)[0] == status, target
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as plain:
            plain.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            plain.recv(100)
        assert server.get("/health")[0] == 200


def check_every_line_on_the_serial_line_follows_the_schema(_: Path) -> None:
    with RunningServer(TellingProvider()) as server:
        server.get("/v1/evidence?nonce=00")
        server.get("/nothing")
    found = [event.to_line() for line in server.lines if (event := events.parse(line))]
    assert len(found) == len(server.lines)
    assert found[0].startswith("pluto: ready port=")
    assert found[1:] == [
        *(f"pluto: evidence purpose={purpose}" for purpose in ("channel", "key", "node")),
        "pluto: refused code=path",
    ]


def check_evidence_from_the_helper_is_bound_to_typed_claims(directory: Path) -> None:
    quoted: list[bytes] = []
    sources = fake_sources(quoted, lambda: EMPTY_DIGEST)
    with (
        RunningHelper(directory, sources) as helper,
        RunningServer(HelperProvider(helper.path, seconds=20)) as server,
    ):
        status, document = server.get("/v1/evidence?nonce=" + "ab" * 64)
    envelope = Envelope.parse(json.dumps(document))
    assert status == 200
    assert isinstance(envelope.claims, Claims)
    assert (envelope.type, envelope.claims.build_id) == ("tpm", BUILD_ID)
    assert tpm_extra_data(binding("node", (b"\xab" * 64, EMPTY_DIGEST, server.key_digest))) in quoted


def check_a_channel_shows_evidence_and_gives_a_proof(directory: Path) -> None:
    quoted: list[bytes] = []
    nonce, digest = b"\1" * 32, Manifest.parse(canonical(MANIFEST)).digest()
    with (
        RunningHelper(directory, fake_sources(quoted, lambda: EMPTY_DIGEST)) as helper,
        RunningServer(HelperProvider(helper.path, seconds=20)) as server,
        server.connect() as connection,
    ):
        session = Session(connection)
        session.say(1, {"version": 2, "nonce": nonce.hex(), "manifestDigest": digest.hex(), "fresh": False})
        kind, body = session.hear()
        assert kind == 2, body
        shown = json.loads(body)
        session_id, key = bytes.fromhex(shown["sessionId"]), bytes.fromhex(shown["channelKey"])
        signed = binding("session-signature", (session.ekm, nonce, session_id, digest))
        Ed25519PublicKey.from_public_bytes(key).verify(bytes.fromhex(shown["signature"]), signed)
        claimed = binding("channel", (key, EMPTY_DIGEST, shown["epoch"].to_bytes(8, "big"), server.key_digest))
        assert tpm_extra_data(claimed) in quoted
        session.say(3, order(nonce))
        heard = [session.hear() for _ in range(4)]
        assert [kind for kind, _ in heard] == [4, 4, 4, 5], heard
    proof = Proof.parse(heard[-1][1])
    assert proof.key_evidence is not None
    assert proof.signed_by() == proof.key_evidence.claims.statement_key
    assert tpm_extra_data(KeyClaims(proof.signed_by(), EMPTY_DIGEST, BUILD_ID).binding()) in quoted
    assert [(one.id, one.text) for one in proof.openings] == [("price", '"12.50"')]
    assert (proof.statement.session, proof.statement.manifest) == (session_id, digest)


def order(nonce: bytes) -> dict[str, object]:
    """The fetch of MANIFEST."""
    nobody = "0x" + "00" * 20
    return {
        "version": 2,
        "manifest": MANIFEST,
        "variables": {},
        "recipient": nobody,
        "chainId": 0,
        "contract": nobody,
        "nonce": nonce.hex(),
        "reveal": "values",
        "legacy": False,
    }


def check_without_a_helper_there_is_no_evidence_but_an_answer(directory: Path) -> None:
    with RunningServer(HelperProvider(str(directory / "nobody.sock"), seconds=20)) as server:
        status, document = server.get("/v1/evidence?nonce=00")
        assert (status, document["error"]["code"]) == (503, "unavailable")
        assert server.get("/health")[0] == 200


def check_without_a_configuration_digest_there_is_no_evidence(directory: Path) -> None:
    sources = helper_program.device_sources({}, directory / "config.digest")
    with (
        RunningHelper(directory, sources) as helper,
        RunningServer(HelperProvider(helper.path, seconds=20)) as server,
    ):
        status, document = server.get("/v1/evidence?nonce=00")
    assert (status, document["error"]["code"]) == (503, "config")


def check_an_accepted_configuration_is_kept_with_its_digest(directory: Path) -> None:
    payload = config.encode_payload(deployment="staging-1")
    digest = hashlib.sha256(payload).hexdigest()
    assert _fetch(directory, config.encode_config_disk(payload)) == (0, [f"pluto: config-accepted digest={digest}"])
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert files == {"config.json": payload, "config.digest": f"{digest}\n".encode()}


def check_a_malformed_configuration_is_refused_and_nothing_is_kept(directory: Path) -> None:
    disk = (4).to_bytes(4, "big") + b"null" + bytes(config.DISK_SIZE - 8)
    assert _fetch(directory, disk) == (3, ["pluto: config-refused reason=schema"])
    assert list(directory.iterdir()) == []


def check_no_command_no_builder_and_no_client_is_loaded(_: Path) -> None:
    import pluto_notary.server.__main__  # noqa: F401  what systemd starts

    unwanted = {"argparse", "requests", "pluto_image", "pluto_deploy", "pluto_notary.cli", "pluto_notary.client"}
    assert unwanted.isdisjoint(sys.modules), unwanted.intersection(sys.modules)


def _fetch(directory: Path, disk: bytes) -> tuple[int, list[str]]:
    lines: list[str] = []
    writer = EventWriter(lambda line: lines.append(line.decode().strip()), clock=time.monotonic)
    return fetch_config.fetch(writer, read=lambda: config.decode_config_disk(disk), directory=directory), lines


def main(directory: Path) -> int:
    """Run every check in a folder of its own."""
    failed = 0
    checks = {name: check for name, check in globals().items() if name.startswith("check_")}
    for number, (name, check) in enumerate(checks.items()):
        folder = directory / str(number)  # short: a socket's path has at most 107 bytes
        folder.mkdir()
        try:
            check(folder)
            verdict = "ok"
        except Exception:  # noqa: BLE001  every failure is reported and counted
            traceback.print_exc()
            verdict, failed = "FAILED", failed + 1
        print(f"{verdict}: {name.removeprefix('check_').replace('_', ' ')}")
    print(f"{len(checks) - failed} of {len(checks)} checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
