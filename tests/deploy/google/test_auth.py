"""Credentials: found in the order of Google's own libraries, each kind against a token service that checks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pluto_deploy.cloud.door import CloudError, Patience, Waiting
from pluto_deploy.google import auth
from pluto_deploy.google.auth import World
from pluto_measure.errors import FormatError, PlutoError, SourceError, UsageError
from simulators.google.cloud import Cloud, serving
from simulators.google.tokens import IMPERSONATION, REFRESH, SECRET, SUBJECT, account_key


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with serving() as made:
        yield made


class Clock:
    """Time that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def world(folder: Path, environ: dict[str, str] | None = None, clock: Clock | None = None) -> World:
    waiting = Waiting(clock=clock or Clock(), sleep=lambda seconds: None)
    return World(environ or {}, folder, waiting, Patience(connect=5, read=5, total=20, attempts=2))


def granted(folder: Path, cloud: Cloud, value: dict[str, Any]) -> str:
    return auth.bearer(world(folder, cloud.tokens.environ(folder, value)))()


def sources(cloud: Cloud, folder: Path) -> list[dict[str, Any]]:
    """Where a subject token may come from."""
    (folder / "token").write_text(f"{SUBJECT}\n")
    (folder / "token.json").write_text(json.dumps({"id": {"x": 1}, "value": SUBJECT}))
    form = {"type": "json", "subject_token_field_name": "value"}
    return [
        {"file": str(folder / "token")},
        {"file": str(folder / "token.json"), "format": form},
        {"url": f"{cloud.url}/subject", "headers": {"X-Secret": SECRET}, "format": form},
    ]


def test_a_service_account_signs_for_itself(tmp_path: Path, cloud: Cloud) -> None:
    assert granted(tmp_path, cloud, cloud.tokens.service_account()) == "Bearer ya29.token-1"


def test_a_login_of_gcloud(tmp_path: Path, cloud: Cloud) -> None:
    assert granted(tmp_path, cloud, cloud.tokens.authorized_user()) == "Bearer ya29.token-1"


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("impersonated", [False, True])
def test_workload_identity_federation(tmp_path: Path, cloud: Cloud, which: int, *, impersonated: bool) -> None:
    value = cloud.tokens.external(sources(cloud, tmp_path)[which], impersonated=impersonated)
    granted(tmp_path, cloud, value)
    assert cloud.tokens.kinds == ["/v1/token", *(["impersonated"] if impersonated else [])]


@pytest.mark.parametrize("kind", ["service_account", "authorized_user"])
def test_an_account_that_another_may_act_as(tmp_path: Path, cloud: Cloud, kind: str) -> None:
    source = getattr(cloud.tokens, kind)()
    assert granted(tmp_path, cloud, cloud.tokens.impersonated(source)) == "Bearer ya29.token-2"
    assert cloud.tokens.kinds == ["/token", "impersonated"]


def test_the_metadata_server(tmp_path: Path, cloud: Cloud) -> None:
    environ = {"GCE_METADATA_HOST": cloud.url.removeprefix("http://")}
    assert auth.bearer(world(tmp_path, environ))() == "Bearer ya29.token-1"


def test_what_only_answers_like_a_metadata_server_is_not_believed(tmp_path: Path, cloud: Cloud) -> None:
    cloud.tokens.flavour = False
    environ = {"GCE_METADATA_HOST": cloud.url.removeprefix("http://")}
    with pytest.raises(SourceError, match="is not it"):
        auth.bearer(world(tmp_path, environ))()


def test_without_any_credentials_it_is_said_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no credentials") as caught:
        auth.bearer(world(tmp_path, {"GCE_METADATA_HOST": "127.0.0.1:1"}))()
    assert "gcloud auth application-default login" in str(caught.value.hint)


def test_the_order(tmp_path: Path, cloud: Cloud) -> None:
    gcloud = tmp_path / ".config/gcloud"
    gcloud.mkdir(parents=True)
    (gcloud / "application_default_credentials.json").write_text(json.dumps(cloud.tokens.authorized_user()))
    metadata = {"GCE_METADATA_HOST": cloud.url.removeprefix("http://")}
    named = cloud.tokens.environ(tmp_path) | metadata
    assert type(auth.source(world(tmp_path, named))).__name__ == "ServiceAccount"
    assert type(auth.source(world(tmp_path, metadata))).__name__ == "AuthorizedUser"
    assert type(auth.source(world(tmp_path / "elsewhere", metadata))).__name__ == "MetadataServer"
    moved = metadata | {"CLOUDSDK_CONFIG": str(gcloud)}
    assert type(auth.source(world(tmp_path / "elsewhere", moved))).__name__ == "AuthorizedUser"


def test_a_token_is_kept_until_shortly_before_its_end(tmp_path: Path, cloud: Cloud) -> None:
    clock = Clock()
    bearer = auth.bearer(world(tmp_path, cloud.tokens.environ(tmp_path), clock))
    first = bearer()
    clock.now = 3300
    assert bearer() == first
    clock.now = 3400
    assert bearer() != first
    assert bearer(fresh=True) == "Bearer ya29.token-3"
    assert bearer.token() == "ya29.token-3"


