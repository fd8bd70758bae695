#!/usr/bin/python3 -IB
"""The inside of pretended trust domains: a network namespace each, and a way to the tester. For tests alone.

    fabric.py TESTER PORT

Runs on a host as root. A pretended QEMU (`pretend_td`) says what it was started with, and gets the guest's end of its
network card: a tap in a network namespace of its own, which asks for its address by DHCP as any guest does. Whoever
connects to port 8443 there is led to the tester, behind a line of JSON that says which machine this is: {"id", "argv",
"quotes"}. When the QEMU is gone, so is all of that.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import re
import secrets
import selectors
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

FABRIC = Path("/run/pretend/fabric.sock")
PORT = 8443
CARD = "net0"
CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
TAP = 0x2 | 0x1000 | 0x4000  # IFF_TAP, IFF_NO_PI, IFF_VNET_HDR
MAGIC = bytes.fromhex("63825363")
LIBC = ctypes.CDLL(None, use_errno=True)


class Guest:
    """What is inside of one machine. Its thread is in the namespace, so what it opens is there, too."""

    def __init__(self, qemu: socket.socket, tester: tuple[str, int]) -> None:
        self.qemu, self.tester = qemu, tester
        self.open: set[socket.socket] = {qemu}

    def run(self) -> None:
        hello = json.loads(self.qemu.makefile("rb").readline())
        self.header = json.dumps({"id": secrets.token_hex(8), **hello}).encode() + b"\n"
        mac = re.search(r"mac=([0-9a-f:]{17})", " ".join(hello["argv"]))
        assert mac, "a machine has a network card"
        call(LIBC.unshare(CLONE_NEWNET))
        tap = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", CARD.encode(), TAP))
        ip("link", "set", "lo", "up")
        ip("link", "set", CARD, "address", mac[1], "up")
        socket.send_fds(self.qemu, [b"\0"], [tap])
        os.close(tap)  # the pretended QEMU has it: when it ends, the card is gone
        address, router = lease(bytes.fromhex(mac[1].replace(":", "")))
        ip("addr", "add", f"{address}/24", "dev", CARD)
        ip("route", "add", "default", "via", router)
        with socket.create_server(("0.0.0.0", PORT), backlog=64) as listener:
            self.qemu.sendall(f"{address}\n".encode())
            self._serve(listener)

    def _serve(self, listener: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(self.qemu, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self.qemu:
                        self._end()
                        return
                    client, _ = listener.accept()
                    threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        outside()
        self.open.add(client)
        with client, contextlib.suppress(OSError), socket.create_connection(self.tester, 5) as tester:
            tester.settimeout(None)
            tester.sendall(self.header)
            back = threading.Thread(target=copy, args=(tester, client), daemon=True)
            back.start()
            copy(client, tester)
            back.join()
        self.open.discard(client)

    def _end(self) -> None:
        """What happens to connections when a machine loses its power."""
        for one in list(self.open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self.qemu.close()


def copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def lease(mac: bytes) -> tuple[str, str]:
    """Address and router by DHCP, RFC 2131: discover, offer, request, acknowledge."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, CARD.encode())
        channel.bind(("0.0.0.0", 68))
        channel.settimeout(1)
        offer = asked(channel, mac, 1, b"")
        wanted = bytes([50, 4]) + offer[16:20] + bytes([54, 4]) + options(offer)[54]
        answer = asked(channel, mac, 3, wanted)
        return socket.inet_ntoa(answer[16:20]), socket.inet_ntoa(options(answer)[3][:4])


def asked(channel: socket.socket, mac: bytes, kind: int, more: bytes) -> bytes:
    """The answer to a message, which is sent again until there is one."""
    number = secrets.token_bytes(4)
    head = struct.pack("!4B4sHH16s16s192s", 1, 1, 6, 0, number, 0, 0x8000, b"", mac, b"")
    text = head + MAGIC + bytes([53, 1, kind]) + more + b"\xff"
    for _ in range(20):
        channel.sendto(text, ("255.255.255.255", 67))
        with contextlib.suppress(TimeoutError):
            answer = channel.recv(2048)
            if answer[4:8] == number and options(answer)[53] in (b"\2", b"\5"):
                return answer
    raise SystemExit("no address was leased")


def options(message: bytes) -> dict[int, bytes]:
    found, at = {}, 240
    while at < len(message) and message[at] != 255:
        if message[at]:
            found[message[at]] = message[at + 2 : at + 2 + message[at + 1]]
            at += message[at + 1] + 1
        at += 1
    return found


def outside() -> None:
    """This thread to the host's own network."""
    with Path("/proc/1/ns/net").open("rb") as home:
        call(LIBC.setns(home.fileno(), CLONE_NEWNET))


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def call(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main(tester: str, port: str) -> None:
    FABRIC.parent.mkdir(exist_ok=True)
    FABRIC.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(FABRIC))
        FABRIC.chmod(0o666)
        listener.listen()
        while True:
            guest = Guest(listener.accept()[0], (tester, int(port)))
            threading.Thread(target=guest.run, daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
