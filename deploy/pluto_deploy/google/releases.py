"""Releases as they are kept in a project: small files in the bucket, and what machines start from. Thin IO.

    pluto/NAME/releases/DIGEST/…     what appraises a machine again; release.json is written last and removed first
    image pluto-NAME-DIGEST          the disk of a release, for machines of our own
    REPOSITORY/NAME@sha256:…         the container of a release, for Confidential Space

Everything is a deployment's own, so nothing that another one needs is ever removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from pluto_deploy.cloud.door import CloudError
from pluto_deploy.cloud.layout import Image
from pluto_deploy.engine.wish import STATEMENT, Wish
from pluto_deploy.google import bodies, names
from pluto_deploy.google.bodies import Boot
from pluto_deploy.google.compute import Compute
from pluto_deploy.google.errors import EXISTS
from pluto_deploy.google.names import ARCHIVE, NOTE, Names, short
from pluto_deploy.google.objects import Objects
from pluto_deploy.google.reply import Reply
from pluto_deploy.google.storage import Stored, name_of
from pluto_measure.errors import FormatError, SourceError, UsageError
from pluto_measure.launch import Launch
from pluto_measure.progress import Progress

LAUNCH: Final = "launch.json"
FIRMWARE: Final = "firmware.fd"
_NAMING: Final = (LAUNCH, NOTE)
SPACE_PROJECT: Final = "confidential-space-images"
_PAUSE: Final = 3.0
_IMAGE_SECONDS: Final = 1200.0


class Archives(Protocol):
    """Long uploads; `google.storage.Storage`."""

    def upload(
        self, path: Path, bucket: str, *, sha256: str, progress: Progress, labels: Mapping[str, str] | None = None
    ) -> Stored: ...

    def look(self, bucket: str, name: str) -> Stored | None: ...

    def delete(self, stored: Stored) -> None: ...


class Containers(Protocol):
    """One repository; `cloud.registry.Registry`."""

    def holds(self, image: Image) -> bool: ...

    def push(self, image: Image, *, progress: Progress, tag: str | None = None) -> None: ...

    def delete(self, digest: str) -> None: ...


class Content(Protocol):
    """What machines of a release start from."""

    def put(self, wish: Wish) -> None:
        """Make it be there, whole."""

    def whole(self, releases: frozenset[str], wish: Wish | None) -> frozenset[str]:
        """Those of the releases whose content is there, as far as can be seen."""

    def remove(self, release: str, launch: bytes | None, archive: bytes | None) -> None:
        """Away with it. `launch`: its launch.json, `archive`: its note of an archive, if these are there."""

    def found(self) -> list[tuple[str, str]]:
        """What is there of this deployment, by listing: kind and name."""


@dataclass(frozen=True, slots=True)
class Disks:
    """Images of our own, made from an archive that is uploaded and removed again."""

    compute: Compute
    names: Names
    objects: Objects
    archives: Archives
    progress: Progress

    def put(self, wish: Wish) -> None:
        name = self.names.image(release := wish.generation.release)
        found = self._image(name)
        if found is not None and found.text("status") in ("FAILED", "DELETING"):
            self.compute.delete("images", name)
            found = None
        path, digest = wish.dist.root / ARCHIVE, wish.image[ARCHIVE].hex()
        # Noted first: whoever is killed leaves no archive that nobody knows of, and that is paid for.
        note = self.names.object(release, NOTE)
        self.objects.put(note, name_of(digest, path).encode())
        if found is None:
            stored = self.archives.upload(
                path, self.objects.bucket, sha256=digest, progress=self.progress, labels=self.names.labels
            )
            self._insert(name, stored, release)
        self._ready(name)
        self._remove_archive(name_of(digest, path))  # an image has its own copy
        self.objects.delete(note)

    def whole(self, releases: frozenset[str], wish: Wish | None) -> frozenset[str]:
        del wish  # an image says itself whether it is whole
        ready = {one.texts("labels").get(names.RELEASE) for one in self._images() if one.text("status") == "READY"}
        return frozenset(release for release in releases if short(release) in ready)

    def remove(self, release: str, launch: bytes | None, archive: bytes | None) -> None:
        del launch
        self.compute.delete("images", self.names.image(release))
        if archive is not None:
            self._remove_archive(archive.decode("utf-8", errors="replace"))

    def found(self) -> list[tuple[str, str]]:
        return [("image", one.text("name")) for one in self._images()]

    def boot(self, wish: Wish) -> Boot:
        """What a machine of the release starts from."""
        image = f"projects/{self.compute.project}/global/images/{self.names.image(wish.generation.release)}"
        return Boot(image, bodies.OWN_DISK)

    def _remove_archive(self, name: str) -> None:
        if (stored := self.archives.look(self.objects.bucket, name)) is not None:
            self.archives.delete(stored)

    def _images(self) -> list[Reply]:
        return self.compute.listed("images", self.names.filter)

    def _image(self, name: str) -> Reply | None:
        found = self.compute.get("images", name)
        if found is not None and found.texts("labels").get(names.DEPLOYMENT) != self.names.deployment:
            raise UsageError(f"the image {name} is not of this deployment", hint="give the deployment another name")
        return found

    def _insert(self, name: str, stored: Stored, release: str) -> None:
        source = f"https://storage.googleapis.com/{stored.bucket}/{stored.name}"
        labels = self.names.image_labels(release)
        self.progress.doing(f"making the image {name}")
        try:
            self.compute.insert("images", bodies.image(name, source, labels=labels), f"making the image {name}")
        except CloudError as error:
            if error.code not in EXISTS:
                raise

    def _ready(self, name: str) -> None:
        """Its status is not that of the operation that made it."""
        waiting = self.compute.door.waiting
        deadline = waiting.clock() + _IMAGE_SECONDS
        while True:
            found = self._image(name)
            status = "gone" if found is None else found.text("status")
            if status == "READY":
                return
            if status != "PENDING" or waiting.clock() > deadline:
                raise SourceError(f"the image {name} is {status[:40]}", hint="run the command again: it is made anew")
            waiting.sleep(_PAUSE)


@dataclass(frozen=True, slots=True)
class Space:
    """Containers in a repository, and Google's image that runs them. `image` None: the newest one."""

    compute: Compute
    containers: Containers
    repository: str  # with its host and the deployment's name
    image: str | None
    family: str
    progress: Progress

    def put(self, wish: Wish) -> None:
        self.containers.push(self._container(wish), progress=self.progress)

    def whole(self, releases: frozenset[str], wish: Wish | None) -> frozenset[str]:
        wanted = None if wish is None else wish.generation.release
        if wish is None or wanted not in releases or self.containers.holds(self._container(wish)):
            return releases
        return releases - {wanted}

    def remove(self, release: str, launch: bytes | None, archive: bytes | None) -> None:
        del archive
        if launch is None:
            return
        try:
            container = Launch.parse(launch).container
        except FormatError as error:
            raise SourceError(f"launch.json of release {release[:12]} in the bucket is damaged: {error}") from error
        if container is not None:
            self.containers.delete(container.manifest_digest)

    def found(self) -> list[tuple[str, str]]:
        return []  # a repository's packages cannot be told by label; they go with the files in the bucket

    def reference(self, wish: Wish) -> str:
        """The container by digest."""
        return reference_of(self.repository, wish)

    def boot(self, wish: Wish) -> Boot:
        """The image of Confidential Space that a new machine starts from: one, whatever the family names later."""
        del wish
        return Boot(f"projects/{SPACE_PROJECT}/global/images/{self.resolved()}", bodies.SPACE_DISK)

    def resolved(self) -> str:
        """Its name. UsageError, SourceError for one that cannot run a trust domain."""
        if self.image is not None:
            found = self.compute.image_of(SPACE_PROJECT, self.image)
            if found is None:
                raise UsageError(f"{SPACE_PROJECT} has no image {self.image}", hint="leave platform.image out")
        else:
            found = self.compute.newest_of(SPACE_PROJECT, self.family)
            if found is None:
                raise SourceError(f"{SPACE_PROJECT} has no image of the family {self.family}")
        features = {one.text("type") for one in found.each("guestOsFeatures")}
        if found.text("status") != "READY" or "TDX_CAPABLE" not in features:
            raise SourceError(f"the image {found.text('name')} is not ready for TDX")
        return found.text("name")

    def _container(self, wish: Wish) -> Image:
        return Image.read(wish.dist.root / "oci", _digest(wish))


