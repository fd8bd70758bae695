"""QEMU and swtpm as far as `pluto-deploy local` sees them, in a process of its own. For tests alone.

The pretended machine writes a serial log, ends TLS on the forwarded port, and answers for evidence with a TPM in
memory that went through the boot which the DIST predicts. `-pretend MODE`, or pretend=MODE at the end of the build's
command line, makes it misbehave:

    honest   other-image   malformed   unwilling   silent   dies   mute-port
"""

from __future__ import annotations

import http.server
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pluto_deploy.local.machine import Machine
from pluto_measure.digests import Digests, digest
from pluto_measure.evidence import BANKS
from pluto_measure.formats.eventlog import EventType, LogEvent
from pluto_measure.launch import Launch
from pluto_measure.measurements import measure
from pluto_measure.registers.replay import ima_boot_aggregate, replay
from pluto_notary.certificate import make_identity, server_context
from pluto_notary.config import decode_config_disk, parse_payload
from simulators import event_logs, tpm_quotes

MODES = ("honest", "other-image", "malformed", "unwilling", "silent", "dies", "mute-port")


def swtpm(words: list[str]) -> None:
    """Say success to every command, or wait until the control channel closes."""
    option = "--fd" if "--fd" in words else "--ctrl"
    number = int(words[words.index(option) + 1].rpartition("=")[2])
    with socket.socket(fileno=number) as channel:
        while command := channel.recv(4096):
            if option == "--fd":
                allocated = bytes.fromhex("0000000d 01 00000018 00000780 00000f60 0000010000")
                tail = allocated if command[6:10] == bytes.fromhex("0000012b") else b""
                channel.sendall(command[:2] + (10 + len(tail)).to_bytes(4, "big") + bytes(4) + tail)


def built_to_be(words: list[str]) -> str:
    """The mode that a build's command line names, for machines whose arguments a test does not make."""
    uki = Path(words[words.index("-kernel") + 1])
    command_line = Launch.parse((uki.parent / "launch.json").read_bytes()).command_line
    return command_line.partition("pretend=")[2] or "honest"


def evidence_machine(words: list[str], mode: str) -> tpm_quotes.Machine:
    """A TPM that went through the predicted boot, but for the mode."""
    uki = Path(words[words.index("-kernel") + 1])
    launch = Launch.parse((uki.parent / "launch.json").read_bytes())
    firmware = Digests.of((uki.parent / "firmware.fd").read_bytes())
    expected = measure(launch, Machine().platform(firmware)).profiles[0].events
    log = event_logs.of_expected(expected)
    if mode == "other-image":
        log.append(LogEvent(11, EventType.EV_IPL, {bank: digest(bank, b"more") for bank in BANKS}, b"more"))
    registers = tpm_quotes.registers_of(())
    for bank, values in replay(event_logs.log_of(log)).items():
        registers[bank] |= values
    for bank in BANKS:
        registers[bank]["pcr10"] = ima_boot_aggregate(registers["sha256"], bank)
    disk = next(word for word in words if "node-name=config" in word).rpartition("file.filename=")[2]
    return tpm_quotes.Machine(
        config_digest=parse_payload(decode_config_disk(Path(disk).read_bytes())).digest,
        build_id=bytes.fromhex(launch.build_id),
        log=event_logs.encode(log),
        registers=registers,
        issued_at=datetime.now(UTC).replace(microsecond=0),
    )


def serve(port: int, machine: tpm_quotes.Machine, mode: str, monitor_fd: int) -> None:
    """The notary's port, and others that the monitor leads to it."""
    identity = make_identity(secrets.token_bytes)
    machine.outer_key_digest = identity.key_digest

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = machine.evidence(bytes.fromhex(self.path.rpartition("=")[2])).to_text().encode()
            self.send_response(503 if mode == "unwilling" else 200)
            self.end_headers()
            self.wfile.write(body[:100] if mode == "malformed" else body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    def opened(number: int) -> http.server.HTTPServer:
        server = http.server.HTTPServer(("127.0.0.1", number), Handler)
        server.socket = server_context(identity).wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    forwards = {port: opened(port)}
    with socket.socket(fileno=monitor_fd) as listener:
        while True:
            connection, _ = listener.accept()
            with connection, connection.makefile("rwb") as stream:
                stream.write(b'{"QMP": {"version": {}, "capabilities": []}}\n')
                stream.flush()
                while line := stream.readline():
                    said = command(json.loads(line), forwards, opened)
                    stream.write(b'{"event": "NOISE"}\n' + json.dumps({"return": said}).encode() + b"\n")
                    stream.flush()


def command(
    ask: dict[str, Any],
    forwards: dict[int, http.server.HTTPServer],
    opened: Callable[[int], http.server.HTTPServer],
) -> object:
    """One command of QMP, of those that are asked for."""
    if ask["execute"] == "qmp_capabilities":
        return {}
    if ask["execute"] == "quit":
        os._exit(0)
    verb, net, rule = ask["arguments"]["command-line"].split()
    assert net == "net"
    port = int(rule.split(":")[2].partition("-")[0])
    if verb == "hostfwd_remove":
        if (server := forwards.pop(port, None)) is None:
            return f"host forwarding rule for {rule} not found\r\n"
        server.shutdown()
        server.server_close()
        return f"host forwarding rule for {rule} removed\r\n"
    try:
        forwards[port] = opened(port)
    except OSError:
        return f"could not set up host forwarding rule '{rule}'\r\n"
    return ""


def qemu(words: list[str]) -> None:
    """Boot, in a manner of speaking."""
    mode = words[words.index("-pretend") + 1] if "-pretend" in words else built_to_be(words)
    serial = Path(next(word for word in words if word.startswith("file,id=serial")).rpartition("path=")[2])
    port = int(next(word for word in words if "hostfwd" in word).rpartition(":127.0.0.1:")[2].partition("-")[0])
    serial.write_bytes(b"EFI stub: Loaded initrd\r\n[    0.0] Linux version 6\r\npluto: nonsense\r\n")
    if mode == "dies":
        sys.exit("qemu: something is wrong")
    if mode != "silent":
        machine = evidence_machine(words, mode)
        with serial.open("ab") as file:
            file.write(b"[    1.000000] pluto: started component=notary version=0.1.0\r\n")
            file.write(b"[    1.100000] pluto: ready port=8443 buildid=" + machine.build_id.hex().encode() + b"\r\n")
        if mode != "mute-port":
            monitor = next(word for word in words if word.startswith("socket,id=monitor"))
            serve(port, machine, mode, int(monitor.split(",")[2].removeprefix("fd=")))
    time.sleep(600)


if __name__ == "__main__":
    # As the real ones do: end at once when asked.
    {"swtpm": swtpm, "qemu-system-x86_64": qemu}[sys.argv[1]](sys.argv[2:])
    os._exit(0)
