"""`pluto-measure sign`: a signature beside the statement, by keys that only their owner reads; openssl agrees."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pluto_measure.cli import main
from pluto_measure.publish import keyless
from pluto_measure.publish.dsse import Envelope, pae
from pluto_measure.publish.keys import PrivateKey, key_id, pem_of, verifies
from pluto_measure.publish.statement import PAYLOAD_TYPE
from simulators.releases import AT, ED25519, KEYS, P256, TEXT, Called, private_pem, provenance, trust_text, write


class Signer:
    """A release, a key of its owner's alone, and calls of the command."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.capsys = root, capsys
        self.release = write(root / "release")
        self.statement = self.release / "release.json"
        self.signatures = self.release / "signatures"
        self.key = self.secret("key.pem", private_pem(ED25519))

    def secret(self, name: str, data: bytes, mode: int = 0o600) -> Path:
        path = self.root / name
        path.write_bytes(data)
        path.chmod(mode)
        return path

    def call(self, *more: object, statement: Path | None = None) -> tuple[int, Any, str]:
        words = ["sign", str(statement or self.statement), *map(str, more), "--json"]
        code = main(words)
        out, err = self.capsys.readouterr()
        assert "Traceback" not in err
        return code, json.loads(out), err

    def signed(self, *more: object) -> Path:
        code, document, err = self.call(*more)
        assert (code, err) == (0, "")
        return Path(document["signature"])

    def refused(self, code: int, problem: str, *more: object, statement: Path | None = None) -> None:
        before = sorted(self.root.rglob("*"))
        found, document, err = self.call(*more, statement=statement)
        assert (found, problem in err) == (code, True), err
        assert "error" in document
        assert sorted(self.root.rglob("*")) == before, "nothing is written"


@pytest.fixture
def signer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Signer:
    return Signer(tmp_path, capsys)


@pytest.mark.parametrize("kind", KEYS)
def test_each_kind_of_key_signs_the_very_bytes(signer: Signer, kind: str) -> None:
    key = KEYS[kind]
    path = signer.signed("--key", signer.secret("k.pem", private_pem(key)))
    name = key_id(key.public_key())
    assert path == signer.signatures / f"{name[:16]}.dsse.json"
    assert [one.name for one in signer.signatures.iterdir()] == [path.name]
    envelope = Envelope.parse(path.read_bytes())
    assert (envelope.payload, envelope.keyid) == (signer.statement.read_bytes(), name)
    assert verifies(key.public_key(), envelope.signature, pae(PAYLOAD_TYPE, TEXT))
    trust = signer.root / "trust.toml"
    trust.write_text(trust_text(key))
    called = Called(signer.capsys, signer.release, "--trust", trust, "--at", AT)
    assert (called.code, called.document["signers"]["organisations"]) == (0, ["one"])


def test_what_is_printed(signer: Signer) -> None:
    assert main(["sign", str(signer.statement), "--key", str(signer.key)]) == 0
    path = signer.signatures / f"{key_id(ED25519.public_key())[:16]}.dsse.json"
    assert signer.capsys.readouterr() == (f"signed: {path}\n", "")
    code, document, _ = signer.call("--key", signer.key)
    assert (code, document) == (0, {"signature": str(path), "signer": key_id(ED25519.public_key())[:16]})


def test_signing_again_gives_one_file(signer: Signer) -> None:
    """By ed25519 even the same bytes: nothing random and no time is in it."""
    first = signer.signed("--key", signer.key).read_bytes()
    assert signer.signed("--key", signer.key).read_bytes() == first
    assert len(list(signer.signatures.iterdir())) == 1


def test_out_is_where_it_goes(signer: Signer) -> None:
    out = signer.root / "elsewhere.json"
    assert signer.signed("--key", signer.key, "--out", out) == out
    assert not signer.signatures.exists()
    assert stat.S_IMODE(out.stat().st_mode) & 0o400


def test_any_statement_may_be_signed(signer: Signer) -> None:
    path = signer.root / "provenance.json"
    path.write_text(provenance().to_text())
    code, document, _ = signer.call("--key", signer.key, statement=path)
    assert code == 0
    assert Envelope.parse(Path(document["signature"]).read_bytes()).payload == path.read_bytes()


class TestPasswords:
    @pytest.mark.parametrize("kind", KEYS)
    @pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
    def test_an_encrypted_key_and_a_file_with_its_password(self, signer: Signer, kind: str, end: bytes) -> None:
        key = signer.secret("k.pem", private_pem(KEYS[kind], b"open sesame"))
        password = signer.secret("password", b"open sesame" + end)
        envelope = Envelope.parse(signer.signed("--key", key, "--password-file", password).read_bytes())
        assert verifies(KEYS[kind].public_key(), envelope.signature, envelope.message)

    @pytest.mark.parametrize("password", [b"open", b"open sesame ", b" open sesame", b"Open sesame"])
    def test_a_wrong_password(self, signer: Signer, password: bytes) -> None:
        key = signer.secret("k.pem", private_pem(P256, b"open sesame"))
        wrong = signer.secret("password", password)
        signer.refused(2, f"the password does not open {key}", "--key", key, "--password-file", wrong)

    def test_a_password_that_is_missing_or_needless(self, signer: Signer) -> None:
        key = signer.secret("k.pem", private_pem(P256, b"open sesame"))
        signer.refused(2, "is encrypted, and no password was given", "--key", key)
        empty = signer.secret("password", b"\n")
        signer.refused(2, "is encrypted, and no password was given", "--key", key, "--password-file", empty)
        signer.refused(2, "is not encrypted", "--key", signer.key, "--password-file", signer.secret("p", b"x"))
        signer.refused(2, "--password-file goes with --key", "--keyless", "--password-file", empty)

    def test_one_that_others_may_read(self, signer: Signer) -> None:
        key = signer.secret("k.pem", private_pem(P256, b"open sesame"))
        password = signer.secret("password", b"open sesame", 0o644)
        signer.refused(2, f"{password}: others may read it", "--key", key, "--password-file", password)


