"""Who we are to Azure: every way to log in, tokens that are kept and renewed, and no secret in any error."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from pluto_deploy.azure import auth
from pluto_deploy.azure.wanted import Login
from pluto_deploy.cloud.door import Answer, CloudError, Waiting
from pluto_measure.errors import SourceError, UsageError
from simulators.azure_cloud.desk import PLATFORM
from simulators.azure_cloud.login import CLIENT, SECRET, TENANT
from simulators.azure_cloud.server import Azure

KEY = rsa.generate_private_key(65537, 2048)


def certificate(key: Any = KEY) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "deployer")])
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(begin).not_valid_after(begin + timedelta(days=3650))
    return made.sign(key, hashes.SHA256())


def pem(*parts: Any) -> bytes:
    text = b""
    for part in parts:
        if isinstance(part, x509.Certificate):
            text += part.public_bytes(serialization.Encoding.PEM)
        else:
            form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            text += part.private_bytes(serialization.Encoding.PEM, form, none)
    return text


def bearer(azure: Azure, login: Login, environment: dict[str, str] | None = None) -> auth.Bearer:
    waiting = Waiting(wall=lambda: azure.cloud.now, sleep=lambda _: None)
    platform = replace(PLATFORM, login=login)
    return auth.of(platform, environment or {}, login=azure.base, imds=azure.base, waiting=waiting)


def test_a_secret_of_the_environment(azure: Azure) -> None:
    token = bearer(azure, Login("secret", CLIENT, None), {"AZURE_CLIENT_SECRET": SECRET})
    assert token() == f"Bearer {azure.logins.issued[0]}"
    assert SECRET not in repr(token)


def test_a_secret_in_a_file(azure: Azure, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    assert bearer(azure, Login("secret", CLIENT, tmp_path / "secret"))().startswith("Bearer ")


@pytest.mark.parametrize("algorithm", auth.ALGORITHMS)
def test_a_certificate(azure: Azure, tmp_path: Path, algorithm: str) -> None:
    azure.logins.certificates = [certificate()]
    file = tmp_path / "key.pem"
    file.write_bytes(pem(KEY, certificate()))
    token = bearer(azure, Login("certificate", CLIENT, file))
    assert token() != token(fresh=True), "an assertion is good for once, and each is another one"
    url = f"{azure.base}/{TENANT}/oauth2/v2.0/token"
    form = auth.by_certificate(CLIENT, file, url, lambda: azure.cloud.now, algorithm=algorithm)
    assert auth.Bearer(auth._Login(url, form, None, None).fetch)().startswith("Bearer ")


def test_an_assertion_says_what_it_has_to() -> None:
    text = auth.signed(CLIENT, "https://x/token", KEY, certificate(), 1000.0, "RS256")
    head, claims = (json.loads(base64.urlsafe_b64decode(f"{part}===")) for part in text.split(".")[:2])
    assert head["alg"] == "RS256"
    assert base64.urlsafe_b64decode(head["x5t#S256"] + "=") == certificate().fingerprint(hashes.SHA256())
    assert (claims["iss"], claims["sub"], claims["aud"]) == (CLIENT, CLIENT, "https://x/token")
    assert claims["exp"] - claims["iat"] == 300
    with pytest.raises(UsageError, match="ES256"):
        auth.signed(CLIENT, "x", KEY, certificate(), 1.0, "ES256")


def test_a_token_of_somebody_who_vouches(azure: Azure, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first.of.them")
    azure.logins.federated = {"first.of.them", "second.of.them"}
    token = bearer(azure, Login("workload-identity", CLIENT, None), {"AZURE_FEDERATED_TOKEN_FILE": str(file)})
    token()
    file.write_text("second.of.them\n")
    azure.logins.federated = {"second.of.them"}
    token(fresh=True)
    file.write_text("third.of.them")
    with pytest.raises(CloudError) as refused:
        token(fresh=True)
    assert "third" not in str(refused.value)


@pytest.mark.parametrize("client", [None, CLIENT])
def test_a_machine_of_its_own(azure: Azure, client: str | None) -> None:
    assert bearer(azure, Login("managed-identity", client, None))().startswith("Bearer ")
    azure.logins.identities = set()
    with pytest.raises(CloudError, match="no such identity"):
        bearer(azure, Login("managed-identity", client, None))()


def test_a_token_is_kept_until_shortly_before_its_end(azure: Azure) -> None:
    token = bearer(azure, Login("secret", CLIENT, None), {"AZURE_CLIENT_SECRET": SECRET})
    first = token()
    azure.cloud.now += 3200
    assert token() == first
    azure.cloud.now += 200
    assert token() != first
    azure.logins.life = 60  # shorter than what is kept in hand
    second = token(fresh=True)
    azure.cloud.now += 20
    assert token() == second
    azure.cloud.now += 20
    assert token() != second


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"client": CLIENT.replace("3", "4")}, "AADSTS700016"),
        ({"secret": "~wrong~"}, "the secret is wrong"),
    ],
)
def test_a_refusal_has_its_number_and_no_secret(azure: Azure, change: dict[str, str], words: str) -> None:
    secret = change.get("secret", SECRET)
    token = bearer(azure, Login("secret", change.get("client", CLIENT), None), {"AZURE_CLIENT_SECRET": secret})
    with pytest.raises(CloudError) as refused:
        token()
    assert words in str(refused.value)
    assert secret not in f"{refused.value} {refused.value.fields()}"


def test_a_tenant_that_is_not_there(azure: Azure) -> None:
    platform = replace(PLATFORM, tenant="99999999-9999-9999-9999-999999999999")
    token = auth.of(platform, {"AZURE_CLIENT_SECRET": SECRET}, login=azure.base)
    with pytest.raises(CloudError, match="no such tenant"):
        token()


def test_what_is_lacking_is_said_at_once(tmp_path: Path) -> None:
    for how, name in (("secret", "AZURE_CLIENT_SECRET"), ("workload-identity", "AZURE_FEDERATED_TOKEN_FILE")):
        with pytest.raises(UsageError, match=name):
            auth.of(replace(PLATFORM, login=Login(how, CLIENT, None)), {})
    for content, words in ((b"", "is empty"), (b"\xff", "not ASCII"), (b"x" * 70000, "more than")):
        (tmp_path / "key").write_bytes(content)
        with pytest.raises(UsageError, match=words):
            auth.of(replace(PLATFORM, login=Login("secret", CLIENT, tmp_path / "key")), {})()
    with pytest.raises(UsageError, match="cannot be read"):
        auth.of(replace(PLATFORM, login=Login("secret", CLIENT, tmp_path / "absent")), {})()


@pytest.mark.parametrize(
    "content",
    [
        b"nothing",
        pem(KEY),
        pem(certificate()),
        pem(rsa.generate_private_key(65537, 2048), certificate()),
        pem(ec.generate_private_key(ec.SECP256R1()), certificate()),
    ],
    ids=["no PEM", "no certificate", "no key", "another's certificate", "no RSA"],
)
def test_a_key_file_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(UsageError, match="key"):
        auth.of(replace(PLATFORM, login=Login("certificate", CLIENT, tmp_path / "key.pem")), {})()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>", "no JSON object"),
        (b"[]", "no JSON object"),
        (b"{}", "no access_token"),
        (b'{"access_token": "a\\nb", "token_type": "Bearer", "expires_in": 1}', "no access_token"),
        (b'{"access_token": "a", "token_type": "mac", "expires_in": 1}', "not Bearer"),
        (b'{"access_token": "a", "token_type": "Bearer"}', "expires_in"),
        (b'{"access_token": "a", "token_type": "Bearer", "expires_in": true}', "expires_in"),
        (b'{"access_token": "a", "token_type": "Bearer", "expires_in": -1}', "expires_in"),
        (b'{"access_token": "a", "token_type": "Bearer", "expires_in": 1e99}', "expires_in"),
    ],
)
def test_an_answer_that_is_no_token(body: bytes, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        auth._token(Answer(200, {}, body), "Azure login")


def test_errors_of_any_form() -> None:
    for body in (b"", b"[]", b'{"error": 5, "error_description": 6}'):
        code, words = auth._explain(Answer(400, {}, body))
        assert isinstance(code, str)
        assert words
