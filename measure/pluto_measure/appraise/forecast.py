"""What Intel's early set of collateral says that is worse than what the standard one says. Pure; words."""

from __future__ import annotations

from typing import Final

from pluto_measure.appraise.shortfall import tcb_date
from pluto_measure.verify.tcb import NOT_SUPPORTED, Tcb

# From the best to the worst.
_SEVERITY: Final = (
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "TDRelaunchAdvised",
    "TDRelaunchAdvisedConfigurationNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
    "Revoked",
    NOT_SUPPORTED,
)


def forecast(standard: Tcb, early: Tcb) -> str | None:
    """A status that is worse, or more advisories for the same one; None where there is neither."""
    new = [advisory for advisory in early.advisories if advisory not in standard.advisories]
    before, after = _SEVERITY.index(standard.status), _SEVERITY.index(early.status)
    if after < before or (after == before and not new):
        return None
    said = f"{early.status} ({tcb_date(early.date)})"
    if after == before:
        text = f"Intel's early set says {said} as the standard one does, but with new advisories: {', '.join(new)}"
    else:
        text = f"Intel's early set says {said}, the standard one {standard.status} ({tcb_date(standard.date)})"
        text += f"; new advisories: {', '.join(new)}" if new else ""
    return f"{text}; Intel will make the early set the standard one"
