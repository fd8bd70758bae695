"""The namespaced host itself: that what the other tests stand on is a real systemd, sshd, apt, nft and networkd."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from simulators.debian_mirror import Signer
from simulators.metal import intel, packages, qgs, tdx
from simulators.metal.host import Host
from simulators.metal.keys import SshKey
from simulators.metal.machine import TESTS
from simulators.metal.network import NUMBERS
from simulators.metal.packages import Archive
from simulators.metal.tdx import Tdx

pytestmark = [pytest.mark.root, pytest.mark.slow]

BEYOND = 1 << 16 | 1 << 17 | 1 << 25 | 1 << 34  # CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_TIME, CAP_SYSLOG
KEYRING = "/etc/apt/keyrings/intel.asc"
RULES = b"""table ip lead {
    chain in {
        type nat hook prerouting priority dstnat
        tcp dport 2222 redirect to :22
    }
}
"""
BRIDGE = {
    "20-pluto0.netdev": b"[NetDev]\nName=pluto0\nKind=bridge\n",
    "20-pluto0.network": (b"[Match]\nName=pluto0\n\n[Network]\nAddress=10.88.0.1/24\nConfigureWithoutCarrier=yes\n"),
}


Said = tuple[int, str, str]


def ssh(host: Host, command: str, *, user: str = "root", known_hosts: Path | None = None, port: int = 22) -> Said:
    """Status, output and errors of a command by ssh."""
    argv = host.ssh_argv(user=user, known_hosts=known_hosts)
    argv[1:1] = ["-p", str(port), f"-oHostKeyAlias={host.address}"]
    done = subprocess.run([*argv, command], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def eventually(truth: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether it becomes true in time."""
    end = time.monotonic() + seconds
    while not truth():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


class TestRunning:
    """A host as it comes."""

    def test_systemd_is_content(self, shared_metal_host: Host) -> None:
        state = shared_metal_host.run(["systemctl", "is-system-running", "--wait"], check=False).stdout.strip()
        assert state == "running", shared_metal_host.run(["systemctl", "--failed"], check=False).stdout
        assert "systemd" in shared_metal_host.run(["cat", "/proc/1/comm"]).stdout

    def test_root_and_the_operator_come_in_by_key(self, shared_metal_host: Host) -> None:
        assert ssh(shared_metal_host, "id -un") == (0, "root", "")
        assert ssh(shared_metal_host, "id -un; sudo -n id -un", user="operator") == (0, "operator\nroot", "")

    def test_nobody_comes_in_by_another_key(self, shared_metal_host: Host, tmp_path: Path) -> None:
        argv = shared_metal_host.ssh_argv()
        argv[argv.index("-i") + 1] = str(SshKey.new().save(tmp_path / "other"))
        done = subprocess.run([*argv, "true"], capture_output=True, text=True, check=False)
        assert done.returncode == 255
        assert "Permission denied" in done.stderr

    def test_a_client_with_another_host_key_turns_away(self, shared_metal_host: Host) -> None:
        status, _, problem = ssh(shared_metal_host, "true", known_hosts=shared_metal_host.wrong_known_hosts())
        assert status == 255
        assert "Host key verification failed" in problem

    def test_files_have_content_and_mode(self, shared_metal_host: Host) -> None:
        shared_metal_host.put("/srv/new folder/file", b"\0\xff", 0o640)
        assert shared_metal_host.read("/srv/new folder/file") == b"\0\xff"
        assert shared_metal_host.run(["stat", "-c", "%a %U", "/srv/new folder/file"]).stdout == "640 root\n"

    def test_it_cannot_reach_the_machines_clock_modules_or_settings(self, shared_metal_host: Host) -> None:
        held = shared_metal_host.run(["grep", "-h", "CapEff", "/proc/1/status", "/proc/self/status"]).stdout.split()
        assert not any(int(mask, 16) & BEYOND for mask in held[1::2])
        assert ssh(shared_metal_host, "test -w /proc/sys/kernel/panic || test -w /sys/power/state")[0] == 1
        assert ssh(shared_metal_host, "test -w /proc/sys/net/ipv4/ip_forward")[0] == 0

    def test_ipv6_and_the_routed_address(self, shared_metal_host: Host) -> None:
        wire = shared_metal_host.wire
        ping = ["ping", "-c1", "-W2"]
        assert subprocess.run([*ping, wire.address6], capture_output=True, check=False).returncode == 0
        assert subprocess.run([*ping, wire.routed], capture_output=True, check=False).returncode != 0
        shared_metal_host.run(["ip", "addr", "add", f"{wire.routed}/32", "dev", "lo"])
        assert subprocess.run([*ping, wire.routed], capture_output=True, check=False).returncode == 0


