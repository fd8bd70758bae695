#!/usr/bin/python3
"""QEMU as far as a host's keeper and unit see it. For tests alone; standard library alone, as it is put on a host.

What it does is the first word of the file that the configuration disk is:

    honest    answers, and ends when the power button is pressed
    deaf      answers, and does not mind the button
    stubborn  neither minds the button nor SIGTERM
    reset     ends by itself at once with 0, as after a guest's reset
    fails     ends by itself at once with 3
    hangs     answers once, and never again
    stopped   answers that the machine was stopped by an error
    chatty    writes to the serial line as fast as it is read

On the serial line it says in one line of JSON what it can see of its host.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path

SERIAL, KEEPER, CARD = 100, 101, 102
TUNGETIFF = 0x800454D2


def view(words: list[str]) -> dict[str, object]:
    """What a machine's process is and reaches."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "argv": words,
        "environment": dict(os.environ),
        "uid": os.getuid(),
        "groups": sorted(os.getgroups()),
        "capabilities": [status[name].strip() for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")],
        "seccomp": status["Seccomp"].strip(),
        "interfaces": [line.split(":")[0].strip() for line in Path("/proc/self/net/dev").read_text().splitlines()[2:]],
        "processes": sorted(int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()),
        "devices": sorted(path.name for path in Path("/dev").iterdir()),
        "domains": listed("/var/lib/pluto/td"),
        "runtime": listed("/run/pluto"),
        "writable": [path for path in ("/", "/etc", "/var/lib", "/usr", "/run", "/opt", "/tmp") if writes(path)],
        "inet": opens(socket.AF_INET),
        "card": card(),
    }


def listed(folder: str) -> list[str]:
    try:
        return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))
    except OSError as error:
        return [str(error)]


def writes(folder: str) -> bool:
    try:
        path = Path(folder, ".pretend")
        path.write_bytes(b"")
        path.unlink()
    except OSError:
        return False
    return True


def opens(family: int) -> bool:
    try:
        socket.socket(family, socket.SOCK_DGRAM).close()
    except OSError:
        return False
    return True


def card() -> dict[str, object] | None:
    """The card's own name and flags, after a frame was sent through it."""
    try:
        name, flags = struct.unpack("16sH22x", fcntl.ioctl(CARD, TUNGETIFF, bytes(40)))
        os.write(CARD, bytes(10) + b"\xff" * 6 + bytes.fromhex("525400880002") + b"\x88\xb5" + bytes(46))
    except OSError as error:
        return {"error": str(error)}
    return {"name": name.rstrip(b"\0").decode(), "flags": flags}


def answer(channel: socket.socket, mode: str) -> None:
    """Speak QMP until the other side is gone."""
    channel.sendall(b'{"QMP": {"version": {"qemu": {"major": 11}}, "capabilities": []}}\r\n')
    asked = 0
    for line in channel.makefile("rb"):
        message = json.loads(line)
        command, result = message["execute"], {}
        if command == "query-status":
            asked += 1
            stopped = mode == "stopped"
            result = {"running": not stopped, "status": "internal-error" if stopped else "running"}
            if mode == "hangs" and asked > 1:
                continue
        channel.sendall(json.dumps({"return": result, "id": message.get("id")}).encode() + b"\r\n")
        if command == "system_powerdown" and mode in ("honest", "chatty"):
            channel.sendall(b'{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}\r\n')
            time.sleep(0.05)
            os._exit(0)
        if command == "quit":
            os._exit(0)


def listen(path: str, mode: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(1)
        while True:
            answer(server.accept()[0], mode)


def main(words: list[str]) -> int:
    """The exit code."""
    joined = " ".join(words)
    config = re.search(r"file\.filename=(\S+)", joined)
    mode = Path(config[1]).read_text(errors="replace").split("\0")[0].split()[0] if config else "honest"
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    serial = socket.socket(fileno=SERIAL)
    serial.sendall(f"[    0.1] pluto: pretends mode={mode}\r\n".encode())
    if mode == "fails":
        print("pretended QEMU: cannot", file=sys.stderr)
        return 3
    if mode == "reset":
        return 0
    if path := re.search(r"id=monitor,path=([^,\s]+)", joined):
        threading.Thread(target=listen, args=(path[1], mode), daemon=True).start()
    if "chatty" not in mode:
        serial.sendall(json.dumps(view(words)).encode() + b"\r\n")
    threading.Thread(target=answer, args=(socket.socket(fileno=KEEPER), mode), daemon=True).start()
    number = 0
    while mode == "chatty":
        serial.sendall(f"[{number:12}] nobody wants to read this".encode().ljust(198) + b"\r\n")
        number += 1
    while True:
        time.sleep(60)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
