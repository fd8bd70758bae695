"""pluto-measure verify with evidence of clouds' machines: what they need beside a policy, and where it is of no use."""

from __future__ import annotations

import hashlib
import html
import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pluto_measure.appraise.page import page
from pluto_measure.policy import strict
from simulators import azure_evidence, endorsements, tpm_quotes, trust_domains
from simulators import confidential_space as space
from simulators.azure_evidence import AzureMachine
from simulators.policies import TEXT, changed
from simulators.trust_domains import TrustDomain, collateral_of
from simulators.verifier_files import AT, Called, Files

NONCE, OUTER_KEY = azure_evidence.NONCE, azure_evidence.OUTER_KEY
ASKED = ["--nonce", NONCE.hex(), "--key-digest", OUTER_KEY.hex(), "--at", AT]


def roots(text: str, *values: bytes) -> str:
    """A policy that trusts these, each in the place of one `insecure_roots`, in the order of the text."""
    for value in values:
        text = text.replace("insecure_roots = []", f'insecure_roots = ["{value.hex()}"]', 1)
    return text


class Clouds(Files):
    """Evidence of each kind, with the policy and the reference that accept it."""

    def azure(self, *more: object, machine: AzureMachine | None = None) -> list[object]:
        machine = machine or AzureMachine()
        text = roots(strict.text(["azure-tdx"], unsigned=True), trust_domains.ROOT)
        text = text.replace("akTrust = []", f'akTrust = ["{azure_evidence.AK_ROOT.hex()}"]')
        words = self._of("azure", machine.envelope().to_text(), text, azure_evidence.REFERENCE.to_text())
        return [*words, "--collateral", self.write("azure.json", json.dumps(machine.world.collateral)), *more]

    def token(self, *more: object, made: space.Space | None = None, forms: str = '["pki"]') -> list[object]:
        text = roots(strict.text(["gcp-confidential-space"], unsigned=True), space.root_hash())
        evidence = (made or space.Space()).envelope().to_text()
        return [*self._of("token", evidence, changed(text, forms=forms), space.REFERENCE.to_text()), *more]

    def google(self, *more: object) -> list[object]:
        domain = TrustDomain(kind="gcp-tdx")
        text = roots(strict.text(["gcp-tdx"], unsigned=True), trust_domains.ROOT, endorsements.ROOT)
        reference = trust_domains.REFERENCES["gcp-tdx"].to_text()
        words = self._of("google", domain.envelope().to_text(), text, reference)
        return [*words, "--collateral", self.collateral, *more]

    def tpm(self, *more: object) -> list[object]:
        envelope = tpm_quotes.Machine().evidence(NONCE).to_text()
        return [*self._of("tpm", envelope, TEXT, tpm_quotes.reference_of().to_text()), *more]

    def issuers(self) -> list[Path]:
        """As PEM in one file."""
        found = [x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in azure_evidence.ISSUERS]
        return [self.write("issuers.pem", b"Microsoft's\n" + b"".join(found))]

    def endorsement(self) -> Path:
        mrtd = TrustDomain(kind="gcp-tdx").registers()["mrtd"]
        return self.write("endorsement", endorsements.launch_endorsement(mrtds=((0, False, mrtd),)))

    def keys(self) -> Path:
        return self.write("keys.json", space.keys().to_text())

    def _of(self, name: str, evidence: str, policy: str, reference: str) -> list[object]:
        words: list[object] = [self.write(f"{name}.evidence", evidence), *ASKED]
        words += ["--policy", self.write(f"{name}.toml", policy)]
        return [*words, "--reference", self.write(f"{name}.measurements", reference)]


@pytest.fixture
def files(tmp_path: Path) -> Clouds:
    return Clouds(tmp_path)


def options(name: str, paths: list[Path]) -> list[object]:
    return [word for path in paths for word in (name, path)]


