"""Any bytes are a TDX quote whose parts lie where the quote says, in any encoding, or a FormatError."""

from __future__ import annotations

from contextlib import suppress

from pluto_measure.errors import FormatError
from pluto_measure.formats.quote import Quote, begins, unwrap
from simulators import intel

SIZES = {"1.0": 584, "1.5": 648, "1.5-Ex": 885}


def target(data: bytes) -> None:
    with suppress(FormatError):
        raw = unwrap(data)
        quote = Quote.parse(raw)
        report = quote.report
        head = 48 if quote.version == 4 else 54
        assert len(quote.signed) == head + SIZES[report.version]
        assert raw.startswith(quote.signed)
        assert quote.signed[12:48] == quote.vendor_id + quote.user_data
        # Signature data: two lengths of 64, certification data of type 6 and of type 5, authentication data.
        inner = 384 + 64 + 2 + len(quote.qe_auth_data) + 6 + len(quote.certificates)
        assert quote.extent == len(quote.signed) + 4 + 64 + 64 + 6 + inner <= len(raw)
        assert raw[: quote.extent].endswith(quote.certificates)
        assert (report.tee_tcb_svn_2 is None) == (report.mr_service_td is None) == (report.version == "1.0")
        assert (report.service_tds is None) == (report.version != "1.5-Ex")
        assert begins(raw) or quote.vendor_id != intel.INTEL_VENDOR
        assert Quote.parse(raw[: quote.extent]) == quote
        assert unwrap(raw.hex().encode()) == raw


def seeds() -> list[bytes]:
    pck = intel.Authority.make().pck()
    short = {"inner_data": b"PEM", "auth_data": b"a"}
    kinds = [(4, intel.TD10), (5, intel.TD10), (5, intel.TD15), (5, intel.TD15EX)]
    quotes = [intel.Quote(pck, intel.TdReport(kind), version, **short).encode() for version, kind in kinds]  # type: ignore[arg-type]
    sgx = intel.quote(pck, intel.EnclaveReport(), version=3, inner_data=b"PEM")
    array = b"[%s]" % b", ".join(b"%d" % byte for byte in quotes[0])
    return [*quotes, sgx, quotes[0] + bytes(70), b"0x" + quotes[2].hex().encode(), array, intel.healthy().quote]
