"""Keeps other commands out: on this computer by a lock, elsewhere by a claim that lies beside the deployment. IO.

Resource Manager has no lock that ends with its holder. So a claim is a tag on a resource that costs nothing, with the
holder's name and the time of its end: another computer respects it until then, the one that made it takes it up again
after it was killed. Two computers that begin within the same second may both be let in; then the steps themselves,
which bring about states and name their generation last, keep what serves whole.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from pluto_deploy.azure import answers, bodies
from pluto_deploy.azure.arm import Arm
from pluto_deploy.azure.kept import Kept
from pluto_deploy.azure.names import CLAIM, OWNER, Names
from pluto_deploy.azure.wanted import Azure
from pluto_measure.errors import PlutoError, SourceError, UsageError

SECONDS: Final = 2 * 3600.0


@contextlib.contextmanager
def held(arm: Arm, names: Names, platform: Azure, kept: Kept, seconds: float = SECONDS) -> Iterator[None]:
    """The deployment is this command's, for `seconds` at most. UsageError where another one is at work."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(kept.locked().locked())
        except SourceError as error:
            problem = f"another command is at work on {names.deployment} on this computer"
            raise UsageError(problem, hint="wait until it has ended") from error
        holder = kept.holder()
        _take(arm, names, platform, holder, seconds)
        try:
            yield
        except BaseException:
            with contextlib.suppress(PlutoError):  # what went wrong first is what is told; the claim ends by itself
                _give_back(arm, names, holder)
            raise
        _give_back(arm, names, holder)


def _take(arm: Arm, names: Names, platform: Azure, holder: str, seconds: float) -> None:
    found = arm.get(names.closed)
    if found is None:
        # As closed as can be, until the first machine is made.
        tags = {**names.tags, CLAIM: _text(holder, arm.server_time + seconds)}
        arm.put(names.closed, bodies.rules(platform, tags, clients=False, egress=()))
    else:
        tags = answers.tags(found, str(names.closed))
        if tags.get(OWNER) != names.deployment:
            raise UsageError(f"{names.closed} is there already, and is not of this deployment")
        _refuse_other(tags.get(CLAIM, ""), holder, arm.server_time)
        arm.patch(names.closed, {"tags": {**tags, CLAIM: _text(holder, arm.server_time + seconds)}})
    found = arm.get(names.closed) or {}
    _refuse_other(answers.tags(found, str(names.closed)).get(CLAIM, ""), holder, arm.server_time)


def _give_back(arm: Arm, names: Names, holder: str) -> None:
    found = arm.get(names.closed)
    tags = {} if found is None else answers.tags(found, str(names.closed))
    if tags.get(CLAIM, "").startswith(holder):
        arm.patch(names.closed, {"tags": {name: value for name, value in tags.items() if name != CLAIM}})


def _text(holder: str, until: float) -> str:
    return f"{holder} {until:.0f}"


def _refuse_other(claim: str, holder: str, now: float) -> None:
    whose, _, until = claim.partition(" ")
    if not claim or whose == holder or not until.isascii() or not until.isdigit() or float(until[:12]) <= now:
        return
    minutes = max(1, round((float(until[:12]) - now) / 60))
    problem = "another command is at work on this deployment, on another computer"
    raise UsageError(problem, hint=f"wait until it has ended; if it was killed, its claim ends in {minutes} minutes")
