"""A file into Cloud Storage: once, whole, and on from where it was cut off."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pluto_deploy.cloud.door import Answer, CloudError, Door, Patience, Waiting
from pluto_deploy.google import storage
from pluto_deploy.google.storage import Storage, Stored, name_of
from pluto_measure.errors import PlutoError, SourceError, UsageError, VerificationError
from simulators.cloud.castagnoli import crc32c
from simulators.cloud.gcs import Gcs, buckets
from simulators.cloud.told import Kept, Killed
from simulators.cloud.wire import Loss, Reply, Request

UNIT = 256 << 10
SIZE = 4 * UNIT + 1000  # five chunks


def explain(answer: Answer) -> tuple[str, str]:
    try:
        error = json.loads(answer.body)["error"]
    except (ValueError, KeyError):
        return "", ""
    return error["errors"][0]["reason"], error["message"]


class Tokens:
    """Gives "first" until it is refused."""

    def __init__(self) -> None:
        self.given = 0

    def __call__(self, *, fresh: bool = False) -> str:
        self.given += 1
        return "Bearer second" if fresh else "Bearer first"


@pytest.fixture
def gcs() -> Iterator[Gcs]:
    with buckets() as made:
        yield made


@pytest.fixture
def ours(gcs: Gcs, patience: Patience, waiting: Waiting) -> Storage:
    door = Door("Google", explain, token=Tokens(), patience=patience, waiting=waiting)
    return Storage(door, base=gcs.wire.url, chunk=UNIT)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gcp.tar.gz"
    path.write_bytes(os.urandom(SIZE))
    return path


class Work:
    def __init__(self, storage: Storage, file: Path, progress: Kept) -> None:
        self.storage, self.file, self.progress = storage, file, progress
        self.sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        self.name = f"pluto-tee/{self.sha256}/gcp.tar.gz"

    def __call__(self, **labels: str) -> Stored:
        return self.storage.upload(self.file, "bucket", sha256=self.sha256, progress=self.progress, labels=labels)

    def is_there(self, gcs: Gcs, stored: Stored) -> None:
        data = self.file.read_bytes()
        assert stored == Stored("bucket", self.name, gcs.generations, SIZE, crc32c(data))
        assert gcs.content == {("bucket", self.name): data}


@pytest.fixture
def work(ours: Storage, file: Path, progress: Kept) -> Work:
    return Work(ours, file, progress)


def a_chunk(number: int) -> Any:
    return lambda request: request.headers.get("content-range", "").startswith(f"bytes {number * UNIT}-")


def a_question(request: Request) -> bool:
    return request.headers.get("content-range", "").startswith("bytes */")


def test_the_object_is_named_by_the_file_and_holds_it(work: Work, gcs: Gcs) -> None:
    work.is_there(gcs, work(version="1"))
    assert gcs.objects["bucket", work.name]["metadata"] == {"version": "1"}
    assert gcs.wire.count("PUT") == 5
    assert name_of(work.sha256, work.file) == work.name


def test_one_that_is_there_is_not_uploaded_again(work: Work, gcs: Gcs) -> None:
    first = work()
    assert work() == first
    assert gcs.wire.count("POST") == 1


@pytest.mark.parametrize("loss", Loss)
@pytest.mark.parametrize("number", range(5))
def test_it_goes_on_after_a_connection_that_was_lost_at_any_chunk(
    work: Work, gcs: Gcs, number: int, loss: Loss
) -> None:
    gcs.wire.fail(loss, a_chunk(number))
    work.is_there(gcs, work())
    assert gcs.wire.faults == []
    assert len(gcs.sessions) == 1


@pytest.mark.parametrize("loss", Loss)
def test_a_lost_beginning_and_a_lost_question_cost_nothing(work: Work, gcs: Gcs, loss: Loss) -> None:
    gcs.wire.fail(loss, lambda request: request.method == "POST")
    gcs.wire.fail(Reply(500), a_chunk(2))
    gcs.wire.fail(loss, a_question)
    work.is_there(gcs, work())
    assert gcs.wire.faults == []


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_service_is_asked_again(work: Work, gcs: Gcs, status: int) -> None:
    for number in range(5):
        gcs.wire.fail(Reply(status, {"Retry-After": "0"}), a_chunk(number), times=2)
    work.is_there(gcs, work())


def test_a_chunk_of_which_a_part_is_kept_is_sent_from_there(work: Work, gcs: Gcs) -> None:
    gcs.keep_at_most = UNIT // 2
    work.is_there(gcs, work())
    second = [request for request in gcs.wire.asked if request.method == "PUT"][1]
    assert second.headers["content-range"].startswith(f"bytes {UNIT // 2}-")


def test_a_session_that_is_gone_begins_anew(work: Work, gcs: Gcs) -> None:
    gcs.wire.fail(Reply(410), a_chunk(3))
    gcs.wire.fail(Reply(404), a_chunk(1))
    work.is_there(gcs, work())
    assert len(gcs.sessions) == 3
    gcs.objects.clear()
    gcs.wire.fail(Reply(500), a_chunk(1))
    gcs.wire.fail(Reply(410), a_question)
    work()


def test_sessions_that_are_always_gone_end_it(work: Work, gcs: Gcs) -> None:
    gcs.wire.fail(Reply(410), a_chunk(1), times=3)
    with pytest.raises(SourceError, match="lost 3 times"):
        work()


def test_a_service_that_takes_nothing_ends_it(work: Work, gcs: Gcs) -> None:
    gcs.wire.fail(Reply(308), a_chunk(0), times=100)
    with pytest.raises(SourceError, match="nothing arrives"):
        work()


def test_a_question_that_is_refused_ends_it(work: Work, gcs: Gcs) -> None:
    gcs.wire.fail(Reply(500), a_chunk(0))
    gcs.wire.fail(Reply(403), a_question)
    with pytest.raises(CloudError, match="403"):
        work()


def test_a_token_that_ran_out_is_replaced(work: Work, gcs: Gcs) -> None:
    gcs.tokens = {"second"}
    work.is_there(gcs, work())


def test_somebody_else_may_be_first(work: Work, gcs: Gcs) -> None:
    gcs.wire.fail(Reply(404), lambda request: request.method == "GET")
    gcs.put("bucket", work.name, work.file.read_bytes())
    work.is_there(gcs, work())
    assert gcs.sessions == {}


def test_somebody_else_may_be_first_at_the_end(work: Work, gcs: Gcs) -> None:
    gcs.wire.fail(Reply(412), a_chunk(4))
    with pytest.raises(CloudError, match="412"):
        work()

    def meanwhile(request: Request) -> bool:
        found: bool = a_chunk(4)(request)
        if found:
            gcs.put("bucket", work.name, b"x")
        return found

    gcs.wire.fail(Reply(412), meanwhile)
    with pytest.raises(VerificationError, match="has 1 bytes"):
        work()


def test_other_bytes_under_the_name_are_noticed(work: Work, gcs: Gcs) -> None:
    gcs.put("bucket", work.name, b"\0" * SIZE)
    with pytest.raises(VerificationError, match="CRC-32C"):
        work()


def test_bytes_that_changed_on_their_way_make_no_object(work: Work, gcs: Gcs) -> None:
    def changed(request: Request) -> bool:
        if a_chunk(2)(request):
            gcs.sessions["session-0"].data[5] ^= 1
        return False

    gcs.wire.fail(Loss.BEFORE, changed)
    with pytest.raises(CloudError, match="CRC32C does not match"):
        work()
    assert gcs.objects == {}
    gcs.wire.faults.clear()


def test_another_file_than_the_release_names_is_not_sent(work: Work, gcs: Gcs) -> None:
    work.sha256 = "0" * 64
    with pytest.raises(VerificationError, match="SHA-256"):
        work()
    assert gcs.wire.asked == []


def test_an_empty_file_is_not_sent(work: Work) -> None:
    work.file.write_bytes(b"")
    work.sha256 = hashlib.sha256(b"").hexdigest()
    with pytest.raises(UsageError, match="empty"):
        work()


@pytest.mark.parametrize("location", ["https://elsewhere.example/x?upload_id=1", "", "http://[::"])
def test_bytes_and_token_go_nowhere_else(work: Work, gcs: Gcs, location: str) -> None:
    gcs.wire.fail(Reply(200, {"Location": location}), lambda request: request.method == "POST")
    with pytest.raises(SourceError):
        work()


@pytest.mark.parametrize("told", ["bytes=1-5", "bytes=0-999999999", "0-5", "bytes=0--1"])
def test_a_range_that_cannot_be_is_an_error(work: Work, gcs: Gcs, told: str) -> None:
    gcs.wire.fail(Reply(308, {"Range": told}), a_chunk(0))
    with pytest.raises(SourceError, match="Range"):
        work()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "other"), ("name", None), ("bucket", "other"), ("bucket", 5), ("generation", "x"),
        ("generation", None), ("size", 5), ("size", "-1"), ("crc32c", "AAAA"), ("crc32c", "%"), ("crc32c", None),
    ],
)  # fmt: skip
def test_a_description_that_cannot_be_names_its_member(work: Work, gcs: Gcs, name: str, value: object) -> None:
    gcs.changed = {name: value}
    with pytest.raises(SourceError, match=name):
        work()


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 100000])
def test_a_description_that_is_none(work: Work, gcs: Gcs, body: bytes) -> None:
    gcs.wire.fail(Reply(200, body=body), lambda request: request.method == "GET")
    with pytest.raises(SourceError):
        work()


def test_errors_hold_neither_token_nor_session(work: Work, gcs: Gcs) -> None:
    gcs.wire.fail(Loss.BEFORE, lambda request: request.method == "PUT", times=100)
    with pytest.raises(PlutoError) as caught:
        work()
    told = str(caught.value) + str(caught.value.fields()) + str(work.progress.said)
    assert "upload_id" not in told
    assert "first" not in told
    gcs.wire.faults.clear()


@pytest.mark.parametrize("number", range(5))
def test_an_upload_that_was_killed_is_done_again(work: Work, gcs: Gcs, number: int) -> None:
    again, work.progress = work.progress, Killed(after=number)
    with pytest.raises(KeyboardInterrupt):
        work()
    assert gcs.objects == {}
    work.progress = again
    work.is_there(gcs, work())


class TestObjects:
    def test_they_are_listed_page_by_page(self, ours: Storage, gcs: Gcs) -> None:
        gcs.page_size = 2
        for number in range(5):
            gcs.put("bucket", f"pluto-tee/{number}", b"x")
        gcs.put("bucket", "elsewhere", b"x")
        assert [stored.name for stored in ours.listed("bucket")] == [f"pluto-tee/{number}" for number in range(5)]
        assert list(ours.listed("another")) == []

    def test_a_list_without_end(self, ours: Storage, gcs: Gcs, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(storage, "_MOST_PAGES", 2)
        gcs.page_size = 1
        for number in range(5):
            gcs.put("bucket", f"pluto-tee/{number}", b"x")
        with pytest.raises(SourceError, match="does not end"):
            list(ours.listed("bucket"))

    @pytest.mark.parametrize(("name", "value"), [("items", {}), ("items", [5]), ("nextPageToken", 5)])
    def test_a_list_that_cannot_be(self, ours: Storage, gcs: Gcs, name: str, value: object) -> None:
        gcs.changed = {name: value}
        gcs.put("bucket", "pluto-tee/1", b"x")
        with pytest.raises(SourceError):
            list(ours.listed("bucket"))

    def test_one_is_deleted_and_no_later_one(self, ours: Storage, gcs: Gcs) -> None:
        gcs.put("bucket", "pluto-tee/a b", b"x")
        old = ours.look("bucket", "pluto-tee/a b")
        assert old is not None
        gcs.put("bucket", "pluto-tee/a b", b"y")
        ours.delete(old)
        new = ours.look("bucket", "pluto-tee/a b")
        assert new is not None
        ours.delete(new)
        ours.delete(new)
        assert ours.look("bucket", "pluto-tee/a b") is None


@pytest.mark.parametrize("chunk", [0, -UNIT, UNIT + 1])
def test_chunks_are_whole_units(chunk: int) -> None:
    with pytest.raises(ValueError, match="multiple"):
        Storage(Door("Google", explain), chunk=chunk)
