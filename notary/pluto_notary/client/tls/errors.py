"""What a web site does wrong in TLS: one error, with the alert that it is told. RFC 8446, section 6."""

from __future__ import annotations

from typing import Final

from pluto_measure.errors import SourceError

CLOSE_NOTIFY: Final = 0
UNEXPECTED_MESSAGE: Final = 10
BAD_RECORD_MAC: Final = 20
RECORD_OVERFLOW: Final = 22
HANDSHAKE_FAILURE: Final = 40
BAD_CERTIFICATE: Final = 42
ILLEGAL_PARAMETER: Final = 47
DECODE_ERROR: Final = 50
DECRYPT_ERROR: Final = 51
PROTOCOL_VERSION: Final = 70
INTERNAL_ERROR: Final = 80
MISSING_EXTENSION: Final = 109
UNSUPPORTED_EXTENSION: Final = 110
NO_APPLICATION_PROTOCOL: Final = 120


class TlsError(SourceError):
    """The web site does not speak TLS as it must be spoken here. `problem` quotes nothing that it sent.

    `alert`: what it is told. `heard`: the number of the alert that it sent, if that is what ended the connection.
    """

    def __init__(self, problem: str, *, alert: int = ILLEGAL_PARAMETER, heard: int | None = None) -> None:
        self.problem, self.alert, self.heard = problem, alert, heard
        super().__init__(f"TLS with the web site: {problem}")
