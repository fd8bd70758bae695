"""Evidence of an Azure TDX machine, made here: TD quote, paravisor's report, TPM's quote, chain. For tests alone.

`AzureMachine()` is honest; change its fields to make it lie, or one of its parts:

    AzureMachine(td={"tdattributes": DEBUG})                fields of its TD report, and so of its quote
    AzureMachine(quoted={"mrtd": bytes(48)})                fields of the quote alone
    AzureMachine(settings={"secure-boot": True})            what the paravisor was told; ABSENT removes a member
    AzureMachine(report={"kind": 2})                        arguments of `hcl_report`
    AzureMachine(attest={"selections": ()})                 fields of what the TPM signs
    AzureMachine(user_data=bytes(64))                       what is written for the paravisor instead of B

`POLICY` accepts it with `RULES` and `INPUTS`.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa

from pluto_measure.appraise import Appraisal, TdxInputs
from pluto_measure.appraise.azure import appraise_envelope
from pluto_measure.appraise.expected import Expected, NodeExpected
from pluto_measure.evidence import AzureEvidence, Claims, Envelope, TpmQuote, tpm_extra_data
from pluto_measure.formats import tpm
from pluto_measure.formats.eventlog import EventLog, LogEvent
from pluto_measure.machine.platform import Platform
from pluto_measure.measurements import Measurements, measure
from pluto_measure.policy.azure import STRICT_AZURE, AzurePolicy
from pluto_measure.record import replace
from pluto_measure.registers.replay import ima_boot_aggregate, replay
from pluto_measure.verify.azure import AkTrust
from simulators import boot_logs, event_logs, tpm_quotes, trust_domains
from simulators.intel import ABSENT, NOW, World, healthy
from simulators.intel.quotes import TdReport, pattern
from simulators.launches import LAUNCH
from simulators.tpm_quotes import AK_USAGE, certificate, public_of, sign

NONCE, OUTER_KEY, CONFIG = trust_domains.NONCE, trust_domains.OUTER_KEY, trust_domains.CONFIG
PARAVISOR: Final = pattern("paravisor")
REFERENCE: Final = measure(LAUNCH, Platform.default("azure-tdx"))
VM_ID: Final = "69047F12-7AD4-4970-9B31-1157DC14DE07"
SETTINGS: Final[Mapping[str, object]] = {
    "root-cert-thumbprint": "",
    "console-enabled": True,
    "interactive-console-enabled": False,
    "secure-boot": False,
    "tpm-enabled": True,
    "tpm-persisted": False,
    "filtered-vpci-devices-allowed": False,
    "vmUniqueId": VM_ID,
}
SELECTION: Final = (tpm.PcrSelection("sha256", tuple(range(24))),)


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """One key for each name, as making them takes long."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def td_report(fields: TdReport) -> bytes:
    """1024 bytes: TDREPORT_STRUCT with these fields, byte by byte."""
    body = fields.encode()
    tcb = bytes.fromhex("ff01030000000000") + body[:16] + body[16:64] + body[64:112] + body[112:120]
    current, service = (body[584:600], body[600:648]) if len(body) > 584 else (bytes(16), bytes(48))
    info = body[120:520] + service
    mac = b"\x81".ljust(128, b"\0") + body[520:584]
    return mac.ljust(256, b"\0") + (tcb + current).ljust(256, b"\0") + info.ljust(512, b"\0")


def jwk(key: rsa.RSAPrivateKey, kid: str = "HCLAkPub", uses: tuple[str, ...] = ("sign",)) -> dict[str, object]:
    numbers = key.public_key().public_numbers()
    return {"kid": kid, "key_ops": list(uses), "kty": "RSA", "e": _base64url(numbers.e), "n": _base64url(numbers.n)}


def _base64url(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8)).decode().rstrip("=")


