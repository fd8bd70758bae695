"""The exact bytes of an image into a registry: nothing is compressed or written anew, so its digest stays ours. IO.

    HEAD   /v2/NAME/blobs/DIGEST            there already? then it is not sent again
    POST   /v2/NAME/blobs/uploads/          a place, perhaps with words of the registry's in its URL
    PATCH  place                            the whole blob, streamed from its file
    PUT    place?digest=DIGEST              the registry hashes it and compares
    PUT    /v2/NAME/manifests/DIGEST        and, where a tag is wanted, /manifests/TAG
    GET    /v2/NAME/manifests/DIGEST        the same bytes come back

One PATCH with the whole blob is what the clients do that every registry is tried with; parts are not spoken everywhere.
A push that was cut off is done again, and sends what is missing. Interface: OCI Distribution Specification 1.1,
"Pushing blobs", "Pushing manifests".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from pluto_deploy.cloud import parallel, place, registry_token
from pluto_deploy.cloud.door import Answer, CloudError, Door, Patience, Waiting
from pluto_deploy.cloud.layout import MANIFEST, Blob, Image
from pluto_deploy.cloud.registry_token import Login
from pluto_measure.errors import SourceError, UsageError, VerificationError
from pluto_measure.progress import Progress

_NAME: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_ELSEWHERE: Final = (301, 302, 307, 308)  # a blob that is there and kept by another server
_ATTEMPTS: Final = 4  # uploads of one blob, from its beginning
_ACCEPT: Final = {"Accept": MANIFEST}


class Registry:
    """One repository. `base`: https://HOST; `name`: its path; `login`: who pushes, None where nobody has to say.

    `realms`: other hosts that may be told the password, since registries name the server that gives tokens themselves.
    """

    def __init__(
        self,
        base: str,
        name: str,
        login: Login | None,
        *,
        realms: Collection[str] = (),
        patience: Patience | None = None,
        waiting: Waiting | None = None,
        verify: bool | str = True,
    ) -> None:
        if len(name) > 255 or not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is no name of a repository in a registry")
        self._base, self.name = place.secure(base).rstrip("/"), name
        self._host = urlsplit(base).netloc
        self._plain = Door(self._host, registry_token.explain, patience=patience, waiting=waiting, verify=verify)
        self._login, self._realms = login, realms
        self._doors: dict[str, Door] = {}

    def holds(self, image: Image) -> bool:
        """Whether the manifest and all its blobs are there. Changes nothing."""
        answer = self._manifest(image)
        return answer is not None and all(self._has(self._opened(), blob) for blob in image.blobs)

    def push(self, image: Image, *, progress: Progress, tag: str | None = None) -> None:
        """Make the repository hold the image. May be done again, after whatever happened before.

        CloudError where the registry does not take it, VerificationError where it calls the image by another digest.
        """
        if tag is not None and not _TAG.fullmatch(tag):
            raise UsageError(f"{tag!r} is no tag")
        parallel.each(
            dict.fromkeys(image.blobs), self._put_blob, self._opened(), workers=4, done=partial(_told, progress)
        )
        for reference in (image.digest, *([] if tag is None else [tag])):
            answer = self._opened().ask(
                "PUT",
                self._url(f"manifests/{reference}"),
                f"putting the manifest as {reference}",
                headers={"Content-Type": MANIFEST},
                body=image.manifest,
                expect=(201,),
            )
            self._same(answer, image.digest)
        if self._manifest(image) is None:
            raise SourceError(f"{self._host}: {self.name} does not have the manifest that it took")
        progress.step(f"{self._host}/{self.name} holds {image.digest}")

    def delete(self, digest: str) -> None:
        """Delete a manifest. One that is not there is fine."""
        self._opened("delete").ask(
            "DELETE", self._url(f"manifests/{digest}"), f"deleting {digest}", expect=(200, 202, 404)
        )

    def _manifest(self, image: Image) -> Answer | None:
        """The manifest as the registry has it; None if it does not. VerificationError for other bytes."""
        url = self._url(f"manifests/{image.digest}")
        answer = self._opened().ask("GET", url, "reading the manifest", headers=_ACCEPT, expect=(200, 404))
        if answer.status == 404:
            return None
        self._same(answer, image.digest)
        if answer.body != image.manifest:
            found = hashlib.sha256(answer.body).hexdigest()
            raise VerificationError(f"{self._host} gives sha256:{found} as {image.digest}")
        return answer

    def _put_blob(self, door: Door, blob: Blob) -> tuple[Blob, bool]:
        """Whether it had to be sent. An upload that was cut off begins anew: where it stood, the answer would say."""
        for attempt in range(1, _ATTEMPTS + 1):
            if self._has(door, blob):
                return blob, attempt > 1
            try:
                self._send(door, blob)
            except CloudError as error:
                # 404 and 416: the place is gone, or does not stand where we begin.
                lost = error.status in (0, 404, 416) or error.status >= 500
                if not lost or attempt == _ATTEMPTS:
                    raise
                door.waiting.sleep(min(door.patience.longest_pause, door.patience.pause * 2**attempt))
            else:
                return blob, True
        raise AssertionError("the last attempt returns or raises")

    def _send(self, door: Door, blob: Blob) -> None:
        act = f"uploading {blob.digest[:19]}"
        # Beginning twice leaves a place that is not used, which registries clear away.
        begun = door.ask("POST", self._url("blobs/uploads/"), act, body=b"", expect=(202,), repeatable=True)
        headers = {"Content-Type": "application/octet-stream"}
        sent = door.ask(
            "PATCH", self._place(begun), act, headers=headers, body=lambda: blob.path.open("rb"), expect=(202,)
        )
        done = door.ask(
            "PUT", self._place(sent), act, query={"digest": blob.digest}, body=b"", expect=(201,), repeatable=False
        )
        self._same(done, blob.digest)

    def _has(self, door: Door, blob: Blob) -> bool:
        url, act = self._url(f"blobs/{blob.digest}"), f"looking for {blob.digest[:19]}"
        answer = door.ask("HEAD", url, act, expect=(200, 404, *_ELSEWHERE))
        if answer.status == 404:
            return False
        if answer.status == 200:
            self._same(answer, blob.digest)
            if answer.headers.get("content-length", str(blob.size)) != str(blob.size):
                raise VerificationError(f"{self._host} has {blob.digest} with another size than {blob.size}")
        return True

    def _same(self, answer: Answer, digest: str) -> None:
        named = answer.headers.get("docker-content-digest", digest)
        if named != digest:
            raise VerificationError(f"{self._host} calls it {named[:80]!r}, it is {digest}")

    def _place(self, answer: Answer) -> str:
        return place.within(self._base + "/", answer.headers.get("location"), service=self._host)

    def _url(self, path: str) -> str:
        return f"{self._base}/v2/{self.name}/{path}"

    def _opened(self, actions: str = "pull,push") -> Door:
        """The door with a token for these actions, if the registry asks for one. It is asked once what that is."""
        if actions not in self._doors:
            probed = self._plain.ask("GET", f"{self._base}/v2/", "asking how to log in", expect=(200, 401))
            token = None
            if probed.status == 401:
                scope = f"repository:{self.name}:{actions}"
                token = registry_token.for_challenge(
                    probed, self._login, self._plain, base=self._base, scope=scope, realms=self._realms
                )
            self._doors[actions] = self._plain.with_token(token)
        return self._doors[actions]


def _told(progress: Progress, result: tuple[Blob, bool]) -> None:
    blob, sent = result
    progress.step(f"{blob.digest[:19]}: {blob.size >> 10} KiB {'sent' if sent else 'are there already'}")