class TestNetwork:
    """networkd and nft inside, and what a tester does from outside."""

    def test_networkd_makes_a_bridge_that_takes_taps(self, shared_metal_host: Host) -> None:
        for name, text in BRIDGE.items():
            shared_metal_host.put(f"/etc/systemd/network/{name}", text)
        shared_metal_host.run(["networkctl", "reload"])
        assert eventually(lambda: "10.88.0.1/24" in shared_metal_host.run(["ip", "addr"]).stdout)
        shared_metal_host.run(["ip", "tuntap", "add", "pt2", "mode", "tap"])
        shared_metal_host.run(["ip", "link", "set", "pt2", "master", "pluto0", "up"])
        assert shared_metal_host.run(["sysctl", "-n", "-w", "net.ipv4.ip_forward=1"]).stdout == "1\n"

    def test_nft_leads_a_port_elsewhere(self, shared_metal_host: Host) -> None:
        shared_metal_host.put("/srv/rules.nft", RULES)
        shared_metal_host.run(["nft", "-f", "/srv/rules.nft"])
        assert ssh(shared_metal_host, "id -un", port=2222) == (0, "root", "")
        shared_metal_host.run(["nft", "delete", "table", "ip", "lead"])
        assert ssh(shared_metal_host, "id -un", port=2222)[0] == 255

    def test_a_pulled_cable_and_the_same_one_put_back(self, shared_metal_host: Host) -> None:
        argv = [*shared_metal_host.ssh_argv(), "cat"]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"before\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"before\n"
            shared_metal_host.cut_network()
            assert not shared_metal_host.answers()
            shared_metal_host.restore_network()
            assert eventually(shared_metal_host.answers)
            after, _ = process.communicate(b"after\n", timeout=60)
        assert after == b"after\n", "a connection outlives a short cut"


class TestHardware:
    """TDX as the probe of `host check` sees it."""

    SHOW = "dmesg | tail -1; uname -r; cat /proc/cmdline /sys/module/kvm_intel/parameters/tdx; ls /dev/sgx_enclave"

    def test_a_healthy_host(self, shared_metal_host: Host) -> None:
        shown = shared_metal_host.run(["sh", "-c", self.SHOW]).stdout.splitlines()
        assert shown[0].endswith("virt/tdx: module initialized")
        assert shown[1:] == [Tdx().kernel, Tdx().command_line, "Y", "/dev/sgx_enclave"]
        flags = shared_metal_host.read("/proc/cpuinfo").decode()
        assert {"tdx_host_platform", "sgx", "sgx_lc"} <= set(flags.split())
        assert shared_metal_host.read("/sys/class/dmi/id/product_name") == f"{Tdx().product}\n".encode()

    def test_registers_are_where_the_processor_has_them(self, shared_metal_host: Host) -> None:
        read = "import os; print(os.pread(os.open('/dev/cpu/1/msr', 0), 8, 0x87).hex())"
        value = shared_metal_host.run(["python3", "-c", read]).stdout.strip()
        assert int.from_bytes(bytes.fromhex(value), "little") == 64 << 32 | 63

    def test_registers_that_overlap_agree_or_are_refused(self) -> None:
        assert tdx.register_file({0x500: 7 << 16, 0x503: 0})[0x500:0x508] == (7 << 16).to_bytes(8, "little")
        with pytest.raises(ValueError, match="0x503"):
            tdx.register_file({0x500: 1 << 56, 0x503: 0})

    def test_only_root_reads_the_kernel_log(self, shared_metal_host: Host) -> None:
        assert ssh(shared_metal_host, "dmesg", user="operator")[0] == 1
        assert "virt/tdx" in ssh(shared_metal_host, "sudo -n journalctl -k -b", user="operator")[1]

    def test_each_fact_changes_at_once_and_back(self, shared_metal_host: Host) -> None:
        off = replace(Tdx(), kernel_log=tdx.BIOS_OFF, parameters={"tdx": "N"}, devices=("kvm",), registers=None, cpus=1)
        shared_metal_host.pretend(off)
        shown = shared_metal_host.run(["sh", "-c", self.SHOW], check=False)
        assert "not enabled by BIOS" in shown.stdout
        assert "\nN\n" in shown.stdout
        assert "No such file" in shown.stderr
        assert shared_metal_host.run(["ls", "/dev/cpu"]).stdout == ""
        shared_metal_host.pretend(Tdx.healthy())
        self.test_a_healthy_host(shared_metal_host)

    def test_a_small_disk_is_full(self, shared_metal_host: Host) -> None:
        shared_metal_host.limit_disk("/var/lib/pluto", 1 << 20)
        fill = ["dd", "if=/dev/zero", "of=/var/lib/pluto/file", "bs=1M", "count=2"]
        assert "No space left" in shared_metal_host.run(fill, check=False).stderr
        shared_metal_host.free_disk("/var/lib/pluto")
        assert shared_metal_host.run(["ls", "/var/lib/pluto"]).stdout == ""


