"""A pretend Rekor of either generation: a Merkle tree, its checkpoints, and what it says of an entry. For tests alone.

Tree: RFC 6962, section 2.1. Checkpoint: C2SP tlog-checkpoint and signed-note. Rekor 1 signs with ECDSA and promises
(SET); Rekor 2 signs with ed25519 and has witnesses.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from simulators.intel import key_of

from .authority import P256, ecdsa, spki

TREE = "1193050959916656506"  # Rekor 1 puts the number of a tree behind its name
OTHERS = 11  # entries of other people
WHERE = 6  # and where ours stands among them
SHARD = 1000  # how many entries older trees of a Rekor 1 hold


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def compact(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def ed25519_of(*name: object) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(repr(name).encode()).digest())


def raw(key: ed25519.Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def note_key_id(name: str, key: ed25519.Ed25519PrivateKey, algorithm: int = 1) -> bytes:
    """C2SP signed-note: how an ed25519 key is called in a line of signature."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([algorithm]) + raw(key)).digest()


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def tree_root(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(tree_root(leaves[:split]), tree_root(leaves[split:]))


def path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of one leaf, from below."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*path(leaves[:split], index), tree_root(leaves[split:])]
    return [*path(leaves[split:], index - split), tree_root(leaves[:split])]


@dataclass(frozen=True, kw_only=True)
class Checkpointing:
    """How a checkpoint is made, where not as it should be. None: as it should be."""

    origin: str | None = None
    name: str | None = None  # of the log, on its line of signature
    hint: bytes | None = None  # the four bytes before the signature
    key: object = None  # any object: sign with the key of that name
    size: int | None = None
    lines: Sequence[str] = ()  # further lines of signature, behind the log's


@dataclass(frozen=True)
class Rekor:
    """One log. `generation` 1 or 2."""

    seed: object
    generation: int
    host: str

    @property
    def p256(self) -> P256:
        return key_of(self.seed, "rekor", self.host)

    @property
    def ed25519(self) -> ed25519.Ed25519PrivateKey:
        return ed25519_of(self.seed, "rekor", self.host)

    @property
    def log_id(self) -> bytes:
        return (
            hashlib.sha256(spki(self.p256)).digest() if self.generation == 1 else note_key_id(self.host, self.ed25519)
        )

    @property
    def origin(self) -> str:
        return f"{self.host} - {TREE}" if self.generation == 1 else self.host

    def in_root(self, start: str, end: str | None) -> dict[str, Any]:
        """The log in a trusted root."""
        is_first = self.generation == 1
        key = spki(self.p256) if is_first else self.ed25519.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )  # fmt: skip
        period = {"start": start} if end is None else {"start": start, "end": end}
        details = "PKIX_ECDSA_P256_SHA_256" if is_first else "PKIX_ED25519"
        return {
            "baseUrl": f"https://{self.host}",
            "hashAlgorithm": "SHA2_256",
            "publicKey": {"rawBytes": b64(key), "keyDetails": details, "validFor": period},
            "logId": {"keyId": b64(self.log_id)},
        }

    def checkpoint(self, size: int, root: bytes, how: Checkpointing) -> str:
        shown = size if how.size is None else how.size
        note = f"{how.origin or self.origin}\n{shown}\n{b64(root)}\n"
        if self.generation == 1:
            key = self.p256 if how.key is None else key_of(self.seed, how.key)
            signature = ecdsa(key, note.encode())
        else:
            signature = (self.ed25519 if how.key is None else ed25519_of(self.seed, how.key)).sign(note.encode())
        hint = self.log_id[:4] if how.hint is None else how.hint
        lines = [f"\u2014 {how.name or self.host} {b64(hint + signature)}", *how.lines]
        return note + "\n" + "\n".join(lines) + "\n"

    def witnessed(self, name: str, note: bytes) -> str:
        """A witness's line. Nobody here knows its key."""
        key = ed25519_of(self.seed, "witness", name)
        return f"\u2014 {name} {b64(note_key_id(name, key, 4)[:4] + bytes(8) + key.sign(note))}"

    def entry(self, body: bytes, kind: str, version: str, at: datetime, how: Checkpointing, promise_by: object) -> (
        dict[str, Any]
    ):  # fmt: skip
        """What the log answers to one who brought `body`."""
        leaves = [leaf_hash(f"somebody else's {i}".encode()) for i in range(OTHERS)]
        leaves.insert(WHERE, leaf_hash(body))
        root = tree_root(leaves)
        said: dict[str, Any] = {
            "logIndex": str(WHERE + (SHARD if self.generation == 1 else 0)),
            "logId": {"keyId": b64(self.log_id)},
            "kindVersion": {"kind": kind, "version": version},
            "inclusionProof": {
                "logIndex": str(WHERE),
                "rootHash": b64(root),
                "treeSize": str(len(leaves)),
                "hashes": [b64(item) for item in path(leaves, WHERE)],
                "checkpoint": {"envelope": self.checkpoint(len(leaves), root, how)},
            },
            "canonicalizedBody": b64(body),
        }
        return {**said, **self._promise(body, at, promise_by)} if self.generation == 1 else said

    def _promise(self, body: bytes, at: datetime, promise_by: object) -> dict[str, Any]:
        key = self.p256 if promise_by is None else key_of(self.seed, promise_by)
        seconds = int(at.timestamp())
        promised = {
            "body": b64(body),
            "integratedTime": seconds,
            "logID": self.log_id.hex(),
            "logIndex": WHERE + SHARD,
        }
        promise = {"signedEntryTimestamp": b64(ecdsa(key, compact(promised)))}
        return {"integratedTime": str(seconds), "inclusionPromise": promise}
