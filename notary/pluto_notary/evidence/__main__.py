"""`python3 -m pluto_notary.evidence`: the evidence helper as systemd starts it.

It is handed three descriptors by name: `evidence` (the listening socket), `tpm` (the device, read and write) and `log`
(the firmware's event log, read-only), so that the process itself may open no device and needs no privilege.
"""

from __future__ import annotations

import gc

if __name__ == "__main__":
    gc.disable()  # while modules load nothing can be collected, and looking for it would take a twentieth of the start

import os
import signal
import socket
import sys
import time

from pluto_measure.errors import PlutoError
from pluto_measure.formats.strict_json import unhex
from pluto_notary import __version__, places
from pluto_notary.errors import EvidenceError
from pluto_notary.evidence.helper import Helper, Sources
from pluto_notary.evidence.messages import LARGEST_REQUEST, LENGTH_BYTES, body_length, frame
from pluto_notary.evidence.tpm_device import DescriptorTransport, Tpm
from pluto_notary.limits import TokenBucket
from pluto_notary.serial import standard_output
from pluto_notary.systemd import handed_descriptors

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

LARGEST_LOG: Final = 1024 * 1024  # bytes; a firmware's log is some tens of KiB
_CONNECTION_SECONDS: Final = 5.0
_RATE, _BURST = 5.0, 20  # pieces of evidence per second, and at once


def main() -> int:
    """Serve until the service manager ends it."""
    gc.enable()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    descriptors = handed_descriptors(os.environ, os.getpid())
    if "evidence" not in descriptors:
        sys.stderr.write("pluto-evidence: error: no listening socket named evidence was handed over\n")
        return 1
    standard_output(time.monotonic).emit("started", component="evidence", version=__version__)
    sources = device_sources(descriptors, places.DIGEST_FILE)
    _warm_up(sources)
    bucket = TokenBucket(rate=_RATE, burst=_BURST, now=time.monotonic())
    serve(socket.socket(fileno=descriptors["evidence"]), Helper(sources, bucket=bucket, clock=time.monotonic))
    return 0


def device_sources(descriptors: Mapping[str, int], digest_file: str | os.PathLike[str]) -> Sources:
    """The sources of a machine with a TPM; a descriptor that was not handed over fails when it is needed."""
    tpm = Tpm(DescriptorTransport(descriptors["tpm"]), sleep=time.sleep) if "tpm" in descriptors else None

    def device() -> Tpm:
        if tpm is None:
            raise EvidenceError("device", "there is no TPM")
        return tpm

    return Sources(
        quote=lambda extra_data: device().quote(extra_data),
        ak_public=lambda: device().public(),
        log=lambda: _read_log(descriptors),
        config_digest=lambda: _read_config_digest(digest_file),
    )


def serve(listener: socket.socket, helper: Helper) -> None:
    """One connection after the other, each with one request; a slow or broken peer costs only its own connection."""
    while True:
        try:
            connection, _ = listener.accept()
        except (ConnectionError, InterruptedError):
            continue
        except OSError:
            return
        with connection:
            _serve_one(connection, helper)


def _serve_one(connection: socket.socket, helper: Helper) -> None:
    connection.settimeout(_CONNECTION_SECONDS)
    try:
        length = body_length(_receive(connection, LENGTH_BYTES), LARGEST_REQUEST)
        connection.sendall(frame(helper.answer(_receive(connection, length))))
    except (OSError, EOFError, PlutoError) as error:
        sys.stderr.write(f"pluto-evidence: connection ended: {type(error).__name__}\n")


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    deadline = time.monotonic() + _CONNECTION_SECONDS
    while len(data) < size:
        if time.monotonic() > deadline:
            raise TimeoutError
        if not (piece := connection.recv(size - len(data))):
            raise EOFError
        data += piece
    return data


def _warm_up(sources: Sources) -> None:
    """Make the key while the rest of the machine still boots; a failure shows again at the first request."""
    try:
        sources.ak_public()
    except (PlutoError, OSError) as error:
        sys.stderr.write(f"pluto-evidence: no key yet: {error}\n")


def _read_log(descriptors: Mapping[str, int]) -> bytes:
    if "log" not in descriptors:
        raise EvidenceError("device", "there is no event log")
    data = b""
    while piece := os.pread(descriptors["log"], 65536, len(data)):
        data += piece
        if len(data) > LARGEST_LOG:
            raise EvidenceError("device", f"the event log is larger than {LARGEST_LOG} bytes")
    return data


def _read_config_digest(path: str | os.PathLike[str]) -> bytes:
    try:
        with open(path, encoding="ascii") as file:
            return unhex(file.read().strip(), 32, what="configuration digest")
    except (OSError, ValueError, PlutoError) as error:
        raise EvidenceError("config", "there is no configuration digest") from error


if __name__ == "__main__":
    sys.exit(main())
