"""`pluto-deploy host prepare` and `host install-config`: make a machine a host of trust domains."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pluto_deploy.metal import copying, layout, profiles
from pluto_deploy.metal.check import collect, findings, report
from pluto_deploy.metal.connection import Connection, opened
from pluto_deploy.metal.login import Login
from pluto_deploy.metal.prepare import options, sight
from pluto_deploy.metal.prepare.options import ArchiveFile, LocalPccs, Network, Options, RemotePccs
from pluto_deploy.metal.prepare.preparation import Preparation
from pluto_deploy.metal.prepare.wanted import wanted
from pluto_deploy.metal.profiles import hetzner_install
from pluto_deploy.metal.worker import process
from pluto_deploy.metal.worker.process import Job, Outcome
from pluto_image.artifact import Dist
from pluto_image.inputs import options as inputs
from pluto_image.lock.lockfile import Lock
from pluto_measure.command import Result
from pluto_measure.errors import RefusedError, SourceError, UsageError
from pluto_measure.progress import Progress, on_stderr
from pluto_measure.wording import counted

PREPARE: Final = """Make a machine a host of trust domains: packages for quotes, kernel, users, network, traffic rules,
our own QEMU. May be called again at any time: it does what is left to be done. Refuses (exit code 5) a machine that
cannot run trust domains, with the reason. Nothing secret is shown or put in a command line."""
INSTALL: Final = """Write the configuration file that a provider's installer makes a server of this kind from."""
_FILE_LIMIT: Final = 1 << 20


def add(actions: argparse._SubParsersAction[Any]) -> None:
    """Add both actions."""
    from pluto_deploy.commands.host import add_login  # which adds us

    parser = actions.add_parser("prepare", help="make a machine ready for trust domains", description=PREPARE)
    parser.set_defaults(run=run)
    add_login(parser)
    parser.add_argument("--profile", choices=profiles.NAMES, help="keep to what a provider's network allows")
    parser.add_argument("--plan", action="store_true", help="say what would be changed, and change nothing")
    parser.add_argument("--reboot", action="store_true", help="reboot the host if its kernel lacks what it needs")
    _add_quotes(parser)
    _add_network(parser)
    parser.add_argument("--release", metavar="RELEASE", type=Path, help="put the QEMU of this release there, too")
    inputs.add_options(parser)
    parser.add_argument(
        "--insecure-no-tdx", action="store_true", help="a host for tests: no TDX, its machines are emulated"
    )
    _add_install(actions)


def _add_quotes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--quote-archive",
        metavar="FILE",
        type=Path,
        help="archive of packages for quotes, a TOML file of uri, suite, components and key (default: the system's)",
    )
    pccs = parser.add_mutually_exclusive_group()
    pccs.add_argument("--pccs", metavar="URL", help="where quotes get their certificates, such as a provider's PCCS")
    pccs.add_argument(
        "--pccs-key-file", metavar="FILE", type=Path, help="run a PCCS on the host, with the API key in this file"
    )


def _add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--network", default="routed", metavar="MODE", help="routed, bridge:IFACE or macvtap:IFACE (default: routed)"
    )
    parser.add_argument("--uplink", metavar="IFACE", help="interface to the world (default: that of the default route)")
    parser.add_argument(
        "--address", action="append", default=[], metavar="IP", help="further address of the host, routed to it"
    )
    parser.add_argument(
        "--resolver", action="append", default=[], metavar="IP", help="resolver for trust domains (default: none)"
    )
    parser.add_argument(
        "--ipv6", action="store_true", help="lead trust domains by IPv6, too: the host becomes a router"
    )


def _add_install(actions: argparse._SubParsersAction[Any]) -> None:
    parser = actions.add_parser("install-config", help="write a provider's installer file", description=INSTALL)
    parser.set_defaults(run=run_install)
    parser.add_argument("--profile", choices=profiles.NAMES, required=True, help="the provider")
    parser.add_argument("--image", required=True, metavar="NAME", help="archive of the system to install")
    parser.add_argument("--hostname", required=True, metavar="NAME", help="name of the server")
    parser.add_argument(
        "--drive", action="append", required=True, metavar="NAME", help="drive such as nvme0n1; once for each"
    )
    parser.add_argument("--raid", default="1", choices=("0", "1", "5", "6", "10", "none"), help="level (default: 1)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write it (default: stdout)")
    parser.add_argument("--json", action="store_true", help="write one JSON document to stdout")


def run(arguments: argparse.Namespace) -> Result:
    """Look, decide, carry out."""
    from pluto_deploy.commands.host import login_of

    login, asked = login_of(arguments), options_of(arguments)
    lock = None if arguments.release is None else _lock(arguments.release)
    digest = None if lock is None else lock.tools_digest
    with on_stderr() as progress:
        with opened(login) as connection:
            progress.doing("looking at the host")
            preparation = _decided(connection, asked, digest, progress)
            if lock is not None and not arguments.plan:
                _put_tools(connection, lock, arguments, progress)
        outcome = _carried_out(preparation, login, progress, asked, plan=arguments.plan)
    return _result(login, asked, preparation, outcome, digest, plan=arguments.plan)


