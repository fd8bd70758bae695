"""A pretend Sigstore as a whole: its trusted root, and bundles that it signs, good or with one defect.

For tests alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from simulators.intel import key_of

from .authority import P256, Fulcio, Signer, ecdsa, spki, workflow
from .logs import Checkpointing, Rekor, b64, compact
from .timestamps import TimestampAuthority

AT = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
ROOT_TYPE = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
ABSENT = object()
RELEASE = workflow()


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a bundle is made; each field may be set wrong on purpose. Keys are named by any object.

    `timestamp`: None for what is usual (Rekor 1: none, Rekor 2: one), or "none", "good", "forged", "of another".
    """

    payload_type: str = PAYLOAD_TYPE
    generation: int = 1
    sct: object = True  # True: the log's; None: no SCT; else signed with the key of that name
    issued_by: object = None  # another Sigstore's seed: its authority issues the certificate
    issued_at: datetime | None = None  # when the certificate begins; None: when it is signed
    code_signing: bool = True
    sign_with: object = None  # another key than the certificate's
    logged: bytes | None = None  # another payload, which is what the log's entry is of
    logged_by: object = None  # another Sigstore's seed: its log takes the entry
    promise_by: object = None  # whose key signs the promise
    checkpoint: Checkpointing = Checkpointing()  # noqa: RUF009  frozen
    timestamp: str | None = None
    stamped_at: datetime | None = None  # None: when it is signed


@dataclass(frozen=True)
class PretendSigstore:
    """Everything follows from the seed: the same arguments give the same bytes."""

    seed: object = "sigstore"

    @property
    def fulcio(self) -> Fulcio:
        return Fulcio.of((self.seed, "fulcio"), BEGIN)

    @property
    def timestamps(self) -> TimestampAuthority:
        return TimestampAuthority.of((self.seed, "timestamps"), BEGIN)

    def rekor(self, generation: int) -> Rekor:
        return Rekor((self.seed, "rekor"), generation, f"rekor{generation}.pluto.example")

    def root(self, **periods: tuple[str, str | None]) -> bytes:
        """trusted_root.json. `periods`: of tlogs, ctlogs, certificateAuthorities or timestampAuthorities."""
        start = BEGIN.strftime("%Y-%m-%dT%H:%M:%SZ")
        of = {name: periods.get(name, (start, None)) for name in ("tlogs", "ctlogs", *_AUTHORITIES)}
        fulcio = self.fulcio
        chains = {
            "certificateAuthorities": [
                issued.certificate.public_bytes(Encoding.DER) for issued in (fulcio.intermediate, fulcio.root)
            ],
            "timestampAuthorities": self.timestamps.in_root(),
        }
        certificate_log = {
            "baseUrl": "https://certificates.pluto.example",
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": b64(spki(fulcio.log_key)),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": _period(of["ctlogs"]),
            },
            "logId": {"keyId": b64(hashlib.sha256(spki(fulcio.log_key)).digest())},
        }
        document = {
            "mediaType": ROOT_TYPE,
            "tlogs": [self.rekor(generation).in_root(*of["tlogs"]) for generation in (1, 2)],
            "ctlogs": [certificate_log],
            **{name: [_authority(chains[name], of[name])] for name in _AUTHORITIES},
        }
        return json.dumps(document, indent=2).encode()

    def sign(self, payload: bytes, signer: Signer = RELEASE, at: datetime = AT, **defects: Any) -> bytes:
        """A bundle around one payload. `defects`: the fields of Form."""
        form = Form(**defects)
        key = key_of(self.seed, "ephemeral", signer.san, at)
        leaf = self._certificate(signer, key, at, form)
        if form.sign_with is not None:
            key = key_of(self.seed, form.sign_with)
        signature = ecdsa(key, _pae(form.payload_type, payload))
        material: dict[str, Any] = {
            "certificate": {"rawBytes": b64(leaf.public_bytes(Encoding.DER))},
            "tlogEntries": [self._entry(payload, signature, leaf, at, form)],
        }
        if stamps := self._stamps(signature, at, form):
            material["timestampVerificationData"] = {"rfc3161Timestamps": stamps}
        envelope = {
            "payload": b64(payload),
            "payloadType": form.payload_type,
            "signatures": [{"sig": b64(signature)}],
        }
        bundle = {"mediaType": MEDIA_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope}
        return json.dumps(bundle).encode()

    def _certificate(self, signer: Signer, key: P256, at: datetime, form: Form) -> x509.Certificate:
        fulcio = self.fulcio if form.issued_by is None else PretendSigstore(form.issued_by).fulcio
        sct: P256 | None = key_of(self.seed, form.sct)
        if form.sct is None or form.sct is True:
            sct = fulcio.log_key if form.sct else None
        begin = at if form.issued_at is None else form.issued_at
        return fulcio.issue(signer, key.public_key(), begin, sct=sct, code_signing=form.code_signing)

    def _entry(
        self, payload: bytes, signature: bytes, leaf: x509.Certificate, at: datetime, form: Form
    ) -> dict[str, Any]:
        """The log's entry of this envelope, or of another with the same signature."""
        where = self if form.logged_by is None else PretendSigstore(form.logged_by)
        logged = payload if form.logged is None else form.logged
        kind, version = ("dsse", "0.0.1") if form.generation == 1 else ("hashedrekord", "0.0.2")
        record = dsse_record if form.generation == 1 else hashedrekord
        spec = record(logged, signature, leaf, form.payload_type)
        body = compact({"apiVersion": version, "kind": kind, "spec": spec})
        log = where.rekor(form.generation)
        return log.entry(body, kind, version, at, form.checkpoint, form.promise_by)

    def _stamps(self, signature: bytes, at: datetime, form: Form) -> list[dict[str, str]]:
        wanted = form.timestamp or ("none" if form.generation == 1 else "good")
        if wanted == "none":
            return []
        message = b"something else" if wanted == "of another" else signature
        when = at if form.stamped_at is None else form.stamped_at
        stamp = self.timestamps.stamp(hashlib.sha256(message).digest(), when, forged=wanted == "forged")
        return [{"signedTimestamp": b64(stamp)}]


