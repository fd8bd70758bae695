"""One call to a cloud: what is asked again and what is not, when it ends, and what never leaves it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pluto_deploy.cloud.door import Answer, CloudError, Door, Patience, Waiting
from pluto_measure.errors import SourceError
from simulators.cloud import bad_servers
from simulators.cloud.wire import Loss, Reply, Request, Wire, serving

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SECRET = "top-secret"


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A service that says yes."""
    with serving(lambda _: lambda request: Reply(200, {"X-Length": str(len(request.body))}, b"yes")) as made:
        yield made


class Clock:
    """Time that passes in pauses alone."""

    def __init__(self) -> None:
        self.seconds, self.pauses = 100.0, list[float]()

    def waiting(self, chance: float = 0.5) -> Waiting:
        return Waiting(lambda: self.seconds, lambda: NOW.timestamp(), self.sleep, lambda: chance)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.seconds += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def explain(answer: Answer) -> tuple[str, str]:
    code, _, words = answer.body.decode().partition(" ")
    return code, words


PATIENCE = Patience(connect=1, read=1, total=100, attempts=4, pause=1, longest_pause=3)


@pytest.fixture
def door(clock: Clock) -> Iterator[Door]:
    made = Door("Cloud", explain, patience=PATIENCE, waiting=clock.waiting())
    yield made
    made.close()


class Tokens:
    def __init__(self) -> None:
        self.asked: list[bool] = []

    def __call__(self, *, fresh: bool = False) -> str:
        self.asked.append(fresh)
        return f"Bearer {SECRET}-{len(self.asked)}"


def given(request: Request) -> str | None:
    return request.headers.get("authorization")


def test_an_answer_has_all_that_was_sent(wire: Wire, door: Door) -> None:
    answer = door.ask(
        "POST", f"{wire.url}/a?x=1", "doing", query={"y": "ä&"}, headers={"X-A": "b"}, body=b"data", expect=(200,)
    )
    assert (answer.status, answer.body, answer.headers["x-length"]) == (200, b"yes", "4")
    (request,) = wire.asked
    assert request.query == (("x", "1"), ("y", "ä&"))
    assert request.headers["x-a"] == "b"
    assert request.headers["accept-encoding"] == "identity"
    assert given(request) is None


def test_a_signed_url_stays_as_it_is(wire: Wire, door: Door) -> None:
    door.ask(
        "GET", f"{wire.url}/d?sr=b&sig=a%2Fb%2Bc%3D%3D&se=2026-11-01T12%3A00%3A00Z", "doing", query={"comp": "page"}
    )
    assert wire.asked[0].target == "/d?sr=b&sig=a%2Fb%2Bc%3D%3D&se=2026-11-01T12%3A00%3A00Z&comp=page"


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_what_may_be_asked_twice_is(wire: Wire, door: Door, clock: Clock, status: int, method: str) -> None:
    wire.fail(Reply(status), times=3)
    assert door.ask(method, wire.url, "doing").status == 200
    assert clock.pauses == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_request_that_may_have_had_an_effect_is_not_repeated(wire: Wire, door: Door, status: int) -> None:
    wire.fail(Reply(status, body=b"broken it is"))
    with pytest.raises(CloudError, match=rf"Cloud: doing: it is \({status} broken\)") as caught:
        door.ask("POST", wire.url, "doing")
    assert (caught.value.status, caught.value.code, caught.value.sent) == (status, "broken", True)
    assert len(wire.asked) == 1


@pytest.mark.parametrize("reply", [Reply(429), Reply(503, {"Retry-After": "0"})])
def test_a_request_that_was_refused_for_now_is(wire: Wire, door: Door, reply: Reply) -> None:
    wire.fail(reply, times=2)
    door.ask("POST", wire.url, "doing")
    assert len(wire.asked) == 3