class TestPackages:
    """Real apt and dpkg against the archive of the tester, and the service that comes from it."""

    @pytest.fixture
    def archive(self, shared_metal_host: Host) -> Iterator[Archive]:
        with packages.serving(shared_metal_host.wire.gateway, intel.packages()) as archive:
            shared_metal_host.put(KEYRING, archive.key)
            shared_metal_host.put("/etc/apt/sources.list.d/intel.sources", archive.sources(KEYRING).encode())
            yield archive

    def test_an_archive_that_another_key_signed_is_refused(self, shared_metal_host: Host, archive: Archive) -> None:
        archive.publish(intel.packages(), signer=Signer())
        done = shared_metal_host.run(["apt-get", "update", "-o", "APT::Update::Error-Mode=any"], check=False)
        assert done.returncode == 100
        assert "signature" in done.stdout + done.stderr

    def test_a_package_that_was_tampered_with_is_refused(self, shared_metal_host: Host, archive: Archive) -> None:
        archive.spoil("sgx-ra-service")
        shared_metal_host.run(["apt-get", "update", "-o", "APT::Update::Error-Mode=any"])
        done = shared_metal_host.run(["apt-get", "install", "-y", "sgx-ra-service"], check=False)
        assert done.returncode == 100
        assert "Hash Sum mismatch" in done.stderr
        assert shared_metal_host.run(["dpkg", "-s", "sgx-ra-service"], check=False).returncode == 1

    def test_the_quote_service_installs_and_answers(self, shared_metal_host: Host, archive: Archive) -> None:
        names = [package.name for package in intel.packages()]
        shared_metal_host.run(["apt-get", "update", "-o", "APT::Update::Error-Mode=any"])
        shared_metal_host.run(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", *names])
        sockets = shared_metal_host.run(["ss", "-xl"]).stdout
        assert "@vsock:4050" in sockets, "as it comes, it listens to every guest"
        shared_metal_host.run(["sed", "-i", "/^port/d", "/etc/qgs.conf"])
        shared_metal_host.run(["systemctl", "restart", "qgsd.service"])
        path = shared_metal_host.root / "run/tdx-qgs/qgs.socket"
        assert eventually(path.is_socket)
        kind, error, body = qgs.ask(path, qgs.GET_PLATFORM_INFO)
        assert (kind, error) == (5, 0)
        assert body[12:28] == qgs.Answers().platform
        shared_metal_host.pretend(replace(Tdx(), devices=("kvm",)))
        assert qgs.ask(path, qgs.GET_PLATFORM_INFO)[:2] == (5, qgs.UNEXPECTED)
        shared_metal_host.pretend(Tdx.healthy())
        assert "qgsd" in shared_metal_host.journal("qgsd.service")


def test_a_reboot_brings_back_what_is_on_disk_alone(metal_host: Host) -> None:
    unit = b"[Service]\nType=oneshot\nExecStart=touch /run/came-up\n\n[Install]\nWantedBy=multi-user.target\n"
    metal_host.put("/etc/systemd/system/here.service", unit)
    metal_host.run(["systemctl", "enable", "here.service"])
    metal_host.put("/run/left", b"")
    metal_host.put("/var/kept", b"kept")
    metal_host.run(["nft", "add", "table", "inet", "left"])
    first = metal_host.read("/proc/sys/kernel/random/boot_id")
    metal_host.reboot()
    assert metal_host.boots == 2
    assert metal_host.read("/proc/sys/kernel/random/boot_id") != first
    assert float(metal_host.read("/proc/uptime").split()[0]) < 30
    assert metal_host.run(["ls", "/run/left"], check=False).returncode != 0
    assert metal_host.run(["nft", "list", "ruleset"]).stdout == ""
    assert metal_host.read("/var/kept") == b"kept"
    assert eventually(lambda: metal_host.run(["ls", "/run/came-up"], check=False).returncode == 0)
    assert ssh(metal_host, "id -un") == (0, "root", ""), "its key is the same"
    metal_host.reset()
    assert (metal_host.boots, metal_host.read("/var/kept")) == (3, b"kept")
    metal_host.power_off()
    assert not metal_host.answers()
    metal_host.power_on()
    assert (metal_host.boots, metal_host.is_on) == (4, True)


def test_a_kernel_that_is_told_by_grub(make_metal_host: Callable[..., Host]) -> None:
    host = make_metal_host(tdx=Tdx.unset())
    parameter = "/sys/module/kvm_intel/parameters/tdx"
    assert host.read(parameter) == b"N\n"
    host.put(
        "/etc/default/grub.d/60-test.cfg", b'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX nohibernate kvm_intel.tdx=1"\n'
    )
    assert ssh(host, "sudo -n update-grub", user="operator")[0] == 0
    assert host.read(parameter) == b"N\n"
    host.reboot()
    assert host.read(parameter) == b"Y\n"
    assert host.read("/proc/cmdline") == f"{Tdx.unset().command_line} nohibernate kvm_intel.tdx=1\n".encode()
    assert "module initialized" in ssh(host, "dmesg")[1]


def test_a_new_host_key_is_seen(metal_host: Host) -> None:
    new = metal_host.change_host_key()
    assert "Host key verification failed" in ssh(metal_host, "true")[2]
    assert ssh(metal_host, "true", known_hosts=new)[0] == 0


def test_two_hosts_side_by_side_and_a_switch_that_filters(make_metal_host: Callable[..., Host]) -> None:
    one = make_metal_host(files={"/etc/one": b"1"})
    two = make_metal_host(filter_macs=True, tdx=Tdx.absent())
    assert one.read("/etc/one") == b"1"
    assert one.address != two.address
    assert [ssh(host, "cat /etc/machine-id")[0] for host in (one, two)] == [0, 0]
    assert one.read("/etc/machine-id") != two.read("/etc/machine-id")
    assert two.run(["ping", "-c1", "-W2", two.wire.gateway]).returncode == 0
    assert two.dropped_frames() == 0
    stranger = (
        "ip link add link eth0 name stranger type macvlan mode bridge && ip addr add 198.18.{0}.3/30 dev stranger"
    )
    two.run(["sh", "-c", f"{stranger.format(two.wire.number)} && ip link set stranger up"])
    assert two.run(["ping", "-I", "stranger", "-c1", "-W1", two.wire.gateway], check=False).returncode == 1
    assert two.dropped_frames() > 0


def test_a_tester_that_dies_leaves_nothing(metal_rootfs: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from simulators.metal.host import Host\n"
        "from simulators.metal.keys import SshKey\n"
        "host = Host(Path(sys.argv[1]), SshKey.new()).start()\n"
        "print(host.pid, host.wire.bridge, host.folder, flush=True); sys.stdin.read()"
    )
    tester = subprocess.Popen(
        [sys.executable, "-c", script, str(metal_rootfs)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={"PYTHONPATH": str(TESTS), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )  # fmt: skip
    with tester:
        assert tester.stdout is not None
        pid, bridge, folder = tester.stdout.readline().split()
        tester.send_signal(signal.SIGKILL)
    assert eventually(lambda: not Path(f"/proc/{pid}").exists())
    assert eventually(lambda: not Path(f"/sys/class/net/{bridge}").exists())
    assert folder not in Path("/proc/self/mounts").read_text()
    subprocess.run(["rm", "-r", "--", folder], check=True)
    assert int(bridge.removeprefix("plm")) in NUMBERS


def test_it_is_there_soon(make_metal_host: Callable[..., Host], record_property: Callable[[str, object], None]) -> None:
    begun = time.monotonic()
    make_metal_host()
    seconds = time.monotonic() - begun
    record_property("seconds from power-on to ssh", round(seconds, 1))
    assert seconds < 15
