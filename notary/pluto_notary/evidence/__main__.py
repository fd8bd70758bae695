"""`python3 -m pluto_notary.evidence`: the evidence helper as systemd starts it.

It is handed descriptors by name: `evidence` (the listening socket), `tpm` (the device, read and write), `log` and
`ccel` (the firmware's event logs, read-only), so that the process itself may open no device and needs no privilege. A
trust domain's quotes come by an entry of configfs-tsm that was given to its user (`pluto_notary.evidence.prepare`).
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
from pluto_notary.evidence.helper import Helper, Sources, TdxSources
from pluto_notary.evidence.serving import serve
from pluto_notary.evidence.tpm_device import DescriptorTransport, Tpm
from pluto_notary.evidence.tsm import ENTRY, OsFiles, Tsm
from pluto_notary.limits import TokenBucket
from pluto_notary.serial import standard_output
from pluto_notary.systemd import handed_descriptors

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from pluto_notary.evidence.helper import Sourcing

LARGEST_LOG: Final = 1024 * 1024  # bytes; a firmware's log is some tens of KiB
_FILL_KEPT: Final = 4096  # bytes
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
    sources = machine_sources(descriptors, places.DIGEST_FILE)
    if isinstance(sources, Sources):
        _warm_up(sources)
    bucket = TokenBucket(rate=_RATE, burst=_BURST, now=time.monotonic())
    serve(socket.socket(fileno=descriptors["evidence"]), Helper(sources, bucket=bucket, clock=time.monotonic))
    return 0


def machine_sources(
    descriptors: Mapping[str, int], digest_file: str | os.PathLike[str], *, entry: str = ENTRY
) -> Sourcing:
    """The strongest way that this machine has: a trust domain's own quotes, a paravisor's, else its TPM's alone."""
    if os.path.isdir(entry):
        return TdxSources(
            quote=Tsm(OsFiles(), sleep=time.sleep, entry=entry).quote,
            log=lambda: without_fill(_read_log(descriptors, "ccel")),
            config_digest=lambda: _read_config_digest(digest_file),
        )
    return _azure_sources(descriptors, digest_file) or device_sources(descriptors, digest_file)


def _azure_sources(descriptors: Mapping[str, int], digest_file: str | os.PathLike[str]) -> Sourcing | None:
    if "tpm" not in descriptors:
        return None
    # Loaded here, because all other machines start without an HTTP parser.
    from pluto_notary.evidence import azure

    machine = Tpm(DescriptorTransport(descriptors["tpm"]), sleep=time.sleep)
    try:
        if not azure.is_azure(machine):
            return None
    except (PlutoError, OSError):  # shows again, with a code, at the first request
        return None
    return azure.AzureSources(
        tpm=machine,
        td_quote=azure.imds_quote(azure.imds_exchange(time.monotonic)),
        log=lambda: _read_log(descriptors, "log"),
        config_digest=lambda: _read_config_digest(digest_file),
        sleep=time.sleep,
    )


def without_fill(log: bytes) -> bytes:
    """A CC event log without most of the 0xFF that fills its area: every session's evidence would carry it.

    Some is kept, so that an event that ends in such bytes keeps them.
    """
    return log[: len(log.rstrip(b"\xff")) + _FILL_KEPT]


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
        log=lambda: _read_log(descriptors, "log"),
        config_digest=lambda: _read_config_digest(digest_file),
    )


def _warm_up(sources: Sources) -> None:
    """Make the key while the rest of the machine still boots; a failure shows again at the first request."""
    try:
        sources.ak_public()
    except (PlutoError, OSError) as error:
        sys.stderr.write(f"pluto-evidence: no key yet: {error}\n")


def _read_log(descriptors: Mapping[str, int], name: str) -> bytes:
    if name not in descriptors:
        raise EvidenceError("device", "there is no event log")
    data = b""
    while piece := os.pread(descriptors[name], 65536, len(data)):
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