@pytest.mark.parametrize("loss", Loss)
def test_a_lost_connection(wire: Wire, door: Door, loss: Loss) -> None:
    wire.fail(loss)
    door.ask("GET", wire.url, "doing")
    wire.fail(loss)
    with pytest.raises(CloudError, match=r"the connection to 127.0.0.1 failed") as caught:
        door.ask("POST", wire.url, "doing", body=b"data")
    assert (caught.value.status, caught.value.sent) == (0, True)
    assert len(wire.asked) == 3
    wire.fail(loss)
    door.ask("POST", wire.url, "doing", body=b"data", repeatable=True)
    wire.fail(loss)
    with pytest.raises(CloudError):
        door.ask("PUT", wire.url, "doing", body=b"data", repeatable=False)


def test_a_request_that_never_left_is_repeated_whatever_it_is(wire: Wire, door: Door, clock: Clock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(CloudError, match="connection") as caught:
        door.ask("POST", f"http://127.0.0.1:{port}/", "doing")
    assert not caught.value.sent
    assert len(clock.pauses) == 3


def test_attempts_end(wire: Wire, door: Door) -> None:
    wire.fail(Reply(500, body=b"a b"), times=10)
    with pytest.raises(CloudError, match="500 a"):
        door.ask("GET", wire.url, "doing")
    assert len(wire.asked) == 4


@pytest.mark.parametrize(
    ("value", "pause"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 1.0),  # our own pause is longer
        ((NOW + timedelta(seconds=9)).strftime("%a, %d %b %Y %H:%M:%S GMT"), 9.0),
        ((NOW + timedelta(seconds=9)).strftime("%a, %d %b %Y %H:%M:%S -0000"), 9.0),
        ((NOW - timedelta(seconds=9)).strftime("%a, %d %b %Y %H:%M:%S GMT"), 1.0),
        ("soon", 1.0),
        ("-5", 1.0),
        ("٣", 1.0),
        ("", 1.0),
    ],
)
def test_retry_after(wire: Wire, door: Door, clock: Clock, value: str, pause: float) -> None:
    wire.fail(
        Reply(429, {"Retry-After": value} if value.isascii() else {"Retry-After": value.encode().decode("latin1")})
    )
    door.ask("GET", wire.url, "doing")
    assert clock.pauses == [pytest.approx(pause)]


@pytest.mark.parametrize("value", ["200", "99999999999999999999"])
def test_a_pause_beyond_the_deadline_is_not_begun(wire: Wire, door: Door, clock: Clock, value: str) -> None:
    wire.fail(Reply(429, {"Retry-After": value}))
    with pytest.raises(CloudError, match="429"):
        door.ask("GET", wire.url, "doing")
    assert clock.pauses == []


@pytest.mark.parametrize(("chance", "pauses"), [(0.0, [0.5, 1.0, 1.5]), (1.0, [1.5, 3.0, 4.5])])
def test_pauses_have_chance_in_them(wire: Wire, clock: Clock, chance: float, pauses: list[float]) -> None:
    wire.fail(Reply(500), times=3)
    Door("Cloud", explain, patience=PATIENCE, waiting=clock.waiting(chance)).ask("GET", wire.url, "doing")
    assert clock.pauses == pauses


