"""The rules for traffic and the units, read by the real nft and systemd."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pluto_deploy.metal.prepare import files, places
from pluto_deploy.metal.prepare.options import LocalPccs, Network, Options

OPTIONS = Options(pccs=LocalPccs("0123456789abcdef"), resolvers=("9.9.9.9", "2620:fe::fe"), ipv6=True)
DEPLOYMENT = """
add element inet pluto slots     { tcp . 443 : 10.88.0.2 . 8443 }
add element inet pluto slots_at  { 198.51.100.7 . tcp . 443 : 10.88.0.3 . 8443 }
add element inet pluto slots6    { tcp . 443 : fd00:88::5054:ff:fe88:2 . 8443 }
add element inet pluto slots6_at { 2001:db8::7 . tcp . 443 : fd00:88::5054:ff:fe88:2 . 8443 }
add element inet pluto egress    { 10.88.0.2 . tcp . 0.0.0.0/0 . 443, 10.88.0.2 . udp . 198.51.100.0/24 . 53 }
add element inet pluto egress6   { fd00:88::5054:ff:fe88:2 . tcp . ::/0 . 443 }
"""


class Loader:
    """Real nft in a network namespace of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        traffic = folder / "traffic"
        traffic.mkdir()

    def load(self, *, routed: bool = True, **deployments: str) -> subprocess.CompletedProcess[str]:
        """Load the rules twice with these deployments' files, then list everything."""
        for name, text in deployments.items():
            (self.folder / "traffic" / f"{name}.nft").write_text(text)
        (self.folder / "base.nft").write_text(files.rules(routed=routed, resolvers=OPTIONS.resolvers))
        (self.folder / "all.nft").write_text(
            f'include "{self.folder}/base.nft"\ninclude "{self.folder}/traffic/*.nft"\n'
        )
        script = 'nft add table ip others && nft -f "$1" && nft -c -f "$1" && nft -f "$1" && nft list ruleset'
        inside = [] if os.geteuid() == 0 else ["--map-root-user"]
        argv = ["unshare", *inside, "--net", "sh", "-c", script, "sh", f"{self.folder}/all.nft"]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def loader(tmp_path: Path) -> Loader:
    if shutil.which("nft") is None or shutil.which("unshare") is None:
        pytest.skip("nft is not installed")
    inside = [] if os.geteuid() == 0 else ["--map-root-user"]
    tried = subprocess.run(["unshare", *inside, "--net", "nft", "add", "table", "inet", "x"], capture_output=True)
    if tried.returncode != 0:
        pytest.skip("nft needs a network namespace of its own")
    return Loader(tmp_path)


@pytest.mark.interop
class TestRules:
    def test_they_load_again_and_again_beside_those_of_others(self, loader: Loader) -> None:
        done = loader.load(web=DEPLOYMENT)
        assert done.returncode == 0, done.stderr
        tables = re.findall(r"^table (\S+ \S+)", done.stdout, re.MULTILINE)
        assert tables == ["ip others", "inet pluto", "arp pluto", "bridge pluto"]
        assert "elements = { tcp . 443 : 10.88.0.2 . 8443 }" in done.stdout

    def test_every_lease_is_there_once(self, loader: Loader) -> None:
        listed = loader.load().stdout
        macs = re.findall(r'"(pt\d+)" \. (52:54:[0-9a-f:]+)', listed)
        assert sorted(macs) == sorted((lease.tap, lease.mac) for lease in places.leases())
        assert len(re.findall(r'"pt\d+" \. 10\.88\.0\.\d+', listed)) == 249

    def test_no_deployment_is_fine(self, loader: Loader) -> None:
        assert loader.load().returncode == 0

    def test_two_that_want_one_port_are_an_error_and_nothing_is_loaded(self, loader: Loader) -> None:
        other = DEPLOYMENT.replace("10.88.0.2 . 8443", "10.88.0.9 . 8443")
        done = loader.load(web=DEPLOYMENT, other=other)
        assert done.returncode != 0
        assert "File exists" in done.stderr

    def test_a_bridge_of_others_gets_the_check_of_macs_alone(self, loader: Loader) -> None:
        done = loader.load(routed=False)
        assert done.returncode == 0, done.stderr
        assert "table inet pluto" not in done.stdout
        assert "set macs" in done.stdout
        assert "set addresses" not in done.stdout


@pytest.mark.interop
@pytest.mark.parametrize("network", [Network(), Network("bridge", "br0")])
def test_systemd_reads_the_units_without_a_complaint(network: Network, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None or not Path("/usr/sbin/nft").exists():
        pytest.skip("systemd-analyze is not installed")
    options = OPTIONS if network.mode == "routed" else Options(pccs=OPTIONS.pccs, network=network)
    units = [one for one in files.firewall(options, "eth0") if one.path.endswith(".service")]
    assert len(units) == (2 if network.mode == "routed" else 1)
    for unit in units:
        (tmp_path / Path(unit.path).name).write_bytes(unit.content)
    # The service that the drop-in is for, as its package has it.
    drop_in = next(
        one for one in files.quotes(LocalPccs("0123456789abcdef")) if one.path.endswith(".conf") and "/qgsd" in one.path
    )
    (tmp_path / "qgsd.service").write_text("[Service]\nType=forking\nExecStart=/bin/true\n")
    (tmp_path / "qgsd.service.d").mkdir()
    (tmp_path / "qgsd.service.d" / "zz-pluto.conf").write_bytes(drop_in.content)
    names = [str(path) for path in sorted(tmp_path.glob("*.service"))]
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:/usr/lib/systemd/system"}
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    complaints = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "pluto" in line]
    assert complaints == []
