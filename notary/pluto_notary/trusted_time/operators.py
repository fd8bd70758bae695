"""Whose word about the time is asked for: pinned with the image, by no configuration to be changed. Data only.

Organisations, laws and sources of time differ, so that no one of them, and no authority over one of them, moves the
time of a statement. All of them offer NTS to the public; `source` is where they, or a public register, say so.
"""

from __future__ import annotations

from pluto_measure.record import record
from pluto_notary.trusted_time.key_exchange import PORT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


@record
class Operator:
    """An organisation and the DNS name of its NTS-KE server, which its certificate must be for."""

    organisation: str
    jurisdiction: str  # ISO 3166-1
    host: str
    source: str
    port: int = PORT


_REGISTER: Final = "https://github.com/jauderho/nts-servers"
OPERATORS: Final = (
    Operator("Cloudflare", "US", "time.cloudflare.com", "https://developers.cloudflare.com/time-services/nts/"),
    Operator("Netnod", "SE", "nts.netnod.se", "https://www.netnod.se/netnod-time/how-to-use-nts"),
    Operator("Physikalisch-Technische Bundesanstalt", "DE", "ptbtime1.ptb.de", _REGISTER),
    Operator("SIDN Labs (TimeNL)", "NL", "ntppool1.time.nl", _REGISTER),
    Operator("NIC.br (NTP.br)", "BR", "a.st1.ntp.br", "https://ntp.br/faq"),
    Operator("Manitoba Internet Exchange", "CA", "time1.mbix.ca", _REGISTER),
    Operator("University of Zagreb, FER", "HR", "nts1.ntp.hr", _REGISTER),
)
