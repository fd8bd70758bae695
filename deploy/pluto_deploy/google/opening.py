"""A target in Google Cloud, with every door that it needs. Thin IO: nothing is asked before a method is called."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pluto_deploy.cloud.door import Door, Patience, Waiting
from pluto_deploy.cloud.registry import Registry
from pluto_deploy.deployment import Deployment
from pluto_deploy.engine.wish import Wish
from pluto_deploy.google import auth, compute, objects
from pluto_deploy.google.auth import Bearer, World
from pluto_deploy.google.compute import Compute
from pluto_deploy.google.errors import SERVICE, explain
from pluto_deploy.google.lease import Lease
from pluto_deploy.google.names import Names
from pluto_deploy.google.objects import Objects
from pluto_deploy.google.releases import Disks, Shelf, Space
from pluto_deploy.google.storage import Storage
from pluto_deploy.google.target import GoogleTarget
from pluto_deploy.google.wanted import SPACE_FAMILY, GoogleSpace, GoogleTdx
from pluto_measure.progress import Progress


@dataclass(frozen=True, slots=True)
class Outside:
    """All that is outside of a target, for tests to replace. `registry`: None: as the platform names it."""

    environ: dict[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    home: Path = field(default_factory=Path.home)
    waiting: Waiting = field(default_factory=Waiting)
    patience: Patience = field(default_factory=Patience)
    compute: str = compute.ROOT
    storage: str = objects.ROOT
    registry: str | None = None
    tokens: str = "https://{service}.googleapis.com"


@contextmanager
def opened(
    platform: GoogleSpace | GoogleTdx,
    deployment: Deployment,
    wish: Wish | None,
    progress: Progress,
    *,
    state: Path,
    key: str,
    outside: Outside | None = None,
) -> Iterator[GoogleTarget]:
    """One deployment. `state`: this computer's folder, `key`: the deployment's name in it.

    UsageError, FormatError, SourceError where there are no credentials.
    """
    given = outside or Outside()
    world = World(given.environ, given.home, given.waiting, root=given.tokens)
    bearer, place, names = auth.bearer(world), platform.place, Names(deployment.name)
    doors = [_door(service, bearer, given) for service in (SERVICE, "Google Cloud Storage", "Google Cloud Storage")]
    machines = Compute(doors[0], place.project, place.zone, root=given.compute, told=progress.step)
    shelf = Shelf(Objects(doors[1], place.bucket, place.project, root=given.storage), names)
    content: Disks | Space
    if isinstance(platform, GoogleSpace):
        host, _, path = platform.repository.partition("/")
        base, name = given.registry or f"https://{host}", f"{path}/{deployment.name}"
        registry = Registry(base, name, _Login(bearer), waiting=given.waiting)
        reference = f"{platform.repository}/{deployment.name}"
        content = Space(machines, registry, reference, platform.image, SPACE_FAMILY, progress)
    else:
        content = Disks(machines, names, shelf.objects, Storage(doors[2], base=given.storage), progress)
    lease = Lease(shelf.objects, names.lease, state, key, given.waiting.clock)
    try:
        yield GoogleTarget(deployment, platform, wish, machines, shelf, content, lease, progress)
    finally:
        for door in doors:
            door.close()


def _door(service: str, bearer: Bearer, given: Outside) -> Door:
    return Door(service, explain, token=bearer, patience=given.patience, waiting=given.waiting)


@dataclass(frozen=True, slots=True)
class _Login:
    """A registry of Google's takes a token as a password."""

    bearer: Bearer = field(repr=False)

    def __call__(self, *, fresh: bool = False) -> tuple[str, str]:
        return "oauth2accesstoken", self.bearer.token(fresh=fresh)
