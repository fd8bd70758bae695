"""A TDX machine in memory: it boots one of our launches, keeps its log and is quoted by the pretend Intel. For tests.

`TrustDomain()` is honest and has the registers that are predicted of it; change its fields to make it lie:

    TrustDomain(edits=(other("initrd"),))               something else was measured, and logged
    TrustDomain(later=(("rtmr3", b"x"),))               something was measured and not logged
    TrustDomain(report={"tdattributes": DEBUG})         fields of its TD report
    TrustDomain(world=world(platform="Revoked"))        its platform, and Intel's collateral

`POLICY` accepts it; `policy(...)` and `rules(...)` change POLICY and its part for trust domains.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pluto_measure.appraise import Appraisal, TdxInputs, verify_evidence
from pluto_measure.evidence import Claims, Envelope, TdxEvidence
from pluto_measure.formats.collateral import Collateral
from pluto_measure.formats.eventlog import LogEvent
from pluto_measure.machine.platform import Platform
from pluto_measure.measurements import Measurements, measure
from pluto_measure.policy import Policy
from pluto_measure.policy.launch_endorsement import STRICT_ENDORSEMENT
from pluto_measure.policy.strict import STRICT
from pluto_measure.predict import predict
from simulators import boot_logs, event_logs, machines
from simulators.intel import NOW, Authority, World, healthy
from simulators.launches import LAUNCH

Edit = Callable[[list[LogEvent]], object]

NONCE = b"\x5a" * 16
OUTER_KEY = bytes(range(32))
CONFIG = hashlib.sha256(b"").digest()
QEMU, GOOGLE = machines.bare_metal(), machines.google()
PLATFORMS = {"qemu-tdx": QEMU, "gcp-tdx": GOOGLE}
REFERENCES = {kind: measure(LAUNCH, platform) for kind, platform in PLATFORMS.items()}
REFERENCE = REFERENCES["qemu-tdx"]
ROOT = hashlib.sha256(Authority.make().root_der).digest()


def policy(**changes: Any) -> Policy:
    """POLICY with fields changed."""
    return dataclasses.replace(POLICY, **changes)


def rules(**changes: Any) -> Policy:
    """POLICY with fields of its part for trust domains changed."""
    assert POLICY.tdx is not None
    return policy(tdx=dataclasses.replace(POLICY.tdx, **changes))


assert STRICT.tdx is not None
# The strict policy, but for the root of the pretend Intel and for references that nobody signed.
POLICY = dataclasses.replace(
    STRICT,
    allow_unsigned_reference=True,
    tdx=dataclasses.replace(STRICT.tdx, insecure_roots=(ROOT,)),
    endorsement=dataclasses.replace(STRICT_ENDORSEMENT, launch_endorsement="any"),
)


@dataclass(frozen=True, kw_only=True)
class TrustDomain:
    """A booted trust domain; what it measured, logged and claims, and the platform under it."""

    kind: str = "qemu-tdx"
    edits: tuple[Edit, ...] = ()  # of what it measured and logged, in order
    later: tuple[tuple[str, bytes], ...] = ()  # register and what was measured into it after the log
    report: Mapping[str, Any] = field(default_factory=dict)  # fields of the TD report
    log: bytes | None = None  # shown instead of its own
    world: World = field(default_factory=healthy)
    config_digest: bytes = CONFIG
    outer_key_digest: bytes = OUTER_KEY
    build_id: bytes = bytes.fromhex(LAUNCH.build_id)
    named: str | None = None  # the platform in the envelope; None: `kind`
    issued_at: datetime = NOW

    @property
    def platform(self) -> Platform:
        return PLATFORMS[self.kind]

    def events(self) -> list[LogEvent]:
        """All records of its log, the first one included."""
        events = list(boot_logs.honest(predict(LAUNCH, self.platform), self.platform).events)
        for edit in self.edits:
            edit(events)
        return events

    def log_bytes(self) -> bytes:
        """The log as its kernel shows it."""
        if self.log is not None:
            return self.log
        return event_logs.encode(self.events()[1:], ("sha384",), cc=True)

    def registers(self) -> dict[str, bytes]:
        """MRTD as predicted, RTMRs as extended."""
        rule = REFERENCES[self.kind].profiles[0].registers["mrtd"]
        values = {f"rtmr{index}": bytes(48) for index in range(4)}
        steps = [(f"rtmr{event.index - 1}", event.digests["sha384"]) for event in self.events()[1:]]
        steps += [(name, hashlib.sha384(content).digest()) for name, content in self.later]
        for name, digest in steps:
            values[name] = hashlib.sha384(values[name] + digest).digest()
        return {"mrtd": rule.values[0]["sha384"], **values}

    def claims(self, nonce: bytes = NONCE) -> Claims:
        return Claims("node", nonce, self.config_digest, self.outer_key_digest, self.build_id)

    def quoted(self, report_data: bytes) -> World:
        """Its world, with the quote that carries `report_data`."""
        found = self.registers()
        rtmrs = tuple(found[f"rtmr{index}"] for index in range(4))
        return self.world.with_report(
            **{"mrtd": found["mrtd"], "rtmrs": rtmrs, "reportdata": report_data, **self.report}
        )

    def quote(self, nonce: bytes = NONCE) -> bytes:
        """A bare quote."""
        return self.quoted(self.claims(nonce).binding()).quote

    def envelope(self, nonce: bytes = NONCE) -> Envelope:
        evidence = TdxEvidence(self.quote(nonce), self.log_bytes())
        return Envelope(self.named or self.kind, 0, self.issued_at, evidence, self.claims(nonce))

    def inputs(self, **changes: Any) -> TdxInputs:
        """What a verifier brings: the world's collateral."""
        return dataclasses.replace(TdxInputs(collateral=collateral_of(self.world)), **changes)


