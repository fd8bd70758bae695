"""`pluto-deploy local`: run a build on this computer and attest it; stop it, look at it, read its events."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from pluto_deploy.local import acceleration, engine
from pluto_deploy.local.console import Malformed, Said
from pluto_deploy.local.engine import Order, Started, Status
from pluto_deploy.local.machine import BOOTS, Machine
from pluto_deploy.local.state import LIVE, Record, StateFolder, default_root
from pluto_deploy.progress import Progress, on_stderr
from pluto_image import inputs, mirrors
from pluto_image.artifact import Dist
from pluto_image.fetch import Sources, Step
from pluto_image.lockfile import Lock
from pluto_image.tools import ToolsTree, ensure_tools
from pluto_measure.command import Result, counted
from pluto_measure.errors import SourceError, UsageError
from pluto_measure.platform_file import parse_size
from pluto_notary.config import encode_payload
from pluto_notary.events import Event

DESCRIPTION = """Boot a build under QEMU with a software TPM, take evidence from the running machine over TLS, and
check it against what the build predicts. Returns when the machine is attested, and leaves it running, its notary on a
local port; a machine that is anything else than the build is stopped. Needs no privilege. A software TPM proves
nothing to others: this is for trying out and for tests."""


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
    inputs.add_options(parser)
    parser.add_argument("--state", type=Path, metavar="DIR", help="folder of this machine (default: the user's state)")
    parser.add_argument("--json", action="store_true", help="write one JSON document to stdout")


def run(arguments: argparse.Namespace) -> Result:
    """Do what was asked for."""
    folder = StateFolder((arguments.state or default_root()).absolute())
    if arguments.stop:
        return _stopped(folder)
    if arguments.status:
        return _status(engine.status(folder))
    if arguments.logs:
        return _logs(engine.logs(folder))
    if arguments.dist is None:
        raise UsageError("no DIST is named", hint="run 'pluto-deploy local DIST', where DIST is what the build wrote")
    with on_stderr() as progress:
        started = start(arguments, folder, progress)
        if arguments.foreground:
            return _foreground(folder, started, progress)
    return _started(started)


def start(arguments: argparse.Namespace, folder: StateFolder, progress: Progress) -> Started:
    """Start as the arguments say."""
    dist = Dist.open(arguments.dist)
    progress.doing("checking files")
    # The disk is a GiB, and what is on it is measured; a wrong one is refused by its evidence.
    dist.check(["pluto.efi", "firmware.fd", "lock.json"])
    progress.doing("looking for QEMU and swtpm")
    tools = _tools(arguments, dist, progress)
    folder.create()
    accelerator = arguments.accelerator
    if accelerator == "auto":
        progress.doing("trying out KVM")
        accelerator = acceleration.choose(tools, dist.firmware.resolve(), folder.root / "accelerator.json")
    order = Order(
        dist=dist,
        machine=Machine(arguments.boot, arguments.cpus, parse_size(arguments.memory), accelerator),
        port=_port(arguments.port),
        payload=encode_payload(deployment=arguments.deployment) if arguments.deployment else b"",
        timeout=arguments.timeout,
    )
    return engine.start(order, tools, folder, progress)


def _tools(arguments: argparse.Namespace, dist: Dist, progress: Progress) -> ToolsTree:
    """The tools that the lock of the build names; fetched if they are not there."""
    lock = Lock.parse(dist.lock.read_bytes())
    return ensure_tools(
        lock,
        inputs.store_from(arguments),
        _sources(arguments, lock),
        offline=arguments.offline,
        progress=_fetching(progress),
    )


def _fetching(progress: Progress) -> Callable[[Step], None]:
    """Tells of every file on a terminal, of every quarter elsewhere."""

    def report(step: Step) -> None:
        progress.doing(f"fetching tools: {step.done} of {step.total}, {step.name}")
        if step.done == step.total or step.done % max(step.total // 4, 1) == 0:
            progress.step(f"fetched {step.done} of {step.total} tools")

    return report


def _sources(arguments: argparse.Namespace, lock: Lock) -> Sources:
    known = mirrors.from_options(arguments.mirror) if arguments.mirror else mirrors.from_apt()
    return Sources(
        bundle=arguments.bundle,
        projects=tuple(text for text in arguments.store if "://" in text),
        mirrors={archive.id: known.get(archive.path, ()) for archive in lock.archives},
    )


def _port(port: int) -> int:
    if not 0 <= port <= 65535:
        raise UsageError(f"port {port} does not exist")
    return port


def _started(started: Started) -> Result:
    record = started.record
    url = f"https://{engine.HOST}:{record.port}"
    warnings = [finding for finding in started.appraisal.findings if finding.verdict == "warning"]
    document = {
        **_facts("running", started.record),
        "url": url,
        "seconds": started.seconds,
        "appraisal": started.appraisal.to_json(),
    }
    passed = counted(sum(finding.verdict == "pass" for finding in started.appraisal.findings), "check")
    text = (
        f"running and attested: {url}\n"
        f"build {record.build_id} ({record.flavour}), {passed} passed, {counted(len(warnings), 'warning')}\n"
        f"TLS key SHA-256 {record.key_digest}\n"
        "try: curl -k " + url + "/health    end it: pluto-deploy local --stop\n"
    )
    return Result(document, text, notes=tuple(f"warning: {finding.id}: {finding.text}" for finding in warnings))


def _foreground(folder: StateFolder, started: Started, progress: Progress) -> Result:
    try:
        for said in engine.follow(folder, started.record):
            progress.step(_words(said))
    except KeyboardInterrupt:
        engine.stop(folder)
        return Result(_facts("stopped", started.record), "stopped\n")
    engine.stop(folder)
    raise SourceError("the machine ended by itself", hint=f"the serial log is {folder.serial_log}")


def _stopped(folder: StateFolder) -> Result:
    record = engine.stop(folder)
    return Result(_facts("stopped", record), "stopped\n" if record else "no machine was running\n")


def _status(status: Status) -> Result:
    document = {**_facts(status.state, status.record), "gone": list(status.gone)}
    record = status.record
    if record is None:
        return Result(document, "no machine was started here yet\n")
    text = f"{status.state}: {record.dist}, build {record.build_id[:16]}, started {record.started_at}\n"
    if status.state in LIVE:
        text += f"https://{engine.HOST}:{record.port}, {record.accelerator}, QEMU is process {record.qemu.pid}\n"
    if status.gone:
        raise SourceError(
            f"{' and '.join(status.gone)} of the machine on port {record.port} ended unexpectedly",
            hint="run 'pluto-deploy local --stop' to clear away what is left",
        )
    return Result(document, text)


def _logs(said: list[Said]) -> Result:
    events = [one.to_json() for one in said if isinstance(one, Event)]
    malformed = [one.problem for one in said if isinstance(one, Malformed)]
    text = "".join(_words(one) + "\n" for one in said)
    return Result({"events": events, "malformed": malformed}, text)


def _words(said: Said) -> str:
    if isinstance(said, Event):
        return said.to_line().removeprefix("pluto: ")
    return f"not an event: {said.problem}" if isinstance(said, Malformed) else said


def _facts(state: str, record: Record | None) -> dict[str, object]:
    known = record.to_json() if record else {}
    return {**known, "state": state}
