"""What passed between a client and a web site, and what is known of it once it was opened. Pure."""

from __future__ import annotations

from pluto_measure.record import record

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    # Takes a chain in DER as it was sent, the site's own certificate first, and gives that one's key if it is the
    # host's. Raises ObserveError (certificate).
    Judge = Callable[[tuple[bytes, ...]], PublicKeyTypes]


@record
class Recording:
    """All bytes that each side sent, in its order: what TCP carried. Encrypted, and still nobody else's business."""

    client: bytes
    site: bytes

    def __repr__(self) -> str:
        return f"Recording({len(self.client)} and {len(self.site)} bytes)"


@record
class Opened:
    """A connection of which every record was opened and everything was verified. Secret: it is what the client said.

    `client` and `site` are the application's data; `closed` says whether the site ended its direction itself.
    """

    version: str  # TLSv1.2 or TLSv1.3
    chain: tuple[bytes, ...]
    client: bytes
    site: bytes
    closed: bool

    def __repr__(self) -> str:
        return f"Opened({self.version}, {len(self.client)} and {len(self.site)} bytes)"
