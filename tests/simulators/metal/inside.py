"""What is inside of pretended trust domains, on the tester's side: measurements, quotes, the notary's port. For tests.

    with serving(host, world) as inside: …      inside.port is where `fabric` on the host leads to

Nothing here is told what ought to come out. What a machine measured is computed from what its QEMU was started with:
from the bytes of the UKI, the firmware and the configuration disk that its arguments name, as they lie on the host,
and from its vCPUs, memory, devices and tdx-guest object. So evidence of a wrong unit, or of a wrong file, is refused.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import secrets
import socket
import socketserver
import ssl
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pluto_measure.digests import digest
from pluto_measure.evidence import Envelope
from pluto_measure.formats.eventlog import LogEvent
from pluto_measure.launch import Launch
from pluto_measure.machine.platform import Platform
from pluto_measure.predict import predict
from pluto_notary.certificate import OuterIdentity, make_identity, server_context
from pluto_notary.config import decode_config_disk
from simulators import boot_logs
from simulators.intel import DEBUG, PERFMON, PKS, SEPT_VE_DISABLE, World
from simulators.metal import td_releases
from simulators.metal.host import Host
from simulators.served import served
from simulators.trust_domains import TrustDomain

_BACKEND = ("netdev", "mac", "id", "drive", "serial")  # where a device's ends are, of which no register tells
_SPLIT = ("kernel-irqchip=split", "confidential-guest-support=tdx")  # leave no trace in ACPI


@dataclass(frozen=True, kw_only=True)
class Booted(TrustDomain):
    """A trust domain that booted this launch on this machine."""

    launch: Launch
    machine: Platform

    @property
    def platform(self) -> Platform:
        return self.machine

    def events(self) -> list[LogEvent]:
        events = list(boot_logs.honest(predict(self.launch, self.machine), self.machine).events)
        for edit in self.edits:
            edit(events)
        return events

    def registers(self) -> dict[str, bytes]:
        firmware = self.machine.firmware
        assert firmware is not None
        assert firmware.mrtds is not None
        return {**super().registers(), "mrtd": firmware.mrtds["interleaved"]}


class Arguments:
    """QEMU's, and what the files that they name hold."""

    def __init__(self, words: list[str], root: Path) -> None:
        self.words, self.root = words, root
        (domain,) = [one for one in self.all("-object") if one.startswith("{")]
        self.object = json.loads(domain)

    def all(self, name: str) -> list[str]:
        return [value for word, value in zip(self.words, self.words[1:], strict=False) if word == name]

    def one(self, name: str) -> str:
        (value,) = self.all(name)
        return value

    def file(self, path: str) -> bytes:
        return (self.root / path.lstrip("/")).read_bytes()

    def uki(self) -> bytes:
        return self.file(self.one("-kernel"))

    def configuration(self) -> bytes:
        """SHA-256 of the run-time configuration that the machine finds."""
        (config,) = [one for one in self.all("-blockdev") if "node-name=config" in one]
        disk = self.file(config.rpartition("file.filename=")[2])
        return hashlib.sha256(decode_config_disk(disk)).digest()

    def platform(self) -> Platform:
        """The machine, as firmware and kernel find it."""
        devices = tuple(map(_device, self.all("-device"))) + ("serial",) * len(self.all("-serial"))
        board = self.one("-machine").split(",")
        cpus, memory = int(self.one("-smp")), int(self.one("-m").removesuffix("M")) << 20
        known = ",".join(word for word in board if word not in _SPLIT)
        return Platform(
            kind="qemu-tdx",
            cpus=cpus,
            memory=memory,
            machine_type=board[0],
            firmware=td_releases.firmware(self.file(self.one("-bios"))),
            devices=devices,
            acpi=(td_releases.acpi(known, cpus, memory, devices),),
        )

    def report(self) -> dict[str, Any]:
        """What the TDX module notes of a trust domain with these arguments."""
        cpu = self.one("-cpu").split(",")
        attributes = SEPT_VE_DISABLE if self.object.get("sept-ve-disable") else 0
        attributes |= 0 if "pmu=off" in cpu else PERFMON
        attributes |= 0 if "pks=off" in cpu else PKS
        attributes |= DEBUG if int(self.object.get("attributes", 0)) & DEBUG else 0
        owner = base64.b64decode(self.object.get("mrconfigid", "")).ljust(48, b"\0")
        return {"tdattributes": attributes, "mrconfigid": owner}


