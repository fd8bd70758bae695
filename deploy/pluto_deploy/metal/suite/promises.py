"""What `host prepare` promises of a host, by what it wrote down, and how checks look for it."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Sequence
from typing import Final

import pytest
from testinfra.host import Host

from pluto_deploy.metal import layout
from pluto_deploy.metal.prepare.record import Record

QCNL: Final = "/etc/sgx_default_qcnl.conf"
STRICTEST: Final = Record(network="routed", tee="tdx")  # a host that tells nothing is held against all of it
LOCAL: Final = ("localhost", "127.0.0.1", "::1")


def recorded(host: Host) -> Record:
    """What was prepared. FormatError for a record that is none."""
    file = host.file(str(layout.PREPARED))
    return Record.parse(file.content_string) if file.exists else STRICTEST


def only_tdx(host: Host) -> None:
    """Leave a check out on a host that was prepared without TDX, for tests."""
    if recorded(host).tee != "tdx":
        pytest.skip("prepared as a host without TDX")


def only_routed(host: Host) -> None:
    """Leave a check out on a host whose trust domains have addresses of their own."""
    if recorded(host).network != "routed":
        pytest.skip(f"prepared with network {recorded(host).network}")


def only_local_pccs(host: Host) -> None:
    """Leave a check out on a host whose certificates come from elsewhere."""
    only_tdx(host)
    file = host.file(QCNL)
    found = re.search(r'^\s*"pccs_url"\s*:\s*("[^"]*")', file.content_string if file.exists else "", re.MULTILINE)
    if found and urllib.parse.urlsplit(json.loads(found[1])).hostname not in LOCAL:
        pytest.skip("the PCCS is another machine's")


def lines(host: Host, *argv: str) -> list[str]:
    """What a command writes that must succeed, by lines without empty ones."""
    done = host.run(" ".join("%s" for _ in argv), *argv)
    assert done.rc == 0, f"{' '.join(argv)}: {done.stderr.strip() or done.rc}"
    return [line for line in done.stdout.splitlines() if line.strip()]


def running(host: Host, name: str) -> None:
    """A service runs, now and after a reboot."""
    service = host.service(name)
    assert service.is_running, f"{name} does not run"
    assert service.is_enabled, f"{name} is not enabled"


def owned(host: Host, path: str) -> str:
    """Mode, owner and group, such as "0710 qgsd:pluto-qgs"."""
    file = host.file(path)
    assert file.exists, f"{path} is not there"
    return f"{file.mode:04o} {file.user}:{file.group}"


def roots_alone(host: Host, path: str) -> None:
    """A file or folder is root's, and nobody else's to write."""
    file = host.file(path)
    assert file.exists, f"{path} is not there"
    assert (file.user, file.mode & 0o022) == ("root", 0), f"{path} is {file.mode:04o} {file.user}:{file.group}"


def found(host: Host, paths: Sequence[str], *tests: str) -> list[str]:
    """What `find` finds below those of `paths` that are there."""
    there = [path for path in paths if host.file(path).exists]
    return lines(host, "find", *there, "-xdev", *tests) if there else []
