"""What the notary's unit can do on the booted image, tried from inside: packets, programs, devices, worker, names."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from end_to_end import hostile, probes
from pluto_deploy.local.state import StateFolder
from pluto_image.artifact import Dist
from pluto_image.tools import ToolsTree
from pluto_notary.fetch import egress
from simulators import local_runs
from simulators.notary.manifests import SHOP

PUBLIC = ("1.1.1.1", "2606:4700::1111", "64:ff9b::101:101", "127.0.0.53")
# IPv4's protocol (UDP), checksum, addresses; UDP's ports, length, checksum; the head of a DNS message; the name.
QUESTION = rb"\x11..\x0a\0\x02\x0f\x0a\0\x02\x03..\0\x35.{16}\x06nobody\x07example\0"
OTHERS = (*egress.METADATA, "169.254.1.1", "10.0.2.2", "192.168.0.1", "127.0.0.1", "::1", "64:ff9b::a9fe:a9fe")


def build(folder: Path) -> Dist:
    definition = probes.lay(folder / "project", others=OTHERS, public=PUBLIC, manifest=json.dumps(SHOP).encode())
    words = ["build", str(definition), "--out", str(folder / "dist"), "--flavour", "debug", "--offline"]
    command = "import sys; from pluto_image.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", command, *words], capture_output=True, text=True)
    assert done.returncode == 0, f"the image cannot be built (run 'make inputs' first): {done.stderr}"
    return Dist.open(folder / "dist")


@pytest.mark.boot
def test_the_notary_reaches_no_metadata_service_starts_no_program_and_judges_pages(
    tmp_path: Path, tools: ToolsTree, folder: StateFolder
) -> None:
    traffic = tmp_path / "traffic.pcap"
    dump = ("-object", f"filter-dump,id=dump,netdev=net,file={traffic}")
    started = local_runs.start(hostile.order(build(tmp_path), *dump), tools, folder)
    found = probes.said(folder.serial_log.read_text(errors="replace"))
    assert started.appraisal.accepted, "the notary itself comes up behind the probe"
    assert found["packets"] == {**dict.fromkeys(PUBLIC, "done"), **dict.fromkeys(OTHERS, "EPERM")}
    assert found["programs"] == {"python3": "exit 0", "mount": "EACCES", "udevadm": "EACCES"}
    assert set(found["families"].values()) <= {"EAFNOSUPPORT", "EPERM", "ESOCKTNOSUPPORT", "done"}
    assert (found["families"]["16"], found["families"]["17"]) == ("EAFNOSUPPORT", "EAFNOSUPPORT")
    assert set(found["open"].values()) <= {"ENOENT", "EACCES", "EPERM"}
    assert (found["threads"], found["worker"], found["resolver"]) == ("done", "done", "127.0.0.53")
    # What has no answer in the machine is asked of the network's server, over UDP.
    assert re.search(QUESTION, traffic.read_bytes(), re.DOTALL)
