"""A variant of the image in which the notary's unit first runs a probe, and then the notary. For tests alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pluto_image import source_tree

ROOT: Final = Path(__file__).resolve().parents[2]
DEFINITION: Final = "image/notary"
_UNITS: Final = "usr/lib/systemd/system"
_PLACE: Final = "usr/lib/pluto-probe.py"
_UNIT: Final = "pluto-notary.service"
# User networks name no gateway and no DNS server where they are restricted; without a route no packet comes as far as
# the filter. Elsewhere DHCP names them: what becomes of them is the same.
_NETWORK: Final = """
[Match]
Name=en* eth*
Type=ether

[Network]
DHCP=yes
IPv6AcceptRA=yes
DNS=10.0.2.3

[Route]
Destination=0.0.0.0/0
Gateway=10.0.2.2
GatewayOnLink=yes

[Route]
Destination=::/0
Gateway=fe80::2
GatewayOnLink=yes
"""
# The kernel's log takes ten lines in five seconds from a program: everything is said in few.
_PROGRAM: Final = """
import errno, os, socket, sys, threading, time

def say(name, value):
    import json
    os.write(1, f"probe: {name} {json.dumps(value)}\\n".encode())

def outcome(action):
    try:
        return action() or "done"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))

def datagram(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as channel:
        channel.sendto(b"probe", (address, 9))

def started(program):
    child = os.posix_spawn(program, [program, "-I", "-c", ""], {})
    return "exit " + str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

def threads(count):
    over = threading.Event()
    made = []
    try:
        for _ in range(count):
            made.append(threading.Thread(target=over.wait))
            made[-1].start()
    except RuntimeError:
        return "refused"
    finally:
        over.set()

async def judged():
    from pluto_notary.manifest import Manifest
    from pluto_notary.manifest.workers import Workers
    workers = Workers()
    try:
        await workers.check(Manifest.parse(MANIFEST))
    finally:
        await workers.close()

def judge():
    import asyncio
    asyncio.run(judged())

OTHERS, PUBLIC, MANIFEST = %r
deadline = time.monotonic() + 60
while any(outcome(lambda: datagram(one)) != "done" for one in PUBLIC) and time.monotonic() < deadline:
    time.sleep(0.2)
say("packets", {one: outcome(lambda: datagram(one)) for one in (*PUBLIC, *OTHERS)})
say("programs", {one: outcome(lambda: started(f"/usr/bin/{one}")) for one in ("python3", "mount", "udevadm")})
say("families", {str(one): outcome(lambda: socket.socket(one, socket.SOCK_RAW).close()) for one in (1, 16, 17)})
say("open", {one: outcome(lambda: os.close(os.open(one, os.O_RDWR))) for one in ("/dev/tpmrm0", "/dev/vda", "/usr/x")})
say("threads", threads(45) or "done")
say("worker", outcome(judge))
say("resolver", outcome(lambda: str(socket.getaddrinfo("_localdnsstub", 9, socket.AF_INET)[0][4][0])))
asking = threading.Thread(target=outcome, args=(lambda: socket.getaddrinfo("nobody.example", 9),), daemon=True)
asking.start()
asking.join(2)
os.execv("/usr/bin/python3", ["/usr/bin/python3", "-I", "-B", "-m", "pluto_notary.server"])
"""


def lay(folder: Path, *, others: tuple[str, ...], public: tuple[str, ...], manifest: bytes) -> Path:
    """The project with a probe in the image: a copy in `folder`. Returns the definition's folder.

    The probe sends packets to addresses, the first of which is waited for, and judges a page by `manifest`.
    """
    files = dict(source_tree.read(ROOT / DEFINITION).files)
    overlay = f"{DEFINITION}/rootfs"
    base = files[f"{overlay}/{_UNITS}/{_UNIT}"].decode()
    rules = "".join(f"{line}\n" for line in base.splitlines() if line.startswith("IPAddress"))
    drop_in = f"[Service]\nExecStart=\nExecStart=/usr/bin/python3 -I -B /{_PLACE}\nIPAddressDeny=\n{rules}"
    files[f"{overlay}/{_UNITS}/{_UNIT}.d/99-probe.conf"] = drop_in.encode()  # as a release has them
    files[f"{overlay}/{_PLACE}"] = (_PROGRAM % ((others, public, manifest),)).encode()
    files[f"{overlay}/etc/systemd/network/10-probe.network"] = _NETWORK.encode()
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder / DEFINITION


def said(serial: str) -> Mapping[str, Any]:
    """What the probe found, by name, from the serial line."""
    return {name: json.loads(value) for name, value in re.findall(r"probe: (\w+) (.*?)\r?$", serial, re.MULTILINE)}
