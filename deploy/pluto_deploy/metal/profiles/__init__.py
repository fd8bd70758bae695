"""What is known of a provider's machines beyond what they show: reports of others, by whom, and what is confirmed.

Pure. A report never passes a machine; it refuses one on which TDX is not seen, with its source.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pluto_deploy.metal.check.facts import HostFacts
from pluto_deploy.metal.check.finding import HostFinding, failed, passed, warned
from pluto_deploy.metal.check.hardware import ANOTHER, has_seam, seen_on
from pluto_measure.errors import UsageError


@dataclass(frozen=True, slots=True)
class Report:
    """A report that some machines cannot run trust domains. `processor`: part of a model name; `model`: of family 6."""

    machines: str
    reported: str
    by: str
    confirmed: str
    processor: str | None = None
    model: int | None = None

    def fits(self, facts: HostFacts) -> bool:
        """Whether the machine is one of those reported."""
        if self.processor is not None:
            return self.processor in (facts.processor.name or "").split()
        return facts.processor.family == 6 and facts.processor.model == self.model

    def __str__(self) -> str:
        return f"{self.machines}: {self.reported}; reported by {self.by}; confirmed: {self.confirmed}"


@dataclass(frozen=True, slots=True)
class Profile:
    """A provider. `reports`: the most specific first."""

    name: str
    provider: str
    reports: tuple[Report, ...]
    unknown: str  # what is said of a machine that nobody reported on

    def judge(self, facts: HostFacts) -> Iterator[HostFinding]:
        """One finding on the machine's model."""
        check, name = "profile.model", facts.processor.name or "a processor without a name"
        report = next((one for one in self.reports if one.fits(facts)), None)
        if seen_on(facts):
            against = f", although reported otherwise ({report.by})" if report else ""
            yield passed(check, f"TDX is on in this machine of {self.provider}'s{against}", actual=name)
        elif report is None:
            yield warned(check, f"{name}: {self.unknown}", self._question, "operator", actual=name)
        elif report.processor is None and has_seam(facts):
            text = f"{report}; this part has SEAM's range registers, so it may be another"
            yield warned(check, text, self._question, "operator", actual=name)
        else:
            yield failed(check, str(report), ANOTHER, "hardware", actual=name)

    @property
    def _question(self) -> str:
        return f"ask {self.provider} whether TDX can be switched on in the BIOS of this model before you rely on it"


NAMES: Final = ("hetzner",)


def by_name(name: str) -> Profile:
    """A profile. UsageError for a name that there is none of."""
    if name == "hetzner":
        from pluto_deploy.metal.profiles import hetzner

        return hetzner.PROFILE
    raise UsageError(f"there is no profile {name!r}", hint=f"profiles are: {', '.join(NAMES)}")
