"""A disk into a page blob: the bytes that matter, whatever was there and whatever happens."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_deploy.azure import page_blob
from pluto_deploy.azure.page_blob import Grant, Uploaded, merged, minus, parse_list, upload
from pluto_deploy.cloud.door import CloudError, Door, Patience, Waiting
from pluto_measure.errors import PlutoError, SourceError, UsageError, VerificationError
from simulators.cloud.page_blobs import PageBlob, blob
from simulators.cloud.told import Kept, Killed
from simulators.cloud.wire import Loss, Reply, Request

SIZE = (24 << 20) + 512
SENT = 7 * (1 << 20) + 512  # 3, 1 and 3 blocks, and the footer


@pytest.fixture
def disk() -> Iterator[PageBlob]:
    with blob(SIZE) as made:
        yield made


@pytest.fixture
def door(patience: Patience, waiting: Waiting) -> Door:
    return page_blob.door(patience=patience, waiting=waiting)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sent(request: Request) -> bool:
    return request.method == "PUT"


class Work:
    """An upload with all that it needs."""

    def __init__(self, path: Path, door: Door, progress: Kept) -> None:
        self.path, self.door, self.progress = path, door, progress

    def __call__(self, grant: Grant, digest: str | None = None) -> Uploaded:
        return upload(self.path, grant, sha256=digest or sha256(self.path), progress=self.progress, using=self.door)

    def refused(self, disk: PageBlob) -> str:
        """The words of the error, none of which is a key."""
        with pytest.raises(PlutoError) as caught:
            self(disk.grant)
        told = str(caught.value) + str(caught.value.fields()) + repr(self.progress.said)
        for signature in disk.signatures:
            assert signature not in told
        assert "sig=" not in told.replace("sig=…", "")
        return str(caught.value)


@pytest.fixture
def work(sparse: Path, door: Door, progress: Kept) -> Work:
    return Work(sparse, door, progress)


def test_the_blob_is_the_file_and_zeros_are_not_sent(work: Work, disk: PageBlob) -> None:
    assert work(disk.grant) == Uploaded(SIZE, SENT)
    assert disk.content() == work.path.read_bytes()
    assert sum(len(request.body) for request in disk.wire.asked) == SENT
    assert disk.wire.most_in_flight > 1
    assert disk.granted == 1


def test_a_second_upload_leaves_the_same(work: Work, disk: PageBlob) -> None:
    work(disk.grant)
    work(disk.grant)
    assert disk.content() == work.path.read_bytes()


def test_what_was_left_there_is_cleared(work: Work, disk: PageBlob) -> None:
    disk.put(13 << 20, b"x" * 1024)
    disk.put((9 << 20) + 512, b"y" * (1 << 20))
    work(disk.grant)
    assert disk.content() == work.path.read_bytes()


@pytest.mark.parametrize("loss", Loss)
@pytest.mark.parametrize("number", range(8))
def test_a_connection_that_is_lost_at_any_block_costs_nothing(
    work: Work, disk: PageBlob, loss: Loss, number: int
) -> None:
    seen = iter(range(1000))
    disk.wire.fail(loss, lambda request: sent(request) and next(seen) == number)
    work(disk.grant)
    assert disk.wire.faults == []
    assert disk.content() == work.path.read_bytes()


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_service_is_asked_again(work: Work, disk: PageBlob, status: int) -> None:
    disk.wire.fail(Reply(status, {"Retry-After": "0"}), sent, times=3)
    work(disk.grant)
    assert disk.content() == work.path.read_bytes()


def test_an_expired_key_is_replaced_once_for_all(work: Work, disk: PageBlob) -> None:
    disk.revoke_after = 2
    work(disk.grant)
    assert disk.granted == 2
    assert disk.content() == work.path.read_bytes()


def test_a_new_key_that_does_not_count_either_ends_it(work: Work, disk: PageBlob) -> None:
    url = disk.grant()
    disk.revoke()
    with pytest.raises(CloudError, match="AuthenticationFailed") as caught:
        work(lambda *, fresh=False: url)
    assert caught.value.status == 403
    assert disk.wire.count("PUT") == 0


def test_errors_hold_no_key(work: Work, disk: PageBlob) -> None:
    said = '<?xml version="1.0"?><Error><Code>InvalidHeader</Code><Message>sv=1&amp;sig=abcd is bad</Message></Error>'
    disk.wire.fail(Reply(400, body=said.encode()), sent, times=20)
    assert "sig=…" in work.refused(disk)
    disk.wire.faults.clear()
    disk.wire.fail(Loss.BEFORE, sent, times=100)
    assert "the connection to 127.0.0.1 failed" in work.refused(disk)
    disk.wire.faults.clear()


def test_the_first_refusal_ends_all(work: Work, disk: PageBlob) -> None:
    disk.wire.fail(Reply(409, {"x-ms-error-code": "InvalidBlobType"}), sent)
    assert "InvalidBlobType" in work.refused(disk)
    assert disk.wire.count("PUT") <= 8


@pytest.mark.parametrize("size", [SIZE - 512, SIZE + 512])
def test_a_disk_of_another_size_is_refused_before_anything_is_sent(work: Work, size: int) -> None:
    with blob(size) as disk:
        assert "has" in work.refused(disk)
        assert disk.wire.count("PUT") == 0


def test_a_write_that_was_lost_is_noticed(work: Work, disk: PageBlob) -> None:
    disk.lost_writes = {16 << 20}
    with pytest.raises(SourceError, match=f"no data at {16 << 20}"):
        work(disk.grant)


def test_a_block_that_arrived_as_another_is_noticed(work: Work, disk: PageBlob) -> None:
    disk.wire.fail(Reply(201, {"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}), sent)
    with pytest.raises(SourceError, match="did not arrive as it was sent"):
        work(disk.grant)


def test_a_service_that_answers_without_a_digest_will_do(work: Work, disk: PageBlob) -> None:
    disk.echo_md5 = False
    work(disk.grant)


def test_a_long_list_is_read_to_its_end(work: Work, disk: PageBlob) -> None:
    disk.page_limit = 1
    work(disk.grant)
    assert disk.wire.count("GET") > 3


def test_another_file_than_the_release_names_is_noticed(work: Work, disk: PageBlob) -> None:
    with pytest.raises(VerificationError, match="SHA-256"):
        work(disk.grant, "0" * 64)


def test_zeros_within_a_block_may_be_left_out_of_the_list(work: Work, disk: PageBlob) -> None:
    disk.hides_zeros = True
    work(disk.grant)
    assert disk.content() == work.path.read_bytes()


def test_what_cannot_be_cleared_is_noticed(work: Work, disk: PageBlob) -> None:
    disk.put(13 << 20, b"x" * 1024)
    disk.wire.fail(Reply(201), lambda request: request.headers.get("x-ms-page-write") == "clear")
    assert "has data at" in work.refused(disk)


def test_a_file_of_no_whole_pages_is_refused(tmp_path: Path, door: Door, progress: Kept) -> None:
    path = tmp_path / "odd"
    path.write_bytes(b"x" * 513)
    with pytest.raises(UsageError, match="whole number"):
        upload(path, lambda *, fresh=False: "", sha256="", progress=progress, using=door)


@pytest.mark.parametrize(
    "url", ["http://example.com/d?sig=a", "ftp://127.0.0.1/?sig=a", "", "https:///?sig=a", "https://[::"]
)
def test_a_key_goes_over_tls_alone(work: Work, url: str) -> None:
    with pytest.raises(UsageError) as caught:
        work(lambda *, fresh=False: url)
    assert "sig" not in str(caught.value)


@pytest.mark.parametrize("number", range(7))
def test_an_upload_that_was_killed_is_done_again(work: Work, disk: PageBlob, number: int) -> None:
    again, work.progress = work.progress, Killed(after=number)
    with pytest.raises(KeyboardInterrupt):
        work(disk.grant)
    assert disk.wire.in_flight == 0  # nothing goes on behind the error
    work.progress = again
    work(disk.grant)
    assert disk.content() == work.path.read_bytes()


class TestList:
    @given(st.binary(max_size=200) | st.text("<PageListRng>/ Start0123456789?xml", max_size=120).map(str.encode))
    @settings(max_examples=200, deadline=None)
    def test_any_bytes_are_spans_or_an_error(self, body: bytes) -> None:
        with contextlib.suppress(SourceError):
            spans, _ = parse_list(body)
            assert all(isinstance(number, int) for span in spans for number in span)

    def test_forms(self) -> None:
        assert parse_list(b"<PageList/>") == ([], "")
        assert parse_list(b'<?xml version="1.0"?>\n<PageList>\n</PageList>\n') == ([], "")
        body = b"<PageList><PageRange> <Start>0</Start><End>511</End></PageRange><NextMarker>a</NextMarker></PageList>"
        assert parse_list(body) == ([(0, 512)], "a")

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"<Error/>",
            b"<PageList>",
            b"<PageList><PageRange><Start>0</Start></PageRange></PageList>",
            b"<PageList><PageRange><Start>-1</Start><End>1</End></PageRange></PageList>",
            b"<!DOCTYPE x [<!ENTITY a 'b'>]><PageList/>",
            b"<PageList>&a;</PageList>",
            b"<PageList><ClearRange><Start>0</Start><End>1</End></ClearRange></PageList>",
        ],
    )
    def test_anything_else_is_an_error(self, body: bytes) -> None:
        with pytest.raises(SourceError):
            parse_list(body)

    def test_a_list_without_end(self, work: Work, disk: PageBlob, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(page_blob, "_MOST_LISTS", 2)
        disk.page_limit = 1
        with pytest.raises(SourceError, match="does not end"):
            work(disk.grant)


class TestSpans:
    def test_merged(self) -> None:
        assert merged([(4, 6), (0, 2), (2, 4), (9, 9), (5, 6)]) == [(0, 6)]

    def test_minus(self) -> None:
        assert minus([(0, 10), (20, 30)], [(2, 4), (8, 22)]) == [(0, 2), (4, 8), (22, 30)]
        assert minus([(0, 10)], []) == [(0, 10)]
        assert minus([(0, 10)], [(0, 10)]) == []