@dataclass(frozen=True, slots=True)
class Shelf:
    """Small files of releases in the bucket."""

    objects: Objects
    names: Names

    def put(self, wish: Wish) -> None:
        """All of them, the statement last."""
        files = {**wish.small, FIRMWARE: (wish.dist.root / FIRMWARE).read_bytes()}
        release = wish.generation.release
        for name in sorted(files, key=lambda name: name == STATEMENT):
            self.objects.put(self.names.object(release, name), files[name])

    def listed(self) -> dict[str, list[str]]:
        """Releases, and the names of the files that each has."""
        prefix, found = f"{self.names.folder}releases/", dict[str, list[str]]()
        for kept in self.objects.listed(prefix):
            release, slash, name = kept.name.removeprefix(prefix).partition("/")
            if slash:
                found.setdefault(release, []).append(name)
        return found

    def read(self, release: str) -> dict[str, bytes]:
        """Every file of a release. SourceError for one that is gone meanwhile."""
        found = dict[str, bytes]()
        for name in self.listed().get(release, []):
            if name == NOTE:
                continue
            data = self.objects.read(self.names.object(release, name))
            if data is None:
                raise SourceError(f"{name} of release {release[:12]} is gone from {self.objects.bucket}")
            found[name] = data
        return found

    def remove(self, release: str, files: list[str], content: Content) -> None:
        """The statement first, so that no half release counts; last what names a container, or an archive."""
        launch, archive = (
            self.objects.read(self.names.object(release, name)) if name in files else None for name in _NAMING
        )
        if STATEMENT in files:
            self.objects.delete(self.names.object(release, STATEMENT))
        content.remove(release, launch, archive)
        for name in sorted(files, key=_NAMING.__contains__):
            self.objects.delete(self.names.object(release, name))


def whole(files: Mapping[str, Any]) -> frozenset[str]:
    """The releases whose statement is there."""
    return frozenset(release for release, kept in files.items() if STATEMENT in kept)


def reference_of(repository: str, wish: Wish) -> str:
    """The container of a wish in a repository, by digest."""
    return f"{repository}@{_digest(wish)}"


def _digest(wish: Wish) -> str:
    container = wish.launch.container
    if container is None:
        raise UsageError("the release has no container, which Confidential Space runs")
    return container.manifest_digest