def test_a_machine_of_azures_is_accepted_by_its_certificates(files: Clouds, capsys: pytest.CaptureFixture[str]) -> None:
    called = Called(capsys, *files.azure(*options("--ak-issuers", files.issuers())))
    assert (called.code, called.refused, called.err) == (0, set(), "")
    told = called.document["explanation"]["azure"]
    assert (told["akRoot"], told["reproducible"]) == (azure_evidence.AK_ROOT.hex(), False)
    assert f"Azure's paravisor {azure_evidence.PARAVISOR.hex()}\n" in called.out
    assert f", its TPM's key {told['akDigest']}\n" in called.out
    assert called.document["registers"].keys() == {"sha256"}
    separate = [files.write(f"{place}.der", der) for place, der in enumerate(azure_evidence.ISSUERS)]
    assert Called(capsys, *files.azure(*options("--ak-issuers", separate))).code == 0


def test_without_issuers_nobody_vouches_for_the_tpm(files: Clouds, capsys: pytest.CaptureFixture[str]) -> None:
    called = Called(capsys, *files.azure())
    assert (called.code, called.refused) == (5, {"policy.ak_trust"})
    assert "--ak-issuers" in called.findings["policy.ak_trust"]["text"]


def test_a_forged_machine_of_azures_is_not_authentic(files: Clouds, capsys: pytest.CaptureFixture[str]) -> None:
    called = Called(capsys, *files.azure(machine=AzureMachine(user_data=bytes(64))))
    assert (called.code, called.document["registers"], called.document["explanation"]) == (4, {}, {})


