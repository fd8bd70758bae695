"""A small release, in memory and in a folder, its signers, a trust file, and knobs for what can be wrong. For tests.

judged(sequence=4)                                  whether it is accepted, signed by `ED25519`
judged(signatures=dsse(P256), trust=THREE)          by others
write(folder); sign(folder); Called(capsys, folder, ...)   the same as files, and a call of `pluto-measure release`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from pluto_measure.cli import main
from pluto_measure.digests import Digests
from pluto_measure.masked import Masked
from pluto_measure.publish import notices
from pluto_measure.publish.dsse import signed
from pluto_measure.publish.facts import Facts, Place, Validity
from pluto_measure.publish.judge import Demands, Files, Judgement, judge_release
from pluto_measure.publish.keys import PrivateKey, key_id, pem_of
from pluto_measure.publish.platforms import described
from pluto_measure.publish.provenance import Provenance
from pluto_measure.publish.release import PREDICATE_TYPE, Component, Release, Source
from pluto_measure.publish.signature import Opened
from pluto_measure.publish.statement import Statement, of
from pluto_measure.publish.terms import TcbTerms, TdTerms
from pluto_measure.publish.trust import Trust
from simulators.trust_domains import REFERENCE

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
AT = "2026-11-20T12:00:00Z"
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(b"\1" * 32)
OTHER = ed25519.Ed25519PrivateKey.from_private_bytes(b"\2" * 32)
P256 = ec.derive_private_key(1234567, ec.SECP256R1())
SECP256K1 = ec.derive_private_key(7654321, ec.SECP256K1())
KEYS: Mapping[str, PrivateKey] = {"ed25519": ED25519, "P-256": P256, "secp256k1": SECP256K1}
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


def revoke(folder: Path, reason: str, key: PrivateKey = ED25519) -> Path:
    """Add a revocation of the release."""
    data = (folder / "release.json").read_bytes()
    said = notices.revocation(Release.parse(Statement.parse(data)), Digests.of(data), NOW, reason)
    return sign(folder, key, said.to_text().encode(), "revocation.json")


def trust_text(*keys: PrivateKey, k: int = 1, identities: str = "", age: str = '"any"') -> str:
    """A trust file: an organisation for each key, by the names one, two, …; `identities` are those of the last."""
    names = ("one", "two", "three", "four")
    found = f"version = 2\nk = {k}\nmaxConfirmationAge = {age}\n"
    for name, key in zip(names, keys, strict=False):
        pem = pem_of(key.public_key())
        found += f'[[organisations]]\nname = "{name}"\nidentities = []\nkeys = ["""\n{pem}"""]\n'
    if identities:
        found += f'[[organisations]]\nname = "{names[len(keys)]}"\nidentities = [{identities}]\nkeys = []\n'
    return found


def private_pem(key: PrivateKey, password: bytes | None = None) -> bytes:
    """A private key as openssl writes it."""
    how = NoEncryption() if password is None else BestAvailableEncryption(password)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


TEXT = statement().to_text().encode()
TOLD = Provenance("12" * 20, "refs/tags/v1.2.0", "https://ci.example/build", "https://ci.example/7", NOW, NOW)
TRUST = Trust.parse(trust_text(ED25519))
THREE = Trust.parse(trust_text(ED25519, P256, SECP256K1, k=2))


def provenance(files: Mapping[str, bytes] = FILES, **changes: Any) -> Statement:
    """The provenance of `statement(files, **changes)`."""
    return TOLD.statement(release(**changes), statement(files, **changes).subjects)


def dsse(*keys: PrivateKey, payload: bytes = TEXT) -> tuple[tuple[str, bytes], ...]:
    """Signature files over a payload, by the names that `pluto-measure sign` gives them."""
    named = ((key_id(key.public_key())[:16], signed(payload, key).to_text()) for key in keys)
    return tuple((f"signatures/{name}.dsse.json", text.encode()) for name, text in named)


def received(files: Mapping[str, bytes] = FILES, **changes: Any) -> Files:
    """What a verifier reads of a folder, signed by ED25519; `changes` of the release, or of what was received."""
    given = {name: changes.pop(name) for name in tuple(changes) if name in Files.__slots__}
    text = given.get("statement", statement(files, **changes).to_text().encode())
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in {**files, "release.json": text}.items()}
    honest = Files(
        statement=text,
        signatures=dsse(ED25519, payload=text),
        digests={name: Digests.of(data) for name, data in files.items()},
        sums=sums,
        measurements=files.get("measurements.json"),
    )
    return replace(honest, **given)


def judged(**changes: Any) -> Judgement:
    """The judgement of `received(**changes)`; `changes` may be of the verifier's demands, too."""
    given = {name: changes.pop(name) for name in tuple(changes) if name in Demands.__slots__}
    demands = Demands(at=NOW, trust=TRUST, minimum_sequence=None, allow_debug=False, complete=False, memory=None)
    return judge_release(received(**changes), replace(demands, **given), no_bundle)


def no_bundle(data: bytes) -> Opened:
    raise AssertionError(f"{data[:40]!r} is no bundle of Sigstore's")


def failed(judgement: Judgement) -> list[str]:
    """The ids of what refuses, in order."""
    return [finding.id for finding in judgement.findings if finding.verdict == "fail"]


def schema(name: str) -> jsonschema.Draft202012Validator:
    """A validator of one of the package's schemas."""
    return jsonschema.Draft202012Validator(
        json.loads(resources.files("pluto_measure").joinpath(f"schemas/{name}.json").read_text())
    )


class Called:
    """One call of `pluto-measure release` as text and with --json: exit codes agree, the document is of its schema."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: object) -> None:
        self.code = main(["release", *map(str, words)])
        self.out, self.err = capsys.readouterr()
        again = main(["release", *map(str, words), "--json"])
        out, err = capsys.readouterr()
        self.document: Any = json.loads(out)
        schema("release-verdict").validate(self.document)
        assert (again, err) == (self.code, self.err)
        assert "Traceback" not in self.err
        self.refused = {one["id"] for one in self.document.get("findings", []) if one["verdict"] == "fail"}


def one_change_each(document: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every document with one member gone, misspelt, added or of another kind, and where that is, as a pointer."""
    inside = document.items() if isinstance(document, dict) else enumerate(document)
    for name, value in inside:
        path = "".join(f"/{part}" for part in (*at, name))
        if isinstance(document, dict):
            rest = {other: kept for other, kept in document.items() if other != name}
            yield f"{path} is gone", rest
            yield f"{path} is misspelt", {**rest, f"{name}x": value}
        for other in (None, True, 7, -1, 1.5, "odd", "", [], {}, ["odd"], {"odd": 1}):
            if type(other) is not type(value) or other != value:
                yield f"{path} is {other!r}", _with(document, name, other)
        if isinstance(value, dict):
            yield f"{path}/added", _with(document, name, {**value, "added": 1})
        if isinstance(value, dict | list):
            for where, changed in one_change_each(value, (*at, name)):
                yield where, _with(document, name, changed)


def _with(document: Any, name: Any, value: Any) -> Any:
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[name] = value
    return copy
