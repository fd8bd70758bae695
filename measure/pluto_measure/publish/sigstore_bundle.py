"""Sigstore bundles: the two forms that we take, read strictly before any library sees them. Pure; nothing is verified.

Bundle v0.3 (protobuf-specs, sigstore_bundle.proto, as JSON) around one DSSE envelope with one signature, one
certificate, and one entry of one transparency log with inclusion proof and checkpoint:

    log      entry               signed time
    Rekor 1  dsse 0.0.1          integrated time under the log's promise (SET); a timestamp may stand beside it
    Rekor 2  hashedrekord 0.0.2  one RFC 3161 timestamp, since such a log promises nothing

Whatever else a bundle may be, it is refused here with the reason. Format: docs/formats/signatures.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads
from pluto_measure.publish.dsse import unbase64
from pluto_measure.publish.statement import PAYLOAD_TYPE

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
LIMIT: Final = 1024 * 1024  # bytes of a bundle
LARGEST_PAYLOAD: Final = 720 * 1024  # bytes that leave room for the rest of a bundle, when they are base64
WHAT: Final = "sigstore bundle"
_REKOR: Final = {("dsse", "0.0.1"): 1, ("hashedrekord", "0.0.2"): 2}
_LONGEST_CHECKPOINT, _MOST_SIGNATURES = 16 * 1024, 32
_HINT: Final = 4  # bytes of a log's id that its signature on a checkpoint begins with
_SIGNATURE_LINE: Final = re.compile("\N{EM DASH} ([!-~]+) ([A-Za-z0-9+/]+={0,2})", re.ASCII)
_NUMBER: Final = re.compile("0|[1-9][0-9]{0,18}", re.ASCII)
_LATEST: Final = 253402300799  # seconds: the last of the year 9999


class Signer(NamedTuple):
    """A line under a checkpoint: who signed, and the first bytes of the id of the key."""

    name: str
    hint: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log signed of itself: its name, its size, its root. C2SP tlog-checkpoint and signed-note."""

    origin: str
    size: int
    root: bytes
    signers: tuple[Signer, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """FormatError for a line that is out of place."""
        what = f"{WHAT}.checkpoint"
        if len(text) > _LONGEST_CHECKPOINT:
            raise FormatError(what, f"{len(text)} characters are more than {_LONGEST_CHECKPOINT}")
        note, blank, signatures = text.partition("\n\n")
        if not blank or "\n\n" in signatures or not signatures.endswith("\n"):
            raise FormatError(what, "is not a note, one blank line, and lines of signatures")
        origin, *lines = note.split("\n")
        if len(lines) < 2 or not origin or not origin.isprintable():
            raise FormatError(what, "does not state an origin, a size and a root")
        signers = tuple(_signer(line, what) for line in signatures[:-1].split("\n"))
        if len(signers) > _MOST_SIGNATURES:
            raise FormatError(what, f"{len(signers)} signatures are more than {_MOST_SIGNATURES}")
        return cls(origin, _number(lines[0], what), _base64(lines[1], what), signers)

    def problem(self, log_id: bytes, name: str, rekor: int) -> str | None:
        """Why it is not the checkpoint of the log of that id and name; None if it may be. Not a signature check.

        `name`: the log's address without its scheme. Rekor 1 adds the number of the tree to it, and signs alone.
        """
        if rekor == 1 and len(self.signers) != 1:
            return f"{len(self.signers)} signatures are under the checkpoint, and Rekor 1 has no witnesses"
        own = [signer for signer in self.signers if signer.hint == log_id[:_HINT]]
        if len(own) != 1:
            return f"{len(own)} signatures under the checkpoint have the log's key hint, not one"
        if own[0].name != name:
            return f"the checkpoint is signed by {own[0].name!r}, not {name!r}"
        origin, dash, tree = self.origin.partition(" - ") if rekor == 1 else (self.origin, "", "")
        if origin != name or (dash and not _NUMBER.fullmatch(tree)):
            return f"the checkpoint's origin is {self.origin!r}, not {name!r}"
        return None


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a transparency log. `integrated_at`: when the log says that it took it in (Rekor 1 alone)."""

    rekor: int
    log_id: bytes
    integrated_at: datetime | None
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class SigstoreBundle:
    """A bundle in one of our two forms. `document` is its JSON, `certificate` DER."""

    document: dict[str, Any]
    certificate: bytes
    entry: Entry
    has_timestamp: bool

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """FormatError, with the reason, for whatever has not one of the two forms."""
        document = loads(text, what=WHAT, limit=LIMIT)
        fields = Fields(document, what=WHAT)
        if (media_type := fields.take("mediaType", str)) != MEDIA_TYPE:
            raise FormatError(WHAT, f"mediaType {media_type[:80]!r} is not {MEDIA_TYPE}")
        if "messageSignature" in document:
            raise FormatError(WHAT, "signs a file (messageSignature), not a statement (dsseEnvelope)")
        material = fields.sub("verificationMaterial")
        certificate = _certificate(material)
        entry = _entry(_only(material.take("tlogEntries", list), f"{WHAT}.tlogEntries", "log entry", "log entries"))
        has_timestamp = _timestamp(material)
        material.end()
        _envelope(fields.sub("dsseEnvelope"))
        fields.end()
        if entry.rekor == 2 and not has_timestamp:
            raise FormatError(WHAT, "a Rekor 2 entry without a timestamp says nothing of when it was signed")
        return cls(document, certificate, entry, has_timestamp)

    def by_promise(self) -> dict[str, Any]:
        """The document with the log's promise as its only source of time."""
        return self._without(("timestampVerificationData",), ())

    def by_timestamp(self) -> dict[str, Any]:
        """The document with the timestamp as its only source of time."""
        return self._without((), ("inclusionPromise", "integratedTime"))

    def _without(self, of_material: tuple[str, ...], of_entry: tuple[str, ...]) -> dict[str, Any]:
        material = self.document["verificationMaterial"]
        entry = {name: value for name, value in material["tlogEntries"][0].items() if name not in of_entry}
        left = {name: value for name, value in material.items() if name not in of_material}
        return {**self.document, "verificationMaterial": {**left, "tlogEntries": [entry]}}


def _certificate(material: Fields) -> bytes:
    for name in ("x509CertificateChain", "publicKey"):
        if material.get(name, None, dict, type(None)) is not None:
            raise FormatError(WHAT, f"has {name}, not a single certificate")
    certificate = material.sub("certificate")
    der = _base64(certificate.take("rawBytes", str), f"{WHAT}.certificate")
    certificate.end()
    return der


def _entry(value: object) -> Entry:
    what = f"{WHAT}.tlogEntries[0]"
    fields = Fields(value, what=what)
    rekor = _rekor(fields.sub("kindVersion"), fields.take("canonicalizedBody", str), what)
    log_id = fields.sub("logId")
    key_id = _base64(log_id.take("keyId", str), f"{what}.logId")
    log_id.end()
    index = _number(fields.take("logIndex", str), what)
    proof_index, checkpoint = _inclusion_proof(fields.sub("inclusionProof"))
    integrated_at = _integrated_at(fields, rekor, what)
    fields.end()
    if rekor == 2 and proof_index != index:
        raise FormatError(what, f"logIndex is {index}, and the inclusion proof is of {proof_index}")
    return Entry(rekor, key_id, integrated_at, checkpoint)


def _rekor(kind_version: Fields, body: str, what: str) -> int:
    """Which Rekor an entry is of. Its kind stands beside it and in it, and must be the same."""
    named = (kind_version.take("kind", str), kind_version.take("version", str))
    kind_version.end()
    inner = Fields(loads(_base64(body, what), what=f"{what}.canonicalizedBody"), what=f"{what}.canonicalizedBody")
    if named not in _REKOR:
        raise FormatError(what, f"an entry of kind {named[0][:40]!r} {named[1][:40]!r} does not record an envelope")
    if (inner.take("kind", str), inner.take("apiVersion", str)) != named:
        raise FormatError(what, "is of another kind than its body")
    return _REKOR[named]


def _integrated_at(fields: Fields, rekor: int, what: str) -> datetime | None:
    promise = fields.optional("inclusionPromise")
    integrated = _number(fields.get("integratedTime", "0", str), what)
    if rekor == 2:
        if promise is not None or integrated:
            raise FormatError(what, "a Rekor 2 entry promises nothing and states no time")
        return None
    if promise is None or not 0 < integrated <= _LATEST:
        raise FormatError(what, "a Rekor 1 entry needs an inclusionPromise and an integratedTime")
    _base64(promise.take("signedEntryTimestamp", str), what)
    promise.end()
    return datetime.fromtimestamp(integrated, UTC)


def _inclusion_proof(fields: Fields) -> tuple[int, Checkpoint]:
    what = fields.what
    index, size = (_number(fields.take(name, str), what) for name in ("logIndex", "treeSize"))
    root = _base64(fields.take("rootHash", str), what)
    for item in fields.take("hashes", list):
        _base64(item, f"{what}.hashes")
    note = fields.sub("checkpoint")
    checkpoint = Checkpoint.parse(note.take("envelope", str))
    note.end()
    fields.end()
    if (checkpoint.size, checkpoint.root) != (size, root):
        raise FormatError(what, "treeSize and rootHash are not those of the checkpoint")
    return index, checkpoint


def _timestamp(material: Fields) -> bool:
    fields = material.optional("timestampVerificationData")
    if fields is None:
        return False
    what = f"{fields.what}.rfc3161Timestamps"
    stamps = fields.get("rfc3161Timestamps", [], list)
    fields.end()
    if not stamps:
        return False
    stamp = Fields(_only(stamps, what, "timestamp", "timestamps"), what=what)
    _base64(stamp.take("signedTimestamp", str), what)
    stamp.end()
    return True


def _envelope(fields: Fields) -> None:
    if (payload_type := fields.take("payloadType", str)) != PAYLOAD_TYPE:
        raise FormatError(fields.what, f"payloadType {payload_type[:80]!r} is not {PAYLOAD_TYPE}")
    _base64(fields.take("payload", str), fields.what)
    signature = _only(fields.take("signatures", list), f"{fields.what}.signatures", "signature", "signatures")
    inner = Fields(signature, what=f"{fields.what}.signatures[0]")
    _base64(inner.take("sig", str), inner.what)
    if inner.get("keyid", "", str):
        raise FormatError(inner.what, "has a keyid, and the key is that of the certificate")
    inner.end()
    fields.end()


def _only(items: list[Any], what: str, one: str, many: str) -> Any:
    if len(items) != 1:
        raise FormatError(what, f"has {len(items)} {many}, not one {one}")
    return items[0]


def _signer(line: str, what: str) -> Signer:
    match = _SIGNATURE_LINE.fullmatch(line)
    signature = _base64(match[2], what) if match else b""
    if match is None or len(signature) <= _HINT:
        raise FormatError(what, "a line below it is not a signature")
    return Signer(match[1], signature[:_HINT])


def _number(text: str, what: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise FormatError(what, f"{text[:40]!r} is not a number in its one spelling")
    return int(text)


def _base64(text: object, what: str) -> bytes:
    """Bytes, and not none of them. A library reads base64 more generously, and then perhaps something else."""
    value = unbase64(text, what) if isinstance(text, str) else b""
    if not value:
        raise FormatError(what, "is empty, or no text")
    return value