class TestToken:
    def test_a_refused_one_is_replaced_once(self, wire: Wire, clock: Clock) -> None:
        tokens = Tokens()
        door = Door("Cloud", explain, token=tokens, patience=PATIENCE, waiting=clock.waiting())
        wire.fail(Reply(401))
        door.ask("POST", wire.url, "doing")  # a refused request had no effect
        assert tokens.asked == [False, True]
        assert [given(request) for request in wire.asked] == [f"Bearer {SECRET}-1", f"Bearer {SECRET}-2"]
        assert clock.pauses == []

    def test_and_not_twice(self, wire: Wire, clock: Clock) -> None:
        tokens = Tokens()
        door = Door("Cloud", explain, token=tokens, patience=PATIENCE, waiting=clock.waiting())
        wire.fail(Reply(401, body=b"no go away"), times=2)
        with pytest.raises(CloudError, match="401 no"):
            door.ask("GET", wire.url, "doing")
        assert tokens.asked == [False, True]

    def test_it_is_no_attempt_of_its_own(self, wire: Wire, clock: Clock) -> None:
        tokens = Tokens()
        door = Door("Cloud", explain, token=tokens, patience=replace(PATIENCE, attempts=1), waiting=clock.waiting())
        wire.fail(Reply(401))
        door.ask("GET", wire.url, "doing")

    def test_a_new_one_is_kept_for_the_attempts_that_follow(self, wire: Wire, clock: Clock) -> None:
        tokens = Tokens()
        door = Door("Cloud", explain, token=tokens, patience=PATIENCE, waiting=clock.waiting())
        wire.faults = [(lambda _: True, Reply(status)) for status in (401, 500, 500)]
        door.ask("GET", wire.url, "doing")
        assert tokens.asked == [False, True]

    def test_without_one_a_401_is_an_answer(self, wire: Wire, door: Door) -> None:
        wire.fail(Reply(401, body=b"who ?"), times=2)
        with pytest.raises(CloudError, match="401 who"):
            door.ask("GET", wire.url, "doing")
        assert door.ask("GET", wire.url, "doing", expect=(401,)).status == 401

    def test_where_there_is_none_nothing_is_asked(self, wire: Wire) -> None:
        def none(*, fresh: bool = False) -> str:
            raise SourceError("nobody is logged in")

        with pytest.raises(SourceError, match="nobody is logged in"):
            Door("Cloud", explain, token=none, patience=PATIENCE).ask("GET", wire.url, "doing")
        assert wire.asked == []

    def test_a_line_of_netrc_does_not_take_its_place(
        self, wire: Wire, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        Door("Cloud", explain, token=Tokens(), waiting=clock.waiting()).ask("GET", wire.url, "doing")
        Door("Cloud", explain, waiting=clock.waiting()).ask("GET", wire.url, "doing")
        assert [given(request) for request in wire.asked] == [f"Bearer {SECRET}-1", None]

    def test_other_doors_have_it_or_another(self, wire: Wire, clock: Clock) -> None:
        door = Door("Cloud", explain, token=Tokens(), patience=PATIENCE, waiting=clock.waiting())
        door.another().ask("GET", wire.url, "doing")
        door.with_token(None).ask("GET", wire.url, "doing")
        assert [given(request) for request in wire.asked] == [f"Bearer {SECRET}-1", None]


class TestLimits:
    def test_a_redirect_is_not_followed(self, wire: Wire, door: Door) -> None:
        wire.fail(Reply(302, {"Location": f"{wire.url}/elsewhere"}))
        with pytest.raises(CloudError, match="302"):
            door.ask("GET", wire.url, "doing")
        assert len(wire.asked) == 1

    def test_an_answer_is_not_read_behind_its_limit(self, wire: Wire, door: Door) -> None:
        wire.fail(Reply(200, body=b"x" * 1001), times=5)
        with pytest.raises(CloudError, match="more than 1000 bytes"):
            door.ask("GET", wire.url, "doing", limit=1000)
        assert len(wire.asked) == 1
        wire.faults.clear()
        wire.fail(Reply(200, body=b"x" * 1000))
        assert len(door.ask("GET", wire.url, "doing", limit=1000).body) == 1000

    def test_an_answer_that_drips_ends_at_the_deadline(self, clock: Clock) -> None:
        with bad_servers.Dripping() as url:
            door = Door("Cloud", explain, patience=replace(PATIENCE, total=0.4, read=5))
            with pytest.raises(CloudError, match="not done in time"):
                door.ask("GET", url, "doing")

    def test_a_slow_line_is_no_silence(self, clock: Clock) -> None:
        size = 16 << 20
        with bad_servers.SlowReader(size, 2) as url:
            patience = replace(PATIENCE, connect=0.7, read=1.5, attempts=1)
            Door("Cloud", explain, patience=patience, waiting=clock.waiting()).ask(
                "PUT", url, "doing", body=bytes(size)
            )

    def test_silence_ends_after_a_while(self, clock: Clock) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            door = Door("Cloud", explain, patience=replace(PATIENCE, read=0.1, attempts=2), waiting=clock.waiting())
            with pytest.raises(CloudError, match="did not answer in time"):
                door.ask("GET", f"http://127.0.0.1:{silent.getsockname()[1]}/", "doing")

    def test_after_the_deadline_nothing_is_sent(self, wire: Wire, clock: Clock) -> None:
        patience = replace(PATIENCE, total=0)
        with pytest.raises(CloudError, match="not done in time") as caught:
            Door("Cloud", explain, patience=patience, waiting=clock.waiting()).ask("GET", wire.url, "doing")
        assert not caught.value.sent
        assert wire.asked == []


class TestWords:
    def test_an_error_holds_no_secret(self, wire: Wire, clock: Clock) -> None:
        door = Door("Cloud", explain, token=Tokens(), patience=PATIENCE, waiting=clock.waiting())
        url = f"{wire.url}/{SECRET}?sig={SECRET}"
        for fault in (Loss.BEFORE, Loss.IN_ANSWER, Reply(403, body=b"no entry"), Reply(500)):
            wire.fail(fault, times=4)
            with pytest.raises(CloudError) as caught:
                door.ask("PUT", url, "doing", headers={"X-Key": SECRET}, body=SECRET.encode())
            wire.faults.clear()
            assert SECRET not in str(caught.value) + repr(caught.value) + str(caught.value.fields())
            assert caught.value.__cause__ is None

    def test_a_clouds_words_are_few_and_printable(self, wire: Wire, door: Door) -> None:
        wire.fail(Reply(400, body=b"\x1b[31mcode " + b"\x1b[2J" + b"x" * 5000))
        with pytest.raises(CloudError) as caught:
            door.ask("GET", wire.url, "doing")
        assert "\x1b" not in str(caught.value)
        assert len(str(caught.value)) < 500

    def test_no_words_at_all(self, wire: Wire, door: Door) -> None:
        wire.fail(Reply(418))
        with pytest.raises(CloudError, match=r"^Cloud: doing: refused \(418\)$"):
            door.ask("GET", wire.url, "doing")

    @pytest.mark.parametrize("body", [b"", b"{", b"[" * 200_000, b"\xff"])
    def test_what_is_no_json(self, body: bytes) -> None:
        with pytest.raises(ValueError):
            Answer(200, {}, body).json()

    def test_an_answer_does_not_show_its_body(self) -> None:
        assert SECRET not in repr(Answer(200, {}, SECRET.encode()))


class TestFiles:
    def test_one_is_sent_anew_at_each_attempt(self, wire: Wire, door: Door, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"x" * 300_000)
        wire.faults = [(lambda _: True, fault) for fault in (Loss.MIDWAY, Loss.AFTER, Reply(500))]
        assert door.ask("PUT", wire.url, "doing", body=lambda: path.open("rb")).headers["x-length"] == "300000"
        assert wire.asked[-1].body == path.read_bytes()
        assert wire.asked[-1].headers["content-length"] == "300000"

    def test_one_that_is_not_there(self, wire: Wire, door: Door, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="cannot read"):
            door.ask("PUT", wire.url, "doing", body=lambda: (tmp_path / "none").open("rb"))
        assert wire.asked == []


def test_whom_no_certificate_vouches_for_is_asked_once(door: Door, clock: Clock, tmp_path: Path) -> None:
    with bad_servers.SelfSigned(tmp_path) as (url, greeted):
        with pytest.raises(CloudError, match=r"127\.0\.0\.1 cannot prove that it is") as caught:
            door.ask("POST", url, "doing")
        assert not caught.value.sent
        assert len(greeted) == 1
    assert clock.pauses == []