def test_a_named_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        auth.bearer(world(tmp_path, {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "none")}))


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"type": "gdch_service_account"}, UsageError, "Distributed Cloud"),
        ({"type": "external_account_authorized_user"}, UsageError, "workforce"),
        ({"type": "x509"}, UsageError, "not known"),
        ({"type": 1}, FormatError, "type must be str"),
        ({"private_key": "-----BEGIN"}, FormatError, "private_key: is no private key"),
        ({"token_uri": "http://example.org/token"}, FormatError, "token_uri: is no URL"),
        ({"client_email": None}, FormatError, "client_email must be str"),
    ],
)
def test_files_that_cannot_be_used(
    tmp_path: Path, cloud: Cloud, change: dict[str, Any], kind: type[PlutoError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        granted(tmp_path, cloud, cloud.tokens.service_account() | change)


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ({"executable": {"command": "/bin/true"}}, UsageError, "a program"),
        ({"environment_id": "aws1"}, UsageError, "AWS"),
        ({"certificate": {}}, UsageError, "a certificate"),
        ({}, FormatError, "a file or a url"),
        ({"file": "a", "url": "https://example.org"}, FormatError, "a file or a url"),
        ({"url": "http://example.org/"}, FormatError, "is no URL"),
        ({"file": "a", "format": {"type": "xml"}}, FormatError, "text or json"),
        ({"url": "https://example.org", "headers": {"a": 1}}, FormatError, "must be texts"),
    ],
)
def test_subject_tokens_that_are_not_read(
    tmp_path: Path, cloud: Cloud, source: dict[str, Any], kind: type[PlutoError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        granted(tmp_path, cloud, cloud.tokens.external(source))


@pytest.mark.parametrize("text", ["", "two words", "x" * 20_000, "caf\xe9"])
def test_subject_tokens_that_are_none(tmp_path: Path, cloud: Cloud, text: str) -> None:
    (tmp_path / "token").write_text(text)
    with pytest.raises(SourceError, match="subject token"):
        granted(tmp_path, cloud, cloud.tokens.external({"file": str(tmp_path / "token")}))


@pytest.mark.parametrize(
    ("url", "lifetime", "words"),
    [
        ("https://iamcredentials.googleapis.com/v1/other", 3600, "generateAccessToken"),
        (f"https://iamcredentials.googleapis.com{IMPERSONATION}", 1, "600 to 43200"),
        (f"https://iamcredentials.googleapis.com{IMPERSONATION}", "3600", "600 to 43200"),
    ],
)
def test_impersonations_that_cannot_be(tmp_path: Path, cloud: Cloud, url: str, lifetime: object, words: str) -> None:
    value = cloud.tokens.external({"file": str(tmp_path / "token")})
    more = {
        "service_account_impersonation_url": url,
        "service_account_impersonation": {"token_lifetime_seconds": lifetime},
    }
    with pytest.raises(FormatError, match=words):
        granted(tmp_path, cloud, value | more)


def test_an_impersonation_of_an_impersonation_is_refused(tmp_path: Path, cloud: Cloud) -> None:
    inner = cloud.tokens.impersonated(cloud.tokens.service_account())
    with pytest.raises(UsageError, match="cannot stand for another"):
        granted(tmp_path, cloud, cloud.tokens.impersonated(inner))


def test_a_login_that_ran_out_says_what_to_do(tmp_path: Path, cloud: Cloud) -> None:
    cloud.tokens.refuse = (400, "invalid_grant")
    with pytest.raises(CloudError, match="invalid_grant") as caught:
        granted(tmp_path, cloud, cloud.tokens.authorized_user())
    assert "application-default login" in str(caught.value.hint)


def test_no_error_has_a_secret_in_it(tmp_path: Path, cloud: Cloud) -> None:
    secrets = [SECRET, REFRESH, SUBJECT, "PRIVATE KEY", "assertion"]
    values = [
        cloud.tokens.service_account(),
        cloud.tokens.authorized_user(),
        *(cloud.tokens.external(one) for one in sources(cloud, tmp_path)),
        cloud.tokens.impersonated(cloud.tokens.authorized_user()),
    ]
    for refusal in ((400, "invalid_grant"), (403, "access_denied"), (500, "server_error")):
        cloud.tokens.refuse = refusal
        for value in values:
            with pytest.raises(PlutoError) as caught:
                granted(tmp_path, cloud, value)
            shown = f"{caught.value} {caught.value.hint} {caught.value.fields()}"
            assert not [secret for secret in secrets if secret in shown], shown


@pytest.mark.parametrize("text", ["{", '{"type": "service_account", "private_key": "PRIVATE KEY"', "PRIVATE KEY"])
def test_a_file_that_is_no_json_is_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(FormatError) as caught:
        auth.of_file(path, world(tmp_path))
    assert "PRIVATE KEY" not in str(caught.value)


def test_a_source_is_shown_without_its_secrets(tmp_path: Path, cloud: Cloud) -> None:
    for value in (cloud.tokens.service_account(), cloud.tokens.authorized_user()):
        shown = repr(auth.of_value(value, "file", world(tmp_path)))
        assert SECRET not in shown
        assert REFRESH not in shown
        assert str(account_key().private_numbers().d) not in shown