@pytest.mark.parametrize("content", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAA==\n"])
def test_issuers_that_are_none_are_malformed(content: bytes, files: Clouds, capsys: pytest.CaptureFixture[str]) -> None:
    path = files.write("issuers", content)
    called = Called(capsys, *files.azure("--ak-issuers", path))
    assert called.code == 3
    assert str(path) in called.err


def test_a_token_with_its_chain_needs_nothing_else(files: Clouds, capsys: pytest.CaptureFixture[str]) -> None:
    called = Called(capsys, *files.token())
    assert (called.code, called.refused, called.err) == (0, set(), "")
    told = called.document["explanation"]["token"]
    assert (told["vouchedBy"], told["tdQuote"], told["form"]) == ("insecure root", None, "pki")
    assert called.out.startswith("token: GCP_INTEL_TDX, TCB UpToDate, image 260800, notary-1/us-central1-a/pluto-a\n")
    assert "this is the word of who holds an insecure root: there is no TDX quote in it\n" in called.out
    assert called.document["registers"] == {}
    assert called.findings["policy.evidence_age"]["text"].startswith("Google dates")


def test_a_token_without_a_chain_needs_googles_keys(files: Clouds, capsys: pytest.CaptureFixture[str]) -> None:
    oidc = space.Space(form="oidc")
    without = Called(capsys, *files.token(made=oidc, forms='["oidc"]'))
    assert (without.code, without.refused) == (5, {"token.keys_given"})
    called = Called(capsys, *files.token("--google-keys", files.keys(), made=oidc, forms='["oidc"]'))
    assert (called.code, called.refused) == (0, set())
    strictly = Called(capsys, *files.token("--google-keys", files.keys(), made=oidc))
    assert (strictly.code, strictly.refused) == (5, {"policy.token_form"})
    path = files.write("keys.json", "{}")
    broken = Called(capsys, *files.token("--google-keys", path, made=oidc))
    assert broken.code == 3
    assert f"key set {path}: version is missing" in broken.err


def test_a_machine_of_googles_needs_an_endorsement(files: Clouds, capsys: pytest.CaptureFixture[str]) -> None:
    called = Called(capsys, *files.google("--endorsement", files.endorsement()))
    assert (called.code, called.refused) == (0, set())
    assert Called(capsys, *files.google()).refused == {"endorsement.given"}


def test_what_other_evidence_needs_is_said_to_be_of_no_use(files: Clouds, capsys: pytest.CaptureFixture[str]) -> None:
    """It is not even read."""
    given = ["--endorsement", "e", "--ak-issuers", "a", "--google-keys", "k"]
    azure = Called(capsys, *files.azure(*options("--ak-issuers", files.issuers()), *given[:2], *given[4:]))
    assert azure.code == 0
    for name, what in (("endorsement", "TDX quotes of Google's machines"), ("google-keys", "tokens")):
        assert f"--{name} is for {what}" in azure.err
    assert azure.err.count("and was not used: this evidence is an Azure machine's") == 2
    token = Called(capsys, *files.token(*given[:4], "--google-keys", files.keys(), "--collateral", "c"))
    assert token.code == 0
    assert "--collateral is for TDX quotes and was not used: this evidence is a token of Confidential S" in token.err
    assert "--ak-issuers is for Azure's machines and was not used: this evidence is a token" in token.err
    assert "--google-keys" not in token.err
    tpm = Called(capsys, *files.tpm(*given))
    assert tpm.err.count("and was not used: this evidence is a TPM's") == 3
    google = Called(capsys, *files.google("--endorsement", files.endorsement(), *given[2:]))
    assert google.code == 0
    assert google.err.count("and was not used: this evidence is a TDX quote") == 2


@pytest.mark.parametrize("kind", ["azure", "token", "google"])
def test_the_page_says_in_whose_word_one_trusts(kind: str, files: Clouds, capsys: pytest.CaptureFixture[str]) -> None:
    more = {"azure": options("--ak-issuers", files.issuers()), "google": ["--endorsement", files.endorsement()]}
    page = files.folder / "page.html"
    words = getattr(files, kind)(*more.get(kind, []), "--html", page)
    called = Called(capsys, *words)
    assert called.code == 0
    shown = page.read_text()
    assert '<h1><span aria-hidden="true">✓</span> Accepted</h1>' in shown
    assert ("What Google says</h2>" in shown) == (kind == "token")
    assert ("Azure&#x27;s paravisor</h2>" in shown) == (kind == "azure")
    for option in more.get(kind, [])[::2]:
        assert f" {option} " in shown.partition("The command")[2]


HOSTILE = "\"'><script>alert(1)</script>"


@pytest.mark.parametrize("kind", ["token", "azure"])
def test_what_a_cloud_says_stays_text_on_the_page(kind: str) -> None:
    """Whatever stands in the two members, of whatever type, makes a page without a word of HTML of its own."""
    run = space.appraised() if kind == "token" else azure_evidence.appraised()
    honest = run.to_json()
    said = json.loads(json.dumps(honest["explanation"]))[kind]
    odd = dict.fromkeys(said, HOSTILE)
    lists = {name: [HOSTILE, {"a": HOSTILE}] for name in said}
    nested = {**odd, "instance": dict.fromkeys(("projectId", "zone"), HOSTILE), "vmConfiguration": {"vmId": HOSTILE}}
    for changed_to in (odd, lists, nested, HOSTILE, None, [HOSTILE]):
        shown = page({**honest, "explanation": {kind: changed_to}}, command="", evidence_name="", at=AT)
        assert "<script" not in shown
    only = page({**honest, "explanation": {kind: nested}}, command="", evidence_name="", at=AT)
    assert only.count("&lt;script&gt;") >= 4


@pytest.mark.parametrize(("kind", "beside"), [("confidential-space", "Google's keys"), ("azure", "collateral")])
def test_the_page_says_what_is_missing_for_a_verdict(kind: str, beside: str) -> None:
    oidc = space.appraised(space.Space(form="oidc"))
    run = oidc if kind == "confidential-space" else azure_evidence.appraised(collateral=None)
    assert (run.exit_code, run.evidence_type) == (5, kind)
    shown = page(run.to_json(), command="", evidence_name="", at=AT)
    assert html.escape(f"Without {beside} nobody can say") in shown or f"Without {beside} nobody can say" in shown


def test_collateral_of_a_machine_of_azures_is_remembered_by_its_state(
    files: Clouds, capsys: pytest.CaptureFixture[str]
) -> None:
    called = Called(capsys, *files.azure(*options("--ak-issuers", files.issuers()), "--state", files.folder / "state"))
    assert called.code == 0
    assert called.findings["collateral.rollback"]["verdict"] == "pass"
    assert "not Intel's, so it is not remembered" in called.err


def test_these_worlds_are_the_ones_that_are_meant() -> None:
    assert hashlib.sha256(azure_evidence.chain()[2]).digest() == azure_evidence.AK_ROOT
    assert collateral_of(AzureMachine().world) == collateral_of(TrustDomain().world)
