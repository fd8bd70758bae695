"""Evidence of an Azure TDX machine: its paravisor owns TDX and the TPM, so quotes of both are needed. Thin IO.

kinvolk/azure-cvm-tooling, az-cvm-vtpm. One piece of evidence is made so:

1. Write B into NV index 0x01400002. The paravisor puts it as `user-data` into its runtime data, and makes a TD report
   whose REPORTDATA is SHA-256 of that JSON; both are in its report at NV index 0x01400001, which is read until it
   names our B, as it may be a few seconds old.
2. The host's metadata service has Intel's quote made of that TD report.
3. The TPM quotes its registers with the paravisor's key at 0x81000003 (which the runtime data name) over SHA-256(B).

The machine's image is in the TPM's registers alone: a TDX quote of Azure measures the paravisor.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from pluto_measure.binding import TpmQuote, tpm_extra_data
from pluto_measure.errors import FormatError
from pluto_measure.formats import tpm_quote as tpm
from pluto_measure.formats.reader import Reader
from pluto_measure.formats.strict_json import canonical, loads
from pluto_measure.record import record
from pluto_notary.errors import EvidenceError, TpmError
from pluto_notary.evidence import tpm_commands as commands
from pluto_notary.evidence.parts import AZURE_BANKS, AzureParts

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, Self

    from pluto_notary.evidence.plain_http import Answer
    from pluto_notary.evidence.tpm_device import Tpm

REPORT_INDEX: Final = 0x0140_0001
USER_DATA_INDEX: Final = 0x0140_0002
CERTIFICATE_INDEX: Final = 0x01C1_01D0
AK_HANDLE: Final = 0x8100_0003
IMDS: Final = ("169.254.169.254", 80)
QUOTE_PATH: Final = "/acc/tdquote"
IMDS_HEADERS: Final = (("metadata", "true"),)
USER_DATA_BYTES: Final = 64
LARGEST_QUOTE: Final = 64 * 1024

_IMDS_SECONDS: Final = 8.0
_HARDWARE_BYTES: Final = 1184
_TD_REPORT_BYTES: Final = 1024
_REPORT_DATA: Final = slice(128, 192)  # in a TD report: Intel TDX module ABI, REPORTMACSTRUCT
_QUOTED_REPORT_DATA: Final = slice(48 + 520, 48 + 584)  # in a quote of version 4
_TDX, _SHA256 = 4, 1  # types of report and hash in the paravisor's request data
_SELECTION: Final = tuple(tpm.PcrSelection(bank, tuple(range(tpm.PCR_COUNT))) for bank in AZURE_BANKS)
_WAITS: Final = (0.25, 0.5, 1.0, 1.0, 1.0, 2.0, 2.0)  # seconds before the report is read again
_ROUNDS: Final = 3  # for registers that change between reading and quoting


@record
class HclReport:
    """The paravisor's report: TD report (1024 bytes) and runtime data (JSON, as bytes), and what it says of us."""

    td_report: bytes
    runtime_data: bytes
    user_data: bytes  # 64 bytes

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """FormatError unless it is the report of a TDX machine whose TD report covers the runtime data."""
        reader = Reader(data, what="HCL report")
        if (magic := reader.take(4, "signature")) != b"HCLA":
            raise reader.error(f"begins with {magic!r}, not with 'HCLA'")
        reader.take(28, "header")
        hardware = reader.take(_HARDWARE_BYTES, "hardware report")
        reader.take(8, "data size and version")
        kinds = reader.uint(4, "report type"), reader.uint(4, "hash type")
        if kinds != (_TDX, _SHA256):
            raise reader.error(f"report and hash types are {kinds}, not {(_TDX, _SHA256)}")
        runtime = reader.take(reader.uint(4, "runtime data size"), "runtime data")
        if any(reader.rest()):
            raise FormatError("HCL report", "bytes behind the runtime data are not zero")
        report = hardware[:_TD_REPORT_BYTES]
        if report[_REPORT_DATA] != hashlib.sha256(runtime).digest() + bytes(32):
            raise FormatError("HCL report", "the TD report is of other runtime data")
        return cls(report, runtime, _user_data(runtime))


@record
class AzureSources:
    """An Azure machine. `td_quote` takes a TD report and gives Intel's quote of it; `sleep` waits."""

    tpm: Tpm
    td_quote: Callable[[bytes], bytes]
    log: Callable[[], bytes]
    config_digest: Callable[[], bytes]
    sleep: Callable[[float], object]

    def parts(self, bound: bytes, config_digest: bytes) -> AzureParts:
        """TpmError, FormatError, OSError, EvidenceError."""
        write_index(self.tpm, USER_DATA_INDEX, bound)
        raw, report = self._report(bound)
        quote = self.td_quote(report.td_report)
        if quote[:2] != b"\4\0" or quote[_QUOTED_REPORT_DATA] != report.td_report[_REPORT_DATA]:
            raise EvidenceError("device", "the host's quote is of another TD report")
        certificate = _certificate(self.tpm)
        return AzureParts(raw, quote, quoted(self.tpm, bound), certificate, self.log(), config_digest)

    def _report(self, bound: bytes) -> tuple[bytes, HclReport]:
        for wait in _WAITS:
            self.sleep(wait)
            raw = read_index(self.tpm, REPORT_INDEX)
            if (report := HclReport.parse(raw)).user_data == bound:
                return raw, report
        raise EvidenceError("device", "the paravisor's report does not name what was written for it")


