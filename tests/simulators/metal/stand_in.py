"""A stand-in for a trust domain on a namespaced host: a network namespace on the host's bridge, in a slot's place.

It has the slot's tap name and MAC address, asks the host for an address as a machine does, and serves on port 8443:
whoever connects is told the stand-in's name and his own address.
"""

from __future__ import annotations

import json

from pluto_deploy.metal import layout, unit
from pluto_deploy.metal.layout import Slot
from simulators.metal.host import Host

WIRE = """set -eu
ip netns add "$1"
ip link add "$2" type veth peer name eth0 address "$3" netns "$1"
ip link set dev "$2" addrgenmode none master "$4"
ip link set dev "$2" type bridge_slave isolated on
ip link set dev "$2" up
ip -n "$1" link set lo up
ip -n "$1" link set eth0 up
"""
# RFC 2131, figure 1 and table 3: DHCPDISCOVER, asked to be answered by broadcast.
DISCOVER = """
import json, socket, struct, sys
mac = bytes.fromhex(sys.argv[1].replace(":", ""))
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
client.bind(("0.0.0.0", 68))
client.settimeout(0.5)
head = struct.pack("!BBBBIHH4s4s4s4s16s64s128s", 1, 1, 6, 0, 7, 0, 0x8000, b"", b"", b"", b"", mac, b"", b"")
for _ in range(20):
    client.sendto(head + b"\\x63\\x82\\x53\\x63" + bytes([53, 1, 1, 55, 2, 3, 6, 255]), ("255.255.255.255", 67))
    try:
        answer = client.recv(2048)
        break
    except TimeoutError:
        continue
else:
    sys.exit("nobody leases an address")
options, rest = {}, answer[240:]
while rest and rest[0] != 255:
    options[rest[0]], rest = rest[2 : 2 + rest[1]], rest[2 + rest[1] :]
text = lambda data: socket.inet_ntoa(data) if data else None
print(json.dumps([text(answer[16:20]), text(options.get(3)), text(options.get(6))]))
"""
SERVE = """
import socket, sys
server = socket.create_server(("::", 8443), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    client, address = server.accept()
    client.sendall(f"{sys.argv[1]} {address[0].removeprefix('::ffff:')}".encode())
    client.close()
"""
# Whether a connection is made: "open", or the name of the error.
CONNECT = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])) as client:
        print("open", client.recv(100).decode(errors="replace").strip())
except TimeoutError:
    print("silence")
except OSError as error:
    print(type(error).__name__, error.errno)
"""


class StandIn:
    """One of them, of slot `slot`."""

    def __init__(self, host: Host, slot: Slot) -> None:
        self.host, self.slot, self.name = host, slot, f"td{slot.number}"
        self.address = self.router = self.resolver = ""

    def start(self) -> StandIn:
        """Lease, wire, ask for the address, serve."""
        lease = f"/etc/systemd/network/{layout.NETWORK_FILE}.d/{self.slot.name}-{self.slot.letter}.conf"
        self.host.put(lease, unit.lease(self.slot).encode())
        self.host.run(["networkctl", "reload"])
        self.wire()
        self.address, self.router, self.resolver = json.loads(self.python(DISCOVER, self.slot.mac))
        self.inside("ip", "addr", "add", f"{self.address}/24", "dev", "eth0")
        self.inside("ip", "route", "add", "default", "via", self.router)
        self.serve()
        return self

    def wire(self) -> None:
        """Put the cable in."""
        words = [self.name, self.slot.tap, self.slot.mac, layout.BRIDGE]
        self.host.run(["sh", "-c", WIRE, "sh", *words])

    def serve(self) -> None:
        """Listen on port 8443."""
        argv = ["ip", "netns", "exec", self.name, "python3", "-c", SERVE, self.name]
        self.host.run(["systemd-run", "--quiet", f"--unit={self.name}", *argv])
        end = 'for n in $(seq 100); do ip netns exec "$1" ss -Hltn | grep -q :8443 && exit 0; sleep 0.05; done; exit 1'
        self.host.run(["sh", "-c", end, "sh", self.name])

    def inside(self, *argv: str, check: bool = True) -> str:
        """What a command in it says."""
        return self.host.run(["ip", "netns", "exec", self.name, *argv], check=check).stdout.strip()

    def python(self, script: str, *words: str) -> str:
        return self.inside("python3", "-c", script, *words)

    def connect(self, address: str, port: int, *, seconds: float = 1.0) -> str:
        """What comes of a connection from it: "open WORDS", "silence", or an error."""
        return self.python(CONNECT, address, str(port), str(seconds))

    def stop(self) -> None:
        """Take it away."""
        self.host.run(["systemctl", "stop", self.name], check=False)
        self.host.run(["ip", "netns", "del", self.name])
