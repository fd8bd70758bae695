"""The claims of a Confidential Space token, and what reference values say of them. Pure; nothing is verified.

Google Cloud, Confidential Space, "Attestation token claims" (2026-04), and tokens that were seen:

    iss, sub text   iat, nbf, exp whole seconds   aud, swversion, eat_nonce text or [ text … ]
    secboot bool    oemid uint    hwmodel, swname, dbgstat text
    attester_tcb, google_service_accounts [ text … ]
    tdx    { gcp_attester_tcb_status, gcp_attester_tcb_date }, or a list of such objects, without a name twice
    submods.confidential_space { support_attributes [ text … ], monitoring_enabled { name: bool } }
    submods.container          { image_reference, image_digest, image_id, restart_policy text, args, cmd_override
                                 [ text … ], env, env_override { name: text }, image_signatures [ … ] }
    submods.gce                { project_id, project_number, zone, instance_id, instance_name text }

A claim of the wrong kind is an error; one that is absent is empty here, and a rule that asks for it fails. Lists and
objects may be null where they are empty. Claims that nobody here knows are named in `unknown` and mean nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields

PLATFORM: Final = "gcp-confidential-space"
SOFTWARE: Final = "CONFIDENTIAL_SPACE"  # `GCE` is what Google says of everything else
HARDWARE: Final = "GCP_INTEL_TDX"
HARDENED: Final = "disabled-since-boot"
DEBUG: Final = "enabled"
SUPPORT: Final = ("LATEST", "STABLE", "USABLE", "EXPERIMENTAL")
_LATEST: Final = 2**33  # seconds since 1970: in the year 2242
_MOST_UNKNOWN: Final = 64  # names that are kept

Texts = tuple[str, ...]
Variables = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SpaceContainer:
    """The workload, as the launcher measured it. Digests as "sha256:…"."""

    image_reference: str
    image_digest: str
    image_id: str
    restart_policy: str
    args: Texts  # the whole argv
    env: Variables
    env_override: Variables  # what the operator set, by the launch policy of the image
    cmd_override: Texts

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """FormatError. Signatures are ignored: who signed an image says nothing about which one it is."""
        fields.get("image_signatures", None, list, type(None))
        return cls(
            image_reference=fields.get("image_reference", "", str),
            image_digest=fields.get("image_digest", "", str),
            image_id=fields.get("image_id", "", str),
            restart_policy=fields.get("restart_policy", "", str),
            args=_texts(fields, "args"),
            env=_variables(fields, "env"),
            env_override=_variables(fields, "env_override"),
            cmd_override=_texts(fields, "cmd_override"),
        )


@dataclass(frozen=True, slots=True)
class SpaceInstance:
    """The virtual machine, by Compute Engine's names."""

    project_id: str
    project_number: str
    zone: str
    instance_id: str
    instance_name: str

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        return cls(*(fields.get(name, "", str) for name in cls.__dataclass_fields__))


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceClaims:
    """What a token says. Texts that are not there are "", lists empty."""

    issuer: str
    subject: str
    audiences: Texts
    issued_at: datetime
    not_before: datetime
    expires_at: datetime
    nonces: Texts
    secure_boot: bool | None
    oem_id: int | None
    hardware: str  # hwmodel
    software: str  # swname
    software_versions: Texts
    debug: str  # dbgstat
    attester_tcb: Texts
    tcb_status: str  # Google's word on the platform's TCB
    tcb_date: str
    support: Texts
    monitoring: Mapping[str, bool] | None
    container: SpaceContainer | None
    instance: SpaceInstance | None
    service_accounts: Texts
    unknown: Texts  # names of claims that nobody here knows

    @classmethod
    def parse(cls, payload: Mapping[str, Any]) -> Self:
        """From a token's payload. FormatError for a claim of the wrong kind."""
        top = _Open(payload, what="token")
        top.get("eat_profile", "", str)
        tdx = _merged(top)
        submods = top.open("submods") or _Open({}, what="token.submods")
        space, container, instance = (submods.open(name) for name in ("confidential_space", "container", "gce"))
        claims = {
            "issuer": top.get("iss", "", str),
            "subject": top.get("sub", "", str),
            "audiences": _one_or_more(top, "aud"),
            "issued_at": _time(top, "iat"),
            "not_before": _time(top, "nbf"),
            "expires_at": _time(top, "exp"),
            "nonces": _one_or_more(top, "eat_nonce"),
            "secure_boot": top.get("secboot", None, bool),
            "oem_id": top.get("oemid", None, int),
            "hardware": top.get("hwmodel", "", str),
            "software": top.get("swname", "", str),
            "software_versions": _one_or_more(top, "swversion"),
            "debug": top.get("dbgstat", "", str),
            "attester_tcb": _texts(top, "attester_tcb"),
            "tcb_status": tdx.get("gcp_attester_tcb_status", "", str),
            "tcb_date": tdx.get("gcp_attester_tcb_date", "", str),
            "support": _texts(space, "support_attributes") if space else (),
            "monitoring": _monitoring(space) if space else None,
            "container": SpaceContainer.parse(container) if container else None,
            "instance": SpaceInstance.parse(instance) if instance else None,
            "service_accounts": _texts(top, "google_service_accounts"),
        }
        objects = (top, tdx, submods, space, container, instance)
        unknown = sorted(name for fields in objects if fields for name in fields.left())
        return cls(**claims, unknown=tuple(unknown[:_MOST_UNKNOWN]))


