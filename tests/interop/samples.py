"""Logs and firmware for the peers: real ones where the vectors are, and ours, which need nothing."""

from __future__ import annotations

import lzma
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pluto_image.debian import deb
from pluto_image.inputs.store import Store, default_root
from pluto_image.lock.lockfile import Lock
from pluto_measure.digests import ALGORITHMS, digest
from pluto_measure.formats import eventlog, uefi
from pluto_measure.formats.eventlog import EventLog, EventType, LogEvent
from pluto_measure.launch import Launch
from pluto_measure.machine.platform import Platform, SecureBoot
from pluto_measure.predict import predict
from pluto_measure.predict.events import CALLING, EXIT_DONE, EXIT_INVOKED, SEPARATOR, ExpectedEvent
from pluto_measure.registers.replay import replay
from simulators import event_logs, machines, tdvf_images
from simulators.launches import LAUNCH

ROOT: Final = Path(__file__).resolve().parents[2]
BANKS_OF_GO: Final = ("sha1", "sha256", "sha384")  # it knows no other


@dataclass(frozen=True, slots=True)
class Sample:
    """A log in a file of its own, and what we read in it."""

    name: str
    path: Path
    log: EventLog

    @property
    def logged(self) -> tuple[LogEvent, ...]:
        """The events as others list them: without the record that says how the log is written."""
        first = self.log.events[0]
        says_how = first.type == EventType.EV_NO_ACTION and first.data.startswith(b"Spec ID Event03")
        return self.log.events[1:] if says_how else self.log.events

    @property
    def extending(self) -> tuple[LogEvent, ...]:
        return tuple(event for event in self.logged if event.type != EventType.EV_NO_ACTION)

    def registers(self, bank: str) -> dict[int, bytes]:
        """Our replay, by the number of PCR or RTMR."""
        return {int(name.lstrip("pcrtm")): value for name, value in replay(self.log)[bank].items()}

    def extended(self) -> set[int]:
        """The numbers of the registers that the log extends."""
        return {event.index - (self.log.kind == "cc") for event in self.extending}

    def events(self, bank: str) -> list[tuple[int, int, str, str]]:
        """Index, type, digest and data of every logged event."""
        return [(event.index, event.type, event.digests[bank].hex(), event.data.hex()) for event in self.logged]


def sample(name: str, data: bytes, folder: Path) -> Sample:
    """`data` in a file of `folder`, and our reading of it."""
    path = folder / f"{name}.log"
    path.write_bytes(data)
    return Sample(name, path, eventlog.parse(data))


def real(vectors: Path, folder: Path) -> list[Sample]:
    """Every binary log of the vectors."""
    found = {}
    for path in sorted((vectors / "measure/ccel").iterdir()):
        if path.suffix != ".json" and not path.stem.endswith((".quote", "ccel-table")):
            found[path.name.removesuffix(".xz")] = path
    # Further logs of trust domains lie beside their quotes.
    for pattern in ("*/tdx_ccel_live*", "cc-trusted-api/ccel_data.bin", "go-tdx-guest/ccel/ccel_data.dat"):
        found |= {f"quotes-{path.name}": path for path in sorted((vectors / "quotes").glob(pattern))}
    found |= {path.name: path for path in sorted((vectors / "measure/tpm").glob("*.bin"))}
    found |= {path.parent.name: path for path in sorted((vectors / "qemu-swtpm").glob("*/binary_bios_measurements"))}
    return [
        sample(name, lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes(), folder)
        for name, path in found.items()
    ]


