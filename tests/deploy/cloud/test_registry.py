"""An image into a registry: the exact bytes, under the digest that is ours, also at the second attempt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_deploy.cloud.door import Answer, CloudError, Patience, Waiting
from pluto_deploy.cloud.layout import Image
from pluto_deploy.cloud.registry import Registry
from pluto_deploy.cloud.registry_token import explain, parse_challenge
from pluto_measure.errors import FormatError, PlutoError, SourceError, UsageError, VerificationError
from simulators.cloud.layouts import lay
from simulators.cloud.oci_registry import NAME, OciRegistry, registry
from simulators.cloud.told import Kept
from simulators.cloud.wire import Loss, Reply, Request


@pytest.fixture
def there() -> Iterator[OciRegistry]:
    with registry() as made:
        yield made


class Login:
    """The right password; a wrong one until it is asked for a fresh one, if so wanted."""

    def __init__(self) -> None:
        self.wrong_first = False

    def __call__(self, *, fresh: bool = False) -> tuple[str, str]:
        return "pusher", "wrong" if self.wrong_first and not fresh else "pass:word"


class Desk:
    def __init__(self, there: OciRegistry, folder: Path, patience: Patience, waiting: Waiting, kept: Kept) -> None:
        self.there, self.progress, self.login = there, kept, Login()
        self.folder, self.digest = lay(folder)
        self.image = Image.read(self.folder, self.digest)
        self._patience, self._waiting = patience, waiting

    def registry(self, login: Login | None = None, *, realms: tuple[str, ...] = ()) -> Registry:
        given = login or self.login
        url = self.there.wire.url
        return Registry(url, NAME, given, realms=realms, patience=self._patience, waiting=self._waiting)

    def push(self, tag: str | None = None) -> None:
        self.registry().push(self.image, progress=self.progress, tag=tag)

    def is_there(self) -> None:
        assert self.there.manifests[self.digest] == self.image.manifest
        assert self.there.blobs == {blob.digest: blob.path.read_bytes() for blob in self.image.blobs}


@pytest.fixture
def desk(there: OciRegistry, tmp_path: Path, patience: Patience, waiting: Waiting, progress: Kept) -> Desk:
    return Desk(there, tmp_path / "oci", patience, waiting, progress)


@pytest.mark.parametrize("challenge", [None, "basic", "bearer"])
def test_the_exact_bytes_arrive(desk: Desk, challenge: str | None) -> None:
    desk.there.challenge = challenge
    desk.push()
    desk.is_there()
    assert list(desk.there.manifests) == [desk.digest]


@pytest.mark.parametrize("absolute", [False, True])
def test_a_tag_names_the_same(desk: Desk, absolute: bool) -> None:
    desk.there.absolute = absolute
    desk.push(tag="release-1")
    assert desk.there.manifests["release-1"] == desk.there.manifests[desk.digest] == desk.image.manifest


def test_a_second_push_sends_no_blob(desk: Desk) -> None:
    desk.push()
    desk.push()
    assert desk.there.wire.count("PATCH") == 2
    assert any("there already" in step for step in desk.progress.steps)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PATCH", "PUT"])
@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("loss", Loss)
def test_a_lost_connection_costs_nothing(desk: Desk, method: str, number: int, loss: Loss) -> None:
    seen = iter(range(100))
    desk.there.wire.fail(loss, lambda request: request.method == method and next(seen) == number)
    desk.push()
    desk.is_there()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PATCH", "PUT"])
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_registry_is_asked_again(desk: Desk, method: str, status: int) -> None:
    desk.there.wire.fail(Reply(status), lambda request: request.method == method, times=2)
    desk.push()
    desk.is_there()


def test_what_a_killed_push_left_is_not_sent_again(desk: Desk) -> None:
    desk.there.wire.fail(Reply(403), lambda request: "/manifests/" in request.path)
    with pytest.raises(CloudError):
        desk.push()
    patches = desk.there.wire.count("PATCH")
    desk.push()
    desk.is_there()
    assert desk.there.wire.count("PATCH") == patches


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PATCH", "PUT"])
@pytest.mark.parametrize("number", range(3))
def test_a_token_may_run_out_at_any_request(desk: Desk, method: str, number: int) -> None:
    seen = iter(range(100))

    def expired(request: Request) -> bool:
        if request.method == method and "authorization" in request.headers and next(seen) == number:
            desk.there.tokens.clear()
        return False

    desk.there.wire.fail(Loss.BEFORE, expired)
    desk.push()
    desk.is_there()


def test_a_password_that_ran_out_is_replaced(desk: Desk) -> None:
    desk.login.wrong_first = True
    desk.push()
    desk.is_there()


def test_a_wrong_password_is_said_and_not_shown(desk: Desk) -> None:
    desk.there.password = "another"
    with pytest.raises(CloudError, match="UNAUTHORIZED") as caught:
        desk.push()
    assert caught.value.status == 401
    assert "pass:word" not in str(caught.value) + str(caught.value.fields())


def test_holds_says_whether_all_is_there_and_changes_nothing(desk: Desk) -> None:
    ours = desk.registry()
    assert not ours.holds(desk.image)
    desk.push()
    assert ours.holds(desk.image)
    del desk.there.blobs[desk.image.blobs[0].digest]
    asked = len(desk.there.wire.asked)
    assert not ours.holds(desk.image)
    assert {request.method for request in desk.there.wire.asked[asked:]} <= {"GET", "HEAD"}


def test_a_blob_that_the_registry_keeps_elsewhere_is_there(desk: Desk) -> None:
    desk.push()
    desk.there.redirects = True
    assert desk.registry().holds(desk.image)


def test_a_manifest_is_deleted_once(desk: Desk) -> None:
    desk.push()
    ours = desk.registry()
    ours.delete(desk.digest)
    ours.delete(desk.digest)
    assert not ours.holds(desk.image)


class TestRegistryThatIsWrong:
    def test_it_calls_the_image_by_another_digest(self, desk: Desk) -> None:
        desk.there.calls_it = "sha256:" + "0" * 64
        with pytest.raises(VerificationError, match="calls it"):
            desk.push()

    def test_it_gives_other_bytes(self, desk: Desk) -> None:
        desk.there.gives = b"{}"
        with pytest.raises(VerificationError, match="gives sha256:"):
            desk.push()

    def test_it_forgets_the_manifest(self, desk: Desk) -> None:
        desk.there.wire.fail(Reply(404), lambda request: request.method == "GET" and "manifests" in request.path)
        with pytest.raises(SourceError, match="does not have the manifest"):
            desk.push()

    def test_a_blob_has_another_size(self, desk: Desk) -> None:
        desk.push()
        desk.there.wire.fail(Reply(200, {"Content-Length": "5"}), lambda request: request.method == "HEAD")
        with pytest.raises(VerificationError, match="another size"):
            desk.registry().holds(desk.image)

    def test_it_refuses_what_it_got(self, desk: Desk) -> None:
        desk.image.blobs[0].path.write_bytes(b"changed after it was read")
        with pytest.raises(CloudError, match="DIGEST_INVALID"):
            desk.push()

    @pytest.mark.parametrize("method", ["POST", "PATCH"])
    @pytest.mark.parametrize("location", ["https://elsewhere.example/x", "//elsewhere.example/", "", "ftp:/x"])
    def test_it_leads_elsewhere(self, desk: Desk, method: str, location: str) -> None:
        def when(request: Request) -> bool:
            return request.method == method

        desk.there.wire.fail(Reply(202, {"Location": location}), when, times=2)
        with pytest.raises(SourceError, match=r"another server|does not say"):
            desk.push()
        desk.there.wire.faults.clear()

    def test_it_loses_every_upload(self, desk: Desk) -> None:
        desk.there.wire.fail(Reply(404), lambda request: request.method == "PATCH", times=100)
        with pytest.raises(CloudError, match="404"):
            desk.push()
        desk.there.wire.faults.clear()

    @pytest.mark.parametrize(
        "answer", [b"", b"[]", b"{}", b'{"token": 5}', b'{"token": "a\\r\\nb: c"}', b'{"token": ""}']
    )
    def test_it_gives_no_token(self, desk: Desk, answer: bytes) -> None:
        desk.there.token_answer = answer
        with pytest.raises(SourceError, match="no token"):
            desk.push()

    @pytest.mark.parametrize("realm", ["https://elsewhere.example/token", "", "http://127.0.0.1:1/token?service=x"])
    def test_the_password_goes_to_nobody_else(self, desk: Desk, realm: str) -> None:
        desk.there.challenge = realm
        with pytest.raises(SourceError, match="not allowed to see a password"):
            desk.push()

    def test_a_realm_that_was_named_is_asked(self, desk: Desk) -> None:
        desk.there.challenge = f"http://localhost:{desk.there.wire.url.rpartition(':')[2]}/token"
        with pytest.raises(SourceError):
            desk.push()
        desk.registry(realms=("localhost",)).push(desk.image, progress=desk.progress)
        desk.is_there()

    def test_a_realm_without_tls_is_asked_for_nothing(self, desk: Desk) -> None:
        desk.there.challenge = "http://elsewhere.example/token"
        with pytest.raises(UsageError):
            desk.registry(realms=("elsewhere.example",)).push(desk.image, progress=desk.progress)

    @pytest.mark.parametrize("how", ["Negotiate", "", "Bearer", "Digest realm=x"])
    def test_a_login_of_another_kind(self, desk: Desk, how: str) -> None:
        headers = {"WWW-Authenticate": how} if how else {}
        desk.there.wire.fail(Reply(401, headers), lambda request: request.path == "/v2/")
        with pytest.raises(SourceError):
            desk.push()

    def test_a_login_that_nobody_has(self, desk: Desk, patience: Patience, waiting: Waiting) -> None:
        desk.there.challenge = "basic"
        ours = Registry(desk.there.wire.url, NAME, None, patience=patience, waiting=waiting)
        with pytest.raises(UsageError, match="asks for a login"):
            ours.holds(desk.image)
        desk.there.challenge = "bearer"
        ours = Registry(desk.there.wire.url, NAME, None, patience=patience, waiting=waiting)
        with pytest.raises(CloudError, match="asking for a token"):
            ours.holds(desk.image)


@pytest.mark.parametrize("name", ["", "A", "a//b", "a/", "/a", "a?b", "../a", "a" * 256, "a\n"])
def test_names_that_no_registry_takes(name: str) -> None:
    with pytest.raises(UsageError):
        Registry("https://registry.example", name, None)


@pytest.mark.parametrize("tag", ["", "-a", "a/b", "a?b", "x" * 129])
def test_tags_that_no_registry_takes(desk: Desk, tag: str) -> None:
    with pytest.raises(UsageError):
        desk.push(tag=tag)


def test_a_registry_is_reached_over_tls() -> None:
    with pytest.raises(UsageError):
        Registry("http://registry.example", "a", None)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('Bearer realm="a",service="b, c=\\"d\\""', ("bearer", {"realm": "a", "service": 'b, c="d"'})),
        ('Basic realm="x", Bearer realm="a"', ("bearer", {"realm": "a"})),
        ('BASIC  realm="x"', ("basic", {"realm": "x"})),
        ('Bearer realm="a" , realm="b"', ("bearer", {"realm": "a"})),
        ("Negotiate", None),
        ("", None),
        ("Bearer", None),
        ('Bearerish realm="a"', None),
    ],
)  # fmt: skip
def test_challenges(text: str, found: object) -> None:
    assert parse_challenge(text) == found


@given(st.text(max_size=80) | st.text('BearerBasic realm="\\\\,', max_size=80))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_challenge_or_none(text: str) -> None:
    found = parse_challenge(text)
    assert found is None or found[0] in ("bearer", "basic")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"errors": []}', b'{"errors": [5]}', b'{"errors": [{"code": 5}]}']
)
def test_a_refusal_without_words(body: bytes) -> None:
    assert explain(Answer(500, {}, body)) == ("", "")


class TestLayout:
    def test_it_is_read_whole(self, desk: Desk) -> None:
        assert [blob.size for blob in desk.image.blobs] == [blob.path.stat().st_size for blob in desk.image.blobs]
        assert len(desk.image.blobs) == 2

    def test_another_image_is_refused(self, desk: Desk) -> None:
        with pytest.raises(VerificationError, match="holds the image"):
            Image.read(desk.folder, "sha256:" + "0" * 64)

    @pytest.mark.parametrize("number", [0, 1, 2])
    @pytest.mark.parametrize(
        "change", [lambda data: data + b"\n", lambda data: b"x" + data[1:], lambda data: data[:-1]]
    )
    def test_a_blob_that_changed_is_refused(self, desk: Desk, number: int, change: object) -> None:
        path = sorted((desk.folder / "blobs/sha256").iterdir())[number]
        path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
        with pytest.raises(VerificationError):
            Image.read(desk.folder, desk.digest)

    def test_what_is_not_there(self, desk: Desk, tmp_path: Path) -> None:
        with pytest.raises(SourceError):
            Image.read(tmp_path / "nothing", desk.digest)
        desk.image.blobs[1].path.unlink()
        with pytest.raises(SourceError):
            Image.read(desk.folder, desk.digest)

    @pytest.mark.parametrize(
        "index",
        [
            "", "[]", "{}", '{"schemaVersion": 2}', '{"schemaVersion": 2, "manifests": []}',
            '{"schemaVersion": 2, "manifests": [{}, {}]}', '{"schemaVersion": 2, "manifests": [5]}',
            '{"schemaVersion": 1, "manifests": [{}]}',
        ],
    )  # fmt: skip
    def test_an_index_that_is_none(self, desk: Desk, index: str) -> None:
        (desk.folder / "index.json").write_text(index)
        with pytest.raises(PlutoError) as caught:
            Image.read(desk.folder, desk.digest)
        assert caught.value.exit_code == 3

    @pytest.mark.parametrize(
        ("member", "value"),
        [
            ("mediaType", "application/json"), ("mediaType", None), ("digest", "sha256:../../x"), ("digest", 5),
            ("size", "5"), ("size", True), ("size", -1), ("size", 0),
        ],
    )  # fmt: skip
    def test_a_descriptor_that_cannot_be(self, desk: Desk, member: str, value: object) -> None:
        index = json.loads((desk.folder / "index.json").read_bytes())
        index["manifests"][0][member] = value
        (desk.folder / "index.json").write_text(json.dumps(index))
        with pytest.raises(PlutoError) as caught:
            Image.read(desk.folder, desk.digest)
        assert caught.value.exit_code == 3

    @pytest.mark.parametrize("member", ["layers", "mediaType"])
    def test_a_manifest_that_is_none(self, desk: Desk, member: str) -> None:
        document = {**json.loads(desk.image.manifest), member: []}
        data = json.dumps(document).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        (desk.folder / "blobs/sha256" / digest[7:]).write_bytes(data)
        index = json.loads((desk.folder / "index.json").read_bytes())
        index["manifests"][0] |= {"digest": digest, "size": len(data)}
        (desk.folder / "index.json").write_text(json.dumps(index))
        with pytest.raises(FormatError, match="have layers"):
            Image.read(desk.folder, digest)

    def test_an_index_that_is_too_large(self, desk: Desk) -> None:
        (desk.folder / "index.json").write_text(" " * (2 << 20))
        with pytest.raises(PlutoError, match="more than"):
            Image.read(desk.folder, desk.digest)
