"""A disk into a page blob that is there already, by a URL that is a key (SAS): blocks in parallel, zeros left out. IO.

    HEAD                  has the blob the size of the file, footer included?
    PUT  comp=page        each block that is not all zero, with its MD5; 403: the key ran out, its caller gives another
    GET  comp=pagelist    what is written now: all that was sent, and nothing that was not

What an earlier attempt left where the file is zero is cleared. Interface: Azure Storage REST, "Put Page", "Get Page
Ranges", "Get Blob Properties", which is what the accounts of disks that are being uploaded admit. The URL is in no
error and no line of progress.
"""

from __future__ import annotations

import hashlib
import re
import threading
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from pluto_deploy.cloud import parallel, place
from pluto_deploy.cloud.blocks import Block, Blocks, piece
from pluto_deploy.cloud.door import Answer, Body, CloudError, Door, Patience, Waiting
from pluto_measure.errors import SourceError, UsageError
from pluto_measure.progress import Progress

SERVICE: Final = "Azure Storage"
VERSION: Final = "2023-11-03"
PAGE: Final = 512  # bytes
_MOST_LISTS: Final = 1000  # answers of one listing
_LIST: Final = re.compile(
    r"\s*(?:<\?xml[^<>]*\?>)?\s*(?:<PageList\s*/>|<PageList(?:\s[^<>]*)?>(.*)</PageList>)\s*", re.S
)
_ENTRY: Final = re.compile(
    r"\s*(?:<PageRange>\s*<Start>(\d{1,18})</Start>\s*<End>(\d{1,18})</End>\s*</PageRange>"
    r"|<NextMarker\s*/>|<NextMarker>([^<]*)</NextMarker>)\s*"
)
_CODE: Final = re.compile(r"<Code>([A-Za-z0-9]{1,80})</Code>")
_MESSAGE: Final = re.compile(r"<Message>([^<\r\n]{1,300})")
_SIGNATURE: Final = re.compile(r"\bsig=[^&\s]*", re.I)
Span = tuple[int, int]  # first byte, and the one behind the last


class Grant(Protocol):
    """Gives the URL with the key in it; asked anew after one was refused."""

    def __call__(self, *, fresh: bool = False) -> str: ...


@dataclass(frozen=True, slots=True)
class Uploaded:
    """Bytes of the blob, and bytes that were sent."""

    size: int
    sent: int


def explain(answer: Answer) -> tuple[str, str]:
    """Code and words of a refusal: a header, and XML that may repeat what was signed, of which one line is taken."""
    text = answer.body.decode(errors="replace")
    code, words = _CODE.search(text), _MESSAGE.search(text)
    named = answer.headers.get("x-ms-error-code", "") or (code[1] if code else "")
    return named, _SIGNATURE.sub("sig=…", words[1]) if words else ""


def door(*, patience: Patience | None = None, waiting: Waiting | None = None, verify: bool | str = True) -> Door:
    """The way to page blobs."""
    return Door(SERVICE, explain, patience=patience, waiting=waiting, verify=verify)


def upload(
    path: Path, grant: Grant, *, sha256: str, progress: Progress, using: Door | None = None,
    workers: int = parallel.WORKERS,
) -> Uploaded:  # fmt: skip
    """Make the blob the file's bytes. May be done again, after whatever happened before.

    CloudError where Azure does not do it, VerificationError where the file has another digest than `sha256` (hex; the
    blob is then not to be used), SourceError where afterwards other pages are written than were sent.
    """
    return _Upload(path, _Keys(grant), progress).run(using or door(), sha256, workers)


class _Keys:
    """The URL in use. Of many threads that are refused one asks for the next."""

    def __init__(self, grant: Grant) -> None:
        self._grant, self._lock, self._urls = grant, threading.Lock(), list[str]()

    def current(self) -> tuple[int, str]:
        with self._lock:
            if not self._urls:
                self._urls.append(place.secure(self._grant()))
            return len(self._urls), self._urls[-1]

    def after(self, number: int) -> str:
        """The URL that follows the one with this number."""
        with self._lock:
            if len(self._urls) == number:
                self._urls.append(place.secure(self._grant(fresh=True)))
            return self._urls[-1]


