"""The notary's side of the evidence helper: asks over its socket, waits no longer than it may."""

from __future__ import annotations

import asyncio

from pluto_measure.errors import FormatError
from pluto_notary.errors import EvidenceError
from pluto_notary.evidence.messages import (
    LARGEST_RESPONSE,
    LENGTH_BYTES,
    EvidenceRequest,
    LegacyRequest,
    NodeRequest,
    Parts,
    TokenParts,
    body_length,
    frame,
    parse_parts,
)
from pluto_notary.evidence.provider import Issue, envelope_of


class HelperProvider:
    """Evidence from the helper that listens on the socket at `path`; `seconds` bounds one piece of evidence.

    The helper answers one request at a time, so never more than one is on its way; waiting for its turn has the same
    bound. `vendor`: DMI's sys_vendor, by which two platforms with the same kind of evidence are told apart.
    """

    def __init__(self, path: str, *, seconds: float, vendor: str = "") -> None:
        self._path, self._seconds, self._vendor = path, seconds, vendor
        self._turn = asyncio.Lock()

    async def node(self, request: NodeRequest, issue: Issue) -> dict[str, object]:
        """Evidence of this node as an envelope's JSON. EvidenceError."""
        return await self.evidence(request, issue)

    async def evidence(self, request: EvidenceRequest, issue: Issue) -> dict[str, object]:
        """Evidence as an envelope's JSON. EvidenceError if the helper refuses, is late, absent or incoherent."""
        parts = await self._parts(request)
        return envelope_of(request, issue, parts, vendor=self._vendor).to_json()

    async def legacy(self, ekm: bytes) -> str:
        """The token of the old protocol for a session's EKM (32 bytes). EvidenceError, also where there is none."""
        parts = await self._parts(LegacyRequest(ekm))
        if not isinstance(parts, TokenParts):
            raise EvidenceError("unavailable", "the evidence helper answers with something else than a token")
        return parts.token

    async def _parts(self, request: EvidenceRequest | LegacyRequest) -> Parts:
        try:
            async with asyncio.timeout(self._seconds), self._turn:
                body = await self._ask(request.to_body())
            return parse_parts(body)
        except (OSError, TimeoutError, EOFError) as error:
            raise EvidenceError(
                "unavailable", f"the evidence helper does not answer ({type(error).__name__})"
            ) from error
        except FormatError as error:
            raise EvidenceError("unavailable", f"the evidence helper answers nonsense: {error}") from error

    async def _ask(self, body: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._path)
        try:
            writer.write(frame(body))
            await writer.drain()
            length = body_length(await reader.readexactly(LENGTH_BYTES), LARGEST_RESPONSE)
            return await reader.readexactly(length)
        finally:
            writer.close()