_AUTHORITIES = ("certificateAuthorities", "timestampAuthorities")


def edited(bundle: bytes, where: str, value: Any) -> bytes:
    """The bundle with one member changed after the fact. `where`: names and numbers with dots between.

    `value`: what to put there, a function of what is there, or ABSENT.
    """
    document = json.loads(bundle)
    *above, last = (int(part) if part.isdigit() else part for part in where.split("."))
    place: Any = document
    for part in above:
        place = place[part]
    if value is ABSENT:
        del place[last]
    else:
        place[last] = value(place[last]) if callable(value) else value
    return json.dumps(document).encode()


def statement(subjects: Sequence[tuple[str, bytes]], predicate_type: str, predicate: object) -> bytes:
    """An in-toto statement over (name, content); nothing about it is checked, so that a wrong one can be signed."""
    return compact(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [
                {
                    "name": name,
                    "digest": {
                        "sha256": hashlib.sha256(content).hexdigest(),
                        "sha384": hashlib.sha384(content).hexdigest(),
                    },
                }
                for name, content in subjects
            ],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )


def _pae(payload_type: str, payload: bytes) -> bytes:
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def dsse_record(payload: bytes, signature: bytes, leaf: x509.Certificate, payload_type: str) -> dict[str, Any]:
    """The body of Rekor 1: hashes, since such a log cannot know how an envelope was spelled."""
    envelope = compact({"payload": b64(payload), "payloadType": payload_type, "signatures": [{"sig": b64(signature)}]})
    pem = leaf.public_bytes(Encoding.PEM)
    return {
        "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(envelope).hexdigest()},
        "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
        "signatures": [{"signature": b64(signature), "verifier": b64(pem)}],
    }


def hashedrekord(payload: bytes, signature: bytes, leaf: x509.Certificate, payload_type: str) -> dict[str, Any]:
    digest = hashlib.sha256(_pae(payload_type, payload)).digest()
    verifier = {
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "x509Certificate": {"rawBytes": b64(leaf.public_bytes(Encoding.DER))},
    }
    record = {
        "data": {"algorithm": "SHA2_256", "digest": b64(digest)},
        "signature": {"content": b64(signature), "verifier": verifier},
    }
    return {"hashedRekordV002": record}


def _period(period: tuple[str, str | None]) -> dict[str, str]:
    start, end = period
    return {"start": start} if end is None else {"start": start, "end": end}


def _authority(chain: list[bytes], period: tuple[str, str | None]) -> dict[str, Any]:
    return {
        "subject": {"organization": "sigstore.pluto.example", "commonName": "pretend"},
        "uri": "https://authority.pluto.example",
        "certChain": {"certificates": [{"rawBytes": b64(der)} for der in chain]},
        "validFor": _period(period),
    }
