"""`pluto-deploy host`: look whether a machine can run trust domains, make it ready, and test that it is."""

from __future__ import annotations

import argparse
from pathlib import Path

from pluto_deploy.metal import profiles
from pluto_deploy.metal.check import collect, findings, report
from pluto_deploy.metal.connection import opened
from pluto_deploy.metal.login import Login
from pluto_measure.command import Result
from pluto_measure.errors import RefusedError

DESCRIPTION = """Bare-metal hosts of trust domains, reached by OpenSSH as root or as a user with passwordless sudo. The
host's key must be known; nothing is ever asked for."""
CHECK = """Look at a host and say whether it can run trust domains: processor, firmware, kernel, TDX module, SGX,
quotes, certificates. Changes nothing. Each finding says what to do and who can do it: hardware (another machine), bios,
prepare ('pluto-deploy host prepare' does it) or operator. Exit code 0 if every check passes, 5 if one fails, 6 if the
host cannot be reached."""
TEST = """Test that a host is what 'pluto-deploy host prepare' made of it, by a suite of testinfra over SSH. Changes
nothing. Exit code 0 if every test passes, 5 if one fails or the host was never prepared, 6 if it cannot be reached."""
NOT_READY = RefusedError.exit_code


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    from pluto_deploy.metal.prepare import command as prepare_command

    parser = subparsers.add_parser("host", help="check, prepare or test a bare-metal host", description=DESCRIPTION)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("check", help="say whether a machine can run trust domains", description=CHECK)
    check.set_defaults(run=run_check)
    add_login(check)
    check.add_argument("--profile", choices=profiles.NAMES, help="say also what is known of a provider's machines")
    prepare_command.add(actions)
    test = actions.add_parser("test", help="test that a host is as prepare left it", description=TEST)
    test.set_defaults(run=run_test)
    add_login(test)


def add_login(parser: argparse.ArgumentParser) -> None:
    """Add what every action on a host takes."""
    parser.add_argument("host", metavar="HOST", help="[USER@]HOST[:PORT]")
    parser.add_argument("--key", type=Path, metavar="FILE", help="private key (default: OpenSSH's own choice)")
    parser.add_argument("--known-hosts", type=Path, metavar="FILE", help="known host keys (default: OpenSSH's own)")
    parser.add_argument("--json", action="store_true", help="write one JSON document to stdout")


def login_of(arguments: argparse.Namespace) -> Login:
    """The login that the options name. UsageError."""
    return Login.parse(arguments.host, key=arguments.key, known_hosts=arguments.known_hosts)


def run_check(arguments: argparse.Namespace) -> Result:
    """Look and judge."""
    login = login_of(arguments)
    profile = profiles.by_name(arguments.profile) if arguments.profile else None
    with opened(login) as connection:
        facts = collect.look(connection)
    found = findings.judge(facts, profile)
    ready = findings.readiness(found) == "ready"
    document = report.document(str(login), arguments.profile, found)
    return Result(document, report.text(str(login), found), 0 if ready else NOT_READY)


def run_test(arguments: argparse.Namespace) -> Result:
    """Run the suite."""
    from pluto_deploy.metal.suite import run as suite  # pytest and testinfra: the extra `deploy`

    login = login_of(arguments)
    with opened(login) as connection:
        outcome = suite.run(connection)
    return Result(outcome.document(str(login)), outcome.text(str(login)), 0 if outcome.passed else NOT_READY)
