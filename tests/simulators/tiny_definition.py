"""A tiny image definition with its lock, packages and sources, all made here: the ground of the golden digests.

Nothing in it is compressed by a library, so that its bytes follow from this file alone.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pluto_image import definition as definitions
from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import Lock, LockedArchive, Package
from simulators import debs, pe_images
from simulators.kernel_modules import module

KERNEL = "6.1.0+test-cloud-amd64"
SIGNED = b"~Module signature appended~\n"

DEFINITION = """
name = "tiny"
version = "1"
architecture = "amd64"
epoch = 1700000000

[[archive]]
id = "main"
suite = "trixie"
components = ["main"]
path = "debian"
fingerprints = ["0000000000000000000000000000000000000000"]

[image]
archives = ["main"]
install = ["init"]

[tools]
archives = ["main"]
install = ["ovmf"]

[kernel]
package = "linux-image-*-cloud-amd64"
image = "boot/vmlinuz-*"

[[kernel.module]]
names = ["virtio_net", "failover"]
reason = "network"

[[kernel.module]]
names = ["tsm"]
load = true
reason = "quotes"

[stub]
package = "systemd-boot-efi"
path = "usr/lib/systemd/boot/efi/linuxx64.efi.stub"
version = "257."

[firmware]
package = "ovmf"
path = "usr/share/ovmf/OVMF.fd"
version = "2025."

[command_line]
common = [
    "console=ttyS0,115200", "lockdown=integrity", "module.sig_enforce=1", "random.trust_bootloader=off",
    "random.trust_cpu=on", "tsc=reliable", "no-kvmclock", "systemd.import_credentials=no", "systemd.firstboot=off",
    "systemd.gpt_auto=no", "systemd.dump_core=no",
]
release = []
debug = ["pluto.flavour=debug"]

[[prune.keep]]
packages = ["init"]
paths = ["usr/lib/systemd/systemd", "usr/lib/systemd/system/*.service", "usr/lib/systemd/system/multi-user.target"]
reason = "process 1"

[[prune.keep]]
packages = ["ca-certificates"]
paths = []
reason = "joined to one bundle"

[units]
default = "multi-user.target"

[[units.enable]]
target = "multi-user.target"
units = ["hello.service"]
reason = "the workload"

[[units.mask]]
units = ["debug-shell.service"]
reason = "no shell"

[files]
rootfs = "rootfs"

[files.os_release]
ID = "tiny"

[[files.directory]]
path = "tmp"
mode = "1777"

[[files.link]]
path = "init"
target = "usr/lib/systemd/systemd"

[[files.text]]
path = "etc/machine-id"
text = ""

[files.certificates]
sources = "usr/share/ca-certificates/mozilla/*.crt"
bundle = "etc/ssl/certs/ca-certificates.crt"

[[files.source]]
base = "notary/pluto_notary"
paths = ["**.py"]
to = "usr/lib/python3/dist-packages/pluto_notary"
reason = "the workload"

[[files.user]]
name = "root"
uid = 0
gid = 0

[[files.group]]
name = "root"
gid = 0

[lint]
listen = []
world_writable = ["tmp"]
units = ["multi-user.target", "hello.service"]

[container]
name = "tiny"
entrypoint = ["/init", "--serve"]
user = "root"
ports = [8443]

[container.env]
PATH = "/usr/bin"

[container.labels]
"tee.launch_policy.log_redirect" = "never"

[[container.keep]]
paths = ["init", "usr/lib/systemd/systemd", "usr/lib/python3/dist-packages/**.py", "usr/lib/os-release", "tmp"]
reason = "the workload"
"""

RELEASE = """
version = 1
channel = "test"
sequence = 2
minimumSequence = 1
supersedes = 1
revokes = []
issuedAt = 2023-11-15T00:00:00Z
notAfter = 2033-11-15T00:00:00Z

[source]
repository = "https://git.example/tiny"
repositoryId = "1"

[td]
attributes = { value = "0x10000000", mask = "0x7fffffffbfffffff" }
xfam = { value = "0x3", mask = "0xfffffffffff9241b" }
mrSeam = "any-signed-by-intel"
mrServiceTd = "zero"