def is_azure(machine: Tpm) -> bool:
    """Whether this TPM is a paravisor's: it has the index of the report. OSError, FormatError."""
    return _public(machine, REPORT_INDEX) is not None


def quoted(machine: Tpm, bound: bytes) -> TpmQuote:
    """The TPM's quote of its bank sha256, with the values that it covers. TpmError, EvidenceError."""
    for _ in range(_ROUNDS):
        values = machine.registers(AZURE_BANKS)
        attest, signature = commands.quoted(machine.send(commands.quote(AK_HANDLE, tpm_extra_data(bound), _SELECTION)))
        covered = b"".join(values["sha256"][f"pcr{index}"] for index in range(tpm.PCR_COUNT))
        if hashlib.sha256(covered).digest() == tpm.Attest.parse(attest).pcr_digest:
            return TpmQuote(attest, signature, values)
    raise EvidenceError("device", "registers change between reading and quoting")


def write_index(machine: Tpm, index: int, data: bytes) -> None:
    """Write all of an index, made now if there is none of that size. TpmError, FormatError, OSError."""
    public = _public(machine, index)
    if public is not None and public.size != len(data):
        commands.done("TPM2_NV_UndefineSpace", machine.send(commands.nv_undefine_space(index)))
        public = None
    if public is None:
        commands.done("TPM2_NV_DefineSpace", machine.send(commands.nv_define_space(index, len(data))))
    commands.done("TPM2_NV_Write", machine.send(commands.nv_write(index, data, 0)))


def read_index(machine: Tpm, index: int) -> bytes:
    """All of an index, in pieces. TpmError, FormatError (also beyond LARGEST_INDEX), OSError."""
    public = commands.nv_public(machine.send(commands.nv_read_public(index)))
    if public.size > commands.LARGEST_INDEX:
        raise FormatError("NV index", f"{public.size} bytes are more than {commands.LARGEST_INDEX}")
    data = b""
    while len(data) < public.size:
        size = min(commands.NV_PIECE, public.size - len(data))
        piece = commands.nv_data(machine.send(commands.nv_read(index, size, len(data))))
        if len(piece) != size:
            raise FormatError("NV index", f"{len(piece)} bytes came where {size} were asked for")
        data += piece
    return data


def imds_quote(exchange: Callable[[bytes], Answer]) -> Callable[[bytes], bytes]:
    """`td_quote` over the metadata service. `exchange` takes the body of the request to QUOTE_PATH."""

    def td_quote(td_report: bytes) -> bytes:
        text = base64.urlsafe_b64encode(td_report).decode().rstrip("=")
        answer = exchange(canonical({"report": text}))
        if answer.status != 200:
            code = "busy" if answer.status == 429 else "device"
            raise EvidenceError(code, f"the metadata service answers {answer.status}")
        return _quote(answer.body)

    return td_quote


def imds_exchange(clock: Callable[[], float]) -> Callable[[bytes], Answer]:
    """An exchange with the host's metadata service, over a connection of its own each. OSError, FormatError."""
    import socket  # only a machine of Azure has a network for this

    from pluto_notary.evidence.plain_http import post

    def exchange(body: bytes) -> Answer:
        return post(
            lambda: socket.create_connection(IMDS, timeout=_IMDS_SECONDS),
            host=IMDS[0],
            path=QUOTE_PATH,
            body=body,
            headers=IMDS_HEADERS,
            limit=2 * LARGEST_QUOTE,
            seconds=_IMDS_SECONDS,
            clock=clock,
        )

    return exchange


def _quote(body: bytes) -> bytes:
    value = loads(body, what="answer", limit=2 * LARGEST_QUOTE)
    if not (isinstance(value, dict) and isinstance(text := value.get("quote"), str)):
        raise FormatError("answer", "has no quote")
    try:
        quote = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError("answer", "the quote is not base64url") from error
    if len(quote) > LARGEST_QUOTE:
        raise FormatError("answer", f"a quote of {len(quote)} bytes")
    return quote


def _user_data(runtime: bytes) -> bytes:
    value = loads(runtime, what="runtime data", limit=commands.LARGEST_INDEX)
    text = value.get("user-data") if isinstance(value, dict) else None
    try:
        data = bytes.fromhex(text if isinstance(text, str) else "")
    except ValueError as error:
        raise FormatError("runtime data", "user-data is not hex") from error
    if len(data) != USER_DATA_BYTES:
        raise FormatError("runtime data", f"user-data has {len(data)} bytes, not {USER_DATA_BYTES}")
    return data


def _public(machine: Tpm, index: int) -> commands.NvPublic | None:
    try:
        return commands.nv_public(machine.send(commands.nv_read_public(index)))
    except TpmError as error:
        if error.response_code in commands.RC_NO_INDEX:
            return None
        raise


def _certificate(machine: Tpm) -> bytes:
    """The AK's certificate without the zeros behind its DER; nothing where the machine has none."""
    if _public(machine, CERTIFICATE_INDEX) is None:
        return b""
    data = read_index(machine, CERTIFICATE_INDEX)
    if data[:2] != b"\x30\x82":
        return b""
    return data[: 4 + int.from_bytes(data[2:4], "big")]
