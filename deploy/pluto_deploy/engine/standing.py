"""How a deployment stands: what serves, appraised, and whether it is what the file asks for. Pure, but for the gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pluto_deploy.engine.plan import Plan, plan
from pluto_deploy.engine.scene import Generation, Machine, Scene
from pluto_measure.errors import RefusedError
from pluto_measure.findings import Finding, failures

if TYPE_CHECKING:
    from pluto_measure.appraise import Appraisal

# Warnings of every appraisal under a policy that permits their cause by a word of its own: insecure_software_tpm,
# insecure_roots, allowUnsignedReference, allowDebug, allowMigratable, and "any" for paravisors and launchEndorsement.
# Whoever wrote it knows.
_PERMITTED: Final = (
    *("policy.ak_trust", "policy.insecure_root", "policy.reference_signature"),
    *("td.debug", "td.migratable", "td.initial_platform"),
    *("policy.token_trust", "space.dbgstat", "space.support_attributes"),
    *("endorsement.given", "endorsement.insecure_root", "azure.paravisor"),
)
_ADVISED: Final = ("TDRelaunchAdvised", "TDRelaunchAdvisedConfigurationNeeded")


@dataclass(frozen=True, slots=True)
class Standing:
    """The machine that serves, its appraisal, and findings about the deployment itself. `relaunch`: the plan for it,

    where Intel advises one: the platform was updated, and the trust domain runs with what it had before.
    """

    machine: Machine
    appraisal: Appraisal
    findings: tuple[Finding, ...]
    relaunch: Plan | None

    @property
    def accepted(self) -> bool:
        return self.appraisal.accepted and not failures(self.findings)

    @property
    def exit_code(self) -> int:
        """0 accepted, 4 not authentic, 5 refused, also where something else serves than the file asks for."""
        return self.appraisal.exit_code or (0 if self.accepted else RefusedError.exit_code)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What is worth a look, though it is accepted."""
        return tuple(one for one in (*self.findings, *self.appraisal.findings) if one.verdict == "warning")

    @property
    def news(self) -> tuple[Finding, ...]:
        """The warnings that the operator's own policy does not permit by an `insecure_` or `allow` word."""
        return tuple(one for one in self.warnings if one.id not in _PERMITTED)

    def to_json(self) -> dict[str, object]:
        return {
            "accepted": self.accepted,
            "machine": self.machine.to_json(),
            "appraisal": self.appraisal.to_json(),
            "findings": [finding.to_json() for finding in self.findings],
            "relaunch": None if self.relaunch is None else self.relaunch.to_json(),
        }


def standing(
    wanted: Generation, scene: Scene, machine: Machine, appraisal: Appraisal, *, strategy: str, older: bool
) -> Standing:
    """What to say of the machine that serves. `older`: another generation than the file's may serve."""
    findings = (_generation(wanted, machine, appraisal, older=older), *_beside(scene))
    advised = appraisal.tcb is not None and appraisal.tcb.status in _ADVISED
    relaunch = None
    if advised and machine.generation is not None:
        relaunch = plan(machine.generation, scene, strategy=strategy, relaunch=True)
        text = "Intel advises a relaunch: the platform was updated after this trust domain was started"
        findings += (
            Finding("deployment.relaunch", "warning", text, None, appraisal.tcb.status if appraisal.tcb else ""),
        )
    return Standing(machine, appraisal, findings, relaunch)


def _generation(wanted: Generation, machine: Machine, appraisal: Appraisal, *, older: bool) -> Finding:
    check, found = "deployment.generation", machine.generation
    actual = None if found is None else found.id
    if found == wanted:
        return Finding(check, "pass", "the machine that the file asks for serves", wanted.id, actual)
    text = f"machine {machine.slot} serves, which is {appraisal.verdict} and another one than the file asks for"
    if appraisal.accepted and not older:
        text += "; --accept-older accepts that"
    return Finding(check, "warning" if older else "fail", text, wanted.id, actual)


def _beside(scene: Scene) -> tuple[Finding, ...]:
    other = scene.other
    if other is None or other.state not in ("running", "incomplete"):
        return ()
    text = f"machine {other.slot} is {other.state} and does not serve: a command did not end"
    return (Finding("deployment.leftover", "warning", text, None, other.slot),)
