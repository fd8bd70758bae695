"""`pluto-deploy` as a reader of the documents types it, with fakes in place of a cloud. A program for tests.

    cloud_reader.py WORLD.json WORDS...

Replaced: the services' addresses, their clocks, and where evidence is fetched, as no packet reaches an address that a
fake gives away. `cloud_desk` writes WORLD.json and answers about clocks and machines.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path
from typing import Any

from pluto_deploy import cli, session
from pluto_deploy.azure import opening as azure
from pluto_deploy.azure.opening import Outside as AzureOutside
from pluto_deploy.cloud.door import Door, Patience, Waiting
from pluto_deploy.engine import evidence as fetching
from pluto_deploy.engine import gate
from pluto_deploy.engine.evidence import Seen
from pluto_deploy.engine.target import Address
from pluto_deploy.google import opening as google
from pluto_deploy.google.opening import Outside as GoogleOutside
from pluto_deploy.google.storage import Storage
from pluto_measure.errors import SourceError


def ask(desk: str, path: str) -> Any:
    """What the desk answers; None where it has nothing."""
    try:
        with urllib.request.urlopen(f"{desk}/{path}", timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


def replace_evidence(desk: str) -> None:
    """Evidence comes from a port of this computer, where the desk lets the machine of an address answer."""

    def fetch(address: Address, nonce: bytes, *, timeout: float) -> Seen:
        port = ask(desk, f"machine?host={address.host}&port={address.port}")
        if port is None:
            raise SourceError(f"{address}: no evidence: nothing answers")
        return fetching.fetch(Address("127.0.0.1", port), nonce, timeout=timeout)

    gate.fetch = fetch  # type: ignore[attr-defined]


def replace_google(world: dict[str, str]) -> None:
    """Compute Engine, buckets, a registry; whoever waits only counts."""
    slept = [0.0]

    def sleep(seconds: float) -> None:
        slept[0] += seconds

    def outside() -> GoogleOutside:
        waiting = Waiting(clock=lambda: time.monotonic() + slept[0], wall=time.time, sleep=sleep)
        patience = Patience(connect=5, read=10, total=60, attempts=4)
        url, environ = world["url"], dict(os.environ)
        return GoogleOutside(environ, Path.home(), waiting, patience, f"{url}/compute/v1", url, world["registry"], url)

    def archives(door: Door, *, base: str) -> Storage:
        del base
        return Storage(door, base=world["bucket"])

    google.Outside = outside  # type: ignore[assignment, misc]
    google.Storage = archives  # type: ignore[assignment, attr-defined]


def replace_azure(desk: str, base: str) -> None:
    """Resource Manager, its login and its machines' metadata; time is what the desk says."""

    def clock() -> float:
        return float(ask(desk, "time"))

    def sleep(seconds: float) -> None:
        ask(desk, f"sleep?seconds={seconds}")

    def outside() -> AzureOutside:
        patience = Patience(connect=5, read=20, total=3000, attempts=4)
        return AzureOutside(dict(os.environ), Waiting(clock=clock, wall=clock, sleep=sleep), patience, base, base, base)

    azure.Outside = outside  # type: ignore[assignment, misc]


def main(words: list[str]) -> int:
    """One command."""
    world = json.loads(Path(words[0]).read_text())
    at = datetime.fromisoformat(world["now"])
    session.now = lambda: at
    replace_evidence(world["desk"])
    if world["cloud"] == "google":
        replace_google(world)
    else:
        replace_azure(world["desk"], world["url"])
    return cli.main(words[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
