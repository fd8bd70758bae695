"""One page blob of a disk that is being uploaded, as strict as Azure: what is not allowed to clients is a complaint.

It has its size from the beginning, like the blob behind a disk in the state ReadyToUpload, and admits what such
accounts do: Get Blob Properties, Get Page Ranges, Put Page. Keys (SAS) are given out and revoked by the test.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from urllib.parse import quote

from simulators.cloud.wire import Reply, Request, Wire, only, problem, serving

PAGE = 512
LARGEST = 4 << 20
PATH = "/disk/abcd"
_SAS = {"sv", "sr", "si", "sig"}
_USUAL = {"host", "user-agent", "accept", "accept-encoding", "connection", "content-length"}
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class PageBlob:
    """The blob. `revoke_after`: Put Page requests after which the key no longer counts; `page_limit`: of one list."""

    def __init__(self, wire: Wire, size: int) -> None:
        self.wire, self.size = wire, size
        self.pages: set[int] = set()
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server
        self.file.truncate(size)
        self.signatures = ["never=given/+out"]
        self.granted = 0
        self.revoke_after: int | None = None
        self.page_limit = 5000
        self.echo_md5 = True
        self.hides_zeros = False  # lists no page that is zero
        self.lost_writes: set[int] = set()  # offsets that are answered well and not kept

    def grant(self, *, fresh: bool = False) -> str:
        """A URL with a key; the one before no longer counts."""
        if fresh or not self.granted:
            self.granted += 1
            self.signatures.append(b64encode(os.urandom(32)).decode())
        return f"{self.wire.url}{PATH}?sv=2018-03-28&sr=b&si=policy&sig={quote(self.signatures[-1], safe='')}"

    def revoke(self) -> None:
        self.signatures.append("revoked")

    def content(self) -> bytes:
        return os.pread(self.file.fileno(), self.size, 0)

    def put(self, offset: int, data: bytes) -> None:
        """Written by somebody else."""
        os.pwrite(self.file.fileno(), data, offset)
        self.pages |= set(range(offset // PAGE, (offset + len(data)) // PAGE))

    def serve(self, request: Request) -> Reply:
        if request.path != PATH:
            problem("no such blob")
        if request.headers.get("x-ms-version") != "2023-11-03":
            problem("x-ms-version is missing or another")
        if "authorization" in request.headers:
            problem("a key and a token at once")
        if request.value("sig") != self.signatures[-1]:
            return _refused(403, "AuthenticationFailed", "Server failed to authenticate the request.")
        comp = request.value("comp")
        if request.method == "HEAD" and comp is None:
            only(request.query, _SAS, "parameter")
            return Reply(200, {"Content-Length": str(self.size), "x-ms-blob-type": "PageBlob"})
        if request.method == "GET" and comp == "pagelist":
            only(request.query, _SAS | {"comp", "marker"}, "parameter")
            return self._list(request)
        if request.method == "PUT" and comp == "page":
            only(request.query, _SAS | {"comp"}, "parameter")
            return self._page(request)
        return problem(f"accounts of disks do not admit {request.method} comp={comp}")

    def _page(self, request: Request) -> Reply:
        begin, end = check_page(request, self.size)
        if not request.whole:
            return Reply(400)
        with self.wire.lock:
            return self._write(request, begin, end)

    def _write(self, request: Request, begin: int, end: int) -> Reply:
        if request.headers["x-ms-page-write"] == "clear":
            self.pages -= set(range(begin // PAGE, end // PAGE))
            os.pwrite(self.file.fileno(), bytes(end - begin), begin)
            return Reply(201)
        if begin not in self.lost_writes:
            self.put(begin, request.body)
        self.lost_writes.discard(begin)
        if self.revoke_after is not None:
            self.revoke_after -= 1
            if self.revoke_after < 0:
                self.revoke_after = None
                self.revoke()
        digest = request.headers["content-md5"]
        return Reply(201, {"Content-MD5": digest} if self.echo_md5 else {"x-ms-content-crc64": "AAAAAAAAAAA="})

    def _list(self, request: Request) -> Reply:
        content = self.content() if self.hides_zeros else b""
        listed = {page for page in self.pages if not content or any(content[page * PAGE : (page + 1) * PAGE])}
        spans = [(begin, end) for begin, end in _spans(listed) if begin >= int(request.value("marker") or 0)]
        more = f"<NextMarker>{spans[self.page_limit][0]}</NextMarker>" if len(spans) > self.page_limit else ""
        ranges = "".join(
            f"<PageRange><Start>{begin}</Start><End>{end - 1}</End></PageRange>"
            for begin, end in spans[: self.page_limit]
        )
        text = f'\ufeff<?xml version="1.0" encoding="utf-8"?><PageList>{ranges}{more or "<NextMarker />"}</PageList>'
        return Reply(200, {"Content-Type": "application/xml"}, text.encode())


def check_page(request: Request, size: int) -> tuple[int, int]:
    """First byte and the one behind the last of a Put Page, which must be as Azure wants it."""
    only(request.headers, _USUAL | {"x-ms-version", "x-ms-page-write", "x-ms-range", "content-md5"}, "header")
    found = _RANGE.fullmatch(request.headers.get("x-ms-range", "")) or problem("no x-ms-range")
    begin, end = int(found[1]), int(found[2]) + 1
    if begin % PAGE or end % PAGE or begin >= end:
        problem("a range that is not aligned to pages")
    if end > size:
        problem("a range behind the end")
    kind = request.headers.get("x-ms-page-write")
    if kind == "clear":
        if request.body or "content-md5" in request.headers:
            problem("a clearing with a body")
    elif kind != "update":
        problem("no x-ms-page-write")
    elif end - begin > LARGEST:
        problem("more than 4 MiB")
    elif request.whole:
        if len(request.body) != end - begin:
            problem("the body has another length than the range")
        if request.headers.get("content-md5") != b64encode(hashlib.md5(request.body).digest()).decode():
            problem("no Content-MD5, or another")
    return begin, end


def _spans(pages: set[int]) -> Iterator[tuple[int, int]]:
    for _, group in groupby(enumerate(sorted(pages)), lambda item: item[1] - item[0]):
        numbers = [page for _, page in group]
        yield numbers[0] * PAGE, (numbers[-1] + 1) * PAGE


def _refused(status: int, code: str, words: str) -> Reply:
    detail = "<AuthenticationErrorDetail>sig=secret</AuthenticationErrorDetail>"
    text = (
        f'\ufeff<?xml version="1.0"?><Error><Code>{code}</Code><Message>{words}\nRequestId:1</Message>{detail}</Error>'
    )
    return Reply(status, {"x-ms-error-code": code}, text.encode())


@contextmanager
def blob(size: int) -> Iterator[PageBlob]:
    """An empty blob of `size` bytes."""
    made: list[PageBlob] = []

    def begin(wire: Wire) -> PageBlob:
        made.append(PageBlob(wire, size))
        return made[0]

    with serving(lambda wire: begin(wire).serve):
        yield made[0]
    made[0].file.close()