def hcl_report(
    hardware: bytes, runtime: bytes, *, magic: bytes = b"HCLA", version: int = 2, size: int | None = None,
    request: int = 2, reserved: bytes = bytes(12), data_size: int | None = None, data_version: int = 1, kind: int = 4,
    hash_type: int = 1, length: int | None = None, padding: bytes = b"", tail: bytes | None = None,
) -> bytes:  # fmt: skip
    """What index 0x01400001 holds: 2600 bytes, or more where the runtime data are long."""
    total = 1216 + 20 + len(runtime)
    head = magic + _words(version, total if size is None else size, request, 0) + reserved
    given = len(runtime) if length is None else length
    data = _words(len(runtime) + 20 if data_size is None else data_size, data_version, kind, hash_type, given)
    whole = head + (hardware + padding).ljust(1184, b"\0") + data + runtime
    return whole.ljust(2600, b"\0") if tail is None else whole + tail


def _words(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


@cache
def chain(name: str = "ak", *, usage: bool = True, days: int = 30) -> tuple[bytes, bytes, bytes]:
    """The certificate of the key with that name, its issuer's, the root's."""
    root, issuer = rsa_key("root"), rsa_key("issuer")
    return (
        certificate("vm", rsa_key(name), "issuer", issuer, ca=False, usage=AK_USAGE if usage else None, days=days),
        certificate("issuer", issuer, "root", root, ca=True),
        certificate("root", root, "root", root, ca=True),
    )


AK_ROOT: Final = hashlib.sha256(chain()[2]).digest()
ISSUERS: Final = chain()[1:]
TRUST: Final = AkTrust(roots=frozenset({AK_ROOT}), issuers=ISSUERS)
POLICY: Final = dataclasses.replace(
    trust_domains.POLICY, platforms=("azure-tdx",), evidence_types=("azure",), ak_trust=(AK_ROOT,)
)
RULES: Final = dataclasses.replace(STRICT_AZURE, paravisors=(PARAVISOR,))


@dataclass(frozen=True, kw_only=True)
class AzureMachine:
    """A booted machine of Azure's, its paravisor, and the platform under both."""

    world: World = field(default_factory=healthy)
    td: Mapping[str, Any] = field(default_factory=dict)
    quoted: Mapping[str, Any] = field(default_factory=dict)
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa_key("ak"))
    signer: rsa.RSAPrivateKey | None = None  # None: `key`
    hash: str = "sha256"
    keys: tuple[Mapping[str, object], ...] | None = None  # in the runtime data; None: `key`, and one for encryption
    settings: Mapping[str, object] = field(default_factory=dict)
    more: Mapping[str, object] = field(default_factory=dict)  # members of the runtime data
    report: Mapping[str, Any] = field(default_factory=dict)
    attest: Mapping[str, Any] = field(default_factory=dict)
    user_data: bytes | None = None
    extra_data: bytes | None = None
    certificates: tuple[bytes, ...] | None = None  # None: that of `key`, as the notary gives it
    edits: tuple[trust_domains.Edit, ...] = ()  # of what it measured and logged
    later: tuple[tuple[int, bytes], ...] = ()  # register and what was measured into it after the log
    log: bytes | None = None
    build_id: bytes = bytes.fromhex(LAUNCH.build_id)
    named: str = "azure-tdx"
    issued_at: datetime = NOW

    def events(self) -> list[LogEvent]:
        """All records of its log: what is predicted, between things that Microsoft's firmware measures of itself."""
        honest = list(boot_logs.machine("azure")[1].events[1:])
        own = [
            event_logs.measured(0, 0x80000008, b"firmware"),
            event_logs.measured(7, 0x80000001, b"SecureBoot is off"),
            event_logs.measured(7, 4, bytes(4)),
            event_logs.measured(7, 0x800000E0, b"db"),
            event_logs.measured(5, 0x80000006, b"partitions"),
        ]
        events = [*own, *honest]
        for edit in self.edits:
            edit(events)
        return [LogEvent(e.index, e.type, {"sha256": e.digests["sha256"]}, e.data) for e in events]

    def registers(self) -> dict[str, bytes]:
        """The bank sha256, as extended."""
        values = replay(EventLog("tpm", ("sha256",), tuple(self.events())))["sha256"]
        values["pcr10"] = ima_boot_aggregate(values, "sha256")
        for index, content in self.later:
            values[f"pcr{index}"] = hashlib.sha256(values[f"pcr{index}"] + hashlib.sha256(content).digest()).digest()
        return values

    def claims(self, nonce: bytes = NONCE) -> Claims:
        return Claims("node", nonce, CONFIG, OUTER_KEY, self.build_id)

    def runtime(self, user_data: bytes) -> bytes:
        told = {name: value for name, value in {**SETTINGS, **self.settings}.items() if value is not ABSENT}
        keys = (jwk(self.key), jwk(self.key, "HCLEkPub", ("encrypt",))) if self.keys is None else self.keys
        members = {"keys": list(keys), "vm-configuration": told, "user-data": user_data.hex(), **self.more}
        present = {name: value for name, value in members.items() if value is not ABSENT}
        return json.dumps(present, separators=(",", ":")).encode()

    def quote_over(self, runtime: bytes) -> tuple[bytes, World]:
        """The TD report that covers the runtime data, and the world with its quote."""
        data = hashlib.sha256(runtime).digest() + bytes(32)
        fields = {"mrtd": PARAVISOR, "rtmrs": (bytes(48),) * 4, "reportdata": data, **self.td}
        world = self.world.with_report(**fields)
        return td_report(world.report), world.with_report(**self.quoted)

    def hcl(self, user_data: bytes) -> bytes:
        """The whole report of the paravisor."""
        runtime = self.runtime(user_data)
        return hcl_report(self.quote_over(runtime)[0], runtime, **self.report)

    def tpm_quote(self, bound: bytes) -> TpmQuote:
        registers = self.registers()
        values = b"".join(registers[f"pcr{index}"] for index in range(24))
        name = tpm.qualified_name(tpm.RH_ENDORSEMENT, public_of(self.key))
        extra = tpm_extra_data(bound) if self.extra_data is None else self.extra_data
        attest = tpm.Attest(name, extra, 1, 1, 0, True, 1, SELECTION, hashlib.sha256(values).digest())
        data = replace(attest, **self.attest).marshal()
        return TpmQuote(data, sign(self.signer or self.key, data, self.hash), {"sha256": registers})

    def log_bytes(self) -> bytes:
        return event_logs.encode(self.events(), ("sha256",)) if self.log is None else self.log

    def evidence(self, bound: bytes) -> AzureEvidence:
        user_data = bound if self.user_data is None else self.user_data
        _, world = self.quote_over(self.runtime(user_data))
        certificates = chain()[:1] if self.certificates is None else self.certificates
        return AzureEvidence(
            self.hcl(user_data), world.quote, self.tpm_quote(bound), certificates, self.log_bytes()
        )  # fmt: skip

    def envelope(self, nonce: bytes = NONCE) -> Envelope:
        claims = self.claims(nonce)
        return Envelope(self.named, 0, self.issued_at, self.evidence(claims.binding()), claims)

    def inputs(self, **changes: Any) -> TdxInputs:
        """What a verifier brings: the world's collateral."""
        return dataclasses.replace(TdxInputs(collateral=trust_domains.collateral_of(self.world)), **changes)


def appraised(
    machine: AzureMachine | None = None,
    *,
    envelope: Envelope | None = None,
    references: tuple[Measurements, ...] = (REFERENCE,),
    policy: Any = POLICY,
    rules: AzurePolicy | None = RULES,
    at: datetime = NOW,
    expected: Expected | None = None,
    issuers: tuple[bytes, ...] = ISSUERS,
    **inputs: Any,
) -> Appraisal:
    """The appraisal of a machine's envelope, as accepted where nothing is changed."""
    machine = machine or AzureMachine()
    return appraise_envelope(
        envelope or machine.envelope(),
        references,
        policy,
        rules,
        at=at,
        expected=expected or NodeExpected(NONCE, OUTER_KEY),
        tdx=machine.inputs(**inputs),
        ak_issuers=issuers,
    )


def td_rules(**changes: Any) -> Any:
    """POLICY with fields of its part for trust domains changed."""
    assert POLICY.tdx is not None
    return dataclasses.replace(POLICY, tdx=dataclasses.replace(POLICY.tdx, **changes))


assert tpm_quotes.NOW == NOW, "certificates are valid when quotes are"