class _Upload:
    def __init__(self, path: Path, keys: _Keys, progress: Progress) -> None:
        self._path, self._keys, self._progress = path, keys, progress
        self._blocks = Blocks(path)
        if self._blocks.size % PAGE or not self._blocks.size:
            raise UsageError(f"{path} has {self._blocks.size} bytes, which is no whole number of pages of {PAGE}")

    def run(self, using: Door, sha256: str, workers: int) -> Uploaded:
        self._check_size(using)
        spans: list[Span] = []

        def done(span: Span) -> None:
            spans.append(span)
            told = f"{sum(end - begin for begin, end in spans) >> 20} MiB sent"
            self._progress.doing(
                f"uploading {self._path.name}: {told}, at {span[1] >> 20} of {self._blocks.size >> 20}"
            )

        parallel.each(self._blocks, self._put, using, workers=workers, done=done)
        self._blocks.check(sha256)
        self._check_pages(using, merged(spans))
        sent = sum(end - begin for begin, end in spans)
        self._progress.step(
            f"uploaded {self._path.name}: {sent >> 20} of {self._blocks.size >> 20} MiB, the rest is zero"
        )
        return Uploaded(self._blocks.size, sent)

    def _put(self, using: Door, block: Block) -> Span:
        digest = b64encode(hashlib.md5(block.data, usedforsecurity=False).digest()).decode()
        headers = {"x-ms-page-write": "update", "Content-MD5": digest}
        answer = self._page(using, "uploading a block", (block.offset, block.end), headers, block.data)
        if answer.headers.get("content-md5", digest) != digest:
            raise SourceError(f"{SERVICE}: the block at {block.offset} did not arrive as it was sent")
        return block.offset, block.end

    def _page(self, using: Door, act: str, span: Span, headers: Mapping[str, str], body: Body) -> Answer:
        where = {"x-ms-range": f"bytes={span[0]}-{span[1] - 1}"}
        return self._ask(using, "PUT", act, {"comp": "page"}, {**headers, **where}, body, (201,))

    def _check_size(self, using: Door) -> None:
        answer = self._ask(using, "HEAD", "looking at the disk")
        size, kind = answer.headers.get("content-length"), answer.headers.get("x-ms-blob-type", "PageBlob")
        if kind != "PageBlob" or size != str(self._blocks.size):
            raise SourceError(f"{SERVICE}: the disk is a {kind} of {size} bytes, {self._path} has {self._blocks.size}")

    def _check_pages(self, using: Door, sent: list[Span]) -> None:
        listed = self._listed(using)
        if left := minus(listed, sent):
            for span in left:
                self._page(using, "clearing what was left", span, {"x-ms-page-write": "clear"}, b"")
            listed = self._listed(using)
        if left := minus(listed, sent):
            raise SourceError(f"{SERVICE}: the disk has data at {left[0][0]}, where {self._path} is zero")
        for begin, end in minus(sent, listed):  # zeros within a block may be left out
            for at in range(begin, end, self._blocks.block):
                if any(piece(self._path, at, min(self._blocks.block, end - at))):
                    raise SourceError(f"{SERVICE}: the disk has no data at {at}, where some was sent")

    def _listed(self, using: Door) -> list[Span]:
        spans: list[Span] = []
        marker = ""
        for _ in range(_MOST_LISTS):
            query = {"comp": "pagelist"} | ({"marker": marker} if marker else {})
            more, marker = parse_list(self._ask(using, "GET", "listing what is written", query).body)
            spans += more
            if not marker:
                return merged(spans)
        raise SourceError(f"{SERVICE}: the list of what is written does not end")

    def _ask(
        self, using: Door, method: str, act: str, query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None, body: Body | None = None, expect: Iterable[int] = (200,),
    ) -> Answer:  # fmt: skip
        """One request with the key that counts; with the next one where that is refused."""
        number, url = self._keys.current()
        given, expected = {"x-ms-version": VERSION, **(headers or {})}, tuple(expect)
        try:
            return using.ask(method, url, act, query=query, headers=given, body=body, expect=expected)
        except CloudError as error:
            if error.status != 403:
                raise
        url = self._keys.after(number)
        return using.ask(method, url, act, query=query, headers=given, body=body, expect=expected)


def parse_list(body: bytes) -> tuple[list[Span], str]:
    """The spans of a PageList, and the marker of what follows; "" at its end. SourceError for anything else.

    Read by its pattern and not as XML: nothing else is possible in one, and no entity is ever resolved.
    """
    whole = _LIST.fullmatch(body.decode("utf-8-sig", errors="replace"))
    if whole is None:
        raise SourceError(f"{SERVICE}: the list of what is written is none")
    text, at, spans, marker = (whole[1] or "").strip(), 0, list[Span](), ""
    while at < len(text):
        entry = _ENTRY.match(text, at)
        if entry is None:
            raise SourceError(f"{SERVICE}: the list of what is written has something else in it")
        if entry[1] is not None:
            spans.append((int(entry[1]), int(entry[2]) + 1))
        marker, at = entry[3] or marker, entry.end()
    return spans, marker


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same bytes in ascending order, neighbours as one."""
    result: list[Span] = []
    for begin, end in sorted(spans):
        if result and begin <= result[-1][1]:
            result[-1] = result[-1][0], max(end, result[-1][1])
        elif begin < end:
            result.append((begin, end))
    return result


def minus(spans: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    """What of merged spans is in none of the others, which are merged, too."""
    left = list(spans)
    for begin, end in others:
        left = [
            part
            for first, last in left
            for part in ((first, min(last, begin)), (max(first, end), last))
            if part[0] < part[1]
        ]
    return left
