"""Opens the way to a deployment on Azure: token, doors, target; and gives connections back. IO."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pluto_deploy.azure import arm as arms
from pluto_deploy.azure import auth, page_blob
from pluto_deploy.azure.disks import Grant, Vhd
from pluto_deploy.azure.serial import Serial
from pluto_deploy.azure.target import AzureTarget, Making
from pluto_deploy.azure.wanted import Azure
from pluto_deploy.cloud.door import Patience, Waiting
from pluto_deploy.deployment import Deployment
from pluto_deploy.engine.kinds import FIRMWARE
from pluto_deploy.engine.wish import Wish
from pluto_measure.progress import Progress

VHD: Final = "disk.vhd"


@dataclass(frozen=True, slots=True)
class Outside:
    """All that is outside of a target, for tests to replace."""

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    waiting: Waiting = field(default_factory=Waiting)
    patience: Patience | None = None  # None: as each service needs it
    management: str = arms.MANAGEMENT
    login: str = auth.LOGIN
    imds: str = auth.IMDS


@contextmanager
def opened(
    platform: Azure,
    deployment: Deployment,
    wish: Wish | None,
    progress: Progress,
    *,
    state: Path,
    key: str,
    outside: Outside | None = None,
) -> Iterator[AzureTarget]:
    """One deployment. `state`: this computer's folder, `key`: the deployment's name in it.

    UsageError, FormatError where what the login needs is not here. Nothing is asked before it is needed.
    """
    given = outside or Outside()
    patience, waiting = given.patience, given.waiting
    token = auth.of(platform, given.environ, login=given.login, imds=given.imds, patience=patience, waiting=waiting)
    door = arms.door(token, patience=patience, waiting=waiting)
    blobs = page_blob.door(patience=patience, waiting=waiting)

    def upload(path: Path, grant: Grant, *, sha256: str, progress: Progress) -> object:
        return page_blob.upload(path, grant, sha256=sha256, progress=progress, using=blobs)

    arm = arms.Arm(door, platform.subscription, platform.group, base=given.management)
    try:
        yield AzureTarget(
            name=deployment.name,
            platform=platform,
            egress=deployment.network.egress,
            ports=deployment.network.ports,
            timeout=deployment.timeout,
            making=None if wish is None else making_of(wish),
            arm=arm,
            upload=upload,
            serial_line=Serial(arm, blobs),
            folder=state / "azure" / key,
            progress=progress,
            room=deployment.strategy != "replace",
        )
    finally:
        door.close()
        blobs.close()


def making_of(wish: Wish) -> Making:
    """What a machine of a wish is made of, with all that anybody needs to appraise it again."""
    files = {**wish.small, FIRMWARE: wish.dist.firmware.read_bytes()}
    vhd = Vhd(wish.dist.root / VHD, wish.image[VHD].hex())
    return Making(wish.generation, vhd, files, wish.deployment.payload)
