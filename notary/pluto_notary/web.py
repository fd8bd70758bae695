"""What was asked of a web site and what it answered: plain values, after every coding of the transport was taken off.

Header names are in lower case and keep their order; bodies are decoded and whole, or there is no value at all.
"""

from __future__ import annotations

from pluto_measure.record import record

Headers = tuple[tuple[str, str], ...]


@record
class WebRequest:
    """One request. `target` is path and query, as on the request line; `headers` are without `host`."""

    method: str
    host: str  # a DNS name in lower case: of the URL, of SNI, of Host, of the certificate
    port: int
    target: str
    headers: Headers
    body: bytes

    def __repr__(self) -> str:
        return f"WebRequest({self.method}, {len(self.body)} bytes)"  # texts of tasks and errors quote nothing of it

    @property
    def url(self) -> str:
        """The URL in full; the port stands in it unless it is 443."""
        return f"https://{self.authority}{self.target}"

    @property
    def authority(self) -> str:
        """What goes into Host."""
        return self.host if self.port == 443 else f"{self.host}:{self.port}"


@record
class WebResponse:
    """One response. `reason` is empty where the version has none."""

    version: str  # "HTTP/1.1", "HTTP/2"
    status: int
    reason: str
    headers: Headers
    body: bytes

    def __repr__(self) -> str:
        return f"WebResponse({self.status}, {len(self.body)} bytes)"


@record
class Exchange:
    """Request and response over one authenticated connection. Times in seconds of the caller's clock."""

    request: WebRequest
    response: WebResponse
    leaf_sha256: bytes  # of the certificate that the site showed, DER
    address: str  # that was checked and connected, in numbers
    started: float
    ended: float
