"""What every command about a deployment needs: the file read, the release judged, the target opened, the gate.

DEPLOYMENT.toml ──▶ Deployment ──▶ Rules (trust, policy, memory) ──▶ Wish ──▶ Target
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from pluto_deploy import targets, tools
from pluto_deploy.deployment import Deployment
from pluto_deploy.engine.accepted import Accepted
from pluto_deploy.engine.journal import Journal
from pluto_deploy.engine.scene import Machine
from pluto_deploy.engine.target import Address, Target
from pluto_deploy.engine.wish import (
    SMALL,
    Expected,
    NotVerifiedError,
    ReleaseNotAuthenticError,
    Rules,
    UnacceptedError,
    Wish,
    appraisable,
    for_old,
    rules,
    tee_of,
    wish,
)
from pluto_measure.commands import cloud_options, files
from pluto_measure.digests import Digests
from pluto_measure.errors import PlutoError, SourceError, UsageError
from pluto_measure.progress import Progress
from pluto_measure.publish.folder import ReleaseMemory
from pluto_measure.publish.judge import Files

if TYPE_CHECKING:
    from pluto_deploy.engine.gate import Gate
    from pluto_measure.appraise import Appraisal

_LIMIT: Final = 64 * 1024


class UnknownGenerationError(NotVerifiedError):
    """A machine whose configuration and size are the host's word alone."""

    hint = "where you know what it is, run the command again with --accept-unknown"


@dataclass(frozen=True, slots=True)
class Given:
    """Files that a command brings to evidence. `collateral` None: what the state folder keeps."""

    collateral: Path | None = None
    endorsements: tuple[Path, ...] = ()
    ak_issuers: tuple[Path, ...] = ()
    google_keys: Path | None = None

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Self:
        """By the options of `add_judging_options`, where the command has them."""
        return cls(
            getattr(arguments, "collateral", None),
            tuple(getattr(arguments, "endorsement", ())),
            tuple(getattr(arguments, "ak_issuers", ())),
            getattr(arguments, "google_keys", None),
        )


@dataclass(frozen=True, slots=True)
class Session:
    """One command's work on one deployment."""

    deployment: Deployment
    rules: Rules | None  # None where nothing is judged
    wish: Wish | None
    target: Target
    journal: Journal
    state: Path
    given: Given
    progress: Progress
    accepted: Accepted
    accept_unknown: bool = False
    writes: bool = True  # whether this command may write on this computer

    def gate(self, expected: Expected) -> Gate:
        """The gate for machines that must be as `expected`."""
        from pluto_deploy.engine.gate import Gate  # what only plans and looks does without its half a second

        return Gate(
            expected=expected,
            state=self.state,
            collateral=self.given.collateral,
            endorsements=self.given.endorsements,
            ak_issuers=self.given.ak_issuers,
            space=targets.space_of(self.target, self.given.google_keys),
            now=now,
        )

    def expected_of(self, machine: Machine, *, older: bool, known: bool = True) -> Expected:
        """What a machine that is there must be, by its own release. `older`: which may be older than one seen before;
        `known`: which must have been accepted from this computer, since what it is made of is the host's word.

        NotVerifiedError and ReleaseNotAuthenticError where that release is not accepted.
        """
        generation = machine.generation
        assert generation is not None, "only complete machines are appraised"
        assert self.rules is not None, "this command judges nothing"
        if self.wish is not None and self.wish.generation == generation:
            return self.wish.expected
        if known and not self.accept_unknown and generation.id not in self.accepted.load():
            raise UnknownGenerationError(f"machine {machine.slot} was never accepted from this computer", [])
        if generation.tee != (tee := tee_of(self.deployment)):
            raise NotVerifiedError(f"machine {machine.slot} is said to be {generation.tee}, not {tee}", [])
        kept = self.target.belongings(generation, machine.slot)
        if lacking := [name for name in (*SMALL, "firmware.fd") if name not in kept.files]:
            raise SourceError(f"{lacking[0]} of the release of machine {machine.slot} is gone")
        signatures = tuple((name, data) for name, data in kept.files.items() if name.startswith("signatures/"))
        digests = {name: Digests.of(data) for name, data in kept.files.items() if name not in dict(signatures)}
        firmware = digests["firmware.fd"]
        statement = kept.files["release.json"]
        del digests["release.json"]
        if sha256(statement).hexdigest() != generation.release:
            problem = f"release.json beside machine {machine.slot} is not that of its generation"
            raise ReleaseNotAuthenticError(problem, [])
        received = Files(statement, signatures, digests, measurements=kept.files["measurements.json"])
        given = for_old(self.rules) if older else self.rules
        with _revocations_kept(self.state if self.writes else None):
            return appraisable(self.deployment, generation, received, kept.files, given, firmware=firmware)

    def old_gate(self, machine: Machine | None) -> Callable[[Address], Appraisal]:
        """The gate for a machine that is there, by its own release, which is read and judged when it comes to that."""

        def judge(address: Address) -> Appraisal:
            assert machine is not None, "a fallback is a machine that was found"
            # It served when this command came: whether it is known must not decide whether anything serves.
            return self.gate(self.expected_of(machine, older=True, known=False))(address)

        return judge

    def remember(self) -> None:
        """Keep the accepted release in mind, so that no older one is accepted later."""
        try:
            self._remember()
        except (UsageError, SourceError) as error:
            raise SourceError(f"all is done and serves, but it could not be remembered: {error}") from error

    def _remember(self) -> None:
        judgement = None if self.wish is None else self.wish.expected.judgement
        if judgement is not None and self.rules is not None and not self.rules.older:
            ReleaseMemory(self.state).remember(judgement.release, judgement.statement)
        if self.wish is not None:
            self.accepted.remember(self.wish.generation)