@dataclass
class Guest:
    """One start of one machine."""

    identity: OuterIdentity
    domain: Booted
    quotes: bool

    @classmethod
    def of(cls, header: dict[str, Any], root: Path, world: World) -> Guest:
        arguments, identity = Arguments(header["argv"], root), make_identity(secrets.token_bytes)
        uki = arguments.uki()
        launch = td_releases.launch_of(uki)
        domain = Booted(
            launch=launch,
            machine=arguments.platform(),
            report=arguments.report(),
            edits=(_more,) if b"PRETEND=other-image\n" in uki else (),
            world=world,
            config_digest=arguments.configuration(),
            outer_key_digest=identity.key_digest,
            build_id=bytes.fromhex(launch.build_id),
        )
        return cls(identity, domain, header["quotes"])

    def envelope(self, nonce: bytes) -> Envelope:
        return replace(self.domain, issued_at=datetime.now(UTC).replace(microsecond=0)).envelope(nonce)


class Inside:
    """All machines of one host. `world`: the hardware that they run on, which may be changed."""

    def __init__(self, host: Host, world: World) -> None:
        self.host, self.world = host, world
        self.guests: dict[str, Guest] = {}
        self.seen: list[str] = []  # build ids, in the order in which machines were first asked for anything
        self.faults: list[str] = []
        self._lock = threading.Lock()

    def guest(self, header: dict[str, Any]) -> Guest:
        with self._lock:
            if header["id"] not in self.guests:
                guest = Guest.of(header, Path(f"/proc/{self.host.pid}/root"), self.world)
                self.guests[header["id"]] = guest
                self.seen.append(guest.domain.build_id.hex())
            return self.guests[header["id"]]


def _more(events: list[LogEvent]) -> None:
    """Something was measured that is not of the release."""
    last = events[-1]
    events.append(LogEvent(3, last.type, {"sha384": digest("sha384", b"more")}, b"more"))


def _device(value: str) -> str:
    return ",".join(part for part in value.split(",") if part.partition("=")[0] not in _BACKEND)


class _Handler(socketserver.BaseRequestHandler):
    """One connection: a line of JSON from the fabric, then whatever a client sends to a machine's port."""

    server: _Server

    def handle(self) -> None:
        with suppress(OSError, EOFError):
            header = json.loads(_line(self.request))
            guest = self.server.inside.guest(header)
            with server_context(guest.identity).wrap_socket(self.request, server_side=True) as channel:
                _Notary(channel, self.client_address, guest)


class _Notary(http.server.BaseHTTPRequestHandler):
    """As much of a notary as the gate and clients ask for."""

    def __init__(self, channel: ssl.SSLSocket, address: Any, guest: Guest) -> None:
        self.guest = guest
        super().__init__(channel, address, None)  # type: ignore[arg-type]  # the server is not looked at

    def do_GET(self) -> None:
        status, body = self._answer()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self) -> tuple[int, bytes]:
        if self.path == "/health":
            return 200, json.dumps({"status": "ok", "buildId": self.guest.domain.build_id.hex()}).encode()
        if not self.path.startswith("/v1/evidence?nonce="):
            return 404, b""
        if not self.guest.quotes:
            return 503, b""
        nonce = bytes.fromhex(self.path.rpartition("=")[2])
        return 200, self.guest.envelope(nonce).to_text().encode()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Nothing."""


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64
    inside: Inside

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A fault of the pretended inside: told when the test ends."""
        self.inside.faults.append(traceback.format_exc())


@contextmanager
def serving(host: Host, world: World) -> Iterator[tuple[Inside, int]]:
    """Answer for the machines of a host: what is inside of them, and the port at `host.wire.gateway`."""
    server = _Server((host.wire.gateway, 0), _Handler)
    server.inside = Inside(host, world)
    try:
        with served(server):
            yield server.inside, server.server_address[1]
    finally:
        assert not server.inside.faults, server.inside.faults[0]


def _line(channel: socket.socket) -> bytes:
    """Up to the end of the line and not a byte more: what follows is TLS."""
    found = b""
    while not found.endswith(b"\n"):
        if not (byte := channel.recv(1)):
            raise EOFError
        found += byte
    return found
