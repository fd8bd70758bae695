"""Keeps one machine on its host: the main process of a slot's unit. Standard library alone; lies on the host as it is.

    keeper.py --log-limit BYTES --grace SECONDS [--tap NAME] [--tpm STATE DIR] -- [SWTPM… --] QEMU…

It gives QEMU three inherited sockets (their numbers are in QEMU's arguments) and stays until QEMU has ended:

- Serial line: written to standard output, which is a file that grows to BYTES at most; then its newest quarter stays.
  The guest is slowed to RATE, so that it can fill neither the disk nor the host's time, and never waits for the disk.
- Monitor (QMP): systemd's watchdog is fed only while QEMU answers that the machine runs. A QEMU that hangs, or that
  stopped the machine by an error of KVM's, is ended and started again by the unit.
- Network card: opened by systemd in the host's network namespace, while we and QEMU have none.

SIGTERM presses the power button, and after SECONDS ends QEMU in any case. A trust domain has nothing to save, so this
is the time in which open sessions may end.

With --tpm, an emulated machine has a software TPM: STATE is copied to DIR for every start, as a TPM that went through a
reset would have the log of two boots.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

SERIAL_FD = 100
KEEPER_FD = 101
CARD_FD = 102
CARD = 3  # the first descriptor that systemd hands over, sd_listen_fds(3)

RATE = 64 << 10  # bytes of serial line in a second, in the long run
BURST = 1 << 20
PROBE = 10.0  # seconds between questions to QEMU, where systemd has no watchdog
ENDING = 5.0  # seconds between SIGTERM and SIGKILL
TPM_START = 10.0
LONGEST_LINE = 1 << 20  # of QMP

TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x2, 0x1000, 0x4000

# What systemd tells us is not for those that we start.
_PRIVATE = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in _PRIVATE}
_TOLD = ("SHUTDOWN", "GUEST_PANICKED", "POWERDOWN")


class Log:
    """A file that is appended to and never grows beyond `limit` bytes."""

    def __init__(self, descriptor: int, limit: int) -> None:
        self.descriptor, self.limit = descriptor, limit
        self.size = os.fstat(descriptor).st_size
        self.tail = bytearray()

    def write(self, data: bytes) -> None:
        """Append. What a full disk does not take is lost; the machine goes on."""
        self.tail += data
        del self.tail[: -(self.limit // 4)]
        with contextlib.suppress(OSError):
            if self.size + len(data) > self.limit:
                os.ftruncate(self.descriptor, 0)
                self.size, data = 0, bytes(self.tail)
            self.size += os.write(self.descriptor, data)


class Bucket:
    """How many bytes may be read at a time: RATE in the long run, BURST at once."""

    def __init__(self, now: float) -> None:
        self.level, self.at = float(BURST), now

    def left(self, now: float) -> int:
        self.level = min(BURST, self.level + (now - self.at) * RATE)
        self.at = now
        return int(self.level)


class Monitor:
    """QEMU's monitor protocol on one socket."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.buffer = b""

    def ask(self, command: str) -> None:
        """Send a command. A QEMU that does not take it does not answer either, which is what counts."""
        with contextlib.suppress(OSError):
            self.channel.send(json.dumps({"execute": command, "id": command}).encode() + b"\n")

    def read(self) -> Iterator[Mapping[str, object]]:
        """The answers that have arrived. OSError, ValueError or TypeError when there will be none any more."""
        data = self.channel.recv(1 << 16)
        self.buffer += data
        if not data or len(self.buffer) > LONGEST_LINE:
            raise ConnectionError
        *lines, self.buffer = self.buffer.split(b"\n")
        for line in lines:
            message = dict(json.loads(line))
            if "QMP" in message:
                self.ask("qmp_capabilities")
            elif message.get("event") in _TOLD:
                tell(f"QEMU: {message['event']} {json.dumps(message.get('data', {}))}"[:300])
            elif "return" in message:
                yield message


