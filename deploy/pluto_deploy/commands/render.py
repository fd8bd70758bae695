"""`pluto-deploy render`: the files that a deployment puts on its target, without touching anything."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pluto_deploy import session
from pluto_deploy.azure.wanted import Azure
from pluto_deploy.deployment import BareMetal, Local
from pluto_deploy.engine.wish import Wish, wish
from pluto_measure.command import Result
from pluto_measure.errors import UsageError
from pluto_measure.formats.strict_json import pretty
from pluto_measure.progress import on_stderr
from pluto_measure.wording import counted
from pluto_notary.config import encode_config_disk

DESCRIPTION: Final = """Print the files that 'apply' would put on the target, and the reference values that its machine
has to meet: to be read, compared or kept; for a cloud the bodies of the requests that make a first machine. Nothing is
connected to. Numbers that a host leases are as on an empty host; what a cloud chooses is in angle brackets."""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("render", help="print the files of a deployment", description=DESCRIPTION)
    parser.set_defaults(run=run)
    session.add_options(parser)
    session.add_judging_options(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="write them below this new folder instead")


def run(arguments: argparse.Namespace) -> Result:
    """Render; the document maps names to texts, and binary files to hex."""
    deployment = session.read_deployment(arguments.deployment)
    with on_stderr() as progress:
        progress.doing("checking the release")
        rendered = contents(wish(deployment, session.rules_by(deployment, arguments)))
    if arguments.out is not None:
        _write(arguments.out, rendered)
        note = f"wrote {counted(len(rendered), 'file')} below {arguments.out}"
        return Result({"out": str(arguments.out), "files": sorted(rendered)}, "", notes=(note,))
    shown = {name: _shown(data) for name, data in rendered.items()}
    text = "".join(f"==> {name} <==\n{data.rstrip()}\n\n" for name, data in shown.items())
    return Result({"deployment": deployment.name, "files": shown}, text)


def contents(asked: Wish) -> dict[str, bytes]:
    """Every file by its path on the target; what is beside them lies below `reference/`."""
    rendered: dict[str, bytes] = {}
    platform = asked.deployment.platform
    if isinstance(platform, BareMetal):
        from pluto_deploy.metal import slots  # only hosts have units

        rendered |= slots.files_of_an_empty_host(asked)
    elif isinstance(platform, Azure):
        from pluto_deploy.azure import rendering as azure

        rendered |= _bodies(azure.bodies_of(platform, asked), asked)
    elif not isinstance(platform, Local):
        from pluto_deploy.google import rendering as google

        rendered |= _bodies(google.bodies_of(platform, asked), asked)
    else:
        rendered |= {"config.disk": encode_config_disk(asked.deployment.payload)}
        rendered |= {"generation.json": asked.generation.to_text()}
    rendered["reference/measurements.json"] = asked.expected.references.to_text().encode()
    return rendered


def _bodies(bodies: Mapping[str, object], asked: Wish) -> dict[str, bytes]:
    """What is sent, as JSON that people can read."""
    sent = {f"{name}.json": pretty(body).encode() for name, body in bodies.items()}
    return {**sent, "generation.json": asked.generation.to_text()}


def _shown(data: bytes) -> str:
    """Text as it is; of binary files what is before the zeros at their end, in hex."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    return f"hex {data.rstrip(bytes(1)).hex()} then zeros, {len(data)} bytes" if "\0" in text else text


def _write(out: Path, rendered: Mapping[str, bytes]) -> None:
    if out.exists():
        raise UsageError(f"{out} is there already", hint="name a folder that is not")
    with tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=f".{out.name}.") as folder:
        for name, data in rendered.items():
            path = Path(folder) / "files" / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (Path(folder) / "files").rename(out)
