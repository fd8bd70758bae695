"""Real bundles of the public Sigstore and of its staging, from sigstore-python and sigstore-go: the verdict of each."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID
from sigstore._internal.tuf import DEFAULT_TUF_URL, STAGING_TUF_URL
from sigstore._utils import read_embedded

from pluto_measure.errors import FormatError, VerificationError
from pluto_measure.publish import keyless
from pluto_measure.publish.certificate import Claims, fits, is_bundle
from pluto_measure.publish.sigstore_bundle import Checkpoint
from pluto_measure.publish.sigstore_root import TrustedRoot
from pluto_measure.publish.trust import Identity
from simulators.sigstore import ABSENT, GITHUB, edited

STAGING = read_embedded("trusted_root.json", STAGING_TUF_URL)
PUBLIC = read_embedded("trusted_root.json", DEFAULT_TUF_URL)
GOOD = "sigstore-python/a.dsse.staging-rekor-v2.txt.sigstore.json"
BEACON = (
    "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon"
    "/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"
)
REFUSED = {
    "sigstore-go/bundle-provenance.json": "version=0.1' is not",
    "sigstore-go/bundle-publish.json": "version=0.1' is not",
    "sigstore-go/dsse-2sigs.sigstore.json": "version=0.1' is not",
    "sigstore-go/sigstore.js@2.0.0-provenance.sigstore.json": "version=0.1' is not",
    "sigstore-python/bundle_cve_2022_36056.txt.sigstore": "signs a file",
    "sigstore-python/bundle_invalid_version.txt.sigstore": "'this is completely wrong' is not",
    "sigstore-python/bundle_no_checkpoint.txt.sigstore": "version=0.2' is not",
    "sigstore-python/bundle_no_log_entry.txt.sigstore": "version=0.1' is not",
    "sigstore-python/bundle_v3.txt.sigstore": "signs a file",
    "sigstore-python/bundle_v3_github.whl.sigstore": "version=0.2' is not",
    "sigstore-python/bundle_v3_no_signed_time.txt.sigstore.json": "signs a file",
    "sigstore-python/integration/Python-3.12.5.tgz.sigstore": "version=0.1' is not",
}
# Of those, what is wrong with them in a bundle of our version: the next thing that is refused.
REFUSED_AS_0_3 = {
    "sigstore-go/bundle-provenance.json": "x509CertificateChain, not a single certificate",
    "sigstore-go/bundle-publish.json": "publicKey, not a single certificate",
    "sigstore-go/dsse-2sigs.sigstore.json": "x509CertificateChain, not a single certificate",
    "sigstore-go/sigstore.js@2.0.0-provenance.sigstore.json": "x509CertificateChain, not a single certificate",
}


@pytest.fixture(scope="module")
def bundles(vectors: Path) -> Path:
    return vectors / "quotes/sigstore"


def leaf(bundle: bytes) -> bytes:
    material = json.loads(bundle)["verificationMaterial"]
    first = material.get("certificate") or material["x509CertificateChain"]["certificates"][0]
    return base64.b64decode(first["rawBytes"])


def test_a_real_statement_verifies(bundles: Path) -> None:
    opened = keyless.verify((bundles / GOOD).read_bytes(), root=STAGING)
    assert opened.signed_at == datetime(2026, 5, 13, 19, 23, 33, tzinfo=UTC)
    assert json.loads(opened.payload)["subject"][0]["name"] == "a.txt"
    claims = Claims.parse(opened.certificate)
    assert fits(Identity(GITHUB, BEACON, "632596897", "refs/heads/main"), claims) == ()
    assert fits(Identity(GITHUB, BEACON, "632596897", "refs/tags/main"), claims) != ()


def test_staging_does_not_count_in_public(bundles: Path) -> None:
    with pytest.raises(VerificationError, match=r"^sigstore\.log: "):
        keyless.verify((bundles / GOOD).read_bytes(), root=None)


@pytest.mark.parametrize("change", ["payload", "sig", "certificate", "timestamp", "hash", "body"])
def test_a_real_statement_that_was_tampered_with(bundles: Path, change: str) -> None:
    entry = "verificationMaterial.tlogEntries.0"
    where = {
        "payload": "dsseEnvelope.payload",
        "sig": "dsseEnvelope.signatures.0.sig",
        "certificate": "verificationMaterial.certificate.rawBytes",
        "timestamp": "verificationMaterial.timestampVerificationData.rfc3161Timestamps.0.signedTimestamp",
        "hash": f"{entry}.inclusionProof.hashes.3",
        "body": f"{entry}.canonicalizedBody",
    }[change]

    def flipped(text: str) -> str:
        raw = bytearray(base64.b64decode(text))
        raw[len(raw) // 2] ^= 1
        return base64.b64encode(raw).decode()

    with pytest.raises((VerificationError, FormatError)):
        keyless.verify(edited((bundles / GOOD).read_bytes(), where, flipped), root=STAGING)


@pytest.mark.parametrize("name", REFUSED)
def test_a_real_bundle_of_another_form_is_refused_with_the_reason(bundles: Path, name: str) -> None:
    bundle = (bundles / name).read_bytes()
    assert is_bundle(json.loads(bundle))
    for root in (STAGING, None):
        with pytest.raises(FormatError, match=f"^sigstore bundle.*{REFUSED[name]}"):
            keyless.verify(bundle, root=root)


@pytest.mark.parametrize("name", REFUSED_AS_0_3)
def test_an_old_bundle_does_not_pass_as_a_new_one(bundles: Path, name: str) -> None:
    renamed = edited((bundles / name).read_bytes(), "mediaType", "application/vnd.dev.sigstore.bundle.v0.3+json")
    with pytest.raises(FormatError, match=REFUSED_AS_0_3[name]):
        keyless.verify(renamed, root=None)

    if "publish" in name:  # signed with a key, so there is no certificate to carry over
        return

    def single(material: dict[str, Any]) -> dict[str, Any]:
        left = {key: value for key, value in material.items() if key != "x509CertificateChain"}
        return {**left, "certificate": {"rawBytes": base64.b64encode(leaf(renamed)).decode()}}

    with pytest.raises(FormatError, match=r"kind 'intoto' '0\.0\.2' does not record an envelope"):
        keyless.verify(edited(renamed, "verificationMaterial", single), root=None)


WORKFLOWS = {
    "sigstore-go/bundle-provenance.json": ("sigstore/sigstore-js", "refs/heads/main", "495574555", "push"),
    "sigstore-go/sigstore.js@2.0.0-provenance.sigstore.json": (
        "sigstore/sigstore-js",
        "refs/heads/main",
        "495574555",
        "push",
    ),
    "sigstore-python/bundle_v3_github.whl.sigstore": (
        "trailofbits/rfc8785.py",
        "refs/tags/v0.1.2",
        "768213997",
        "release",
    ),
}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_real_workflow_certificate_says_who_signed(bundles: Path, name: str) -> None:
    repository, ref, number, trigger = WORKFLOWS[name]
    claims = Claims.parse(leaf((bundles / name).read_bytes()))
    assert claims.issuer == GITHUB
    assert claims.san == claims.build_signer_uri == claims.build_config_uri
    assert claims.san == f"https://github.com/{repository}/.github/workflows/release.yml@{ref}"
    assert (claims.source_repository, claims.source_ref) == (f"https://github.com/{repository}", ref)
    assert (claims.repository_id, claims.build_trigger) == (number, trigger)
    assert claims.runner_environment == "github-hosted"
    assert claims.run_uri is not None
    assert claims.run_uri.startswith(f"https://github.com/{repository}/actions/runs/")
    assert not claims.is_foreign_signer
    assert fits(Identity(GITHUB, claims.san, number, ref), claims) == ()
    for wrong in (Identity(GITHUB, claims.san, "1", ref), Identity(GITHUB, claims.san[:-1], number, ref)):
        assert fits(wrong, claims) != ()


def test_a_real_persons_certificate(bundles: Path) -> None:
    claims = Claims.parse(leaf((bundles / "sigstore-python/bundle_v3.txt.sigstore").read_bytes()))
    assert (claims.issuer, claims.san) == ("https://github.com/login/oauth", "william@yossarian.net")
    assert fits(Identity("https://github.com/login/oauth", "william@yossarian.net", "any", "any"), claims) == ()
    assert claims.source_repository is None


@pytest.mark.parametrize(
    "name",
    [
        "sigstore-go/dsse-2sigs.sigstore.json",
        "sigstore-python/bundle_no_checkpoint.txt.sigstore",
        "sigstore-python/bundle_no_log_entry.txt.sigstore",
    ],
)
def test_a_real_certificate_with_the_old_issuer_alone_is_refused(bundles: Path, name: str) -> None:
    with pytest.raises(FormatError, match=r"no issuer \(extension 1\.3\.6\.1\.4\.1\.57264\.1\.8\)"):
        Claims.parse(leaf((bundles / name).read_bytes()))


def test_claims_are_what_a_plain_reading_of_the_certificate_gives(bundles: Path) -> None:
    """Another reader: the text behind tag and length, by number of extension."""
    certificate = x509.load_der_x509_certificate(leaf((bundles / GOOD).read_bytes()))
    plain = {}
    for extension in certificate.extensions:
        number = extension.oid.dotted_string.removeprefix("1.3.6.1.4.1.57264.1.")
        if number.isdigit() and isinstance(extension.value, x509.UnrecognizedExtension):
            plain[int(number)] = extension.value.value.decode("latin-1")
    claims = Claims.parse(leaf((bundles / GOOD).read_bytes()))
    said = {
        8: claims.issuer,
        9: claims.build_signer_uri,
        10: claims.build_signer_digest,
        11: claims.runner_environment,
        12: claims.source_repository,
        13: claims.source_digest,
        14: claims.source_ref,
        15: claims.repository_id,
        17: claims.owner_id,
        18: claims.build_config_uri,
        20: claims.build_trigger,
        21: claims.run_uri,
    }
    for number, text in said.items():
        assert text is not None
        assert plain[number].endswith(text)
        assert len(plain[number]) - len(text) == (2 if len(text) < 0x80 else 3)
    names = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    assert isinstance(names, x509.SubjectAlternativeName)
    assert [name.value for name in names] == [claims.san]


def test_real_checkpoints_are_of_the_logs_of_the_real_roots(bundles: Path) -> None:
    logs = {log.log_id: log for text in (STAGING, PUBLIC) for log in TrustedRoot.parse(text).logs}
    found = []
    for path in sorted(bundles.rglob("*.sigstore*")):
        document = json.loads(path.read_bytes())
        for entry in document["verificationMaterial"]["tlogEntries"]:
            proof = entry.get("inclusionProof") or {}
            if "checkpoint" not in proof:
                continue
            checkpoint = Checkpoint.parse(proof["checkpoint"]["envelope"])
            log_id, rekor = entry["logId"]["keyId"], 2 if entry["kindVersion"]["version"] == "0.0.2" else 1
            rekor = 1 if entry["kindVersion"]["kind"] == "intoto" else rekor
            name = logs[log_id].name
            assert checkpoint.problem(base64.b64decode(log_id), name, rekor) is None
            assert checkpoint.problem(base64.b64decode(log_id), f"{name}.evil", rekor) is not None
            assert (str(checkpoint.size), base64.b64encode(checkpoint.root).decode()) == (
                proof["treeSize"],
                proof["rootHash"],
            )
            found.append((name, len(checkpoint.signers)))
    assert {name for name, _ in found} == {
        "rekor.sigstore.dev",
        "rekor.sigstage.dev",
        "log2025-alpha3.rekor.sigstage.dev",
    }
    assert max(signers for _, signers in found) == 4  # the log and three witnesses


def test_real_roots(bundles: Path) -> None:
    at = datetime(2024, 1, 1, tzinfo=UTC)
    root = TrustedRoot.parse((bundles / "sigstore-python/trusted_root/trustedroot.v1.json").read_bytes())
    document, name = root.at(root.logs[0].log_id, at)
    assert name == "rekor.sigstore.dev"
    assert [len(root.authorities), len(document["certificateAuthorities"])] == [2, 1]  # the first ended in 2022
    assert [len(root.certificate_logs), len(document["ctlogs"])] == [2, 1]
    go = (bundles / "sigstore-go/trusted-root-public-good.json").read_bytes()
    with pytest.raises(FormatError, match="sigstore root"):
        keyless.opener((bundles / "sigstore-python/trusted_root/trustedroot.badtype.json").read_bytes())
    assert TrustedRoot.parse(go).logs[0].log_id == root.logs[0].log_id
    with pytest.raises(FormatError, match="publicKey is missing"):
        TrustedRoot.parse(edited(go, "tlogs.0.publicKey", ABSENT))
