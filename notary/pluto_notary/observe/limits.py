"""What the reading of one recording may cost. Pure."""

from __future__ import annotations

from pluto_measure.record import record

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

RECORD_BYTES: Final = 256


@record
class ObserveLimits:
    """Bounds of one recording. Those of records, messages and handshake bytes hold in each direction."""

    client_bytes: int = 4 * 1024 * 1024
    site_bytes: int = 16 * 1024 * 1024
    records: int = 2 * 1024  # on top of one for each RECORD_BYTES: tiny ones cost more than they carry
    idle_records: int = 4  # change_cipher_spec in TLS 1.3, where it says nothing; RFC 8446, appendix D.4
    message_bytes: int = 64 * 1024  # one handshake message; a chain of certificates is the largest
    handshake_bytes: int = 192 * 1024  # all of them, tickets and key updates included
    messages: int = 64
    key_updates: int = 16
    certificates: int = 10

    def records_for(self, size: int) -> int:
        """How many records `size` bytes may come in."""
        return self.records + size // RECORD_BYTES