class Keeper:
    """One run. `notify` tells systemd, `now` is a clock that only goes forward."""

    def __init__(
        self, log: Log, grace: float, probe: float, notify: Callable[[str], None], now: Callable[[], float]
    ) -> None:
        self.log, self.grace, self.probe, self.notify, self.now = log, grace, probe, notify, now
        self.bucket = Bucket(now())
        self.next_probe = 0.0
        self.ends: list[tuple[float, signal.Signals]] = []  # when to send what to QEMU
        self.ready = self.stopping = False
        self.speaks, self.listening = True, False  # whether the serial line is open, and is looked at

    def run(self, process: subprocess.Popen[bytes], serial: socket.socket, control: socket.socket, wake: int) -> int:
        """Stay until QEMU has ended; returns its exit code. `wake`: readable once we are told to stop."""
        self.monitor = Monitor(control)
        self.process = process
        pidfd = os.pidfd_open(process.pid)
        with selectors.DefaultSelector() as selector:
            for end in (control, wake, pidfd):
                selector.register(end, selectors.EVENT_READ)
            while process.poll() is None:
                self._throttle(selector, serial)
                for key, _ in selector.select(self._patience()):
                    if key.fileobj is serial:
                        self._serial(serial)
                    elif key.fileobj is control:
                        self._control(selector, control)
                    elif key.fileobj == wake:
                        selector.unregister(wake)
                        self._stop()
                self._due()
        os.close(pidfd)
        serial.setblocking(False)
        with contextlib.suppress(OSError):  # what QEMU left behind is as much as a socket holds
            while data := serial.recv(1 << 16):
                self.log.write(data)
        return process.returncode

    def _throttle(self, selector: selectors.BaseSelector, serial: socket.socket) -> None:
        wanted = self.speaks and self.bucket.left(self.now()) > 0
        if wanted != self.listening:
            self.listening = wanted
            if wanted:
                selector.register(serial, selectors.EVENT_READ)
            else:
                selector.unregister(serial)

    def _patience(self) -> float:
        due = [self.next_probe, *(at for at, _ in self.ends[:1])]
        if self.bucket.level < 1:
            due.append(self.now() + 0.1)
        return max(0.0, min(due) - self.now())

    def _serial(self, serial: socket.socket) -> None:
        data = serial.recv(max(1, min(1 << 16, int(self.bucket.level))))
        self.speaks = bool(data)
        self.bucket.level -= len(data)
        self.log.write(data)

    def _control(self, selector: selectors.BaseSelector, control: socket.socket) -> None:
        try:
            for answer in self.monitor.read():
                self._answered(answer)
        except (OSError, ValueError, TypeError):
            selector.unregister(control)  # the watchdog ends a QEMU that has no monitor any more

    def _answered(self, answer: Mapping[str, object]) -> None:
        given = answer["return"]
        if answer.get("id") == "qmp_capabilities":
            self.ready, self.next_probe = True, self.now()
            self.notify("READY=1")
        elif answer.get("id") == "query-status" and isinstance(given, dict):
            self.notify(f"STATUS=QEMU: {given.get('status')}")
            if given.get("running") is True:
                self.notify("WATCHDOG=1")

    def _due(self) -> None:
        now = self.now()
        if now >= self.next_probe:
            self.next_probe = now + self.probe
            if self.ready:
                self.monitor.ask("query-status")
        while self.ends and now >= self.ends[0][0]:
            self.process.send_signal(self.ends.pop(0)[1])

    def _stop(self) -> None:
        self.stopping = True
        self.notify("STOPPING=1")
        self.monitor.ask("system_powerdown")
        at = self.now() + (self.grace if self.ready else 0.0)
        self.ends = [(at, signal.SIGTERM), (at + ENDING, signal.SIGKILL)]


def notify(text: str) -> None:
    """Tell systemd, sd_notify(3), without waiting for it. Where there is none, nobody."""
    if not (address := os.environ.get("NOTIFY_SOCKET", "")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel, contextlib.suppress(OSError):
        name = "\0" + address[1:] if address.startswith("@") else address
        channel.sendto(text.encode(), socket.MSG_DONTWAIT, name)


def tell(text: str) -> None:
    """A line in the unit's journal."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def card(name: str | None) -> None:
    """The network card as CARD_FD. `name`: of the tap that the descriptor becomes; None: it is one already."""
    if name is not None:
        flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
        fcntl.ioctl(CARD, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    os.dup2(CARD, CARD_FD, inheritable=True)
    os.close(CARD)


@contextlib.contextmanager
def software_tpm(state: Path | None, folder: Path | None, argv: Sequence[str]) -> Iterator[None]:
    """A new software TPM for the time of the block; none without `state`. It listens on FOLDER.sock."""
    if state is None or folder is None:
        yield
        return
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(state, folder)
    with subprocess.Popen(argv, env=_ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=sys.stderr) as process:
        try:
            limit = time.monotonic() + TPM_START
            while not folder.with_suffix(".sock").exists():
                if process.poll() is not None or time.monotonic() > limit:
                    raise SystemExit("the software TPM does not start")
                time.sleep(0.02)
            yield
        finally:
            process.kill()


def start(argv: Sequence[str], *, with_card: bool) -> tuple[subprocess.Popen[bytes], socket.socket, socket.socket]:
    """QEMU, and our ends of its serial line and monitor."""
    ours, its = zip(socket.socketpair(), socket.socketpair(), strict=True)
    for end, number in zip(its, (SERIAL_FD, KEEPER_FD), strict=True):
        os.dup2(end.fileno(), number, inheritable=True)
        end.close()
    given = (SERIAL_FD, KEEPER_FD, *((CARD_FD,) if with_card else ()))
    process = subprocess.Popen(argv, env=_ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=sys.stderr, pass_fds=given)
    for number in given:
        os.close(number)
    ours[1].setblocking(False)  # a QEMU that hangs must not make us hang
    return process, *ours


def main(words: Sequence[str]) -> int:
    """The exit code: QEMU's own, 128 and its signal, 0 after a stop that was asked for."""
    parser = argparse.ArgumentParser(prog="keeper.py")
    parser.add_argument("--log-limit", type=int, required=True)
    parser.add_argument("--grace", type=float, required=True)
    parser.add_argument("--tap")
    parser.add_argument("--tpm", nargs=2, type=Path, default=(None, None))
    mark = words.index("--")
    options, argv = parser.parse_args(words[:mark]), list(words[mark + 1 :])
    (state, folder), with_card = options.tpm, os.environ.get("LISTEN_FDS", "0") != "0"
    second = argv.index("--") if state is not None else -1

    wake, told = os.pipe()
    os.set_blocking(told, False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.set_wakeup_fd(told)
    if with_card:
        card(options.tap)
    period = float(os.environ.get("WATCHDOG_USEC", 0)) / 3e6 or PROBE
    keeper = Keeper(Log(1, options.log_limit), options.grace, period, notify, time.monotonic)
    with software_tpm(state, folder, argv[: max(second, 0)]):
        process, serial, control = start(argv[second + 1 :], with_card=with_card)
        code = keeper.run(process, serial, control, wake)
    tell(f"QEMU ended with {code}")
    if keeper.stopping:
        return 0
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
