"""A TPM behind a file descriptor: /dev/tpmrm0 in the trust domain, an emulator's socket in tests. Thin IO.

The attestation key is made at the first use and stays loaded; the kernel's resource manager frees it with the
descriptor.
"""

from __future__ import annotations

import hashlib
import os

from pluto_measure.binding import BANKS, TpmQuote
from pluto_measure.formats import tpm_quote as tpm
from pluto_notary.errors import EvidenceError, TpmError
from pluto_notary.evidence import tpm_commands as commands

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, Protocol

    class Transport(Protocol):
        """Sends one command, returns one response. OSError."""

        def __call__(self, command: bytes, /) -> bytes: ...


_ATTEMPTS: Final = 8  # for one command that the TPM asks to send again
_FIRST_WAIT: Final = 0.01  # seconds; doubles
_ROUNDS: Final = 3  # for registers that change between reading and quoting


class DescriptorTransport:
    """One command at a time over a descriptor: a TPM device gives whole responses, a socket may give pieces."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, command: bytes, /) -> bytes:
        if os.write(self._descriptor, command) != len(command):
            raise OSError("the TPM took a part of a command")
        response = b""
        while len(response) < commands.HEADER_BYTES or len(response) < int.from_bytes(response[2:6], "big"):
            if not (piece := os.read(self._descriptor, commands.LARGEST_RESPONSE)):
                raise OSError("the TPM stopped in the middle of a response")
            response += piece
            if len(response) > commands.LARGEST_RESPONSE:
                raise OSError("the TPM sends more than a response")
        return response


class Tpm:
    """Quotes with a restricted key of this TPM. `sleep` waits between attempts."""

    def __init__(self, transport: Transport, *, sleep: Callable[[float], object]) -> None:
        self._transport, self._sleep = transport, sleep
        self._key: tuple[int, bytes] | None = None

    def public(self) -> bytes:
        """TPMT_PUBLIC of the attestation key, made now if there is none. TpmError, FormatError, OSError."""
        return self._loaded()[1]

    def quote(self, extra_data: bytes) -> TpmQuote:
        """A quote over all registers of both banks, with the values that it covers.

        TpmError, FormatError, OSError from the device; EvidenceError if the registers do not hold still.
        """
        for _ in range(_ROUNDS):
            values = self.registers(BANKS)
            attest, signature = self._sign(extra_data)
            covered = b"".join(values[bank][f"pcr{index}"] for bank in BANKS for index in range(tpm.PCR_COUNT))
            if hashlib.sha256(covered).digest() == tpm.Attest.parse(attest).pcr_digest:
                return TpmQuote(attest, signature, values)
        raise EvidenceError("device", "registers change between reading and quoting")

    def close(self) -> None:
        """Unload the key."""
        if self._key is not None:
            handle, self._key = self._key[0], None
            commands.flushed(self.send(commands.flush_context(handle)))

    def _sign(self, extra_data: bytes) -> tuple[bytes, bytes]:
        try:
            return commands.quoted(self.send(commands.quote(self._loaded()[0], extra_data)))
        except TpmError as error:
            if error.response_code not in commands.RC_KEY_GONE:
                raise
            self._key = None
            return commands.quoted(self.send(commands.quote(self._loaded()[0], extra_data)))

    def _loaded(self) -> tuple[int, bytes]:
        if self._key is None:
            self._key = commands.created(self.send(commands.create_primary()))
        return self._key

    def registers(self, banks: tuple[str, ...]) -> dict[str, dict[str, bytes]]:
        """All registers of these banks as they are now. TpmError, FormatError, OSError, EvidenceError."""
        values: dict[tuple[str, int], bytes] = {}
        left = {(bank, index) for bank in banks for index in range(tpm.PCR_COUNT)}
        while left:
            wanted = tuple(
                tpm.PcrSelection(bank, tuple(sorted(index for other, index in left if other == bank)))
                for bank in banks
                if any(other == bank for other, _ in left)
            )
            read = commands.pcr_values(self.send(commands.pcr_read(wanted))).values
            if not read.keys() & left:
                raise EvidenceError("device", "the TPM lacks a bank: sha256 and sha384 are needed")
            values |= read
            left -= read.keys()
        return {bank: {f"pcr{index}": values[bank, index] for index in range(tpm.PCR_COUNT)} for bank in banks}

    def send(self, command: bytes) -> bytes:
        """The response to a command, sent again while the TPM asks for that. FormatError, OSError."""
        wait = _FIRST_WAIT
        for _ in range(_ATTEMPTS - 1):
            response = self._transport(command)
            if commands.response_code(response) not in commands.RC_AGAIN:
                return response
            self._sleep(wait)
            wait *= 2
        return self._transport(command)
