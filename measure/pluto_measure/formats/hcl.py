"""The report of Azure's paravisor (HCL): a TD report, and the runtime data that it covers. Pure; nothing is verified.

What NV index 0x01400001 of the machine's TPM holds, as kinvolk/azure-cvm-tooling and real reports have it. The form
comes from the paravisor's request for a certificate of its attestation key. All integers are little-endian.

    report   = "HCLA" u32:2 u32:size u32:request(2) u32:status 12 zeros   size: from the start to the runtime data's end
               hardware:1184                                              a TD report (1024), then zeros
               u32:size u32:1 u32:kind u32:hash(1) u32:length             kind 4: TDX; size: these 20 bytes and the JSON
               JSON zeros
    REPORTDATA of the TD report = SHA-256(JSON) 32 zeros

A TD report is TDREPORT_STRUCT of the TDX module ABI 348551: REPORTMACSTRUCT at 0, TEE_TCB_INFO at 256, TDINFO at 512.
Members of the JSON that have no name here are told by name, for a policy to judge: Microsoft adds some now and then.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.quote import TdReport
from pluto_measure.formats.reader import Reader
from pluto_measure.formats.strict_json import Fields, loads

LIMIT: Final = 16 * 1024  # bytes; a genuine report has 2600
USER_DATA_BYTES: Final = 64

_HEADER: Final = 32
_HARDWARE: Final = 1184
_TD_REPORT: Final = 1024
_TDX: Final = 4
_OTHER_KINDS: Final = {0: "no hardware", 1: "an unknown kind", 2: "AMD SEV-SNP", 3: "virtualisation alone"}
_SHA256: Final = 1
_AK: Final = "HCLAkPub"
_MOST_KEYS, _MOST_OTHERS, _LONGEST_NAME = 8, 32, 64
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
# Fields of VmConfiguration, and what the JSON calls them.
_FLAGS: Final[Mapping[str, str]] = {
    "secure_boot": "secure-boot",
    "tpm_enabled": "tpm-enabled",
    "tpm_persisted": "tpm-persisted",
    "console": "console-enabled",
    "interactive_console": "interactive-console-enabled",
    "filtered_vpci_devices": "filtered-vpci-devices-allowed",
}
_TEXTS: Final = ("vmUniqueId", "root-cert-thumbprint")
# In a TD report: fields of TdReport in its order, where each begins and its size.
_FIELDS: Final[tuple[tuple[int, int], ...]] = (
    (264, 16), (280, 48), (328, 48), (376, 8), (512, 8), (520, 8), (528, 48), (576, 48), (624, 48), (672, 48),
    (720, 48), (768, 48), (816, 48), (864, 48), (128, 64), (384, 16), (912, 48),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RsaKey:
    """A public key as the runtime data have it."""

    modulus: int
    exponent: int


@dataclass(frozen=True, slots=True)
class VmConfiguration:
    """How the paravisor was told to run the machine; None for what it does not say.

    `others` are the names of members that are not known here, those of the runtime data beside it included.
    """

    secure_boot: bool | None
    tpm_enabled: bool | None
    tpm_persisted: bool | None
    console: bool | None
    interactive_console: bool | None
    filtered_vpci_devices: bool | None  # whether some devices of the host's are let through
    vm_id: str | None  # lower case
    others: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """For programs, under the names of a policy."""
        return {
            "secureBoot": self.secure_boot,
            "tpmEnabled": self.tpm_enabled,
            "tpmPersisted": self.tpm_persisted,
            "console": self.console,
            "interactiveConsole": self.interactive_console,
            "filteredVpciDevices": self.filtered_vpci_devices,
            "vmId": self.vm_id,
            "otherSettings": list(self.others),
        }


@dataclass(frozen=True, slots=True)
class HclReport:
    """One report of a TDX machine, parsed."""

    td_report: TdReport  # as version 1.5; what 1.0 has not is zero
    runtime_data: bytes  # the JSON, as REPORTDATA covers it
    ak: RsaKey
    configuration: VmConfiguration
    user_data: bytes  # 64

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """FormatError for anything but the report of a TDX machine."""
        if len(data) > LIMIT:
            raise FormatError("HCL report", f"{len(data)} bytes are more than {LIMIT}")
        reader = Reader(data, what="HCL report")
        version, size, request, reserved = _header(reader)
        hardware = reader.take(_HARDWARE, "hardware report")
        runtime = _runtime(reader)
        end = reader.offset
        if version != 2 or request != 2 or any(reserved):
            raise FormatError("HCL report", f"version {version} with request type {request} is not known", offset=4)
        if size != end:
            raise FormatError("HCL report", f"its size is said to be {size}, and is {end}", offset=8)
        if any(reader.rest()):
            raise FormatError("HCL report", "bytes behind the runtime data are not zero", offset=end)
        return cls(_td_report(hardware), runtime, *_parsed(runtime))


def _header(reader: Reader) -> tuple[int, int, int, bytes]:
    """Version, size, request type, and what is reserved."""
    if (magic := reader.take(4, "signature")) != b"HCLA":
        raise FormatError("HCL report", f"begins with {magic!r}, not with 'HCLA'", offset=0)
    version, size = reader.uint(4, "version"), reader.uint(4, "report size")
    request = reader.uint(4, "request type")
    reader.uint(4, "status")
    return version, size, request, reader.take(_HEADER - 20, "reserved")


def _runtime(reader: Reader) -> bytes:
    begin = reader.offset
    size, version = reader.uint(4, "data size"), reader.uint(4, "data version")
    kind, algorithm = reader.uint(4, "report type"), reader.uint(4, "hash type")
    if kind != _TDX:
        name = _OTHER_KINDS.get(kind, "an unknown kind")
        raise FormatError(
            "HCL report", f"report type {kind} ({name}) is not TDX ({_TDX}): nothing here judges it", offset=begin + 8
        )
    if algorithm != _SHA256 or version != 1:
        problem = f"data version {version} with hash type {algorithm} is not 1 with SHA-256 ({_SHA256})"
        raise FormatError("HCL report", problem, offset=begin + 4)
    runtime = reader.take(reader.uint(4, "runtime data size"), "runtime data")
    if size != reader.offset - begin:
        raise FormatError("HCL report", f"its data are said to have {size} bytes", offset=begin)
    return runtime


def _td_report(hardware: bytes) -> TdReport:
    if hardware[:2] != b"\x81\0":
        raise FormatError("HCL report", f"the hardware report is of type {hardware[:2].hex()}, no TD report", offset=32)
    if any(hardware[_TD_REPORT:]):
        raise FormatError("HCL report", "bytes behind the TD report are not zero", offset=_HEADER + _TD_REPORT)
    values: tuple[Any, ...] = tuple(hardware[at : at + size] for at, size in _FIELDS)
    return TdReport("1.5", *values)


def _parsed(runtime: bytes) -> tuple[RsaKey, VmConfiguration, bytes]:
    value = loads(runtime, what="runtime data", limit=LIMIT)
    if not isinstance(value, dict):
        raise FormatError("runtime data", f"must be an object, not {type(value).__name__}")
    top = Fields(value, what="runtime data")
    ak = _attestation_key(top.take("keys", list))
    configuration, user_data = top.take("vm-configuration", dict), _user_data(top.take("user-data", str))
    others = [name for name in value if name not in ("keys", "vm-configuration", "user-data")]
    return ak, _configuration(configuration, others), user_data


def _attestation_key(keys: list[Any]) -> RsaKey:
    if len(keys) > _MOST_KEYS:
        raise FormatError("runtime data", f"{len(keys)} keys are more than {_MOST_KEYS}")
    found = [fields for fields in (Fields(key, what="runtime data.keys[]") for key in keys) if _is_ak(fields)]
    if len(found) != 1:
        raise FormatError("runtime data", f"{len(found)} keys are called {_AK}, not one")
    fields = found[0]
    if (kind := fields.take("kty", str)) != "RSA":
        raise FormatError(fields.what, f"{_AK} is of type {kind[:20]!r}, not RSA")
    if fields.take("key_ops", list) != ["sign"]:
        raise FormatError(fields.what, f"{_AK} is not for signatures alone")
    key = RsaKey(_number(fields, "n"), _number(fields, "e"))
    fields.end()
    return key


def _is_ak(fields: Fields) -> bool:
    return bool(fields.take("kid", str) == _AK)


def _number(fields: Fields, name: str) -> int:
    """An unsigned number of RFC 7518, section 2: base64url of as few bytes as it takes."""
    text = fields.take(name, str)
    if not _BASE64URL.fullmatch(text):
        raise FormatError(fields.what, f"{name} is not base64url")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise FormatError(fields.what, f"{name} is not base64url") from error
    if base64.urlsafe_b64encode(data).decode().rstrip("=") != text or data[0] == 0:
        raise FormatError(fields.what, f"{name} is not the one spelling of a number")
    return int.from_bytes(data)


def _configuration(value: Mapping[str, Any], others: list[str]) -> VmConfiguration:
    fields, known = Fields(value, what="runtime data.vm-configuration"), (*_FLAGS.values(), *_TEXTS, "current-time")
    others = [*others, *(name for name in value if name not in known)]
    if len(others) > _MOST_OTHERS:
        raise FormatError("runtime data", f"{len(others)} members that are not known are more than {_MOST_OTHERS}")
    for name in others:
        if not (_NAME.fullmatch(name) and len(name) <= _LONGEST_NAME):
            raise FormatError("runtime data", f"a member is called {name[:_LONGEST_NAME]!r}, which is no name")
    flags = {name: fields.get(member, None, bool) for name, member in _FLAGS.items()}
    vm_id, _ = (fields.get(name, None, str) for name in _TEXTS)
    fields.get("current-time", None, int)
    if vm_id is not None and not _UUID.fullmatch(vm_id):
        raise FormatError(fields.what, "vmUniqueId is no UUID")
    named = None if vm_id is None else vm_id.lower()
    return VmConfiguration(**flags, vm_id=named, others=tuple(sorted(set(others))))


def _user_data(text: str) -> bytes:
    """Hex of either case: it is the bytes of the JSON that are signed, whatever they spell."""
    if len(text) != 2 * USER_DATA_BYTES or not all(letter in "0123456789abcdefABCDEF" for letter in text):
        raise FormatError("runtime data", f"user-data is not {USER_DATA_BYTES} bytes in hex")
    return bytes.fromhex(text)
