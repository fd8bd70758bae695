"""[platform] of DEPLOYMENT.toml for Google Cloud. Pure: fields in, frozen values out.

Only machine types that have TDX are known, and nothing that a debug image could be mistaken for is named without a
word that says so. Format: docs/formats/deployment.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields

SPACE_KIND: Final = "google-confidential-space"
TDX_KIND: Final = "google-tdx"
GUEST_PORT: Final = 8443
PORTS: Final = (443, GUEST_PORT)  # a machine of ours serves on both, a container on the latter
# Types with TDX: vCPUs, bytes of memory. C3 has it in the standard shape alone, from four vCPUs on.
MACHINE_TYPES: Final = {f"c3-standard-{cpus}": (cpus, cpus * 4 << 30) for cpus in (4, 8, 22, 44, 88, 176)}
SPACE_FAMILY: Final = "confidential-space"
RESTARTS: Final = ("Never", "OnFailure", "Always")

_PROJECT: Final = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")
_ZONE: Final = re.compile(r"([a-z]{2,20}-[a-z]{2,20}[0-9]{1,2})-[a-z]")
_RESOURCE: Final = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{1,61}[a-z0-9]")
_ACCOUNT: Final = re.compile(r"[a-z0-9-]{1,64}@([a-z0-9-]{1,64}\.iam|developer)\.gserviceaccount\.com")
_REPOSITORY: Final = re.compile(r"[a-z0-9-]{2,32}-docker\.pkg\.dev(/[a-z0-9][a-z0-9-]{0,62}){2}")
_SPACE_IMAGE: Final = re.compile(r"confidential-space-(debug-)?[0-9][0-9a-z-]{3,30}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where machines are, and with what they are reached. Names, within one project.

    bucket   where a release's files are kept; it is there already
    address  of a reserved address that stays after `destroy`; None: one of the deployment's own
    """

    project: str
    zone: str
    machine_type: str
    network: str
    subnetwork: str
    bucket: str
    address: str | None

    @property
    def region(self) -> str:
        return self.zone.rpartition("-")[0]

    @property
    def makes(self) -> dict[str, object]:
        """What of it decides what a machine is: another value is another machine."""
        return {"machineType": self.machine_type, "network": self.network, "subnetwork": self.subnetwork}

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """FormatError. The caller ends `fields`."""
        machine_type = fields.take("machineType", str)
        if machine_type not in MACHINE_TYPES:
            problem = f"{machine_type[:40]!r} has no TDX; known to have it: {', '.join(MACHINE_TYPES)}"
            raise FormatError(f"{fields.what}.machineType", problem)
        address = fields.get("address", None, str)
        if address is not None and not _RESOURCE.fullmatch(address):
            raise FormatError(f"{fields.what}.address", "must be the name of a reserved address")
        return cls(
            project=_matching(fields, "project", _PROJECT, "a project's id"),
            zone=_matching(fields, "zone", _ZONE, "a zone, such as europe-west4-a"),
            machine_type=machine_type,
            network=_matching(fields, "network", _RESOURCE, "the name of a network"),
            subnetwork=_matching(fields, "subnetwork", _RESOURCE, "the name of a subnetwork"),
            bucket=_matching(fields, "bucket", _BUCKET, "the name of a bucket"),
            address=address,
        )


