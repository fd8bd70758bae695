"""This image on other versions of systemd-stub: every event of PCR 4, 9, 11 and 12 is the predicted one, in both banks.

In the SHA-384 bank these are the digests that a trust domain extends RTMR[1] and RTMR[2] with. Every boot is one test.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from end_to_end import hostile, stub_boots, stub_packages
from end_to_end.stub_packages import Stub
from pluto_deploy.local.machine import MACHINE_TYPE, Machine
from pluto_deploy.local.state import StateFolder
from pluto_image.artifact import Dist
from pluto_image.errors import UnavailableError
from pluto_image.inputs.store import Store, default_root
from pluto_image.tools import ToolsTree
from pluto_measure.digests import Digests
from pluto_measure.evidence import Envelope
from pluto_measure.formats import eventlog
from pluto_measure.predict import predict
from pluto_measure.predict import stub as stubs
from pluto_measure.predict.events import BANKS
from pluto_measure.registers.replay import replay
from simulators.tpm_quotes import tpm_evidence

REGISTERS = ("pcr4", "pcr9", "pcr11", "pcr12")
# A cpio archive without files, whose size is no multiple of four.
UCODE = (".ucode", b"070701" + b"0" * 32 + b"00000001" + b"0" * 48 + b"0000000b" + b"0" * 8 + b"TRAILER!!!\0")
KEY = (".pcrpkey", b"a key")
SIGNATURE = (".pcrsig", b'{"sha256": []}')
PROFILE = (".profile", b"ID=main\n")


def load(major: int) -> Stub:
    try:
        return stub_packages.load(major, Store(default_root()))
    except UnavailableError as error:
        pytest.skip(f"no peer: {error}")


def assert_as_predicted(envelope: Envelope, dist: Dist, boot: str) -> None:
    """Type and digests of each event, and that the log leads to the quoted registers."""
    log = eventlog.parse(tpm_evidence(envelope).log)
    expected = predict(dist.launch, Machine(boot=boot).platform(Digests.of(dist.firmware.read_bytes())))
    registers = replay(log)
    for register in REGISTERS:
        seen = [event for event in log.events if log.register(event) == register]
        wanted = [event for event in expected if event.register == register]
        assert [event.type for event in seen] == [event.type for event in wanted], register
        pairs = zip(seen, wanted, strict=True)
        assert [want.role for see, want in pairs if not want.permits(see.digests, BANKS)] == [], register
        for bank in BANKS:
            assert registers[bank][register] == tpm_evidence(envelope).quote.registers[bank][register]


def initrd_is_predicted(envelope: Envelope, dist: Dist) -> bool:
    """Whether the initrd that the kernel measured is the one without a boot secret."""
    log = eventlog.parse(tpm_evidence(envelope).log)
    (event,) = [event for event in log.events if log.register(event) == "pcr9" and b"Linux initrd" in event.data]
    assert dist.launch.handed_initrd is not None
    return all(event.digests[bank] == dist.launch.handed_initrd[bank] for bank in BANKS)


def smbios_events(envelope: Envelope) -> list[tuple[str, bytes]]:
    """What the stub says that it measured of SMBIOS: description and SHA-384 digest."""
    log = eventlog.parse(tpm_evidence(envelope).log)
    tags = [event for event in log.events if log.register(event) == "pcr1" and event.type == 6]
    # EFI_TCG2_TAGGED_EVENT: u32 tag, u32 size, text in UTF-16 with its NUL
    return [(event.data[8:].decode("utf-16-le").rstrip("\0"), event.digests["sha384"]) for event in tags]


def our_system_information() -> bytes:
    """The SMBIOS structure of type 1 that QEMU gives our machine: no serial number, no UUID, started by a switch."""
    texts = ("QEMU", "Standard PC (Q35 + ICH9, 2009)", MACHINE_TYPE)
    head = b"\x01\x1b\x00\x01" + b"\x01\x02\x03\x00" + bytes(16) + b"\x06\x00\x00"
    return head + b"".join(text.encode() + b"\0" for text in texts) + b"\0"


@pytest.mark.more_boots
@pytest.mark.parametrize(
    ("major", "boot", "more"),
    [
        pytest.param(252, "uki-kernel", (KEY, SIGNATURE), id="252, more sections"),
        pytest.param(252, "disk", (), id="252, disk"),
        pytest.param(254, "uki-kernel", (KEY,), id="254"),
        pytest.param(257, "uki-kernel", (UCODE, KEY, SIGNATURE, PROFILE), id="257, more sections"),
        pytest.param(262, "uki-kernel", (), id="262"),
        pytest.param(262, "disk", (SIGNATURE, PROFILE), id="262, disk, more sections"),
    ],
)
def test_every_event_is_predicted_by_the_stubs_version(
    major: int,
    boot: str,
    more: tuple[tuple[str, bytes], ...],
    dist: Dist,
    tools: ToolsTree,
    folder: StateFolder,
    tmp_path: Path,
) -> None:
    stub = load(major)
    other = stub_boots.put_on(dist, stub, tmp_path / "dist", more)
    envelope = stub_boots.boot(hostile.order(other, boot=boot), tools, folder)
    assert_as_predicted(envelope, other, boot)
    # Our machine's disk is read-only, so that not even 262 finds a place for its boot secret.
    assert initrd_is_predicted(envelope, other)
    found = dict(stubs.measured_smbios([our_system_information()])) if stubs.version(stub.version).major >= 261 else {}
    assert smbios_events(envelope) == [(text, Digests.of(data).sha384) for text, data in found.items()]


@pytest.mark.more_boots
def test_stub_262_hands_over_another_initrd_from_a_disk_that_it_can_write_to(
    dist: Dist, tools: ToolsTree, folder: StateFolder, tmp_path: Path
) -> None:
    other = stub_boots.put_on(dist, load(262), tmp_path / "dist")
    extra = stub_boots.writable_disk(other, tmp_path / "writable.raw")
    envelope = stub_boots.boot(hostile.order(other, *extra, boot="disk"), tools, folder)
    assert_as_predicted(envelope, other, "disk")
    assert not initrd_is_predicted(envelope, other)


def test_the_pinned_packages_are_of_versions_that_are_known() -> None:
    majors = [stubs.version(package.version).major for package in stub_packages.pinned()]
    assert {252, 257, 262} <= set(majors)
    assert all(package.path.endswith(f"_{package.version}_amd64.deb") for package in stub_packages.pinned())
