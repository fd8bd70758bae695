"""A release's disk in Azure: made for an upload, filled by a URL that is a key, closed, and marked as whole. IO.

ReadyToUpload ─ beginGetAccess ▶ ActiveUpload ─ endGetAccess ▶ Unattached ─ a tag ▶ whole ─ a machine ▶ Attached

The key is in no error, no line of progress and no file, and it is always given back: a disk with an open key cannot be
used, and is billed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from pluto_deploy.azure import bodies
from pluto_deploy.azure.answers import SERVICE, Json, find, need, tags
from pluto_deploy.azure.arm import Arm, Place
from pluto_deploy.azure.names import MOST_DISKS, OWNER, RELEASE, SLOT, WHOLE, Names
from pluto_deploy.azure.seen import Disk, Seen
from pluto_deploy.azure.wanted import Azure
from pluto_deploy.cloud.door import CloudError
from pluto_measure.errors import PlutoError, SourceError, UsageError, VerificationError
from pluto_measure.progress import Progress

KEY_SECONDS: Final = 8 * 3600
_ATTEMPTS: Final = 2
_TAKEN: Final = (400, 403, 409)
_OPEN: Final = ("ActiveUpload", "ActiveSAS")
_WAITS: Final = ("ReadyToUpload", "ActiveUpload")


class StaleError(SourceError):
    """The disk's key ended, and with it what had been sent."""


class Grant(Protocol):
    """Gives the URL with the key in it; asked anew after one was refused."""

    def __call__(self, *, fresh: bool = False) -> str: ...


class Upload(Protocol):
    """Makes a blob the file's bytes (`page_blob.upload`)."""

    def __call__(self, path: Path, grant: Grant, *, sha256: str, progress: Progress) -> object: ...


@dataclass(frozen=True, slots=True)
class Vhd:
    """A fixed VHD on this computer, and the digest that it was judged by."""

    path: Path
    sha256: str

    @property
    def size(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError as error:
            raise UsageError(f"{self.path} cannot be read: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Disks:
    """The disks of one deployment. `secured`: machines start from them as they are."""

    arm: Arm
    names: Names
    platform: Azure
    upload: Upload
    progress: Progress
    secured: bool

    def whole(self, release: str, vhd: Vhd, seen: Seen, slot: str = "") -> Place:
        """A disk that no machine has, with every byte of the release; `slot`: marked for that machine."""
        mine = [one for one in seen.disks if one.release == release and one.holder is None]
        ready = [one for one in mine if one.whole and one.state == "Unattached" and one.slot in ("", slot)]
        if ready:
            chosen = max(ready, key=lambda one: one.slot == slot)
            place = Place(self.names.disk(release, 0).kind, (chosen.name,))
        else:
            place = self._free(release, seen, mine)
            self._fill(place, release, vhd)
        if slot:
            found = self.arm.get(place) or {}
            marked = {**tags(found, str(place)), SLOT: slot}
            if tags(found, str(place)) != marked:
                self.arm.patch(place, {"tags": marked})
        return place

    def _free(self, release: str, seen: Seen, mine: list[Disk]) -> Place:
        """The name of a disk that was begun, else one that nothing has."""
        begun = [one for one in mine if not one.whole]
        if begun:
            return Place(self.names.disk(release, 0).kind, (begun[0].name,))
        taken = {one.name.lower() for one in seen.disks}
        for number in range(MOST_DISKS):
            if (place := self.names.disk(release, number)).name not in taken:
                return place
        raise SourceError(
            f"{SERVICE}: there are {MOST_DISKS} disks of release {release[:12]} already", hint="run apply"
        )

    def _fill(self, place: Place, release: str, vhd: Vhd) -> None:
        marks = {**self.names.tags, RELEASE: release}
        try:
            self._sent(place, marks, vhd)
        except StaleError:  # another one was closed on the way: what was sent is lost, and nothing else
            self.progress.step(f"the upload of {vhd.path.name} begins anew")
            self.arm.delete(place)
            self._sent(place, marks, vhd)
        state = need(self.arm.get(place) or {}, "properties.diskState", str, str(place))
        if state != "Unattached":
            raise SourceError(f"{SERVICE}: {place} is {state} after its upload, not Unattached")
        self.arm.patch(place, {"tags": {**marks, WHOLE: "yes"}})

    def _sent(self, place: Place, marks: Mapping[str, str], vhd: Vhd) -> None:
        self._made(place, marks, vhd.size)
        access = _Access(self.arm, place)
        try:
            self.upload(vhd.path, access, sha256=vhd.sha256, progress=self.progress)
        except BaseException as error:
            # The key first; and what has another file's bytes in it is not to be taken up again.
            with contextlib.suppress(PlutoError):
                access.end()
                if isinstance(error, VerificationError):
                    self.arm.delete(place)
            raise
        access.end()

    def _made(self, place: Place, marks: Mapping[str, str], size: int) -> None:
        """A disk that waits for bytes. One that was closed before it was marked as whole cannot be opened again."""
        found = self.arm.get(place)
        if found is not None and tags(found, str(place)).get(OWNER) != self.names.deployment:
            raise UsageError(f"{place} is there already, and is not of this deployment")
        if found is not None and not self._waits(found, place, size):
            self.arm.delete(place)
            found = None
        if found is None:
            self.arm.put(place, bodies.disk(self.platform, marks, size, secured=self.secured))

    def _waits(self, found: Json, place: Place, size: int) -> bool:
        wanted = bodies.SECURITY_TYPES[self.platform.guest_state] if self.secured else None
        same = find(found, "properties.creationData.uploadSizeBytes", int, str(place)) == size
        secured = find(found, "properties.securityProfile.securityType", str, str(place)) == wanted
        made = find(found, "properties.provisioningState", str, str(place)) == "Succeeded"
        return made and same and secured and need(found, "properties.diskState", str, str(place)) in _WAITS


class _Access:
    """The key to a disk: asked for when it is needed, given back in the end."""

    def __init__(self, arm: Arm, place: Place) -> None:
        self._arm, self._place = arm, place

    def __call__(self, *, fresh: bool = False) -> str:
        del fresh  # a key that was refused counts no more, one that somebody who was killed had is not known here
        for _ in range(_ATTEMPTS):
            try:
                return self._begin()
            except CloudError as error:
                if error.status not in (0, *_TAKEN):
                    raise
            self.end()  # there is one already: with it goes, where Azure so decides, the disk's readiness for another
            if self._state() not in _WAITS:
                raise StaleError(f"{SERVICE}: {self._place} takes no more data: its key ended before the upload did")
        return self._begin()

    def _begin(self) -> str:
        body = {"access": "Write", "durationInSeconds": KEY_SECONDS}
        result = self._arm.post(self._place, "beginGetAccess", body, repeatable=False, result=True) or {}
        # Where in the answer it is differs with the way that the operation was watched.
        inner: Json = find(result, "properties.output", dict, str(self._place)) or result
        return need(inner, "accessSAS", str, str(self._place))

    def end(self) -> None:
        """Nobody has a key any more. It may be asked for when none is open."""
        if self._state() not in _OPEN:
            return
        try:
            self._arm.post(self._place, "endGetAccess")
        except CloudError:
            if self._state() in _OPEN:  # else it was done, and the answer was lost
                raise

    def _state(self) -> str:
        found = self._arm.get(self._place)
        return "" if found is None else need(found, "properties.diskState", str, str(self._place))
