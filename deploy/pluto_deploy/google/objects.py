"""Small objects in a bucket: what lies beside a release, and the lease. Thin IO. Cloud Storage JSON API v1."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import quote

from pluto_deploy.cloud.door import Answer, CloudError, Door
from pluto_deploy.google.errors import advised
from pluto_deploy.google.operations import parsed
from pluto_deploy.google.reply import Reply
from pluto_measure.errors import SourceError

ROOT: Final = "https://storage.googleapis.com"
_LARGEST: Final = 32 << 20
_MOST_PAGES: Final = 1000


@dataclass(frozen=True, slots=True)
class Kept:
    """An object: its name, the number of this version of it, its size in bytes, when it was written (RFC 3339)."""

    name: str
    generation: int
    size: int
    updated: str


class Objects:
    """The objects of one bucket that are small enough to be held in memory."""

    def __init__(self, door: Door, bucket: str, project: str, *, root: str = ROOT) -> None:
        self._door, self.bucket, self._project, self._root = door, bucket, project, root

    def listed(self, prefix: str) -> list[Kept]:
        """All whose names begin so. CloudError."""
        act, query, found = f"listing {self.bucket}", {"prefix": prefix}, list[Kept]()
        for _ in range(_MOST_PAGES):
            page = parsed(self._ask("GET", self._url(), act, query=query).json, act)
            found += [_kept(one) for one in page.each("items")]
            if not (following := page.maybe("nextPageToken")):
                return found
            query["pageToken"] = following
        raise SourceError(f"{self._door.service}: {act}: the list does not end")

    def read(self, name: str) -> bytes | None:
        """Its bytes; None where there is none."""
        answer = self._ask("GET", self._url(name), f"reading {name}", query={"alt": "media"}, expect=(200, 404))
        return None if answer.status == 404 else answer.body

    def look(self, name: str) -> tuple[Kept, float] | None:
        """What is there, and the service's own time as it said so, in seconds since 1970; None where there is none."""
        answer = self._ask("GET", self._url(name), f"looking at {name}", expect=(200, 404))
        return None if answer.status == 404 else (_kept(parsed(answer.json, name)), _time(answer))

    def put(self, name: str, data: bytes, *, over: int | None = None) -> int | None:
        """Write it; the number of its version. `over`: only in place of this version, 0: only where there is none;

        None is returned where that is not so.
        """
        query = {"uploadType": "media", "name": name}
        if over is not None:
            query["ifGenerationMatch"] = str(over)
        url = f"{self._root}/upload/storage/v1/b/{quote(self.bucket, safe='')}/o"
        headers = {"Content-Type": "application/octet-stream"}
        act = f"writing {name}"
        answer = self._ask("POST", url, act, query=query, headers=headers, body=data, expect=(200, 412))
        return None if answer.status == 412 else _kept(parsed(answer.json, act)).generation

    def delete(self, name: str, *, version: int | None = None) -> None:
        """Delete it, or find it gone, or, where a version is named, find another one."""
        query = {} if version is None else {"ifGenerationMatch": str(version)}
        self._ask("DELETE", self._url(name), f"deleting {name}", query=query, expect=(200, 204, 404, 412))

    def _ask(
        self,
        method: str,
        url: str,
        act: str,
        *,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        expect: tuple[int, ...] = (200,),
    ) -> Answer:
        try:
            return self._door.ask(
                method,
                url,
                act,
                query=query,
                headers=headers,
                body=body,
                expect=expect,
                repeatable=True,
                limit=_LARGEST,
            )
        except CloudError as error:
            if error.status == 404:
                error.hint = f"make the bucket: gcloud storage buckets create gs://{self.bucket}"
            raise advised(error, self._project) from None

    def _url(self, name: str | None = None) -> str:
        objects = f"{self._root}/storage/v1/b/{quote(self.bucket, safe='')}/o"
        return objects if name is None else f"{objects}/{quote(name, safe='')}"


def _kept(found: Reply) -> Kept:
    return Kept(found.text("name"), found.number("generation"), found.number("size"), found.text("updated"))


def _time(answer: Answer) -> float:
    try:
        return parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except ValueError:
        raise SourceError("Google Cloud Storage: an answer has no time") from None
