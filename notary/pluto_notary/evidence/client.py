"""The notary's side of the evidence helper: asks over its socket, waits no longer than it may."""

from __future__ import annotations

import asyncio

from pluto_measure.errors import FormatError
from pluto_notary.errors import EvidenceError
from pluto_notary.evidence.messages import LARGEST_RESPONSE, LENGTH_BYTES, NodeRequest, TpmParts, body_length, frame
from pluto_notary.evidence.provider import Issue, tpm_envelope


class HelperProvider:
    """Evidence from the helper that listens on the socket at `path`; `seconds` bounds one piece of evidence."""

    def __init__(self, path: str, *, seconds: float, platform: str = "qemu-vtpm") -> None:
        self._path, self._seconds, self._platform = path, seconds, platform

    async def node(self, request: NodeRequest, issue: Issue) -> dict[str, object]:
        """TPM evidence as an envelope's JSON. EvidenceError if the helper refuses, is late, absent or incoherent."""
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._ask(request.to_body())
            parts = TpmParts.parse(body)
        except (OSError, TimeoutError, EOFError) as error:
            raise EvidenceError(
                "unavailable", f"the evidence helper does not answer ({type(error).__name__})"
            ) from error
        except FormatError as error:
            raise EvidenceError("unavailable", f"the evidence helper answers nonsense: {error}") from error
        return tpm_envelope(request, issue, parts, platform=self._platform).to_json()

    async def _ask(self, body: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._path)
        try:
            writer.write(frame(body))
            await writer.drain()
            length = body_length(await reader.readexactly(LENGTH_BYTES), LARGEST_RESPONSE)
            return await reader.readexactly(length)
        finally:
            writer.close()