def options_of(arguments: argparse.Namespace) -> Options:
    """What the options say, with the files they name read. UsageError, FormatError."""
    pccs: LocalPccs | RemotePccs | None = None
    if arguments.pccs is not None:
        pccs = RemotePccs.parse(arguments.pccs)
    elif arguments.pccs_key_file is not None:
        pccs = LocalPccs.parse(_read(arguments.pccs_key_file))
    archive = None
    if arguments.quote_archive is not None:
        named = ArchiveFile.parse(_read(arguments.quote_archive))
        archive = named.with_key(_read(arguments.quote_archive.parent / named.key_file))
    return Options(
        network=Network.parse(arguments.network),
        archive=archive,
        pccs=pccs,
        addresses=tuple(options.public_address(one) for one in arguments.address),
        resolvers=options.resolvers(arguments.resolver),
        ipv6=arguments.ipv6,
        reboot=arguments.reboot,
        uplink=None if arguments.uplink is None else options.interface(arguments.uplink),
        profile=arguments.profile,
        insecure_no_tdx=arguments.insecure_no_tdx,
    )


def run_install(arguments: argparse.Namespace) -> Result:
    """Render the installer's file."""
    level = None if arguments.raid == "none" else int(arguments.raid)
    drives = tuple(one.removeprefix("/dev/") for one in arguments.drive)
    text = hetzner_install.render(hetzner_install.Installation(arguments.image, arguments.hostname, drives, level))
    if arguments.out is None:
        return Result({"configuration": text}, text)
    _write_new(arguments.out, text)
    said = f"{arguments.out}: copy it to the rescue system and run 'installimage -a -c FILE' there\n"
    return Result({"configuration": text, "out": str(arguments.out)}, said)


def _write_new(path: Path, text: str) -> None:
    """Write a file, whole. UsageError where it is there already and says something else."""
    unfinished = path.with_name(f".{path.name}.new")
    try:
        if os.path.lexists(path) and (not path.is_file() or path.read_bytes() != text.encode()):
            raise UsageError(f"{path} is there already and holds something else")
        unfinished.write_text(text)
        unfinished.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _decided(connection: Connection, asked: Options, tools: str | None, progress: Progress) -> Preparation:
    """The preparation of this host. RefusedError."""
    facts = collect.look(connection)
    if not asked.insecure_no_tdx:
        found = findings.judge(facts, profiles.by_name(asked.profile) if asked.profile else None)
        if findings.blocking(found):
            raise RefusedError(
                report.verdict(str(connection.login), found),
                hint=f"run 'pluto-deploy host check {connection.login}' for all findings",
            )
    decided = wanted(asked, sight.look(connection, facts), tools=tools)
    progress.step("looked at the host")
    return decided


def _put_tools(connection: Connection, lock: Lock, arguments: argparse.Namespace, progress: Progress) -> None:
    """Put the tools tree of a lock on the host, unless it is there."""
    from pluto_deploy import tools

    dest = layout.tools(lock.tools_digest)
    if connection.run(["test", "-d", str(dest)]).code == 0:
        return
    tree = tools.tree_of(lock, arguments, progress)
    copying.put_tree(connection, tree.root, dest, _told(progress))
    take(connection, dest)
    progress.step(f"tools are in {dest}")


def take(connection: Connection, dest: PurePosixPath) -> None:
    """Put a folder that was filled beside its place into its place. SourceError."""
    script = 'chmod 0755 "$1" && sync -f "$1" && mv -T "$1" "$2"'
    connection.check(["sh", "-c", script, "sh", f"{dest}.partial", str(dest)], timeout=600.0)


def _told(progress: Progress) -> Callable[[int, int], None]:
    return lambda done, total: progress.doing(f"copying tools: {done >> 20} of {total >> 20} MiB")


def _carried_out(preparation: Preparation, login: Login, progress: Progress, asked: Options, *, plan: bool) -> Outcome:
    job = Job("prepare", preparation.to_json(), plan=plan)
    try:
        return process.run(job, login, progress)
    except SourceError as error:
        if "Unable to locate package" in str(error) and asked.archive is None:
            hint = "name the archive that has the packages for quotes by --quote-archive FILE"
            raise SourceError(str(error), hint=hint) from error
        raise


def _result(
    login: Login, asked: Options, preparation: Preparation, outcome: Outcome, tools: str | None, *, plan: bool
) -> Result:
    changed = outcome.changed
    document: dict[str, object] = {
        "host": str(login),
        "plan": plan,
        "network": str(asked.network),
        "tools": tools,
        "rebootNeeded": bool(preparation.missing) and not asked.reboot,
        "rebooted": "reboot" in changed and not plan,
        "operations": [{"name": one.name, "changed": one.changed} for one in outcome.operations],
        "notes": list(preparation.notes),
    }
    number = counted(len(outcome.operations), "operation")
    if plan:
        text = f"{login}: {len(changed)} of {number} would change something\n"
    elif changed:
        text = f"{login}: prepared, {len(changed)} of {number} changed something\n"
    else:
        text = f"{login}: prepared before, nothing had to be changed\n"
    text += "".join(f"  {name}\n" for name in changed)
    return Result(document, text, notes=preparation.notes)


def _lock(release: Path) -> Lock:
    dist = Dist.open(release)
    dist.check(["lock.json"])
    return Lock.parse(dist.lock.read_bytes())


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_LIMIT + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > _FILE_LIMIT:
        raise UsageError(f"{path} is larger than {_FILE_LIMIT >> 20} MiB")
    return data