def add_options(parser: argparse.ArgumentParser) -> None:
    """DEPLOYMENT and the options of all commands about one."""
    parser.add_argument("deployment", metavar="DEPLOYMENT", type=Path, help="the deployment file (TOML)")
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="where collateral is kept and what was seen is remembered (default: the user's state)",
    )
    parser.add_argument("--json", action="store_true", help="write one JSON document to stdout")


def add_judging_options(parser: argparse.ArgumentParser) -> None:
    """Options of the commands that appraise."""
    parser.add_argument(
        "--collateral", type=Path, metavar="FILE", help="Intel's collateral from a file (default: what --state keeps)"
    )
    cloud_options.add(parser)
    parser.add_argument(
        "--accept-older",
        action="store_true",
        help="accept a release older than one accepted before, unless a newer one forbids it",
    )
    parser.add_argument(
        "--accept-unknown",
        action="store_true",
        help="accept an earlier machine that was never accepted from this computer, if release and evidence are right",
    )
    parser.add_argument(
        "--sigstore-root", type=Path, metavar="FILE", help="Sigstore's trusted root (default: its library's own)"
    )


def state_by(arguments: argparse.Namespace) -> Path:
    """Where it is kept what was seen: --state, else the user's folder, below $XDG_STATE_HOME or ~/.local/state."""
    base = os.environ.get("XDG_STATE_HOME", "")
    default = (Path(base) if base.startswith("/") else Path.home() / ".local/state") / "pluto-tee"
    given: Path = arguments.state or default
    return given.absolute()


def read_deployment(path: Path) -> Deployment:
    """The deployment file. UsageError where there is none, FormatError with its name."""
    data = files.read(path, what="deployment", limit=_LIMIT)
    with files.naming("deployment", path):
        return Deployment.parse(data, path.absolute().parent)


def now() -> datetime:
    """The time that everything is judged at."""
    return datetime.now(UTC)


def rules_by(deployment: Deployment, arguments: argparse.Namespace) -> Rules:
    """Whose word counts and what is accepted, now, by the options of `add_judging_options` where there are any."""
    return rules(
        deployment,
        at=now(),
        memory=None if deployment.trust is None else ReleaseMemory(state_by(arguments)).load(),
        older=getattr(arguments, "accept_older", False),
        sigstore_root=getattr(arguments, "sigstore_root", None),
    )


@contextmanager
def _revocations_kept(state: Path | None) -> Iterator[None]:
    """What somebody trusted revoked is kept in mind, so that it stays refused where the revocation is hidden later."""
    try:
        yield
    except UnacceptedError as refusal:
        if state is not None and refusal.revoked is not None:
            try:
                ReleaseMemory(state).remember_revoked(refusal.revoked)
            except PlutoError as error:  # which must not hide the refusal
                refusal.hint = f"this could not be remembered: {error}"
        raise


@contextmanager
def opened(
    arguments: argparse.Namespace, progress: Progress, *, wanted: bool, judged: bool = True, writes: bool = True
) -> Iterator[Session]:
    """Open what the arguments name. `wanted`: read and judge the release, too; `judged`: read trust file and policy.

    `writes` false: this command writes nothing anywhere.
    """
    deployment = read_deployment(arguments.deployment)
    with of(deployment, arguments, progress, wanted=wanted, judged=judged, writes=writes) as session:
        yield session


@contextmanager
def of(
    deployment: Deployment,
    arguments: argparse.Namespace,
    progress: Progress,
    *,
    wanted: bool,
    judged: bool = True,
    writes: bool = True,
) -> Iterator[Session]:
    """The same for a deployment that is in memory."""
    state = state_by(arguments)
    given = rules_by(deployment, arguments) if judged else None
    asked = None
    if wanted:
        assert given is not None, "a release is judged before anything is wanted of it"
        progress.doing("checking the release")
        with _revocations_kept(state if writes else None):
            asked = wish(deployment, given)
    key, root = targets.key_of(deployment), local_root(arguments, deployment.name)
    trees = tools.trees_by(arguments, progress)
    with targets.opened(deployment, asked, progress, state=state, root=root, tools=trees) as target:
        yield Session(
            deployment=deployment,
            rules=given,
            wish=asked,
            target=target,
            journal=Journal(state, key),
            state=state,
            given=Given.of(arguments),
            progress=progress,
            accepted=Accepted(state, key),
            accept_unknown=getattr(arguments, "accept_unknown", False),
            writes=writes,
        )


def local_root(arguments: argparse.Namespace, name: str) -> Path:
    """Where a deployment on this computer has its machines."""
    return state_by(arguments) / "local" / name
