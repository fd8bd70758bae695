"""`pluto-notary serve`: the server of the trust domain, run anywhere else, for development."""

from __future__ import annotations

import argparse
import hashlib
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.commands.values import argument
from pluto_measure.errors import SourceError, UsageError
from pluto_measure.formats.strict_json import unhex
from pluto_notary.config import parse_payload
from pluto_notary.debug_world import InsecureWorld
from pluto_notary.evidence.client import HelperProvider
from pluto_notary.evidence.provider import Provider
from pluto_notary.insecure import InsecureProvider
from pluto_notary.limits import Limits
from pluto_notary.serial import EventWriter
from pluto_notary.server.certified import certified_by
from pluto_notary.server.run import Settings, run
from pluto_notary.server.world import ROOTS, Clock, OperatorsClock, World

_WORLD_LIMIT: Final = 256 * 1024
_ROOTS_LIMIT: Final = 4 * 1024 * 1024
_CONFIG_LIMIT: Final = 1024 * 1024


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
    parser.add_argument(
        "--roots",
        metavar="FILE",
        type=Path,
        default=Path(ROOTS),
        help=f"whose word for web sites counts (PEM; default: {ROOTS})",
    )
    parser.add_argument(
        "--insecure-world",
        metavar="FILE",
        type=Path,
        help="sites and a clock of your own, for development (docs/operations/notary.md)",
    )
    parser.add_argument("--config", metavar="FILE", type=Path, help="run-time configuration (JSON; default: none)")
    parser.add_argument("--address", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8443, help="port to listen on; 0 takes a free one (default: 8443)")
    parser.add_argument("--build-id", metavar="HEX", default="00" * 32, help="what /health calls the build")
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end")
    parser.set_defaults(run=serve)


def serve(arguments: argparse.Namespace) -> Result:
    """Run until a signal comes. FormatError, UsageError, SourceError."""
    payload = _payload(arguments.config)
    configuration = parse_payload(payload)
    limits = Limits()
    events = EventWriter(_to_stderr, clock=time.monotonic)
    build_id = argument("--build-id", lambda digits: unhex(digits, 32, what="build id"), arguments.build_id)
    make = _world(arguments, events)
    with _listener(arguments.address, arguments.port) as listener:
        provider = _provider(arguments, payload, limits)
        port = listener.getsockname()[1]
        certified = None if configuration.acme is None else certified_by(configuration.acme)
        run(Settings((listener,), build_id, provider, make, events, limits, _say_ready, certified=certified))
    return Result({"stopped": True, "port": port})


def _world(arguments: argparse.Namespace, events: EventWriter) -> Callable[[], World]:
    insecure = InsecureWorld()
    if arguments.insecure_world is not None:
        data = files.read(arguments.insecure_world, what="insecure world", limit=_WORLD_LIMIT)
        with files.naming("insecure world", arguments.insecure_world):
            insecure = InsecureWorld.parse(data)
    roots = files.read(arguments.roots, what="roots", limit=_ROOTS_LIMIT)
    built_at = int(Path(__file__).stat().st_mtime)

    def clock() -> Clock:
        return OperatorsClock(roots, built_at=built_at, events=events)

    return lambda: insecure.world(roots, clock)


def _payload(path: Path | None) -> bytes:
    return b"" if path is None else files.read(path, what="run-time configuration", limit=_CONFIG_LIMIT)


def _provider(arguments: argparse.Namespace, payload: bytes, limits: Limits) -> Provider:
    if arguments.evidence_socket:
        return HelperProvider(arguments.evidence_socket, seconds=limits.evidence_seconds)
    return InsecureProvider(hashlib.sha256(payload).digest())


def _listener(address: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise UsageError(f"--port: {port} is not between 0 and 65535")
    try:
        return socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (while")[0]  # else the address is there twice
        raise SourceError(f"cannot listen on {address} port {port}: {why}") from error


def _say_ready(port: int, key_digest: bytes) -> None:
    sys.stderr.write(f"pluto-notary: answering on port {port}, outer key {key_digest.hex()}\n")


def _to_stderr(line: bytes) -> None:
    sys.stderr.write(line.decode())
    sys.stderr.flush()
