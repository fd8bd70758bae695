"""Opens the way to a deployment on Azure: token, doors, target; and gives connections back. IO."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pluto_deploy.azure import arm as arms
from pluto_deploy.azure import auth, page_blob
from pluto_deploy.azure.disks import Grant
from pluto_deploy.azure.serial import Serial
from pluto_deploy.azure.target import AzureTarget, Making
from pluto_deploy.azure.wanted import Azure
from pluto_deploy.cloud.door import Waiting
from pluto_measure.progress import Progress


@contextmanager
def opened(
    platform: Azure,
    *,
    name: str,
    egress: tuple[tuple[str, int], ...],
    timeout: int,
    making: Making | None,
    folder: Path,
    progress: Progress,
    room: bool = True,
    environment: Mapping[str, str] | None = None,
    waiting: Waiting | None = None,
) -> Iterator[AzureTarget]:
    """The target. `environment`: where secrets may be; None: of this process. Nothing is asked before it is needed."""
    token = auth.of(platform, environment, waiting=waiting)
    door = arms.door(token, waiting=waiting)
    blobs = page_blob.door(waiting=waiting)

    def upload(path: Path, grant: Grant, *, sha256: str, progress: Progress) -> object:
        return page_blob.upload(path, grant, sha256=sha256, progress=progress, using=blobs)

    arm = arms.Arm(door, platform.subscription, platform.group)
    try:
        yield AzureTarget(
            name=name,
            platform=platform,
            egress=egress,
            timeout=timeout,
            making=making,
            arm=arm,
            upload=upload,
            serial_line=Serial(arm, blobs),
            folder=folder,
            progress=progress,
            room=room,
        )
    finally:
        door.close()
        blobs.close()