class TestKeys:
    @pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o660, 0o601, 0o777])
    def test_one_that_others_may_read_is_refused(self, signer: Signer, mode: int) -> None:
        key = signer.secret("open.pem", private_pem(ED25519), mode)
        signer.refused(2, f"{key}: others may read it", "--key", key)
        assert signer.call("--key", key)[1]["error"]["hint"] == f"run 'chmod 600 {key}'"

    @pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
    def test_one_of_its_owners_alone(self, signer: Signer, mode: int) -> None:
        assert signer.signed("--key", signer.secret("k.pem", private_pem(ED25519), mode))

    @pytest.mark.parametrize(
        ("data", "problem"),
        [
            (b"", "is no private key in PEM"),
            (b"not PEM", "is no private key in PEM"),
            (pem_of(ED25519.public_key()).encode(), "is a public key, and signing needs the private one"),
            (private_pem(ED25519)[:-30], "is no private key in PEM"),
            (b"x" * 65_537, "is larger than 65536 bytes"),
            (
                rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
                "is neither ed25519 nor ECDSA on P-256 or secp256k1",
            ),
        ],
        ids=["nothing", "text", "public", "cut", "large", "RSA"],
    )
    def test_what_is_none_of_ours(self, signer: Signer, data: bytes, problem: str) -> None:
        """And it is the key's file that is named, not the statement."""
        key = signer.secret("bad.pem", data)
        signer.refused(3, f"error: {key}: {problem}", "--key", key)

    def test_a_key_a_statement_or_anything_else_is_never_overwritten(self, signer: Signer) -> None:
        for path in (signer.key, signer.statement):
            before = path.read_bytes()
            signer.refused(2, "is there already", "--key", signer.key, "--out", path)
            assert path.read_bytes() == before

    def test_a_link_in_a_received_release_leads_a_signature_nowhere(self, signer: Signer) -> None:
        precious, name = signer.root / "precious", f"{key_id(ED25519.public_key())[:16]}.dsse.json"
        precious.write_text("mine")
        signer.signatures.mkdir(exist_ok=True)
        (signer.signatures / f".{name}.new").symlink_to(precious)
        assert signer.signed("--key", signer.key).is_file()
        (signer.signatures / name).unlink()
        (signer.signatures / name).symlink_to(precious)
        signer.refused(2, "is there already", "--key", signer.key)
        assert precious.read_text() == "mine"

    def test_one_that_is_not_there(self, signer: Signer) -> None:
        signer.refused(2, "cannot be read", "--key", signer.root / "absent.pem")
        signer.refused(2, "cannot be read", "--key", signer.root)

    def test_no_signer_and_two_signers(self, signer: Signer) -> None:
        signer.refused(2, "one of the arguments --key --keyless is required")
        signer.refused(2, "not allowed with argument", "--key", signer.key, "--keyless")


class TestStatements:
    @pytest.mark.parametrize(
        "data",
        [b"", b"{}", b"\xff", TEXT[:-3], TEXT + b"x", TEXT.replace(b'"_type"', b'"_type": 1, "_type"'), b"[" * 100_000],
        ids=range(7),
    )
    def test_what_is_no_statement_is_not_signed(self, signer: Signer, data: bytes) -> None:
        bad = signer.root / "bad.json"
        bad.write_bytes(data)
        signer.refused(3, f"statement {bad}", "--key", signer.key, statement=bad)

    def test_a_key_a_statement_or_anything_else_is_never_overwritten(self, signer: Signer) -> None:
        for path in (signer.key, signer.statement):
            before = path.read_bytes()
            signer.refused(2, "is there already", "--key", signer.key, "--out", path)
            assert path.read_bytes() == before

    def test_one_that_is_not_there(self, signer: Signer) -> None:
        signer.refused(2, "cannot be read", "--key", signer.key, statement=signer.root / "absent.json")

    def test_a_place_that_cannot_be_written(self, signer: Signer) -> None:
        signer.refused(2, "cannot be written", "--key", signer.key, "--out", signer.root / "no/such/folder/x.json")
        signer.refused(2, "cannot be written", "--key", signer.key, "--out", signer.release)