[tcbPolicy]
acceptedStatuses = ["UpToDate"]
acceptedAdvisories = []
minimumEvaluationNumber = 0
graceDays = 0
maxCollateralAgeDays = 30
"""

SERVICE = b"[Service]\nExecStart=/usr/lib/systemd/systemd\n"
_MODULES = {
    "drivers/net/virtio_net": module("virtio_net", depends=["failover"]) + SIGNED,
    "net/core/failover": module("failover") + SIGNED,
    "drivers/virt/tsm": module("tsm") + SIGNED,
    "drivers/net/unwanted": module("unwanted") + SIGNED,
}
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n"
PACKAGES: dict[str, tuple[str, dict[str, tuple[int, bytes]]]] = {
    "init": (
        "257.1",
        {
            "lib/systemd/systemd": (0o4755, b"process one"),  # outside /usr and set-uid: both must not survive
            "usr/lib/systemd/system/hello.service": (0o666, SERVICE),
            "usr/lib/systemd/system/multi-user.target": (0o644, b"[Unit]\n"),
            "usr/share/doc/init/copyright": (0o644, b"left out"),
        },
    ),
    "ca-certificates": (
        "20250101",
        {f"usr/share/ca-certificates/mozilla/{n}.crt": (0o644, _CERTIFICATE % n.encode()) for n in ("B", "A")},
    ),
    f"linux-image-{KERNEL}": (
        "6.1.0-1",
        {
            f"boot/vmlinuz-{KERNEL}": (0o644, pe_images.KERNEL),
            **{f"usr/lib/modules/{KERNEL}/kernel/{path}.ko": (0o644, data) for path, data in _MODULES.items()},
            f"usr/lib/modules/{KERNEL}/modules.builtin": (0o644, b"kernel/drivers/virtio/virtio.ko\n"),
            f"usr/lib/modules/{KERNEL}/modules.builtin.modinfo": (0o644, b"virtio.license=GPL\0"),
            f"usr/lib/modules/{KERNEL}/modules.order": (0o644, b"kernel/net/core/failover.ko\n"),
        },
    ),
    "systemd-boot-efi": ("257.1", {"usr/lib/systemd/boot/efi/linuxx64.efi.stub": (0o644, pe_images.STUB)}),
    "ovmf": ("2025.01-1", {"usr/share/ovmf/OVMF.fd": (0o644, b"firmware" * 64)}),
}
SOURCES = {
    "pyproject.toml": b"",
    "notary/pluto_notary/__init__.py": b'"""The workload."""\n',
    "image/tiny/rootfs/etc/hostname": b"tiny\n",
    "image/tiny/release.toml": RELEASE.encode(),
}


def deb(name: str) -> bytes:
    """One package, its archives stored without compression."""
    version, files = PACKAGES[name]
    entries = [debs.entry(f"./{path}", data, mode=mode) for path, (mode, data) in files.items()]
    control = debs.control_tar(name, version)
    return debs.ar([("debian-binary", b"2.0\n"), ("control.tar", control), ("data.tar", debs.tar(entries))])


def make(root: Path, store: Store, *, text: str = DEFINITION) -> Path:
    """Lay a project with the definition below `root`, its inputs into `store`; returns the definition's folder."""
    for path, data in {**SOURCES, "image/tiny/image.toml": text.encode()}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    folder = root / "image/tiny"
    (folder / "lock.json").write_text(lock(definitions.load(folder), store).to_text(), newline="\n")
    return folder


def lock(definition: definitions.Definition, store: Store) -> Lock:
    """A lock of all packages, which go into `store`."""
    locked = {name: _locked(name, store) for name in sorted(PACKAGES)}
    archive = LockedArchive("main", "trixie", "debian", "2025-01-01T00:00:00Z", 0, "0" * 64, (), ())
    tools = (locked.pop("ovmf"),)
    return Lock(1, definition.lock_digest.hex(), (archive,), tuple(locked.values()), tools, (), ())


def _locked(name: str, store: Store) -> Package:
    data, version = deb(name), PACKAGES[name][0]
    sha1 = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    return Package(
        name, version, "amd64", len(data), store.put(data), sha1, f"pool/{name}.deb", "main", name, version, {}
    )
