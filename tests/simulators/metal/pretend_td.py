#!/usr/bin/python3 -IB
"""QEMU that starts a trust domain, as a host sees it. For tests alone; the loader of a pretended tools tree.

It stands in a tools tree where the dynamic loader stands in a real one, so that whatever the tree's programs are
started with arrives here. It speaks on the serial line and the monitors that its arguments name, carries the frames of
the network card, and ends as QEMU does. What is inside of it is elsewhere: `fabric` on the host gives it a network of
its own, and the tester's side answers there with evidence that is computed from these very arguments.

A UKI that has PRETEND=… in it behaves so:

    silent    boots, and is never ready              dies      ends by itself while it boots
    hangs     answers no monitor once it is ready    (else)    serves, and ends when the power button is pressed
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import selectors
import socket
import sys
import threading
import time
from pathlib import Path

SERIAL, KEEPER, CARD = 100, 101, 102
FABRIC = "/run/pretend/fabric.sock"
FRAME = 65_600
BUILD_ID = re.compile(rb"^BUILD_ID=([0-9a-f]{64})$", re.MULTILINE)
MODE = re.compile(rb"^PRETEND=([a-z-]+)$", re.MULTILINE)


class Machine:
    """One start."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.uki = Path(self.option("-kernel")).read_bytes()
        found = MODE.search(self.uki)
        self.mode = found[1].decode() if found else "honest"
        self.serial = socket.socket(fileno=SERIAL)
        self.is_up = False

    def option(self, name: str) -> str:
        return self.words[self.words.index(name) + 1]

    def run(self) -> int:
        """The exit code."""
        domain = json.loads(next(word for word in self.words if word.startswith('{"') and "tdx-guest" in word))
        Path(self.option("-bios")).read_bytes()
        config = re.search(r"file\.filename=([^,\s]+)", " ".join(self.words))
        disk = Path(config[1]).read_bytes() if config else b""
        for channel in (socket.socket(fileno=KEEPER), self._monitor()):
            threading.Thread(target=self._answer, args=(channel,), daemon=True).start()
        self.say("EFI stub: Loaded initrd from LINUX_EFI_INITRD_MEDIA_GUID device path")
        self.say("[    0.000000] Linux version 6.12.0 (pretended)")
        if self.mode == "dies":
            print("pretended QEMU: KVM internal error", file=sys.stderr)
            return 3
        fabric = self._plug_in(domain)
        self.say("[    0.900000] systemd[1]: Starting")
        while self.mode == "silent":
            time.sleep(3600)
        fabric.readline()  # its network is up
        payload = disk[4 : 4 + int.from_bytes(disk[:4], "big")]
        build = BUILD_ID.search(self.uki)
        self.say("[    1.000000] pluto: started component=notary version=0.1.0")
        self.say(f"[    1.100000] pluto: config-accepted digest={hashlib.sha256(payload).hexdigest()}")
        self.say(f"[    1.200000] pluto: ready port=8443 buildid={build[1].decode() if build else '0' * 64}")
        self.is_up = True
        while True:
            time.sleep(3600)

    def say(self, line: str) -> None:
        self.serial.sendall(f"{line}\r\n".encode())

    def _monitor(self) -> socket.socket:
        """The listening end of the monitor that is for people."""
        found = re.search(r"id=monitor,path=([^,\s]+)", " ".join(self.words))
        assert found, "a machine has a monitor"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(found[1])
        listener.listen(1)
        return listener

    def _answer(self, channel: socket.socket) -> None:
        """QMP, until the other side is gone."""
        if channel.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            while True:
                self._answer(channel.accept()[0])
        channel.sendall(b'{"QMP": {"version": {"qemu": {"major": 11}}, "capabilities": []}}\r\n')
        for line in channel.makefile("rb"):
            message = json.loads(line)
            if self.mode == "hangs" and self.is_up:
                continue
            result = {"running": True, "status": "running"} if message["execute"] == "query-status" else {}
            channel.sendall(json.dumps({"return": result, "id": message.get("id")}).encode() + b"\r\n")
            if message["execute"] == "system_powerdown":
                self.say("[   99.000000] pluto: stopping component=notary")
                channel.sendall(b'{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}\r\n')
            if message["execute"] in ("system_powerdown", "quit"):
                os._exit(0)

    def _plug_in(self, domain: dict[str, object]) -> socket.SocketIO:
        """Connect the card to what is inside. The stream tells when its network is up, and ends with the host."""
        fabric = socket.socket(socket.AF_UNIX)
        fabric.connect(FABRIC)
        hello = {"argv": self.words, "quotes": _reachable(domain)}
        fabric.sendall(json.dumps(hello).encode() + b"\n")
        _, descriptors, _, _ = socket.recv_fds(fabric, 1, 1)
        threading.Thread(target=_carry, args=(CARD, descriptors[0]), daemon=True).start()
        return fabric.makefile("rb", buffering=0)


def _reachable(domain: dict[str, object]) -> bool:
    """Whether quotes can be asked for from here, by the socket that the trust domain's object names."""
    place = domain["quote-generation-socket"]
    assert isinstance(place, dict)
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(place["path"])
        except OSError as error:
            print(f"pretended QEMU: {place['path']}: {error}", file=sys.stderr)
            return False
    return True


def _carry(left: int, right: int) -> None:
    """Frames, both ways. Both ends have the same header before each."""
    with selectors.DefaultSelector() as selector:
        selector.register(left, selectors.EVENT_READ, right)
        selector.register(right, selectors.EVENT_READ, left)
        while True:
            for key, _ in selector.select():
                frame = os.read(key.fd, FRAME)
                try:
                    os.write(key.data, frame)
                except OSError:  # a card that is down takes nothing, as a cable that is out
                    continue


if __name__ == "__main__":
    # After the words of a real loader: --library-path LIBRARIES --argv0 NAME PROGRAM ARGUMENTS
    assert sys.argv[1] == "--library-path", sys.argv
    assert sys.argv[3:5] == ["--argv0", "qemu-system-x86_64"], sys.argv
    sys.exit(Machine(sys.argv[6:]).run())
