"""A small release in a folder, its signers and a trust file, with knobs for what can be wrong. For tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pluto_measure.digests import Digests
from pluto_measure.masked import Masked
from pluto_measure.publish.dsse import signed
from pluto_measure.publish.facts import Facts, Place, Validity
from pluto_measure.publish.keys import PrivateKey, key_id, pem_of
from pluto_measure.publish.platforms import described
from pluto_measure.publish.release import PREDICATE_TYPE, Component, Release, Source
from pluto_measure.publish.statement import Statement, of
from pluto_measure.publish.terms import TcbTerms, TdTerms
from simulators.trust_domains import REFERENCE

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
AT = "2026-11-20T12:00:00Z"
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(b"\1" * 32)
OTHER = ed25519.Ed25519PrivateKey.from_private_bytes(b"\2" * 32)
P256 = ec.derive_private_key(1234567, ec.SECP256R1())
SECP256K1 = ec.derive_private_key(7654321, ec.SECP256K1())
FILES: Mapping[str, bytes] = {
    "disk.raw": b"disk" * 100,
    "oci/index.json": b"{}",
    "pluto.efi": b"MZ" + b"uki" * 50,
    "measurements.json": REFERENCE.to_text().encode(),
}
TD = TdTerms(Masked(0x10000000, 0x7FFFFFFFBFFFFFFF), Masked(0x3, 0xFFFFFFFFFFF9241B))
TCB = TcbTerms(("UpToDate",), (), 20, 0, 7)
FACTS = Facts(
    Place("stable", 5, 3, 4, ()),
    Validity(datetime(2026, 11, 1, tzinfo=UTC), datetime(2027, 11, 1, tzinfo=UTC)),
    "https://git.example/notary",
    "42",
    TD,
    TCB,
)
BUILD: dict[str, Any] = {
    "definition": {"sha256": "11" * 32},
    "lock": {"sha256": "22" * 32},
    "sourceDateEpoch": 1700000000,
    "archives": [{"id": "main", "suite": "trixie", "date": "2026-11-01T00:00:00Z", "release": "33" * 32}],
    "tools": {"libzstd": "1.5.7"},
    "command": "pluto-image reproduce RELEASE",
    "reproducible": "bit-for-bit",
}


def release(**changes: Any) -> Release:
    """The predicate; `changes` are of its own fields or of its place in the channel."""
    place = {name: changes.pop(name) for name in tuple(changes) if name in Place.__slots__}
    validity = {name: changes.pop(name) for name in tuple(changes) if name in Validity.__slots__}
    facts = replace(FACTS, place=replace(FACTS.place, **place), validity=replace(FACTS.validity, **validity))
    plain = Release(
        name="notary",
        version="1.2.0",
        flavour=REFERENCE.flavour,
        build_id=REFERENCE.build_id,
        facts=facts,
        source=Source(b"\4" * 32, dirty=False),
        build=BUILD,
        components=(Component("firmware", "2025.02", Digests.of(b"firmware"), ("mrtd", "pcr0")),),
        platforms=tuple(described(profile) for profile in REFERENCE.profiles),
    )
    return replace(plain, **changes)


def statement(files: Mapping[str, bytes] = FILES, **changes: Any) -> Statement:
    """The statement about `files`."""
    return of({name: Digests.of(data) for name, data in files.items()}, PREDICATE_TYPE, release(**changes).to_json())


def write(folder: Path, files: Mapping[str, bytes] = FILES, **changes: Any) -> Path:
    """A whole release but for its signatures; returns its folder."""
    text = statement(files, **changes).to_text().encode()
    everything = {**files, "release.json": text}
    for name, data in everything.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    sums = "".join(f"{hashlib.sha256(everything[name]).hexdigest()}  {name}\n" for name in sorted(everything))
    (folder / "SHA256SUMS").write_bytes(sums.encode())
    return folder


def sign(folder: Path, key: PrivateKey = ED25519, payload: bytes | None = None, name: str = "") -> Path:
    """Add a signature; of other bytes than the release's where `payload` is given."""
    data = (folder / "release.json").read_bytes() if payload is None else payload
    path = folder / "signatures" / (name or f"{key_id(key.public_key())[:16]}.dsse.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(signed(data, key).to_text())
    return path


def trust_text(*keys: PrivateKey, k: int = 1, identities: str = "") -> str:
    """A trust file: an organisation for each key, by the names one, two, …; `identities` are those of the last."""
    names = ("one", "two", "three", "four")
    found = f"version = 1\nk = {k}\n"
    for name, key in zip(names, keys, strict=False):
        pem = pem_of(key.public_key())
        found += f'[[organisations]]\nname = "{name}"\nidentities = []\nkeys = ["""\n{pem}"""]\n'
    if identities:
        found += f'[[organisations]]\nname = "{names[len(keys)]}"\nidentities = [{identities}]\nkeys = []\n'
    return found


def private_pem(key: PrivateKey) -> bytes:
    """A private key as openssl writes it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