@dataclass(frozen=True, slots=True)
class SpaceReference:
    """What the reference values of one build ask of its token: the container, exactly.

    How well Google supports its own image and when the container is started again are the policy's to ask: both may
    change while the build does not.
    """

    image_digest: str
    image_id: str
    args: Texts
    env: Variables
    env_override: Variables
    cmd_override: Texts

    @classmethod
    def parse(cls, claims: Mapping[str, object]) -> Self:
        """From `claims` of a profile in measurements.json. FormatError for anything unknown, missing or different.

        What is the same for every build is a rule of the verifier's, and must be said as he has it.
        """
        top = Fields(claims, what="measurements.json claims")
        fixed = {"swname": SOFTWARE, "hwmodel": HARDWARE, "dbgstat": HARDENED, "secboot": True}
        for name, value in fixed.items():
            if (said := top.take(name, type(value))) != value:
                raise FormatError(top.what, f"{name} is {said!r}, and only {value!r} is ever accepted")
        submods = top.sub("submods")
        container = submods.sub("container")
        found = cls(
            image_digest=container.take("image_digest", str),
            image_id=container.take("image_id", str),
            args=_checked_texts(container.take("args", list), container.what, "args"),
            env=_checked_variables(container.take("env", dict), container.what, "env"),
            env_override=_checked_variables(container.take("env_override", dict), container.what, "env_override"),
            cmd_override=_checked_texts(container.take("cmd_override", list), container.what, "cmd_override"),
        )
        for fields in (top, submods, container):
            fields.end()
        return found


class _Open(Fields):
    """The members of an object to which Google may add others."""

    def open(self, name: str) -> _Open | None:
        """A member that is an object, null or not there."""
        value = self.get(name, None, dict, type(None))
        return None if value is None else _Open(value, what=f"{self.what}.{name}")

    def left(self) -> Texts:
        """Names of members that nobody took."""
        return tuple(f"{self.what}.{name}".removeprefix("token.") for name in self._left)


def _one_or_more(fields: Fields, name: str) -> Texts:
    value = fields.get(name, [], str, list)
    return (value,) if isinstance(value, str) else _checked_texts(value, fields.what, name)


def _texts(fields: Fields, name: str) -> Texts:
    return _checked_texts(fields.get(name, None, list, type(None)) or [], fields.what, name)


def _checked_texts(values: list[Any], what: str, name: str) -> Texts:
    for value in values:
        if not isinstance(value, str):
            raise FormatError(what, f"{name} must hold texts, not {type(value).__name__}")
    return tuple(values)


def _variables(fields: Fields, name: str) -> Variables:
    return _checked_variables(fields.get(name, None, dict, type(None)) or {}, fields.what, name)


def _checked_variables(values: dict[str, Any], what: str, name: str) -> Variables:
    _checked_texts(list(values.values()), what, name)
    return MappingProxyType(dict(values))


def _monitoring(space: Fields) -> Mapping[str, bool] | None:
    if (found := space.get("monitoring_enabled", None, dict, type(None))) is None:
        return None
    if not all(isinstance(value, bool) for value in found.values()):
        raise FormatError(space.what, "monitoring_enabled must hold booleans")
    return MappingProxyType(dict(found))


def _merged(top: Fields) -> _Open:
    """`tdx`: an object, or a list of objects that together are one."""
    value = top.get("tdx", {}, dict, list)
    found: dict[str, Any] = {}
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, dict):
            raise FormatError("token.tdx", f"must hold objects, not {type(item).__name__}")
        if twice := sorted(found.keys() & item.keys()):
            raise FormatError("token.tdx", f"has {twice[0][:40]!r} twice")
        found |= item
    return _Open(found, what="token.tdx")


def _time(fields: Fields, name: str) -> datetime:
    value: int = fields.take(name, int)
    if not 0 <= value < _LATEST:
        raise FormatError(fields.what, f"{name} is no time that we know")
    return datetime.fromtimestamp(value, UTC)