def test_keyless_without_a_job_is_a_mistake_of_the_caller(signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing by a job: `test_keyless.py`. Here, that the command takes what it gives."""
    monkeypatch.setattr(keyless, "sign", lambda payload: b'{"bundle of": %d}' % len(payload))
    path = signer.signed("--keyless")
    assert path.name == f"{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}.sigstore.json"
    assert json.loads(path.read_bytes()) == {"bundle of": len(TEXT)}


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no peer: openssl is absent")
class TestOpenssl:
    """openssl makes keys, reads ours, and makes and verifies signatures over what DSSE says is signed."""

    kinds = ("ed25519", "P-256", "secp256k1")

    def openssl(self, *words: object) -> bytes:
        return subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True).stdout

    def made(self, root: Path, kind: str) -> Path:
        path = root / "openssl.pem"
        curve = ("-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{kind}")
        self.openssl("genpkey", *(("-algorithm", "ed25519") if kind == "ed25519" else curve), "-out", path)
        path.chmod(0o600)
        return path

    def public(self, private: Path) -> Path:
        path = private.with_suffix(".pub")
        self.openssl("pkey", "-in", private, "-pubout", "-out", path)
        return path

    def verifies(self, public: Path, message: Path, signature: Path) -> bool:
        if b"ED25519" in self.openssl("pkey", "-pubin", "-in", public, "-noout", "-text").upper():
            words = ["pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", message, "-sigfile", signature]
        else:
            words = ["dgst", "-sha256", "-verify", public, "-signature", signature, message]
        return subprocess.run(["openssl", *map(str, words)], capture_output=True, check=False).returncode == 0

    @pytest.mark.parametrize("kind", kinds)
    def test_it_verifies_our_signature_by_its_own_key(self, signer: Signer, kind: str) -> None:
        private = self.made(signer.root, kind)
        document = json.loads(signer.signed("--key", private).read_bytes())
        payload = base64.b64decode(document["payload"])
        message, signature = signer.root / "message", signer.root / "signature"
        head = f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} "
        signature.write_bytes(base64.b64decode(document["signatures"][0]["sig"]))
        message.write_bytes(head.encode() + payload)
        public = self.public(private)
        assert self.verifies(public, message, signature)
        message.write_bytes(message.read_bytes()[:-1] + b" ")
        assert not self.verifies(public, message, signature)
        der = self.openssl("pkey", "-pubin", "-in", public, "-outform", "DER")
        assert document["signatures"][0]["keyid"] == hashlib.sha256(der).hexdigest()

    @pytest.mark.parametrize("kind", kinds)
    def test_we_accept_its_signature(self, signer: Signer, kind: str) -> None:
        private = self.made(signer.root, kind)
        public, message = self.public(private), signer.root / "message"
        payload = signer.statement.read_bytes()
        message.write_bytes(f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} ".encode() + payload)
        signature = signer.root / "signature"
        if kind == "ed25519":
            self.openssl("pkeyutl", "-sign", "-inkey", private, "-rawin", "-in", message, "-out", signature)
        else:
            self.openssl("dgst", "-sha256", "-sign", private, "-out", signature, message)
        der = self.openssl("pkey", "-pubin", "-in", public, "-outform", "DER")
        one = {"keyid": hashlib.sha256(der).hexdigest(), "sig": base64.b64encode(signature.read_bytes()).decode()}
        envelope = {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [one],
        }
        signer.signatures.mkdir()
        (signer.signatures / "by-openssl").write_text(json.dumps(envelope))
        trust = signer.root / "trust.toml"
        assert main(["trust", "--key", f"peer={public}"]) == 0
        trust.write_text(signer.capsys.readouterr().out)
        called = Called(signer.capsys, signer.release, "--trust", trust, "--at", AT)
        assert (called.code, called.document["signers"]["organisations"]) == (0, ["peer"])

    @pytest.mark.parametrize("kind", kinds)
    @pytest.mark.parametrize("cipher", ["-aes256", "-aes-128-cbc"])
    def test_a_key_that_it_encrypted(self, signer: Signer, kind: str, cipher: str) -> None:
        private, password = self.made(signer.root, kind), signer.secret("password", b"open sesame\n")
        locked = signer.root / "locked.pem"
        self.openssl(
            "pkcs8", "-topk8", "-in", private, "-v2", cipher[1:], "-passout", f"file:{password}", "-out", locked
        )
        locked.chmod(0o600)
        assert signer.signed("--key", locked, "--password-file", password)
        signer.refused(2, "no password was given", "--key", locked)

    def test_keys_of_the_old_form(self, signer: Signer) -> None:
        private = self.made(signer.root, "P-256")
        old = signer.secret("old.pem", self.openssl("ec", "-in", private))
        assert b"BEGIN EC PRIVATE KEY" in old.read_bytes()
        assert signer.signed("--key", old) == signer.signed("--key", private)

    @pytest.mark.parametrize("kind", KEYS)
    def test_it_reads_our_public_keys(self, tmp_path: Path, kind: str) -> None:
        key: PrivateKey = KEYS[kind]
        path = tmp_path / "key.pub"
        path.write_text(pem_of(key.public_key()))
        assert self.openssl("pkey", "-pubin", "-in", path).decode() == pem_of(key.public_key())
