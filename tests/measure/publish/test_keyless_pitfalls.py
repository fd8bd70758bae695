"""What verifiers of Sigstore bundles got wrong, each with the bundle that shows it. The real library runs in each test.

The names are those of the cases in sigstore-conformance and tinfoil-conformance, or of the mistake.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sigstore.models import Bundle, ClientTrustConfig
from sigstore.verify import Verifier
from sigstore.verify.policy import AnyOf

from pluto_measure.errors import FormatError, VerificationError
from pluto_measure.publish import keyless
from pluto_measure.publish.certificate import Claims, fits
from pluto_measure.publish.trust import Identity, Trust
from simulators.sigstore import (
    ABSENT,
    AT,
    GITHUB,
    LIFETIME,
    Checkpointing,
    PretendSigstore,
    Signer,
    b64,
    edited,
    statement,
    workflow,
)

HERE, THERE = PretendSigstore("here"), PretendSigstore("there")
ROOT = HERE.root()
PAYLOAD = statement([("disk.raw", b"disk")], "https://pluto.example/release/v1", {})
OTHER = statement([("disk.raw", b"another")], "https://pluto.example/release/v1", {})
OPEN = keyless.opener(ROOT)
SAN = "https://github.com/pluto/pluto/.github/workflows/release.yml@refs/tags/v1.0.0"
ENTRY = "verificationMaterial.tlogEntries.0"
PROOF = f"{ENTRY}.inclusionProof"
SECOND = timedelta(seconds=1)


def not_authentic(step: str, bundle: bytes, about: str = "", root: bytes | None = None) -> None:
    with pytest.raises(VerificationError, match=rf"^sigstore\.{step}: .*{about}"):
        (OPEN if root is None else keyless.opener(root))(bundle)


def malformed(problem: str, bundle: bytes) -> None:
    with pytest.raises(FormatError, match=problem):
        OPEN(bundle)


def problems(identity: Identity, signer: Signer) -> list[str]:
    claims = Claims.parse(OPEN(HERE.sign(PAYLOAD, signer)).certificate)
    return [problem.partition(":")[0] for problem in fits(identity, claims)]


def identity(san: str = SAN, ref: str = "refs/tags/v1.0.0", repository_id: str = "4711") -> Identity:
    return Identity(GITHUB, san, repository_id, ref)


# Who signed


@pytest.mark.parametrize("san", [SAN[:-1], SAN[:-6], SAN.partition("@")[0][:-1], f"{SAN}.1", f".{SAN}", SAN.upper()])
def test_identity_prefix_only(san: str) -> None:
    assert problems(identity(), workflow()) == []
    assert problems(identity(san), workflow()) == ["san"]


def test_a_workflow_without_a_ref_is_that_of_its_source_and_no_other() -> None:
    path = SAN.partition("@")[0]
    for ref in ("refs/tags/v1.0.0", "any-tag"):
        assert problems(identity(path, ref), workflow()) == []
    assert problems(identity(path, "any-tag"), workflow(ref="refs/tags/v2.0.0")) == []
    assert problems(identity(path), workflow(ref="refs/tags/v2.0.0")) == ["ref"]
    for ref in ("refs/heads/v1.0.0", "refs/tags/", "refs/tags/../heads/main", "refs/tagsv1", "REFS/tags/v1"):
        assert "ref" in problems(identity(path, "any-tag"), workflow(ref=ref))
    assert "san" in problems(identity(path, "any-tag"), workflow(file="release.yml@x"))


def test_identity_of_a_repository_whose_name_begins_alike() -> None:
    assert "san" in problems(identity(), workflow("pluto/pluto.evil"))
    assert "san" in problems(identity(), workflow("pluto/pluto", file="release.yml.yml"))


def test_refs_heads_for_refs_tags() -> None:
    """A branch may be called like a tag, and more people may push it."""
    branch = workflow(ref="refs/heads/v1.0.0")
    assert problems(identity(), branch) == ["san", "ref"]
    assert problems(identity(branch_san := SAN.replace("tags", "heads")), branch) == ["ref"]
    assert problems(identity(branch_san, ref="any"), branch) == []


def test_source_ref_against_signer_ref() -> None:
    """The trusted workflow, called from another branch of its own repository, signs what lies there."""
    called = workflow(ref="refs/heads/evil", signer="pluto/pluto/.github/workflows/release.yml@refs/tags/v1.0.0")
    assert problems(identity(), called) == ["ref", "signer"]
    assert problems(identity(ref="any"), called) == ["signer"]


def test_signer_is_not_the_build_signer() -> None:
    assert problems(identity(), workflow(_9=SAN.replace("pluto/pluto", "mallory/pluto"))) == ["signer"]


def test_repository_that_took_over_a_name() -> None:
    assert problems(identity(), workflow(repository_id="666")) == ["repositoryId"]


def test_reusable_workflow_called_by_anybody() -> None:
    builder = "pluto/builder/.github/workflows/build.yml@refs/tags/v7"
    called = workflow("mallory/evil", repository_id="666", signer=builder)
    trusted = f"https://github.com/{builder}"
    assert problems(identity(trusted, ref="any"), called) == ["repositoryId"]
    assert problems(identity(trusted, ref="any", repository_id="any"), called) == ["repositoryId"]


def test_issuer_by_the_old_extension_alone() -> None:
    bundle = HERE.sign(PAYLOAD, Signer(SAN, GITHUB, {8: b"\x04\x00"}))
    with pytest.raises(FormatError, match=r"57264\.1\.8"):
        Claims.parse(OPEN(bundle).certificate)


@pytest.mark.parametrize("listed", ["", "identities = []\n", "identities = []\nkeys = []\n"])
def test_empty_allow_list_meaning_all(listed: str) -> None:
    with pytest.raises(FormatError):
        Trust.parse(f'version = 2\nmaxConfirmationAge = "any"\nk = 1\n[[organisations]]\nname = "one"\n{listed}')
    with pytest.raises(FormatError):
        Trust.parse('version = 2\nmaxConfirmationAge = "any"\nk = 0\norganisations = []\n')


# What was signed


def test_several_dsse_signatures() -> None:
    bundle = HERE.sign(PAYLOAD)
    other = {"sig": json.loads(HERE.sign(OTHER))["dsseEnvelope"]["signatures"][0]["sig"]}
    for also in (lambda there: [*there, other], lambda there: [other, *there], lambda there: there * 2):
        malformed("has 2 signatures, not one", edited(bundle, "dsseEnvelope.signatures", also))
    malformed("has 0 signatures, not one", edited(bundle, "dsseEnvelope.signatures", []))


def test_payload_type_of_another_kind() -> None:
    for kind in ("application/vnd.in-toto+json ", "application/vnd.in-toto+JSON", "text/plain", ""):
        malformed("payloadType", HERE.sign(PAYLOAD, payload_type=kind))
        malformed("payloadType", edited(HERE.sign(PAYLOAD), "dsseEnvelope.payloadType", kind))


@pytest.mark.parametrize("generation", [1, 2])
def test_other_payload(generation: int) -> None:
    bundle = HERE.sign(PAYLOAD, generation=generation)
    not_authentic("signature", edited(bundle, "dsseEnvelope.payload", b64(OTHER)))


@pytest.mark.parametrize("generation", [1, 2])
def test_other_key(generation: int) -> None:
    not_authentic("signature", HERE.sign(PAYLOAD, generation=generation, sign_with="mallory"))


def test_message_signature() -> None:
    signed = {"messageDigest": {"algorithm": "SHA2_256", "digest": b64(bytes(32))}, "signature": b64(b"signature")}
    bundle = edited(HERE.sign(PAYLOAD), "messageSignature", signed)
    malformed("signs a file", bundle)
    malformed("signs a file", edited(bundle, "dsseEnvelope", ABSENT))


# With which certificate


def test_chain_instead_of_single_certificate() -> None:
    bundle = HERE.sign(PAYLOAD)
    one = json.loads(bundle)["verificationMaterial"]["certificate"]
    chain = edited(bundle, "verificationMaterial.x509CertificateChain", {"certificates": [one]})
    malformed("x509CertificateChain, not a single certificate", chain)
    malformed("x509CertificateChain", edited(chain, "verificationMaterial.certificate", ABSENT))
    key = edited(bundle, "verificationMaterial.publicKey", {"hint": "x"})
    malformed("publicKey, not a single certificate", key)
    malformed("certificate is missing", edited(bundle, "verificationMaterial.certificate", ABSENT))


def test_missing_sct() -> None:
    not_authentic("sct", HERE.sign(PAYLOAD, sct=None))


def test_sct_of_another_log() -> None:
    not_authentic("sct", HERE.sign(PAYLOAD, sct="mallory"))


def test_other_authority_of_the_same_name() -> None:
    not_authentic("certificate", HERE.sign(PAYLOAD, issued_by="there"))
    not_authentic("(certificate|sct|log)", THERE.sign(PAYLOAD))


def test_certificate_for_something_else() -> None:
    not_authentic("certificate", HERE.sign(PAYLOAD, code_signing=False), "code signing")


@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize("begin", [AT + SECOND, AT - LIFETIME - SECOND, AT + timedelta(days=1)])
def test_integrated_time_outside_certificate_validity(generation: int, begin: Any) -> None:
    not_authentic("time", HERE.sign(PAYLOAD, generation=generation, issued_at=begin), "with a certificate for")


@pytest.mark.parametrize("generation", [1, 2])
def test_integrated_time_at_the_ends_of_certificate_validity(generation: int) -> None:
    for begin in (AT, AT - LIFETIME):
        assert OPEN(HERE.sign(PAYLOAD, generation=generation, issued_at=begin)).signed_at == AT


# In which log, and when


def test_several_log_entries() -> None:
    bundle, other = HERE.sign(PAYLOAD), json.loads(HERE.sign(OTHER))["verificationMaterial"]["tlogEntries"][0]
    where = "verificationMaterial.tlogEntries"
    for also in (lambda there: [*there, other], lambda there: [other, *there], lambda there: there * 2):
        malformed("has 2 log entries, not one", edited(bundle, where, also))
    malformed("has 0 log entries, not one", edited(bundle, where, []))


@pytest.mark.parametrize("generation", [1, 2])
def test_log_entry_body_other_than_the_envelope(generation: int) -> None:
    """CVE-2022-36056: an entry that is in the log, and of something else."""
    not_authentic("entry", HERE.sign(PAYLOAD, generation=generation, logged=OTHER))
    entry = json.loads(HERE.sign(OTHER, generation=generation))["verificationMaterial"]["tlogEntries"][0]
    not_authentic("entry", edited(HERE.sign(PAYLOAD, generation=generation), ENTRY, entry))


def test_log_entry_of_another_kind_than_its_body() -> None:
    def of_kind(kind: str, version: str) -> bytes:
        return edited(HERE.sign(PAYLOAD), f"{ENTRY}.kindVersion", {"kind": kind, "version": version})

    malformed("of another kind than its body", of_kind("hashedrekord", "0.0.2"))
    for kind, version in (("intoto", "0.0.2"), ("hashedrekord", "0.0.1"), ("dsse", "0.0.2"), ("dsse", "0.0.1 ")):
        malformed("does not record an envelope", of_kind(kind, version))


def test_log_that_nobody_trusts() -> None:
    bundle = HERE.sign(PAYLOAD, logged_by="there")
    not_authentic("log", bundle)
    claimed = json.loads(HERE.root())["tlogs"][0]["logId"]["keyId"]
    not_authentic("checkpoint", edited(bundle, f"{ENTRY}.logId.keyId", claimed))


@pytest.mark.parametrize("generation", [1, 2])
def test_tampered_inclusion_proof(generation: int) -> None:
    bundle = HERE.sign(PAYLOAD, generation=generation)
    wrong: list[Callable[[list[str]], list[str]]] = [
        lambda hashes: [b64(bytes(32)), *hashes[1:]],
        lambda hashes: hashes[:-1],
        lambda hashes: [*hashes, b64(bytes(32))],
        lambda hashes: hashes[::-1],
    ]
    for change in wrong:
        not_authentic("inclusion", edited(bundle, f"{PROOF}.hashes", change))
    malformed("those of the checkpoint", edited(bundle, f"{PROOF}.rootHash", b64(bytes(32))))
    malformed("those of the checkpoint", edited(bundle, f"{PROOF}.treeSize", "13"))
    malformed("inclusionProof is missing", edited(bundle, PROOF, ABSENT))
    malformed("checkpoint is missing", edited(bundle, f"{PROOF}.checkpoint", ABSENT))
    moved = edited(bundle, f"{PROOF}.logIndex", "7")
    if generation == 1:
        not_authentic("inclusion", moved)
    else:
        malformed("the inclusion proof is of 7", moved)
        not_authentic("inclusion", edited(moved, f"{ENTRY}.logIndex", "7"))


def test_tampered_set() -> None:
    bundle = HERE.sign(PAYLOAD)
    not_authentic("promise", HERE.sign(PAYLOAD, promise_by="mallory"))
    not_authentic("promise", edited(bundle, f"{ENTRY}.integratedTime", str(int(AT.timestamp()) + 1)))
    not_authentic("promise", edited(bundle, f"{ENTRY}.logIndex", "1005"))
    for where in (f"{ENTRY}.inclusionPromise", f"{ENTRY}.integratedTime"):
        malformed("needs an inclusionPromise and an integratedTime", edited(bundle, where, ABSENT))
    malformed("needs an inclusionPromise", edited(bundle, f"{ENTRY}.integratedTime", "0"))


def test_rekor_v1_without_promise_and_a_timestamp_instead() -> None:
    stamped = HERE.sign(PAYLOAD, timestamp="good")
    malformed("needs an inclusionPromise", edited(stamped, f"{ENTRY}.inclusionPromise", ABSENT))


def test_rekor_v2_without_timestamp() -> None:
    malformed("without a timestamp", HERE.sign(PAYLOAD, generation=2, timestamp="none"))
    empty = edited(HERE.sign(PAYLOAD, generation=2), "verificationMaterial.timestampVerificationData", {})
    malformed("without a timestamp", empty)


def test_rekor_v2_with_a_time_of_its_own() -> None:
    bundle = HERE.sign(PAYLOAD, generation=2)
    malformed("promises nothing", edited(bundle, f"{ENTRY}.integratedTime", "1795262400"))
    promise = {"signedEntryTimestamp": b64(b"promise")}
    malformed("promises nothing", edited(bundle, f"{ENTRY}.inclusionPromise", promise))


@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize("which", ["forged", "of another"])
def test_timestamp_that_does_not_hold(generation: int, which: str) -> None:
    """Beside a promise that holds, a library may just pass over it."""
    not_authentic("timestamp", HERE.sign(PAYLOAD, generation=generation, timestamp=which))


def test_timestamp_with_a_status_that_nobody_knows() -> None:
    where = "verificationMaterial.timestampVerificationData.rfc3161Timestamps.0.signedTimestamp"
    granted, odd = (bytes.fromhex("3003020100"), bytes.fromhex("3003020120"))
    bundle = edited(
        HERE.sign(PAYLOAD, generation=2), where, lambda text: b64(base64.b64decode(text).replace(granted, odd, 1))
    )
    not_authentic("other", bundle, "ValueError")


def test_one_of_several_timestamps_outside_certificate_validity() -> None:
    late = HERE.sign(PAYLOAD, timestamp="good", stamped_at=AT + LIFETIME + SECOND)
    not_authentic("time", late, "with a certificate for")
    where = "verificationMaterial.timestampVerificationData.rfc3161Timestamps"
    malformed("has 2 timestamps, not one", edited(HERE.sign(PAYLOAD, generation=2), where, lambda there: there * 2))


# Under which checkpoint


@pytest.mark.parametrize("generation", [1, 2])
def test_checkpoint_origin(generation: int) -> None:
    for origin in ("rekor9.pluto.example", "rekor1.pluto.example.evil - 1", "rekor2.pluto.example - 1", "x"):
        how = Checkpointing(origin=origin)
        not_authentic("checkpoint", HERE.sign(PAYLOAD, generation=generation, checkpoint=how), "origin is")
    how = Checkpointing(name="witness.example")
    not_authentic("checkpoint", HERE.sign(PAYLOAD, generation=generation, checkpoint=how), "is signed by")


@pytest.mark.parametrize("generation", [1, 2])
def test_checkpoint_key_hint(generation: int) -> None:
    how = Checkpointing(hint=b"\1\2\3\4")
    not_authentic("checkpoint", HERE.sign(PAYLOAD, generation=generation, checkpoint=how), "0 signatures")


@pytest.mark.parametrize("generation", [1, 2])
def test_checkpoint_of_another_key(generation: int) -> None:
    how = Checkpointing(key="mallory")
    not_authentic("checkpoint", HERE.sign(PAYLOAD, generation=generation, checkpoint=how), "not signed by the log")


def test_checkpoint_of_another_size() -> None:
    """The same root, said to be that of a larger tree: a proof may then lead somewhere else."""
    malformed("those of the checkpoint", HERE.sign(PAYLOAD, checkpoint=Checkpointing(size=99)))


def test_checkpoint_with_several_cosignatures() -> None:
    log = HERE.rekor(2)
    witnesses = tuple(log.witnessed(name, b"note") for name in ("one.example", "two.example/b"))

    def signed(*lines: str, generation: int = 2) -> bytes:
        return HERE.sign(PAYLOAD, generation=generation, checkpoint=Checkpointing(lines=lines))

    assert OPEN(signed(*witnesses)).payload == PAYLOAD
    again = f"\N{EM DASH} {log.host} {b64(log.log_id[:4] + bytes(64))}"
    not_authentic("checkpoint", signed(*witnesses, again), "2 signatures under the checkpoint have the log's key hint")
    malformed("33 signatures are more than 32", signed(*witnesses * 16))
    malformed("characters are more than 16384", signed(log.witnessed("w" * 16384, b"note")))
    not_authentic("checkpoint", signed(*witnesses, generation=1), "Rekor 1 has no witnesses")


@pytest.mark.parametrize("line", ["", "- rekor1 AAAAAAA=", "\N{EM DASH} rekor1", "\N{EM DASH} rekor1 AAAA", "junk"])
def test_checkpoint_with_a_line_that_is_no_signature(line: str) -> None:
    malformed("sigstore bundle.checkpoint", HERE.sign(PAYLOAD, checkpoint=Checkpointing(lines=(line,))))


# What the library alone lets pass, which is why we look first


LET_PASS = {
    "checkpoint of another origin": HERE.sign(PAYLOAD, checkpoint=Checkpointing(origin="elsewhere")),
    "checkpoint signed in another name": HERE.sign(PAYLOAD, checkpoint=Checkpointing(name="elsewhere")),
    "checkpoint of another size": HERE.sign(PAYLOAD, checkpoint=Checkpointing(size=99)),
    "forged timestamp beside a promise": HERE.sign(PAYLOAD, timestamp="forged"),
    "base64 with foreign characters": edited(HERE.sign(PAYLOAD), "dsseEnvelope.payload", lambda text: f"!{text}"),
    "twice the same member": HERE.sign(PAYLOAD).replace(b'{"mediaType"', b'{"mediaType": "x", "mediaType"', 1),
    "another index in Rekor 2": edited(HERE.sign(PAYLOAD, generation=2), f"{ENTRY}.logIndex", "5"),
}


@pytest.mark.parametrize("what", LET_PASS)
def test_what_the_library_alone_lets_pass_is_refused(what: str) -> None:
    config = {
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": json.loads(ROOT),
        "signingConfig": {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"},
    }
    alone = Verifier(trusted_root=ClientTrustConfig.from_json(json.dumps(config)).trusted_root)
    assert alone.verify_dsse(Bundle.from_json(LET_PASS[what]), AnyOf([keyless._Anybody()]))[1] == PAYLOAD
    with pytest.raises((FormatError, VerificationError)):
        OPEN(LET_PASS[what])
