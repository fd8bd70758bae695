"""`pluto-measure policy`: print a strict policy to start from, or say what a policy leaves open."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.errors import PlutoError, UsageError


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-measure."""
    sub = subparsers.add_parser(
        "policy",
        help="print a strict appraisal policy to start from",
        description="Print a strict policy (TOML), every field with the reason beside it. With --reference it names "
        "the platforms of these builds and no other; without, it is what verify applies where no policy is given. "
        "With FILE, check a policy and say what it leaves open.",
    )
    sub.add_argument("file", metavar="FILE", type=Path, nargs="?", help="a policy to check instead")
    sub.add_argument(
        "--reference",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="measurements.json of a build that you accept; may be given several times",
    )
    sub.add_argument("--unsigned-reference", action="store_true", help="accept reference values that nobody signed")
    sub.add_argument("--config-digest", metavar="HEX", help="SHA-256 of the run-time configuration that you accept")
    sub.add_argument(
        "--machine",
        metavar="NAME",
        action="append",
        default=[],
        help="a machine that you accept, such as ppid:HEX or platformInstance:HEX; may be given several times",
    )
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Make or check a policy."""
    # Imported here: `cryptography` takes longer to load than the parser.
    from pluto_measure.formats.strict_json import unhex
    from pluto_measure.measurements import Measurements
    from pluto_measure.policy import Policy, is_machine
    from pluto_measure.policy import strict as strict_policy

    if arguments.file is not None:
        if arguments.reference or arguments.machine or arguments.config_digest or arguments.unsigned_reference:
            raise UsageError("FILE is checked as it is; the options make a new policy")
        data = files.read(arguments.file, what="policy", limit=1024 * 1024)
        with files.naming("policy", arguments.file):
            policy = Policy.parse(data)
        left_open = strict_policy.left_open(policy)
        text = "".join(f"{line}\n" for line in left_open) or "nothing is weaker than in the strict policy\n"
        return Result({"policy": str(arguments.file), "leftOpen": list(left_open)}, text)
    references = []
    for path in arguments.reference:
        data = files.read(path, what="reference", limit=64 * 1024 * 1024)
        with files.naming("reference", path, "measurements.json"):
            references.append(Measurements.parse(data))
    try:
        digest = None if arguments.config_digest is None else unhex(arguments.config_digest, 32, what="--config-digest")
    except PlutoError as error:
        raise UsageError(str(error)) from error
    for name in arguments.machine:
        if not is_machine(name):
            problem = "must be ppid:HEX or platformInstance:HEX with 16 bytes, or a key's digest, in lower case"
            raise UsageError(f"--machine {name!r}: {problem}")
    named = {"platforms": strict_policy.platforms_of(references)} if references else {}
    text = strict_policy.text(
        **named,
        unsigned=arguments.unsigned_reference,
        machines=arguments.machine or None,
        config_digest=digest,
    )
    return Result({"policy": text}, text)
