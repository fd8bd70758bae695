"""Makes a namespaced host ready by `pluto-deploy host prepare`, and puts the fabric in. For tests."""

from __future__ import annotations

from pathlib import Path

from simulators.metal import intel, packages, preparing
from simulators.metal.host import Host

FABRIC = "/usr/local/lib/pretend/fabric.py"
FABRIC_UNIT = """[Unit]
Description=The inside of pretended trust domains
Before=network.target
DefaultDependencies=no
After=sysinit.target

[Service]
ExecStart={program} {gateway} {port}
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""


def make(host: Host, folder: Path, port: int) -> None:
    """Prepare the host; what trust domains are pretended with leads to `port` of the tester's. `folder`: for files."""
    with packages.serving(host.wire.gateway, intel.packages()) as archive:
        preparing.prepare(host, *preparing.words_of(archive, folder))
    put_fabric(host, port)


def put_fabric(host: Host, port: int) -> None:
    """What trust domains are pretended with, on a host that is ready."""
    host.put(FABRIC, Path(__file__).with_name("fabric.py").read_bytes(), 0o755)
    unit = FABRIC_UNIT.format(program=FABRIC, gateway=host.wire.gateway, port=port)
    host.put("/etc/systemd/system/pretend-fabric.service", unit.encode())
    host.run(["systemctl", "daemon-reload"])
    host.run(["systemctl", "enable", "--quiet", "--now", "pretend-fabric.service"])
