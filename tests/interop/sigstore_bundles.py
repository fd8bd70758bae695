"""Sigstore bundles of a pretended Sigstore, good ones and such with one thing wrong, each with its name."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any, Final

from simulators.sigstore import (
    ABSENT,
    AT,
    LIFETIME,
    Checkpointing,
    PretendSigstore,
    b64,
    edited,
    person,
    statement,
    workflow,
)

HERE: Final = PretendSigstore("beside other verifiers")
ROOT: Final = HERE.root()
PAYLOAD: Final = statement([("disk.raw", b"disk")], "https://pluto.example/release/v1", {})
OTHER: Final = statement([("disk.raw", b"another")], "https://pluto.example/release/v1", {})
ENTRY: Final = "verificationMaterial.tlogEntries.0"
PROOF: Final = f"{ENTRY}.inclusionProof"
STAMPS: Final = "verificationMaterial.timestampVerificationData.rfc3161Timestamps"
SECOND: Final = timedelta(seconds=1)
_LATER: Final = str(int(AT.timestamp()) + 1)
Sign = Callable[..., bytes]
Other = dict[str, Any]
Named = Iterator[tuple[str, bytes]]


def good() -> Named:
    """Each form, signed by each kind of signer."""
    forms: dict[str, dict[str, Any]] = {
        "Rekor 1": {},
        "Rekor 1 and a timestamp": {"timestamp": "good"},
        "Rekor 1 and an earlier timestamp": {
            "timestamp": "good", "stamped_at": AT - 5 * SECOND, "issued_at": AT - 9 * SECOND,
        },
        "Rekor 2": {"generation": 2},
        "Rekor 2 with a witness": {
            "generation": 2, "checkpoint": Checkpointing(lines=(HERE.rekor(2).witnessed("one.example", b"note"),)),
        },
        "Rekor 1 in the first second": {"issued_at": AT},
        "Rekor 1 in the last second": {"issued_at": AT - LIFETIME},
        "Rekor 2 in the first second": {"issued_at": AT, "generation": 2},
        "Rekor 2 in the last second": {"issued_at": AT - LIFETIME, "generation": 2},
    }  # fmt: skip
    signers = {
        "a workflow": workflow(),
        "a person": person(),
        "a foreign workflow": workflow(signer="pluto/builder/.github/workflows/build.yml@refs/tags/v7"),
    }
    for form, how in forms.items():
        for who, signer in signers.items():
            yield f"{form}, {who}", HERE.sign(PAYLOAD, signer, **how)


def defects() -> Named:
    """Good bundles with one thing wrong. The names end with the generation of Rekor."""
    kinds = (_envelopes, _certificates, _entries, _proofs, _checkpoints, _spellings)
    for generation in (1, 2):
        sign = partial(HERE.sign, PAYLOAD, generation=generation)
        bundle, other = sign(), json.loads(HERE.sign(OTHER, generation=generation))["verificationMaterial"]
        for kind in kinds:
            for name, wrong in kind(sign, bundle, other):
                yield f"{name}, Rekor {generation}", wrong
    yield from ((f"{name}, Rekor 1", wrong) for name, wrong in _of_rekor_1())
    yield from ((f"{name}, Rekor 2", wrong) for name, wrong in _of_rekor_2())


def _envelopes(sign: Sign, bundle: bytes, _: Other) -> Named:
    signed = {"messageDigest": {"algorithm": "SHA2_256", "digest": b64(bytes(32))}, "signature": b64(b"signature")}
    yield "another payload", edited(bundle, "dsseEnvelope.payload", b64(OTHER))
    yield "another payload type", sign(payload_type="application/vnd.in-toto+JSON")
    yield "another payload type afterwards", edited(bundle, "dsseEnvelope.payloadType", "text/plain")
    yield "another key", sign(sign_with="mallory")
    yield "two signatures", edited(bundle, "dsseEnvelope.signatures", lambda there: there * 2)
    yield "no signature", edited(bundle, "dsseEnvelope.signatures", [])
    yield "a keyid", edited(bundle, "dsseEnvelope.signatures.0.keyid", "7")
    yield "a message signature", edited(edited(bundle, "messageSignature", signed), "dsseEnvelope", ABSENT)
    yield "a message signature beside it", edited(bundle, "messageSignature", signed)


def _certificates(sign: Sign, bundle: bytes, _: Other) -> Named:
    one = json.loads(bundle)["verificationMaterial"]["certificate"]
    raw = base64.b64decode(one["rawBytes"]).replace(b"release.yml", b"another.yml")
    instead: dict[str, object] = {"x509CertificateChain": {"certificates": [one]}, "publicKey": {"hint": "x"}}
    yield "no SCT", sign(sct=None)
    yield "SCT of another log", sign(sct="mallory")
    yield "another authority of the same name", sign(issued_by="there")
    yield "certificate for something else", sign(code_signing=False)
    yield "certificate of another name", edited(bundle, "verificationMaterial.certificate.rawBytes", b64(raw))
    yield "certificate of a second later", sign(issued_at=AT + SECOND)
    yield "certificate of a second too early", sign(issued_at=AT - LIFETIME - SECOND)
    for name, value in instead.items():
        beside = edited(bundle, f"verificationMaterial.{name}", value)
        yield f"{name} beside the certificate", beside
        yield f"{name}, no certificate", edited(beside, "verificationMaterial.certificate", ABSENT)


def _entries(sign: Sign, bundle: bytes, other: Other) -> Named:
    where, entry = "verificationMaterial.tlogEntries", other["tlogEntries"]
    yield "two entries", edited(bundle, where, lambda there: there * 2)
    yield "another's entry beside it", edited(bundle, where, lambda there: there + entry)
    yield "another's entry before it", edited(bundle, where, lambda there: entry + there)
    yield "no entry", edited(bundle, where, [])
    yield "another's entry", edited(bundle, where, entry)
    yield "entry of another payload", sign(logged=OTHER)
    yield "entry in another log", sign(logged_by="there")
    yield "entry of another kind", edited(bundle, f"{ENTRY}.kindVersion", {"kind": "intoto", "version": "0.0.2"})
    yield "entry of another version", edited(bundle, f"{ENTRY}.kindVersion.version", "0.0.3")
    yield "another Sigstore", PretendSigstore("there").sign(PAYLOAD, generation=_generation(bundle))


def _generation(bundle: bytes) -> int:
    return 2 if b"hashedrekord" in bundle else 1


def _proofs(sign: Sign, bundle: bytes, _: Other) -> Named:
    hashes, zero = f"{PROOF}.hashes", b64(bytes(32))
    yield "no proof", edited(bundle, PROOF, ABSENT)
    yield "proof with another hash", edited(bundle, hashes, lambda there: [zero, *there[1:]])
    yield "proof with a hash less", edited(bundle, hashes, lambda there: there[:-1])
    yield "proof with a hash more", edited(bundle, hashes, lambda there: [*there, zero])
    yield "proof the wrong way round", edited(bundle, hashes, lambda there: there[::-1])
    yield "proof of another place", edited(bundle, f"{PROOF}.logIndex", "7")
    yield "proof to another root", edited(bundle, f"{PROOF}.rootHash", zero)
    yield "proof in another size", edited(bundle, f"{PROOF}.treeSize", "13")
    yield "forged timestamp", sign(timestamp="forged")
    yield "timestamp of another signature", sign(timestamp="of another")


def _checkpoints(sign: Sign, bundle: bytes, _: Other) -> Named:
    yield "no checkpoint", edited(bundle, f"{PROOF}.checkpoint", ABSENT)
    for what, how in (
        ("of another origin", Checkpointing(origin="elsewhere")),
        ("in another name", Checkpointing(name="elsewhere")),
        ("of another key", Checkpointing(key="mallory")),
        ("with another key hint", Checkpointing(hint=b"\1\2\3\4")),
        ("of another size", Checkpointing(size=99)),
        ("with an empty line", Checkpointing(lines=("",))),
        ("with a line of junk", Checkpointing(lines=("junk",))),
    ):
        yield f"checkpoint {what}", sign(checkpoint=how)


def _spellings(_: Sign, bundle: bytes, __: Other) -> Named:
    payload, sig = "dsseEnvelope.payload", "dsseEnvelope.signatures.0.sig"
    yield "another version", edited(bundle, "mediaType", "application/vnd.dev.sigstore.bundle+json;version=0.3")
    yield "an older version", edited(bundle, "mediaType", "application/vnd.dev.sigstore.bundle+json;version=0.1")
    yield "an unknown member", edited(bundle, "verificationMaterial.x", 1)
    yield "twice the same member", bundle.replace(b'{"mediaType"', b'{"mediaType": "x", "mediaType"', 1)
    yield "base64 with foreign characters", edited(bundle, payload, lambda text: f"!{text}")
    yield "base64 with a line end", edited(bundle, payload, lambda text: f"{text}\n")
    yield "base64 without padding", edited(bundle, sig, lambda text: text.rstrip("="))
    yield "base64 for addresses", edited(bundle, sig, lambda text: text.replace("+", "-").replace("/", "_"))


def _of_rekor_1() -> Named:
    one, stamped = HERE.sign(PAYLOAD), HERE.sign(PAYLOAD, timestamp="good")
    witness = Checkpointing(lines=(HERE.rekor(1).witnessed("one.example", b"note"),))
    yield "promise of another key", HERE.sign(PAYLOAD, promise_by="mallory")
    yield "promise of another second", edited(one, f"{ENTRY}.integratedTime", _LATER)
    yield "promise of another index", edited(one, f"{ENTRY}.logIndex", "1005")
    yield "no promise", edited(one, f"{ENTRY}.inclusionPromise", ABSENT)
    yield "no promise and a timestamp", edited(stamped, f"{ENTRY}.inclusionPromise", ABSENT)
    yield "no integrated time", edited(one, f"{ENTRY}.integratedTime", ABSENT)
    yield "late timestamp", HERE.sign(PAYLOAD, timestamp="good", stamped_at=AT + LIFETIME + SECOND)
    yield "a witness", HERE.sign(PAYLOAD, checkpoint=witness)


def _of_rekor_2() -> Named:
    two, log = HERE.sign(PAYLOAD, generation=2), HERE.rekor(2)
    line = f"\N{EM DASH} {log.host} {b64(log.log_id[:4] + bytes(64))}"
    yield "no timestamp", HERE.sign(PAYLOAD, generation=2, timestamp="none")
    yield "two timestamps", edited(two, STAMPS, lambda there: there * 2)
    yield "a time of its own", edited(two, f"{ENTRY}.integratedTime", _LATER)
    yield "a promise", edited(two, f"{ENTRY}.inclusionPromise", {"signedEntryTimestamp": b64(b"promise")})
    yield "another index beside the proof", edited(two, f"{ENTRY}.logIndex", "5")
    yield "another digest in the body", edited(two, f"{ENTRY}.canonicalizedBody", _other_digest)
    yield "a second line of the log's", HERE.sign(PAYLOAD, generation=2, checkpoint=Checkpointing(lines=(line,)))


def _other_digest(body: str) -> str:
    inner = json.loads(base64.b64decode(body))
    inner["spec"]["hashedRekordV002"]["data"]["digest"] = b64(bytes(32))
    return b64(json.dumps(inner).encode())
