"""`pluto-deploy local`: run a build on this computer and attest it; stop it, look at it, read its events."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pluto_deploy import session, tools
from pluto_deploy.commands import words
from pluto_deploy.commands.plan import planned_for
from pluto_deploy.deployment import Deployment, Local, Network
from pluto_deploy.engine.apply import carry_out
from pluto_deploy.local import console, power
from pluto_deploy.local.machine import BOOTS
from pluto_deploy.local.state import LIVE, Record
from pluto_deploy.local.target import LocalTarget
from pluto_image.inputs import options
from pluto_measure.claims import Claims
from pluto_measure.command import Result
from pluto_measure.errors import SourceError, UsageError
from pluto_measure.machine.platform_file import parse_size
from pluto_measure.progress import Progress, Silent, on_stderr
from pluto_measure.wording import counted
from pluto_notary.config import encode_payload

if TYPE_CHECKING:
    from pluto_measure.appraise import Appraisal

NAME: Final = "local"

DESCRIPTION = """Boot a build under QEMU with a software TPM, take evidence from the running machine over TLS, and
check it against what the build predicts. Returns when the machine is attested, and leaves it running, its notary on a
local port; a machine that is anything else than the build is stopped. Called again with another build, it starts that
one beside the first and leads the port over once it is attested. Needs no privilege. A software TPM proves nothing to
others: this is for trying out and for tests."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("local", help="run a build on this computer and attest it", description=DESCRIPTION)
    parser.set_defaults(run=run)
    parser.add_argument("dist", metavar="DIST", type=Path, nargs="?", help="folder that 'pluto-image build' wrote")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--stop", action="store_true", help="end the running machine")
    what.add_argument("--status", action="store_true", help="say whether a machine runs, which, and where")
    what.add_argument("--logs", action="store_true", help="list the events of the last machine's serial line")
    what.add_argument("--foreground", action="store_true", help="stay, show events, stop the machine on Ctrl-C")
    parser.add_argument("--port", type=int, default=8443, help="local port of the notary; 0 for any (default: 8443)")
    parser.add_argument("--boot", choices=BOOTS, default="uki-kernel", help="how the UKI starts (default: uki-kernel)")
    parser.add_argument("--memory", default="1G", metavar="SIZE", help="guest memory, such as 512M (default: 1G)")
    parser.add_argument("--cpus", type=int, default=2, metavar="N", help="virtual processors (default: 2)")
    parser.add_argument(
        "--accelerator",
        choices=("auto", "tcg", "kvm"),
        default="auto",
        help="auto tries out whether KVM really works and emulates otherwise (default: auto)",
    )
    parser.add_argument("--deployment", metavar="LABEL", help="label in the run-time configuration (default: none)")
    parser.add_argument("--timeout", type=float, default=300.0, metavar="S", help="seconds to wait (default: 300)")
    options.add_options(parser)
    parser.add_argument("--state", type=Path, metavar="DIR", help="folder of its state (default: the user's state)")
    parser.add_argument("--json", action="store_true", help="write one JSON document to stdout")


def run(arguments: argparse.Namespace) -> Result:
    """Do what was asked for."""
    if arguments.stop:
        return _stopped(_existing(arguments))
    if arguments.status:
        return _status(_existing(arguments))
    if arguments.logs:
        return _logs(_existing(arguments))
    if arguments.dist is None:
        raise UsageError("no DIST is named", hint="run 'pluto-deploy local DIST', where DIST is what the build wrote")
    with on_stderr() as progress:
        begun = time.monotonic()
        with session.of(_deployment(arguments), arguments, progress, wanted=True) as opened, opened.target.lock():
            planned, scene = planned_for(opened, relaunch=False)
            assert opened.wish is not None
            gate, old_gate = opened.gate(opened.wish.expected), opened.old_gate(scene.machine(planned.fallback))
            opened.accepted.refuse_unwritable()
            done = carry_out(planned, opened.target, gate, opened.journal, progress, old_gate=old_gate)
            assert done.appraisal is not None
            assert planned.target is not None
            target = opened.target
            assert isinstance(target, LocalTarget)
            progress.step("attested: it is what was built")
        record = target.record(planned.target)
        if arguments.foreground:
            return _foreground(target, planned.target, progress)
    return _started(target, record, done.appraisal, round(time.monotonic() - begun, 2))