def keys() -> SecureBoot:
    """Secure Boot on, with a certificate that others can read."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
    builder = builder.not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    return SecureBoot("on", dict.fromkeys(("PK", "KEK", "db"), machines.signature_list(certificate)))


def predicted(folder: Path) -> list[Sample]:
    """What honest machines of ours log, as we predict it, with the data of the events that others read."""
    on = keys()
    shapes: dict[str, tuple[Launch, Platform]] = {
        "qemu-tdx": (LAUNCH, machines.bare_metal()),
        "qemu-tdx-disk": (LAUNCH, machines.bare_metal_disk()),
        "qemu-tdx-keys": (LAUNCH, machines.bare_metal_disk(secure_boot=on)),
        "google": (LAUNCH, machines.google()),
        "google-keys": (LAUNCH, machines.google(secure_boot=on)),
        "laptop": (LAUNCH, machines.laptop()),
        "laptop-keys": (LAUNCH, machines.laptop(secure_boot=on)),
    }
    return [sample(name, log_of(predict(*shape), shape[1]), folder) for name, shape in shapes.items()]


def log_of(expected: Sequence[ExpectedEvent], platform: Platform) -> bytes:
    """The log of a machine that does what is predicted, padded as the firmware pads it."""
    is_cc = expected[0].register.startswith("rtmr")
    banks = ("sha384",) if is_cc else ("sha256", "sha384")
    contents = _contents(platform)
    events = [
        LogEvent(
            int(event.register.lstrip("pcrtm")) + is_cc,
            event.type,
            {bank: event.digests[bank] for bank in banks},
            # Where the digest is not that of the data, the data is a label; some peers want it not to be empty.
            contents.get(event.role, contents.get(event.role.partition(":")[0], event.role.encode())),
        )
        for event in expected
    ]
    return event_logs.encode(events, banks, cc=is_cc) + (b"\xff" * 4096 if is_cc else b"")


def _contents(platform: Platform) -> Mapping[str, bytes]:
    """The data of the events whose digest is that of their data, by role or by the role's first word."""
    secure_boot = platform.secure_boot
    contents = {"SecureBoot": {"absent": b"", "off": b"\0", "on": b"\1"}[secure_boot.state], **secure_boot.variables}
    found = {"separator": SEPARATOR, "calling": CALLING, "exit-invoked": EXIT_INVOKED, "exit-done": EXIT_DONE}
    for name in ("SecureBoot", "PK", "KEK", "db", "dbx"):
        guid = uefi.IMAGE_SECURITY if name in ("db", "dbx") else uefi.GLOBAL_VARIABLE
        content = contents.get(name, b"")
        assert isinstance(content, bytes)
        found[f"variable:{name}"] = uefi.Variable(guid, name, content).encode()
    if secure_boot.state == "on":
        db = secure_boot.variables["db"]
        assert isinstance(db, bytes)
        (entry,) = uefi.parse_signatures(db)
        found["authority"] = uefi.Variable(uefi.IMAGE_SECURITY, "db", entry.owner + entry.data).encode()
    return found


def invented(folder: Path, count: int = 40) -> list[Sample]:
    """Logs that no machine made: any registers, types, banks and data, the same ones each time."""
    return [sample(f"invented-{seed}", _invented(random.Random(seed)), folder) for seed in range(count)]


def _invented(chance: random.Random) -> bytes:
    is_cc = chance.random() < 0.5
    banks = ("sha384",) if is_cc else tuple(chance.sample(BANKS_OF_GO, chance.randint(1, 3)))
    sizes = chance.choice(((0, 4, 33, 1000), (4, 33, 1000)))
    events = []
    if not is_cc and chance.random() < 0.5:
        data = b"StartupLocality\0" + bytes([chance.choice((0, 3))])
        events.append(LogEvent(0, EventType.EV_NO_ACTION, {bank: bytes(ALGORITHMS[bank][1]) for bank in banks}, data))
    types = [kind for kind in EventType if kind != EventType.EV_NO_ACTION]
    for _ in range(chance.randint(0, 60)):
        index = chance.randint(1, 4) if is_cc else chance.randint(0, 16)
        data = chance.randbytes(chance.choice(sizes))
        # Half of the digests are of something else than the data, as those of labels are.
        content = data if chance.random() < 0.5 else chance.randbytes(8)
        digests = {bank: digest(bank, content) for bank in banks}
        events.append(LogEvent(index, chance.choice(types), digests, data))
    padding = chance.choice((0, 8, 64, 5000)) if is_cc else 0  # peers read eight bytes before they think of padding
    return event_logs.encode(events, banks, cc=is_cc) + b"\xff" * padding


def without(samples: Iterable[Sample], names: Iterable[str]) -> list[Sample]:
    """The samples but those of these names, all of which must be there."""
    left = {one.name: one for one in samples}
    for name in names:
        del left[name]
    return list(left.values())


def locked(package: str, path: str) -> bytes:
    """A file of our locked packages, both named by how they begin; LookupError unless `make inputs` fetched it."""
    lock = Lock.parse((ROOT / "image/notary/lock.json").read_bytes())
    for found in (*lock.image, *lock.tools):
        if found.name.startswith(package):
            data = Store(default_root()).get(found.sha256)
            if data is not None:
                (member,) = deb.read(data, want=lambda name: name.startswith(path)).members
                return member.data
    raise LookupError(f"{package} is not in the store")


def firmware() -> dict[str, bytes]:
    """Images that nobody built, in all the ways that the peers understand."""
    page, base = 0x1000, (4 << 30) - tdvf_images.SIZE
    usual = tdvf_images.ovmf()
    short = tdvf_images.Entry(0x9000, 0x1234, base + 0x9000, 3 * page, tdvf_images.BFV, 1)  # zeros behind its data
    late = tdvf_images.Entry(0, 0, 0x900000, 8 * page, tdvf_images.TEMP_MEM, 0)
    return {
        "usual": tdvf_images.image(),
        "four MiB": tdvf_images.large(),
        "other content": tdvf_images.image(seed="other"),
        "alone in its table": tdvf_images.image(before=(), behind=()),
        "sections in another order": tdvf_images.image(tuple(reversed(usual))),
        "section with less data than memory": tdvf_images.image((short, *usual[1:])),
        "more memory": tdvf_images.image((*usual, late)),
        "mailbox elsewhere": tdvf_images.image(tdvf_images.ovmf(mailbox=0x810000)),
    }