def place(role: str, kind: str = "qemu-tdx") -> int:
    """Where the event with that role stands among the records of an honest log."""
    return [event.role for event in predict(LAUNCH, PLATFORMS[kind])].index(role) + 1


def other(role: str, content: bytes = b"other", kind: str = "qemu-tdx") -> Edit:
    """Something else was measured where that role is expected."""
    at = place(role, kind)

    def edit(events: list[LogEvent]) -> None:
        old = events[at]
        events[at] = LogEvent(old.index, old.type, {"sha384": hashlib.sha384(content).digest()}, old.data)

    return edit


def gone(role: str, kind: str = "qemu-tdx") -> Edit:
    """What has that role was not measured."""
    at = place(role, kind)
    return lambda events: events.pop(at)


def more(register: str, kind: int = 13, content: bytes = b"more") -> Edit:
    """One more event at the end; `kind` is its type."""
    digests = {"sha384": hashlib.sha384(content).digest()}
    return lambda events: events.append(LogEvent(int(register[4:]) + 1, kind, digests, content))


def collateral_of(of: World) -> Collateral:
    return Collateral.parse(json.dumps(of.collateral).encode())


def appraised(
    domain: TrustDomain | None = None,
    *,
    raw: bytes | str | None = None,
    references: tuple[Measurements, ...] | None = None,
    policy: Policy | None = POLICY,
    at: datetime = NOW,
    nonce: bytes | None = NONCE,
    outer_key_digest: bytes | None = OUTER_KEY,
    **inputs: Any,
) -> Appraisal:
    """The appraisal of a trust domain's envelope, or of `raw`, as accepted where nothing is changed."""
    domain = domain or TrustDomain()
    raw = domain.envelope().to_text() if raw is None else raw
    references = (REFERENCES[domain.kind],) if references is None else references
    return verify_evidence(raw, references, policy, at, nonce, outer_key_digest, domain.inputs(**inputs))


def bare(domain: TrustDomain | None = None, **changes: Any) -> Appraisal:
    """The appraisal of its bare quote, with its log and the REPORTDATA that it carries."""
    domain = domain or TrustDomain()
    known = {"report_data": domain.claims().binding(), "log": domain.log_bytes(), "nonce": None}
    chosen = {"outer_key_digest": None, "policy": policy(outer_key_digest="any"), "raw": domain.quote()}
    return appraised(domain, **{**known, **chosen, **changes})


def failed(appraisal: Appraisal) -> list[str]:
    """The ids of the findings that refuse, in their order."""
    return [finding.id for finding in appraisal.failures]


def verdicts(appraisal: Appraisal) -> dict[str, str]:
    return {finding.id: finding.verdict for finding in appraisal.findings}


def warned(appraisal: Appraisal) -> list[str]:
    """The ids of the findings that warn, in their order."""
    return [finding.id for finding in appraisal.findings if finding.verdict == "warning"]
