"""Objects in Google Cloud Storage, named by what they hold: a resumable upload that goes on where it was cut off. IO.

    GET   …/o/NAME                                        there already, with these bytes? then nothing is to be done
    POST  upload/…/o?uploadType=resumable&ifGenerationMatch=0     a session: creates, never replaces
    PUT   session, Content-Range: bytes A-B/TOTAL         308 with Range: how far it is; 200: the object
    PUT   session, Content-Range: bytes */TOTAL           how far is it? after every answer that did not come

A session takes its bytes in order, so one request is in flight at a time. The bytes are compared by size and CRC-32C:
by Google before the object exists, and by us in what it says of the object. The session's URL is a key and is shown to
nobody. Interface: Cloud Storage JSON API v1, "Resumable uploads".
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from pluto_deploy.cloud import place
from pluto_deploy.cloud.blocks import Whole, digests, piece
from pluto_deploy.cloud.door import Answer, CloudError, Door
from pluto_measure.errors import SourceError, UsageError, VerificationError
from pluto_measure.formats.strict_json import canonical
from pluto_measure.progress import Progress

GOOGLE: Final = "https://storage.googleapis.com"
UNIT: Final = 256 << 10  # bytes; every chunk but the last is a multiple of it
CHUNK: Final = 8 << 20
PREFIX: Final = "pluto-tee/"
_FIELDS: Final = "bucket,name,generation,size,crc32c"
_STALLED: Final = 6  # requests in a row that brought nothing forward
_SESSIONS: Final = 3  # that may be lost
_RANGE: Final = re.compile(r"bytes=0-(\d{1,18})")
_MOST_PAGES: Final = 1000


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as Google describes it. `generation` tells it from others that had its name."""

    bucket: str
    name: str
    generation: int
    size: int
    crc32c: int


def name_of(sha256: str, path: Path) -> str:
    """The name of an object that holds a file with this SHA-256 in hex."""
    return f"{PREFIX}{sha256}/{path.name}"


