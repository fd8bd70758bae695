"""The local machine in the locked QEMU and swtpm: no word of its command line is one that QEMU wants to give up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pluto_deploy.local import monitor, power, processes
from pluto_deploy.local.machine import GUEST_PORT, Machine
from pluto_deploy.local.power import HOST, Order, free_port
from pluto_deploy.local.state import StateFolder
from pluto_image.artifact import Dist
from pluto_image.tools import ToolsTree

pytestmark = [pytest.mark.interop, pytest.mark.slow]

LOCK = Path(__file__).parents[2] / "image/notary/lock.json"


def test_it_is_started_without_a_warning_and_its_monitor_leads_clients(
    tree: ToolsTree, dist: Dist, folder: StateFolder
) -> None:
    (dist.root / "firmware.fd").write_bytes(Path(tree.firmware()).read_bytes())
    order = Order(replace(dist), Machine(boot="disk"), free_port(0))
    with folder.lock() as lock:
        record = power.power_on(order, tree, folder, lock)
    port = free_port(0)
    monitor.lead(folder.root, HOST, port, GUEST_PORT)
    assert processes.listens(record.qemu, port)
    monitor.part(folder.root, HOST, port)
    assert not processes.listens(record.qemu, port)
    assert processes.alive(record.qemu)
    assert folder.output("qemu").read_text() == ""
