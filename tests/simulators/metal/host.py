"""A namespaced host as the tester sees it: where it is, and what a tester can do to it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from simulators.metal import releases
from simulators.metal.keys import SshKey
from simulators.metal.machine import Machine
from simulators.metal.network import Wire
from simulators.metal.releases import Release
from simulators.metal.tdx import Tdx

# As boot.sh starts systemd: a tester's own look must not reach the machine's clock either.
CONFINED = ("setpriv", "--bounding-set=-sys_time,-sys_module,-sys_rawio,-syslog", "--")
ENTER = ("nsenter", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--time", "--root", "--wd")
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "HOME": "/root", "LANG": "C.UTF-8"}


class Host:
    """One host from power-on to `close`; a context manager. Needs root.

    `rootfs` is the tree (rootfs.tree()); `login` the key that root and `operator` (sudo without password) accept.
    `tdx` is what the hardware looks like, None for the machine's own; `release` what the distribution calls itself;
    `filter_macs` drops frames on the switch whose source is not the host's registered MAC address; `files` are laid
    over the tree before the first boot (path → content).
    """

    def __init__(
        self,
        rootfs: Path,
        login: SshKey,
        *,
        tdx: Tdx | None = None,
        release: Release = releases.DEBIAN_13,
        filter_macs: bool = False,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pluto-metal-"))
        self.login = login
        self.host_key = SshKey.new()
        self.tdx = tdx
        self._spec = {"rootfs": str(rootfs), "filter_macs": filter_macs}
        self._seed(release, files or {})
        self.key = login.save(self.folder / "login")
        self._machine = Machine(self.folder)
        self._wire: Wire | None = None

    # Life

    def __enter__(self) -> Host:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def start(self) -> Host:
        """Switch on and wait until sshd answers."""
        try:
            self._machine.start()
            self.wait_for_boot(1)
            self._known_hosts("known_hosts", self.host_key)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Switch off and remove everything."""
        self._machine.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def boots(self) -> int:
        """How many times the host has been booted."""
        return int(self._machine.state()["boot"])

    @property
    def is_on(self) -> bool:
        return self._machine.state()["pid"] != 0

    def reboot(self) -> None:
        """`systemctl reboot`, and wait for sshd of the next boot."""
        boot = self.boots
        self.run(["systemctl", "reboot"])
        self.wait_for_boot(boot + 1)

    def reset(self) -> None:
        """Cut the power and give it back: nothing is shut down. Waits for sshd."""
        boot = self.boots
        self._machine.press_button()
        self.wait_for_boot(boot + 1)

    def power_off(self) -> None:
        """`systemctl poweroff`, and wait for the end."""
        self.run(["systemctl", "poweroff"])
        self._machine.wait(lambda: not self.is_on, "power off")

    def power_on(self) -> None:
        """Boot a host that is off. Waits for sshd."""
        boot = self.boots
        self._machine.press_button()
        self.wait_for_boot(boot + 1)

    def wait_for_boot(self, boot: int) -> None:
        """Wait until sshd of boot `boot` (or a later one) answers."""
        self._machine.wait(lambda: self._machine.state()["boot"] >= boot and self.is_on, f"begin boot {boot}")
        self._machine.wait(self.answers, "answer on port 22")

    # Where it is

    @property
    def wire(self) -> Wire:
        """The addresses: `address`, `gateway` (the tester's), `mac`, `routed`, `prefix6`, `address6`."""
        if self._wire is None:
            self._wire = Wire(self._machine.state()["number"])
        return self._wire

    @property
    def address(self) -> str:
        return self.wire.address

    port = 22

    @property
    def pid(self) -> int:
        """The host's first process, seen from the tester."""
        pid = int(self._machine.state()["pid"])
        if pid == 0:
            raise RuntimeError("the host is off")
        return pid

    @property
    def root(self) -> Path:
        """The host's files, for the tester: whatever is opened below, a socket too. Absolute links lead astray."""
        return Path(f"/proc/{self.pid}/root")

    @property
    def known_hosts(self) -> Path:
        """A file with the key the host had when it started."""
        return self.folder / "known_hosts"

    def wrong_known_hosts(self) -> Path:
        """A file that gives the host another key."""
        return self._known_hosts("wrong_known_hosts", SshKey.new())

    def ssh_argv(self, *, user: str = "root", known_hosts: Path | None = None) -> list[str]:
        """The words of an `ssh` that reads no configuration; a command follows."""
        options = {
            "UserKnownHostsFile": str(known_hosts or self.known_hosts), "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes", "IdentitiesOnly": "yes", "BatchMode": "yes", "ConnectTimeout": "5",
        }  # fmt: skip
        words = [f"-o{name}={value}" for name, value in options.items()]
        return ["ssh", "-F", "none", "-i", str(self.key), *words, f"{user}@{self.address}"]

    def answers(self) -> bool:
        """Whether sshd greets."""
        try:
            with socket.create_connection((self.address, self.port), timeout=0.2) as client:
                client.settimeout(2)
                return client.recv(4) == b"SSH-"
        except OSError:
            return False

    # What is on it

    def run(
        self, argv: Sequence[str], *, data: bytes = b"", check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root inside, past sshd: the tester's own look. Texts are UTF-8."""
        done = subprocess.run(
            self._inside(argv), input=data, capture_output=True, timeout=timeout, env=ENVIRONMENT, check=False
        )
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)} ended with {done.returncode} on the host:\n{out}{err}")
        return subprocess.CompletedProcess(list(argv), done.returncode, out, err)

    def read(self, path: str) -> bytes:
        """The content of a file on the host."""
        command = self._inside(["cat", "--", path])
        return subprocess.run(command, capture_output=True, env=ENVIRONMENT, check=True).stdout

    def put(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Write a file of root's on the host, with the folders it needs."""
        script = 'mkdir -p -- "$(dirname -- "$1")" && cat >"$1" && chmod "$2" -- "$1"'
        self.run(["sh", "-c", script, "sh", path, f"{mode:o}"], data=content)

    def journal(self, unit: str | None = None) -> str:
        """What the journal holds, of one unit or of all."""
        return self.run(["journalctl", "--no-pager", "-o", "short-precise", *(["-u", unit] if unit else [])]).stdout

    @property
    def console(self) -> str:
        """What systemd wrote on the console since the first boot."""
        path = self.folder / "console.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # What a tester does to it

    def cut_network(self) -> None:
        """Pull the cable."""
        subprocess.run(["ip", "link", "set", self.wire.cable, "down"], check=True)

    def restore_network(self) -> None:
        """Put the cable back."""
        subprocess.run(["ip", "link", "set", self.wire.cable, "up"], check=True)

    def dropped_frames(self) -> int:
        """How many frames of foreign MAC addresses the switch dropped; only with `filter_macs`."""
        argv = ["nft", "-j", "list", "table", "bridge", self.wire.bridge]
        found = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)["nftables"]
        words = [word for part in found if "rule" in part for word in part["rule"]["expr"]]
        return sum(int(word["counter"]["packets"]) for word in words if "counter" in word)

    def change_host_key(self) -> Path:
        """Give sshd another key. `known_hosts` keeps the old one; returns a file with the new one."""
        self.host_key = SshKey.new()
        self.put("/etc/ssh/ssh_host_ed25519_key", self.host_key.private, 0o600)
        self.put("/etc/ssh/ssh_host_ed25519_key.pub", f"{self.host_key.public}\n".encode())
        self.run(["systemctl", "restart", "ssh.service"])
        self._machine.wait(self.answers, "answer with the new key")
        return self._known_hosts("new_known_hosts", self.host_key)

    def limit_disk(self, folder: str, size: int) -> None:
        """Put an empty file system of `size` bytes over `folder` until the next boot."""
        self.run(["mkdir", "-p", "--", folder])
        self.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "small-disk", folder])

    def free_disk(self, folder: str) -> None:
        """Take away what `limit_disk` put over `folder`, with what was written there."""
        self.run(["umount", "--", folder])

    def pretend(self, tdx: Tdx) -> None:
        """Make the hardware look otherwise, at once and for good. The host must have been started with a Tdx."""
        if self.tdx is None:
            raise RuntimeError("this host shows the machine's own hardware")
        self.tdx = replace(tdx, once_set=None)
        like = self.folder / "like"
        for folder in (like, like / "set") if (like / "set").exists() else (like,):
            self.tdx.write(folder)
        self.put("/run/cmdline", f"{tdx.command_line}\n".encode())
        self.run(["sh", "-c", "cd / && . /dev/stdin"], data=tdx.devices_script().encode())

    # Within

    def _seed(self, release: Release, files: Mapping[str, bytes]) -> None:
        ours: dict[str, bytes] = {
            "etc/machine-id": f"{uuid.uuid4().hex}\n".encode(),
            "etc/hostname": b"metal\n",
            "etc/hosts": b"127.0.0.1 localhost\n127.0.1.1 metal\n::1 localhost\n",
            "etc/ssh/ssh_host_ed25519_key": self.host_key.private,
            "etc/ssh/ssh_host_ed25519_key.pub": f"{self.host_key.public}\n".encode(),
            "root/.ssh/authorized_keys": f"{self.login.public}\n".encode(),
            "etc/ssh/authorized_keys.d/operator": f"{self.login.public}\n".encode(),
            "etc/ssh/sshd_config.d/test.conf": (
                b"HostKey /etc/ssh/ssh_host_ed25519_key\nUseDNS no\nPasswordAuthentication no\n"
                b"AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/authorized_keys.d/%u\n"
            ),
            # Left by the making of the tree: how this machine reaches names and archives is nothing to a host.
            "etc/resolv.conf": b"",
            "etc/apt/apt.conf.d/99mmdebstrap": b"",
            **release.files(),
        }
        (self.folder / "spec.json").write_text(json.dumps(self._spec))
        for path, content in [*ours.items(), *files.items()]:
            target = self.folder / "seed" / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(0o600 if path.endswith("_key") else 0o644)
        if self.tdx is not None:
            self.tdx.write(self.folder / "like")

    def _inside(self, argv: Sequence[str]) -> list[str]:
        return [ENTER[0], "--target", str(self.pid), *ENTER[1:], "--", *CONFINED, *argv]

    def _known_hosts(self, name: str, key: SshKey) -> Path:
        path = self.folder / name
        path.write_text(f"{self.address} {key.public}\n")
        return path
