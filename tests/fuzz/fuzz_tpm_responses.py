"""A response of a TPM parses, is an error that the TPM reports, or is a FormatError."""

from __future__ import annotations

import contextlib

from pluto_measure.errors import FormatError
from pluto_notary.errors import TpmError
from pluto_notary.evidence import tpm_commands
from simulators.tpm_device import TpmDevice


def seeds() -> list[bytes]:
    device = TpmDevice()
    created = device(tpm_commands.create_primary())
    handle, _ = tpm_commands.created(created)
    return [
        created,
        device(tpm_commands.pcr_read(tpm_commands.ALL_REGISTERS)),
        device(tpm_commands.quote(handle, bytes(32))),
        device(tpm_commands.flush_context(handle)),
    ]


def target(data: bytes) -> None:
    sized = data[:2] + len(data).to_bytes(4, "big") + data[6:]  # else hardly a mutation gets past the header
    for response in (data, sized):
        for parse in (tpm_commands.created, tpm_commands.quoted, tpm_commands.pcr_values, tpm_commands.flushed):
            with contextlib.suppress(FormatError, TpmError):
                parse(response)
