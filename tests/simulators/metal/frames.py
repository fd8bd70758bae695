"""Frames that a guest can send, well made or not, and what becomes of them on a namespaced host.

    report = frames.sent(host, "td2", {"a name": frame, …})

Sends each frame as it stands from the card of a network namespace of the host's, which is a guest's end of its tap, and
says where its name, which is in the frame, was seen again: on which interfaces of the host, and whether at a socket.
Sources: IEEE 802.1Q, RFC 826, 791, 768, 8200, 4443, 4861.
"""

from __future__ import annotations

import ipaddress
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from simulators.metal.host import Host

IP, ARP, IP6 = 0x0800, 0x0806, 0x86DD
VLAN, SERVICE_VLAN = 0x8100, 0x88A8
BROADCAST = "ff:ff:ff:ff:ff:ff"
ALL_NODES, ALL_NODES_MAC = "ff02::1", "33:33:00:00:00:01"
PORT = 4433
SOLICIT, ADVERT, ROUTER = 135, 136, 134
REQUEST, REPLY = 1, 2
SETTLED = 0.5  # seconds after which a frame is where it comes to

# Runs on the host: {"namespace", "frames": {name: hex}} → {"seen": {name: [interface, …]}, "heard": {name: …}}.
SCRIPT = """
import ctypes, json, os, re, select, socket, sys, time
asked = json.load(sys.stdin)
def into(path):
    with open(path) as namespace:
        assert ctypes.CDLL(None).setns(namespace.fileno(), 0x40000000) == 0
watch = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
watch.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)
heard = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
heard.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
heard.bind(("::", asked["port"]))
into("/run/netns/" + asked["namespace"])
card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
card.bind(("eth0", 0))
into("/proc/1/ns/net")
for frame in asked["frames"].values():
    card.send(bytes.fromhex(frame))
found = {"seen": {}, "heard": {}}
end = time.monotonic() + asked["seconds"]
while (left := end - time.monotonic()) > 0:
    for one in select.select([watch, heard], [], [], left)[0]:
        data, source = one.recvfrom(4096)
        for name in re.findall(rb"<([ -;=?-~]+)>", data):
            where = source[0] if one is watch else "socket"
            found["seen" if one is watch else "heard"].setdefault(name.decode(), []).append(where)
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Report:
    """`seen`: by the frame's name, the interfaces of the host where it was; `heard`: names that a socket was given."""

    seen: Mapping[str, frozenset[str]]
    heard: frozenset[str]


def sent(host: Host, namespace: str, frames: Mapping[str, bytes], *, seconds: float = SETTLED) -> Report:
    """Send frames, each with its own name in it (`mark`), in their order. See the module."""
    asked = {
        "namespace": namespace, "port": PORT, "seconds": seconds,
        "frames": {name: frame.hex() for name, frame in frames.items()},
    }  # fmt: skip
    found = json.loads(host.run(["python3", "-c", SCRIPT], data=json.dumps(asked).encode()).stdout)
    return Report({name: frozenset(where) for name, where in found["seen"].items()}, frozenset(found["heard"]))


def mark(name: str) -> bytes:
    """The bytes by which a frame is known again; a multiple of 8."""
    text = f"<{name}>".encode()
    return text.ljust(-(-len(text) // 8) * 8, b"\0")


def ethernet(source: str, target: str, kind: int, body: bytes, *tags: tuple[int, int]) -> bytes:
    """A frame. `tags`: (EtherType, tag control information), the outermost first."""
    head = _mac(target) + _mac(source)
    for tag, control in tags:
        head += struct.pack("!HH", tag, control)
    return (head + struct.pack("!H", kind) + body).ljust(60, b"\0")


def arp(operation: int, mac: str, address: str, target: str, more: bytes = b"", *, hardware: int = 1) -> bytes:
    """An ARP packet of `mac` at `address`. `more`: behind it. `hardware`: 1 is Ethernet, 6 is IEEE 802."""
    head = struct.pack("!HHBBH", hardware, IP, 6, 4, operation)
    return head + _mac(mac) + _address(address) + bytes(6) + _address(target) + more


def udp4(source: str, target: str, body: bytes, *, port: int = PORT) -> bytes:
    """An IPv4 packet with a UDP datagram, which has no check sum, as RFC 768 allows."""
    datagram = struct.pack("!HHHH", 40000, port, 8 + len(body), 0) + body
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 7, 0, 64, 17, 0) + _address(source) + _address(target)
    return head[:10] + struct.pack("!H", _sum(head)) + head[12:] + datagram


def udp6(source: str, target: str, body: bytes, *, port: int = PORT) -> bytes:
    """An IPv6 packet with a UDP datagram."""
    return _packet6(source, target, 17, struct.pack("!HHHH", 40000, port, 8 + len(body), 0) + body, at=6, hops=64)


def neighbour(kind: int, source: str, target: str, about: str, mac: str, more: bytes) -> bytes:
    """An IPv6 packet with a neighbour solicitation or advert (to override) on `about`, whose MAC address be `mac`."""
    flags = 0xA0000000 if kind == ADVERT else 0
    option = bytes([2 if kind == ADVERT else 1, 1]) + _mac(mac)
    body = struct.pack("!BBHI", kind, 0, 0, flags) + _address(about) + option + _unknown(more)
    return _packet6(source, target, 58, body, at=2, hops=255)


def router(source: str, mac: str, more: bytes) -> bytes:
    """An IPv6 packet with a router's advert to all nodes."""
    body = struct.pack("!BBHBBHII", ROUTER, 0, 0, 64, 0, 1800, 0, 0) + bytes([1, 1]) + _mac(mac) + _unknown(more)
    return _packet6(source, ALL_NODES, 58, body, at=2, hops=255)


def _unknown(more: bytes) -> bytes:
    """An option of a type that nobody knows, which RFC 4861 (4.6) has ignored."""
    return bytes([253, 1 + len(more) // 8]) + bytes(6) + more


def _packet6(source: str, target: str, kind: int, body: bytes, *, at: int, hops: int) -> bytes:
    """With the check sum at `at` of the body."""
    ends = _address(source) + _address(target)
    check = _sum(ends + struct.pack("!II", len(body), kind) + body) or 0xFFFF
    body = body[:at] + struct.pack("!H", check) + body[at + 2 :]
    return struct.pack("!IHBB", 6 << 28, len(body), kind, hops) + ends + body


def _sum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _address(text: str) -> bytes:
    return ipaddress.ip_address(text).packed
