"""`pluto-notary serve`: the server of the trust domain, run anywhere else, for development."""

from __future__ import annotations

import argparse
import hashlib
import socket
import sys
import time
from pathlib import Path
from typing import Any

from pluto_measure.command import Result
from pluto_measure.errors import SourceError, UsageError
from pluto_measure.formats.strict_json import unhex
from pluto_notary.config import parse_payload
from pluto_notary.evidence.client import HelperProvider
from pluto_notary.evidence.provider import EvidenceProvider, InsecureProvider
from pluto_notary.limits import Limits
from pluto_notary.serial import EventWriter
from pluto_notary.server.run import Settings, run


def add(subparsers: Any) -> None:
    """Add the parser of this command."""
    parser = subparsers.add_parser(
        "serve",
        help="run the notary outside a trust domain",
        description="Run the notary's HTTPS server on this machine. Events go to stderr. Ends with Ctrl-C or SIGTERM.",
    )
    evidence = parser.add_mutually_exclusive_group(required=True)
    evidence.add_argument(
        "--insecure-evidence",
        action="store_true",
        help="answer with evidence that proves nothing and is refused by all",
    )
    evidence.add_argument("--evidence-socket", metavar="PATH", help="get evidence from the helper that listens here")
    parser.add_argument("--config", metavar="FILE", type=Path, help="run-time configuration (JSON; default: none)")
    parser.add_argument("--address", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8443, help="port to listen on; 0 takes a free one (default: 8443)")
    parser.add_argument("--build-id", metavar="HEX", default="00" * 32, help="what /health calls the build")
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end")
    parser.set_defaults(run=serve)


def serve(arguments: argparse.Namespace) -> Result:
    """Run until a signal comes. FormatError, UsageError, SourceError."""
    payload = _payload(arguments.config)
    parse_payload(payload)
    limits = Limits()
    events = EventWriter(_to_stderr, clock=time.monotonic)
    build_id = unhex(arguments.build_id, 32, what="--build-id")
    with _listener(arguments.address, arguments.port) as listener:
        provider = _provider(arguments, payload, limits)
        port = listener.getsockname()[1]
        run(Settings(listener, build_id, provider, events, limits, ready=_say_ready))
    return Result({"stopped": True, "port": port})


def _payload(path: Path | None) -> bytes:
    try:
        return b"" if path is None else path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error


def _provider(arguments: argparse.Namespace, payload: bytes, limits: Limits) -> EvidenceProvider:
    if arguments.evidence_socket:
        return HelperProvider(arguments.evidence_socket, seconds=limits.evidence_seconds)
    return InsecureProvider(hashlib.sha256(payload).digest())


def _listener(address: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise UsageError(f"port {port} is not between 0 and 65535")
    try:
        return socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
    except OSError as error:
        raise SourceError(f"cannot listen on {address} port {port}: {error.strerror}") from error


def _say_ready(port: int, key_digest: bytes) -> None:
    sys.stderr.write(f"pluto-notary: answering on port {port}, outer key {key_digest.hex()}\n")


def _to_stderr(line: bytes) -> None:
    sys.stderr.write(line.decode())
    sys.stderr.flush()