@dataclass(frozen=True, slots=True)
class GoogleSpace:
    """Confidential Space: the release's container in Google's image.

    account     the machine's service account: pulls the container, asks for tokens
    repository  LOCATION-docker.pkg.dev/PROJECT/REPOSITORY
    image       of Confidential Space; None: the newest of its family when a machine is made
    """

    place: Place
    account: str
    repository: str
    image: str | None
    restart: str

    kind = SPACE_KIND

    @property
    def is_debug(self) -> bool:
        """Whether it is an image whose operator sees everything."""
        return self.image is not None and "-debug-" in self.image

    @property
    def makes(self) -> dict[str, object]:
        """What of it decides what a machine is: another value is another machine."""
        own = {"image": self.image or "", "repository": self.repository, "restart": self.restart}
        return {**self.place.makes, **own, "serviceAccount": self.account}

    @classmethod
    def parse(cls, fields: Fields, folder: Path) -> Self:
        """FormatError. The caller ends `fields`."""
        del folder  # it names no file
        place = Place.parse(fields)
        image, debug = fields.get("image", None, str), fields.get("insecure_debugImage", False, bool)
        if image is not None:
            found = _SPACE_IMAGE.fullmatch(image)
            if found is None:
                raise FormatError(f"{fields.what}.image", "must be the name of an image of Confidential Space")
            if bool(found[1]) != debug:
                problem = "is a debug image: say insecure_debugImage = true" if found[1] else "is no debug image"
                raise FormatError(f"{fields.what}.image", problem)
        elif debug:
            raise FormatError(f"{fields.what}.insecure_debugImage", "needs image, as the family has no debug images")
        restart = fields.get("restart", "OnFailure", str)
        if restart not in RESTARTS:
            raise FormatError(f"{fields.what}.restart", f"{restart[:40]!r} is not one of {', '.join(RESTARTS)}")
        return cls(
            place=place,
            account=_matching(fields, "serviceAccount", _ACCOUNT, "the e-mail address of a service account"),
            repository=_matching(fields, "repository", _REPOSITORY, "LOCATION-docker.pkg.dev/PROJECT/REPOSITORY"),
            image=image,
            restart=restart,
        )


@dataclass(frozen=True, slots=True)
class GoogleTdx:
    """A TDX machine that boots the release's own disk. It has no service account: nothing in it may act for us."""

    place: Place

    kind = TDX_KIND

    @property
    def makes(self) -> dict[str, object]:
        """What of it decides what a machine is: another value is another machine."""
        return self.place.makes

    @classmethod
    def parse(cls, fields: Fields, folder: Path) -> Self:
        """FormatError. The caller ends `fields`."""
        del folder  # it names no file
        return cls(Place.parse(fields))


def possible(
    platform: GoogleSpace | GoogleTdx,
    *,
    cpus: int,
    memory: int,
    ports: tuple[int, ...],
    address: str | None,
    mac: str | None,
    egress: tuple[tuple[str, int], ...],
    payload: bytes,
    what: str = "deployment",
) -> None:
    """FormatError for values of other tables that could never work with this platform. Memory in bytes."""
    shape = MACHINE_TYPES[platform.place.machine_type]
    if (cpus, memory) != shape:
        text = f"{platform.place.machine_type} has {shape[0]} vCPUs and {shape[1] >> 30}G of memory"
        raise FormatError(f"{what}.size", f"{text}, so size must say that")
    own = (GUEST_PORT,) if isinstance(platform, GoogleSpace) else PORTS
    if not set(ports) <= set(own):
        problem = f"must be of {list(own)}: nothing translates ports between clients and the machine"
        raise FormatError(f"{what}.network.ports", problem)
    if address is not None or mac is not None:
        problem = "address and mac are the cloud's to give: a reserved address is named by platform.address"
        raise FormatError(f"{what}.network", problem)
    if isinstance(platform, GoogleSpace):
        if ("tcp", 443) not in egress:
            problem = "must have tcp:443: the launcher pulls the container and asks for tokens by it"
            raise FormatError(f"{what}.network.egress", problem)
        if payload:
            problem = "must be empty: the container reads no setting of the operator's"
            raise FormatError(f"{what}.notary", problem)


def _matching(fields: Fields, name: str, form: re.Pattern[str], words: str) -> str:
    value: str = fields.take(name, str)
    if not form.fullmatch(value):
        raise FormatError(f"{fields.what}.{name}", f"must be {words}, not {value[:60]!r}")
    return value