def _deployment(arguments: argparse.Namespace) -> Deployment:
    """The arguments as a deployment: a build of one's own, for which nobody has to vouch."""
    if not 0 <= arguments.port <= 65535:
        raise UsageError(f"port {arguments.port} does not exist")
    return Deployment(
        name=NAME,
        release=arguments.dist,
        trust=None,
        policy=None,
        platform=Local(arguments.boot, arguments.accelerator),
        cpus=arguments.cpus,
        memory=parse_size(arguments.memory),
        network=Network(None, (arguments.port,), None, None, ()),
        payload=encode_payload(deployment=arguments.deployment) if arguments.deployment else b"",
        strategy="blue-green",
        timeout=arguments.timeout,
    )


def _existing(arguments: argparse.Namespace) -> LocalTarget:
    """What is there, for looking and stopping."""
    root = session.local_root(arguments, NAME)
    return LocalTarget(root=root, wish=None, tools=tools.trees_by(arguments, Silent()), progress=Silent())


def _started(target: LocalTarget, record: Record, appraisal: Appraisal, seconds: float) -> Result:
    address = target.public()
    url = f"https://{address}"
    warnings = [finding for finding in appraisal.findings if finding.verdict == "warning"]
    claims = appraisal.claims
    key = claims.outer_key_digest.hex() if isinstance(claims, Claims) else ""
    document = {
        **_facts("running", record, address.port),
        "url": url,
        "keyDigest": key,
        "seconds": seconds,
        "appraisal": appraisal.to_json(),
    }
    passed = counted(sum(finding.verdict == "pass" for finding in appraisal.findings), "check")
    text = (
        f"running and attested: {url}\n"
        f"build {record.build_id} ({record.flavour}), {passed} passed, {counted(len(warnings), 'warning')}\n"
        f"TLS key SHA-256 {key}\n"
        "try: curl -k " + url + "/health    end it: pluto-deploy local --stop\n"
    )
    return Result(document, text, notes=tuple(f"warning: {finding.id}: {finding.text}" for finding in warnings))


def _foreground(target: LocalTarget, slot: str, progress: Progress) -> Result:
    record, folder = target.record(slot), target.folder(slot)
    try:
        for said in power.follow(folder, record):
            progress.step(words.said(said))
    except KeyboardInterrupt:
        return _stopped(target)
    _stopped(target)
    raise SourceError("the machine ended by itself", hint=f"the serial log is {folder.serial_log}")


def _stopped(target: LocalTarget) -> Result:
    stopped: list[Record] = []
    with target.lock():
        target.close()
        for machine in target.look().machines:
            record = target.folder(machine.slot).record()
            target.stop(machine.slot)
            stopped += [record] if record is not None and record.state in LIVE else []
    text = "stopped\n" if stopped else "no machine was running\n"
    return Result(_facts("stopped", stopped[0] if stopped else None, 0), text)


def _status(target: LocalTarget) -> Result:
    slot, port = _last(target)
    if slot is None:
        return Result({"state": "absent", "gone": []}, "no machine was started here yet\n")
    status = power.status(target.folder(slot))
    record = target.record(slot)
    document = {**_facts(status.state, record, port), "gone": list(status.gone)}
    text = f"{status.state}: {record.dist}, build {record.build_id[:16]}, started {record.started_at}\n"
    if status.state in LIVE:
        text += f"https://{power.HOST}:{port}, {record.accelerator}, QEMU is process {record.qemu.pid}\n"
    if status.gone:
        raise SourceError(
            f"{' and '.join(status.gone)} of the machine on port {port} ended unexpectedly",
            hint="run 'pluto-deploy local --stop' to clear away what is left",
        )
    return Result(document, text)


def _logs(target: LocalTarget) -> Result:
    slot, _ = _last(target)
    heard = [] if slot is None else console.read(target.serial(slot))
    return Result(words.events(heard), "".join(f"{words.said(one)}\n" for one in heard))


def _last(target: LocalTarget) -> tuple[str | None, int]:
    """The machine that serves, or the last one that did, and its port; 0 where none serves."""
    scene = target.look()
    if scene.serving is not None:
        return scene.serving, target.public().port
    known = [(record.started_at, one.slot) for one in scene.machines if (record := target.folder(one.slot).record())]
    return (max(known)[1] if known else None), 0


def _facts(state: str, record: Record | None, port: int) -> dict[str, object]:
    known = record.to_json() if record else {}
    return {**known, "state": state, "port": port}
