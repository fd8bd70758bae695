"""Sigstore bundles beside sigstore-go: what is good is good to both, and of the same signer at the same time.

What is wrong is refused by both; where one of the two lets it pass, the reason stands here. A difference without a
reason fails, and so does a reason that nothing needs any more.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

import pytest
from sigstore._internal.tuf import DEFAULT_TUF_URL, STAGING_TUF_URL
from sigstore._utils import read_embedded

from interop import peers
from interop.peers import Bundle
from interop.sigstore_bundles import ENTRY, HERE, PAYLOAD, PROOF, ROOT, SECOND, STAMPS, defects, good
from pluto_measure.errors import FormatError, VerificationError
from pluto_measure.publish import keyless
from pluto_measure.publish.certificate import Claims
from pluto_measure.publish.keyless import Keyless
from simulators.sigstore import AT, b64, edited

pytestmark = pytest.mark.interop

# What sigstore-go lets pass and we do not, by the reason.
STRICTER: Final[Mapping[str, Sequence[str]]] = {
    "of Rekor 1's checkpoint it looks at origin, root and signature; the name below it and the size are not compared": (
        "checkpoint in another name, Rekor 1",
        "checkpoint of another size, Rekor 1",
        "proof in another size, Rekor 1",
    ),
    "a timestamp that does not hold is passed over where the promise holds": (
        "forged timestamp, Rekor 1",
        "timestamp of another signature, Rekor 1",
    ),
    "of Rekor 2's proof it reads the hashes; index, size and root it takes from the entry and the checkpoint": (
        "proof of another place, Rekor 2",
        "proof to another root, Rekor 2",
        "proof in another size, Rekor 2",
    ),
    "it makes the body of Rekor 2 itself, of envelope and certificate, and the bundle's copy is not compared": (
        "another digest in the body, Rekor 2",
    ),
    "the kind of an entry is read from its body, and what stands beside it is not compared": (
        "entry of another kind, Rekor 1",
        "entry of another version, Rekor 1",
        "entry of another kind, Rekor 2",
        "entry of another version, Rekor 2",
    ),
    "it reads bundles of other versions; we read one": (
        "another version, Rekor 1",
        "an older version, Rekor 1",
        "another version, Rekor 2",
    ),
    "it reads base64 in every spelling that protobuf's JSON allows; we read one": (
        "base64 with a line end, Rekor 1",
        "base64 without padding, Rekor 1",
        "base64 for addresses, Rekor 1",
        "base64 with a line end, Rekor 2",
        "base64 without padding, Rekor 2",
        "base64 for addresses, Rekor 2",
    ),
    "it needs one time of several sources; we know two forms, and each has its own": (
        "no promise and a timestamp, Rekor 1",
        "two timestamps, Rekor 2",
        "a time of its own, Rekor 2",
    ),
    "it looks for the log's line below a checkpoint and does not mind another": (
        "a second line of the log's, Rekor 2",
    ),
}
# The same for one character of a text, by where it stands.
LOOSE_TEXTS: Final[Mapping[str, Mapping[str, str]]] = {
    "Rekor 1, a workflow": {
        f"{ENTRY}.kindVersion.kind": "the kind of an entry is read from its body",
        f"{ENTRY}.kindVersion.version": "the kind of an entry is read from its body",
        f"{PROOF}.treeSize": "the proof fits trees of several sizes, and the checkpoint's is not compared",
        f"{PROOF}.checkpoint.envelope": "the name below the checkpoint is not compared",
    },
    "Rekor 2, a workflow": {
        f"{PROOF}.logIndex": "the entry's index counts",
        f"{PROOF}.treeSize": "the checkpoint's size counts",
        f"{PROOF}.rootHash": "the checkpoint's root counts",
        f"{PROOF}.checkpoint.envelope": "the last character has two bits that no byte is made of",
        f"{ENTRY}.kindVersion.kind": "the kind of an entry is read from its body",
        f"{ENTRY}.kindVersion.version": "the kind of an entry is read from its body",
    },
}
# Under roots whose keys had another time. Rekor 2 states no time, so there is none to hold against its key's.
STRICTER_ROOTS: Final = {
    ("tlogs", "Rekor 2"): "a log's key counts at all times, where the entry states none",
    ("timestampAuthorities", "Rekor 1 and a timestamp"): "a timestamp that does not hold is passed over",
}
# Of real bundles, what is in no form of ours but good to sigstore-go, and how we refuse it.
OTHER_FORMS: Final = {
    "sigstore-go/bundle-provenance.json": "version=0.1' is not",
    "sigstore-go/sigstore.js@2.0.0-provenance.sigstore.json": "version=0.1' is not",
    "sigstore-python/bundle_v3.txt.sigstore": "signs a file",
    "sigstore-python/bundle_v3_github.whl.sigstore": "version=0.2' is not",
    "sigstore-python/integration/bundle_v3.txt.sigstore": "signs a file",
}
GOOD_TO_BOTH: Final = "sigstore-python/a.dsse.staging-rekor-v2.txt.sigstore.json"
# Our name of a claim, and sigstore-go's of the same extension.
CLAIMS: Final = {
    "issuer": "issuer",
    "san": "subjectAlternativeName",
    "build_signer_uri": "buildSignerURI",
    "build_signer_digest": "buildSignerDigest",
    "runner_environment": "runnerEnvironment",
    "source_repository": "sourceRepositoryURI",
    "source_digest": "sourceRepositoryDigest",
    "source_ref": "sourceRepositoryRef",
    "repository_id": "sourceRepositoryIdentifier",
    "owner_id": "sourceRepositoryOwnerIdentifier",
    "build_config_uri": "buildConfigURI",
    "build_trigger": "buildTrigger",
    "run_uri": "runInvocationURI",
}
Theirs = dict[str, Any]


class Ask(Protocol):
    """What sigstore-go says of bundles by their names, all under one root."""

    def __call__(self, bundles: Mapping[str, bytes], root: bytes = ROOT) -> dict[str, Theirs]: ...


@pytest.fixture(scope="module")
def peer() -> None:
    try:
        peers.need("go-sigstore")
    except peers.AbsentError as error:
        pytest.skip(f"no peer: {error}")


@pytest.fixture
def ask(peer: None, tmp_path: Path) -> Ask:
    def answers(bundles: Mapping[str, bytes], root: bytes = ROOT) -> dict[str, Theirs]:
        where = tmp_path / "root.json"
        where.write_bytes(root)
        cases = [Bundle(tmp_path / f"{number}.json", where) for number in range(len(bundles))]
        for case, bundle in zip(cases, bundles.values(), strict=True):
            case.bundle.write_bytes(bundle)
        return dict(zip(bundles, judged(cases), strict=True))

    return answers


def judged(cases: Sequence[Bundle]) -> list[Theirs]:
    answers = peers.sigstore(cases)
    assert not [one for one in answers if one.get("step") == "panic"]
    return answers


def ours(bundle: bytes, root: bytes = ROOT) -> Keyless | str:
    """What was signed, or why it does not count."""
    try:
        return keyless.verify(bundle, root=root)
    except (FormatError, VerificationError) as error:
        return str(error)


def check_same(opened: Keyless | str, theirs: Theirs) -> None:
    """Payload, signer and the earlier time."""
    assert isinstance(opened, Keyless), opened
    assert "error" not in theirs, theirs
    assert hashlib.sha256(opened.payload).hexdigest() == theirs["payload"]
    assert min(datetime.fromisoformat(one["timestamp"]) for one in theirs["times"]) == opened.signed_at
    check_claims(opened.certificate, theirs)


def check_claims(certificate: bytes, theirs: Theirs) -> None:
    claims = Claims.parse(certificate)
    told = theirs["certificate"]
    assert {name: getattr(claims, name) for name in CLAIMS} == {name: told.get(other) for name, other in CLAIMS.items()}


def test_what_is_good_is_good_to_both(ask: Ask) -> None:
    bundles = dict(good())
    for name, theirs in ask(bundles).items():
        check_same(ours(bundles[name]), theirs)
    assert len(bundles) == 27


def test_what_is_wrong_is_refused_by_both_or_there_is_a_reason(ask: Ask) -> None:
    bundles = dict(defects())
    answers = ask(bundles)
    assert {name for name, bundle in bundles.items() if isinstance(ours(bundle), Keyless)} == set()
    passed = {name for name, theirs in answers.items() if "error" not in theirs}
    assert passed == {name for names in STRICTER.values() for name in names}
    assert all(answers[name]["payload"] == hashlib.sha256(PAYLOAD).hexdigest() for name in passed)
    assert len(bundles) > 120


def texts(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a JSON value, and where it stands."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield from texts(item, f"{where}.{name}" if where else str(name))
    if isinstance(value, str):
        yield where, value


def decoded(text: str) -> bytes | None:
    """Base64, in whatever spelling."""
    try:
        return base64.b64decode(text)
    except ValueError:
        return None


@pytest.mark.parametrize("form", LOOSE_TEXTS)
def test_one_character_of_each_text(ask: Ask, form: str) -> None:
    bundle = dict(good())[form]
    changed = {}
    for where, text in texts(json.loads(bundle)):
        for at in {0, len(text) // 2, len(text.rstrip("=\n")) - 1}:
            other = text[:at] + ("1" if text[at] != "1" else "2") + text[at + 1 :]
            if decoded(other) is None or decoded(other) != decoded(text):
                changed[f"{where} {at}"] = edited(bundle, where, other)
    answers = ask(changed)
    assert {name for name, bundle in changed.items() if isinstance(ours(bundle), Keyless)} == set()
    assert {name.split()[0] for name, theirs in answers.items() if "error" not in theirs} == set(LOOSE_TEXTS[form])


@pytest.mark.parametrize(
    "where",
    [f"{STAMPS}.0.signedTimestamp", "verificationMaterial.certificate.rawBytes", "dsseEnvelope.signatures.0.sig"],
)
def test_one_bit_of_what_is_signed(ask: Ask, where: str) -> None:
    """What we accept all the same is good to sigstore-go, and nothing else; but for one name in a timestamp."""
    bundle = dict(good())["Rekor 2, a workflow"]
    raw = base64.b64decode(dict(texts(json.loads(bundle)))[where])
    changed = {
        str(at): edited(bundle, where, b64(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])) for at in range(len(raw))
    }
    accepted = set()
    for at, theirs in ask(changed).items():
        if isinstance(opened := ours(changed[at]), Keyless):
            accepted.add(int(at))
            if "error" in theirs:
                assert int(at) in algorithm_of_timestamp(raw), theirs
            else:
                check_same(opened, theirs)
    assert accepted >= set(algorithm_of_timestamp(raw)) if where.startswith(STAMPS) else not accepted


def algorithm_of_timestamp(raw: bytes) -> range:
    """Where a timestamp says how it is signed (ECDSA with SHA-256).

    Our library does not read that: the kind of the authority's key, and the digest's name, say how to verify.
    """
    name = bytes.fromhex("2a8648ce3d040302")
    last = raw.rindex(name)
    return range(last, last + len(name))


def period(start: datetime, end: datetime | None = None) -> tuple[str, str | None]:
    begin, until = (None if one is None else one.strftime("%Y-%m-%dT%H:%M:%SZ") for one in (start, end))
    return begin or "", until


@pytest.mark.parametrize("of", ["tlogs", "ctlogs", "certificateAuthorities", "timestampAuthorities"])
def test_keys_of_another_time(ask: Ask, of: str) -> None:
    forms: dict[str, dict[str, Any]] = {
        "Rekor 1": {}, "Rekor 1 and a timestamp": {"timestamp": "good"}, "Rekor 2": {"generation": 2},
    }  # fmt: skip
    bundles = {form: HERE.sign(PAYLOAD, **how) for form, how in forms.items()}
    at_that_second = HERE.root(**{of: period(AT, AT)})
    for form, theirs in ask(bundles, at_that_second).items():
        check_same(ours(bundles[form], at_that_second), theirs)
    for when in (period(AT + SECOND), period(AT - timedelta(9), AT - SECOND)):
        root = HERE.root(**{of: when})
        for form, theirs in ask(bundles, root).items():
            opened = ours(bundles[form], root)
            if (of, form) in STRICTER_ROOTS:
                assert isinstance(opened, str)
                assert "error" not in theirs
            else:
                assert isinstance(opened, Keyless) == ("error" not in theirs) == ((of, form) == NOT_USED)


NOT_USED: Final = ("timestampAuthorities", "Rekor 1")  # a bundle without a timestamp


@pytest.fixture(scope="module")
def bundles(vectors: Path) -> Path:
    return vectors / "quotes/sigstore"


def artifact(path: Path) -> Path | None:
    """The file that a message signature is over, which lies beside it."""
    beside = path.with_name(path.name.partition(".sigstore")[0])
    return beside if "messageSignature" in json.loads(path.read_bytes()) else None


def leaf(bundle: bytes) -> bytes:
    material = json.loads(bundle)["verificationMaterial"]
    first = material.get("certificate") or material["x509CertificateChain"]["certificates"][0]
    return base64.b64decode(first["rawBytes"])


def test_real_bundles(bundles: Path, peer: None, tmp_path: Path) -> None:
    """Under the public root and that of staging. What we refuse and sigstore-go does not is in another form."""
    paths = sorted({*bundles.rglob("*.sigstore*"), *bundles.glob("sigstore-go/bundle-*.json")})
    verdicts: dict[str, list[bool]] = {}
    for name, url in (("public", DEFAULT_TUF_URL), ("staging", STAGING_TUF_URL)):
        text = read_embedded("trusted_root.json", url)
        root = tmp_path / name
        root.write_bytes(text)
        for path, theirs in zip(paths, judged([Bundle(path, root, artifact(path)) for path in paths]), strict=True):
            opened = ours(path.read_bytes(), text)
            both = [isinstance(opened, Keyless), "error" not in theirs]
            relative = path.relative_to(bundles).as_posix()
            verdicts[relative] = [one or other for one, other in zip(both, verdicts.get(relative, both), strict=True)]
            if both[0]:
                check_same(opened, theirs)
            elif both[1]:
                assert OTHER_FORMS[relative] in str(opened)
                check_claims(leaf(path.read_bytes()), theirs)
    assert {name for name, both in verdicts.items() if both == [True, True]} == {GOOD_TO_BOTH}
    assert {name for name, both in verdicts.items() if both == [False, True]} == set(OTHER_FORMS)
    assert len(paths) == 14


def test_a_root_of_sigstore_go_is_a_root_to_us(bundles: Path, peer: None, tmp_path: Path) -> None:
    """Staging's own bundle under the public root, as they carry it: the log is not in it, says either."""
    root = bundles / "sigstore-go/trusted-root-public-good.json"
    (theirs,) = judged([Bundle(bundles / GOOD_TO_BOTH, root)])
    assert "not enough verified log entries" in theirs["error"]
    assert str(ours((bundles / GOOD_TO_BOTH).read_bytes(), root.read_bytes())).startswith("sigstore.log: ")