class Storage:
    """The objects that a token may see. `door` explains Google's errors and has a token for storage."""

    def __init__(self, door: Door, *, base: str = GOOGLE, chunk: int = CHUNK) -> None:
        if chunk <= 0 or chunk % UNIT:
            raise ValueError(f"a chunk of {chunk} bytes is no multiple of {UNIT}")
        self._door, self._base, self._chunk = door, place.secure(base).rstrip("/"), chunk

    def look(self, bucket: str, name: str) -> Stored | None:
        """What is there under this name; None if nothing is."""
        answer = self._door.ask(
            "GET", self._url(bucket, name), f"looking for {name}", query={"fields": _FIELDS}, expect=(200, 404)
        )
        return None if answer.status == 404 else self._stored(answer, bucket, name)

    def listed(self, bucket: str, prefix: str = PREFIX) -> Iterator[Stored]:
        """All objects whose names begin so."""
        query = {"prefix": prefix, "fields": f"nextPageToken,items({_FIELDS})"}
        for _ in range(_MOST_PAGES):
            answer = self._door.ask("GET", self._url(bucket), f"listing {prefix}", query=query)
            page = self._object(answer)
            items = page.get("items", [])
            if not isinstance(items, list):
                raise self._wrong("items")
            for item in items:
                yield self._parse(item, bucket)
            following = page.get("nextPageToken", "")
            if not isinstance(following, str):
                raise self._wrong("nextPageToken")
            if not following:
                return
            query["pageToken"] = following
        raise SourceError(f"{self._door.service}: the list of objects does not end")

    def delete(self, stored: Stored) -> None:
        """Delete this object, and no other that has its name by now. One that is gone is fine."""
        query = {"generation": str(stored.generation)}
        url = self._url(stored.bucket, stored.name)
        self._door.ask("DELETE", url, f"deleting {stored.name}", query=query, expect=(200, 204, 404))

    def upload(
        self, path: Path, bucket: str, *, sha256: str, progress: Progress, labels: Mapping[str, str] | None = None
    ) -> Stored:
        """The object that holds the file, uploaded if it is not there. May be done again, after whatever happened.

        `sha256`: what the file must have, in hex; `labels`: what is written beside the object. VerificationError where
        file or object hold something else, CloudError where Google does not take it.
        """
        name, whole = name_of(sha256, path), digests(path, crc=True)
        if whole.sha256 != sha256:
            raise VerificationError(f"{path} has the SHA-256 {whole.sha256}, not {sha256}")
        if not whole.size:
            raise UsageError(f"{path} is empty")
        if (found := self.look(bucket, name)) is not None:
            progress.step(f"{path.name} is in {bucket} already")
            return _same(found, whole)
        for _ in range(_SESSIONS):
            try:
                session = self._session(bucket, name, whole, labels or {})
                answer = self._send(session, path, whole.size, progress)
            except CloudError as error:
                # Somebody else was first, or our own request arrived although its answer did not.
                if error.status != 412 or (found := self.look(bucket, name)) is None:
                    raise
                return _same(found, whole)
            if answer is not None:
                stored = _same(self._stored(answer, bucket, name), whole)
                progress.step(f"uploaded {path.name}: {whole.size >> 20} MiB to {bucket}")
                return stored
        raise SourceError(f"{self._door.service}: uploading {path.name}: the session was lost {_SESSIONS} times")

    def _session(self, bucket: str, name: str, whole: Whole, labels: Mapping[str, str]) -> str:
        """The URL of a new session. One that is asked for and not used ends by itself."""
        crc = b64encode(whole.crc32c.to_bytes(4, "big")).decode()
        kind = "application/octet-stream"
        body = {"contentType": kind, "crc32c": crc, "metadata": dict(labels), "name": name}
        answer = self._door.ask(
            "POST",
            f"{self._base}/upload/storage/v1/b/{quote(bucket, safe='')}/o",
            f"beginning to upload {name}",
            query={"uploadType": "resumable", "ifGenerationMatch": "0", "name": name, "fields": _FIELDS},
            headers={
                "Content-Type": "application/json; charset=UTF-8",
                "X-Upload-Content-Type": kind,
                "X-Upload-Content-Length": str(whole.size),
            },
            body=canonical(body),
            expect=(200, 201),
            repeatable=True,
        )
        return place.within(self._base, answer.headers.get("location"), service=self._door.service)

    def _send(self, session: str, path: Path, size: int, progress: Progress) -> Answer | None:
        """The answer that describes the object; None where the session is gone."""
        offset, stalled = 0, 0
        while stalled < _STALLED:
            progress.doing(f"uploading {path.name}: {offset >> 20} of {size >> 20} MiB")
            data = piece(path, offset, min(self._chunk, size - offset))
            end = offset + len(data)
            try:
                answer = self._put(session, f"bytes {offset}-{end - 1}/{size}", data)
            except CloudError as error:
                if error.status in (404, 410):
                    return None
                if error.status and error.status < 500:
                    raise
                # Whether it arrived is only known by asking.
                waiting, patience = self._door.waiting, self._door.patience
                waiting.sleep(min(patience.longest_pause, patience.pause * 2**stalled))
                told = self._ask_how_far(session, size)
                if told is None:
                    return None
                answer = told
            if answer.status != 308:
                return answer
            reached = self._reached(answer, end)
            stalled = 0 if reached > offset else stalled + 1
            offset = reached
        raise SourceError(f"{self._door.service}: uploading {path.name}: nothing arrives behind {offset} bytes")

    def _put(self, session: str, content_range: str, data: bytes, *, repeatable: bool = False) -> Answer:
        headers = {"Content-Range": content_range}
        act = "uploading a chunk" if data else "asking how far an upload is"
        return self._door.ask(
            "PUT", session, act, headers=headers, body=data, expect=(200, 201, 308), repeatable=repeatable
        )

    def _ask_how_far(self, session: str, size: int) -> Answer | None:
        try:
            return self._put(session, f"bytes */{size}", b"", repeatable=True)
        except CloudError as error:
            if error.status in (404, 410):
                return None
            raise

    def _reached(self, answer: Answer, end: int) -> int:
        """How many bytes Google has. Without a range it has none."""
        text = answer.headers.get("range")
        if text is None:
            return 0
        found = _RANGE.fullmatch(text)
        if found is None or int(found[1]) >= end:
            raise self._wrong("Range")
        return int(found[1]) + 1

    def _stored(self, answer: Answer, bucket: str, name: str) -> Stored:
        stored = self._parse(self._object(answer), bucket)
        if stored.name != name:
            raise self._wrong("name")
        return stored

    def _object(self, answer: Answer) -> dict[str, Any]:
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise SourceError(f"{self._door.service}: the description of an object is none")
        return found

    def _parse(self, value: object, bucket: str) -> Stored:
        """An object resource. SourceError that names the member that is wrong."""
        members = value if isinstance(value, dict) else {}
        for name in ("name", "bucket", "generation", "size", "crc32c"):
            if not isinstance(members.get(name), str):
                raise self._wrong(name)
        if members["bucket"] != bucket:
            raise self._wrong("bucket")
        for name in ("generation", "size"):
            if not re.fullmatch(r"[0-9]{1,19}", members[name]):
                raise self._wrong(name)
        try:
            crc = b64decode(members["crc32c"], validate=True)
        except ValueError:
            crc = b""
        if len(crc) != 4:
            raise self._wrong("crc32c")
        numbers = int(members["generation"]), int(members["size"]), int.from_bytes(crc, "big")
        return Stored(bucket, members["name"], *numbers)

    def _wrong(self, member: str) -> SourceError:
        return SourceError(f"{self._door.service}: an answer has no {member}, or one that cannot be")

    def _url(self, bucket: str, name: str | None = None) -> str:
        objects = f"{self._base}/storage/v1/b/{quote(bucket, safe='')}/o"
        return objects if name is None else f"{objects}/{quote(name, safe='')}"


def _same(stored: Stored, whole: Whole) -> Stored:
    """The object, if it holds the file's bytes. VerificationError."""
    if (stored.size, stored.crc32c) != (whole.size, whole.crc32c):
        raise VerificationError(
            f"{stored.name} in {stored.bucket} has {stored.size} bytes with the CRC-32C {stored.crc32c:08x}, "
            f"not {whole.size} with {whole.crc32c:08x}"
        )
    return stored
