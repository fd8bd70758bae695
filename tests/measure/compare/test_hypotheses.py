"""Guesses: each holds for what it names, and for nothing else. Real digests are those that were published."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pluto_measure.compare.explain import Known, hypotheses
from pluto_measure.digests import digest
from pluto_measure.formats import eventlog, uefi
from pluto_measure.formats.eventlog import LogEvent
from pluto_measure.machine.platform import Disk, Platform
from pluto_measure.predict import hob
from pluto_measure.predict.boot_options import boot_variables
from simulators import boot_logs
from simulators.event_logs import measured

GIB = 1 << 30


def both(data: bytes) -> dict[str, bytes]:
    return {name: digest(name, data) for name in ("sha256", "sha384")}


@pytest.mark.parametrize(
    ("beginning", "writer", "gib", "layout"),
    [
        ("2b630fa1d8fa9b6e", "qemu-tdx", 1, "OvmfPkgX64"),
        ("0e35f1b315ba6c91", "qemu-tdx", 2, "OvmfPkgX64"),
        ("02a008e63d55a778", "qemu-tdx", 4, "OvmfPkgX64"),
        ("68b713c6461d5af8", "qemu-tdx", 8, "OvmfPkgX64"),
        ("794385a0fd4ad193", "qemu-tdx", 16, "OvmfPkgX64"),
        ("519245d8b6b54b48", "qemu-tdx", 64, "OvmfPkgX64"),
        ("a3c6f64c252edb51", "qemu-tdx", 512, "OvmfPkgX64"),
        ("1055c9b9a1fc534e", "qemu-tdx", 1, "IntelTdxX64"),
        ("0b8772e5b0b41b83", "qemu-tdx", 2, "IntelTdxX64"),
        ("5b684faf8d02a733", "qemu-tdx", 4, "IntelTdxX64"),
        ("cd2312a0d87ef3c4", "qemu-tdx", 16, "IntelTdxX64"),
        ("8ae1e425351df799", "qemu-tdx", 64, "IntelTdxX64"),
        ("458994da", "gcp-tdx", 16, "Google's"),
        ("aa9e81fe", "gcp-tdx", 32, "Google's"),
        ("a5be8ecd", "gcp-tdx", 88, "Google's"),
        ("21092ead", "gcp-tdx", 176, "Google's"),
    ],
)
def test_the_published_digests_of_td_hobs_are_among_the_guesses(
    beginning: str, writer: str, gib: int, layout: str
) -> None:
    hypotheses.memory_of([b"no such digest"], Known())  # computes all of them
    seen = hypotheses._usual().seen
    (found,) = [handed for value, handed in seen.items() if value.hex().startswith(beginning)]
    assert (found.writer, found.memory) == (writer, gib * GIB)
    assert found.layout.startswith(layout)


def test_memory_of_real_machines_is_found(vectors: Path) -> None:
    names = {
        "gcp-cos113.ccel.bin": ("gcp-tdx", "16 GiB"),
        "qemu-ubuntu2510-direct.ccel.bin": ("qemu-tdx", "2 GiB"),
        "trustee-CCEL_data_ovmf": ("qemu-tdx", "2 GiB"),
        "goeventlog-CCEL_unpadded.data.bin": ("qemu-tdx", "8 GiB"),
    }
    for name, (writer, size) in names.items():
        log = eventlog.parse((vectors / "measure/ccel" / name).read_bytes())
        value = log.events[1].digests["sha384"]
        found = hypotheses.memory_of([value], Known())[value]
        assert (found.writer, found.size) == (writer, size)


def test_the_expected_firmware_is_tried_before_the_usual_ones() -> None:
    value = digest("sha384", hob.qemu(boot_logs.SECTIONS, 6 * GIB))
    odd = digest("sha384", hob.qemu(boot_logs.SECTIONS, 6 * GIB + 4096))
    known = Known(platform="qemu-tdx", memory=6 * GIB + 4096, sections=boot_logs.SECTIONS)
    found = hypotheses.memory_of([value, odd], known)
    assert found[value].layout == found[odd].layout == "this firmware"
    assert found[odd].memory == 6 * GIB + 4096
    google = digest("sha384", hob.google(boot_logs.SECTIONS, 7 * GIB))
    assert hypotheses.memory_of([google], Known(sections=boot_logs.SECTIONS))[google].writer == "gcp-tdx"
    assert hypotheses.memory_of([value], Known())[value].layout.startswith("OvmfPkgX64")


def test_what_no_guess_fits_takes_no_long_time() -> None:
    hypotheses._usual.cache_clear()
    started = time.perf_counter()
    assert hypotheses.memory_of([bytes(48)], Known(sections=boot_logs.SECTIONS)) == {}
    assert hypotheses.order_of(both(b"?")) is None
    assert hypotheses.option_of(both(b"?")) is None
    assert time.perf_counter() - started < 5


def test_sizes_have_words() -> None:
    assert [hypotheses.size_text(n) for n in (GIB, 3 * GIB // 4, GIB + 4096)] == ["1 GiB", "768 MiB", "1024 MiB"]


@pytest.mark.parametrize("order", [b"\0\0", b"\0\0\1\0", b"\1\0\0\0\2\0", b"\5\0\3\0\1\0\0\0"])
def test_boot_orders_are_found(order: bytes) -> None:
    numbers = [f"{order[at]:04X}" for at in range(0, len(order), 2)]
    assert hypotheses.order_of(both(order)) == " ".join(numbers)
    assert hypotheses.order_of({"sha256": digest("sha256", order)}) == " ".join(numbers)


def test_boot_options_that_firmware_makes_are_found() -> None:
    for bus, text in (
        ("virtio-blk", "UEFI Misc Device (PciRoot(0)/Pci(7,0))"),
        ("virtio-scsi", "UEFI QEMU QEMU HARDDISK"),
    ):
        variables = boot_variables(Platform(boot="disk", edk2_generation=202502, disk=Disk(bus, 7)))
        said = {name: hypotheses.option_of(both(item.content or b"")) for name, item in variables.items()}
        assert str(said["Boot0001"]).startswith(text)
        assert str(said["Boot0000"]).startswith("UiApp")
        assert str(said["Boot0002"]).startswith("EFI Internal Shell")
    google = boot_variables(Platform.default("gcp-tdx"))["Boot0001"]
    assert str(hypotheses.option_of(both(google.content or b""))).startswith("UEFI nvme_card-pd")


def test_states_of_variables_are_found() -> None:
    def state(name: str, content: bytes) -> str | None:
        return hypotheses.variable_state(
            name, uefi.GLOBAL_VARIABLE, both(uefi.Variable(uefi.GLOBAL_VARIABLE, name, content).encode())
        )

    assert [state("SecureBoot", content) for content in (b"", b"\0", b"\1", b"\2")] == [
        "absent from the firmware",
        "off",
        "on",
        None,
    ]
    assert [state("PK", content) for content in (b"", b"\0")] == ["absent", None]


def test_stores_are_named_by_their_beginning_or_their_size() -> None:
    known = bytes.fromhex("58bed422") + bytes(44)
    assert hypotheses.store_of({"sha384": known}, 0x20000) == "one of Google's"
    assert (
        hypotheses.store_of({"sha384": bytes(48)}, 0x84000)
        == "as the log says by its size, one of a 4 MiB build of OVMF"
    )
    assert hypotheses.store_of({"sha384": bytes(48)}, 7) is hypotheses.store_of({}, None) is None


@pytest.mark.parametrize("line", ["a b", "", "initrd=initrd a", "a initrd=initrd"])
def test_forms_of_a_command_line_are_found(line: str) -> None:
    def form(text: str) -> str | None:
        return hypotheses.line_of(line, both(text.encode("utf-16-le")))

    assert form(f"{line}\0") == "the command line alone"
    assert "line feed" in str(form(f"{line}\n\0"))
    assert "initrd=initrd behind it" in str(form(f"{line} initrd=initrd\0"))
    assert "initrd=initrd before it" in str(form(f"initrd=initrd {line}\0"))
    assert "without its NUL" in str(form(f"{line} initrd=initrd"))
    assert form("other\0") is None
    if "initrd" in line:
        assert form("a\0") == "the command line without initrd=initrd"


def test_a_partition_table_that_is_no_one_is_no_disk() -> None:
    for data in (b"", bytes(99), bytes(100)):
        assert hypotheses.disk_size_of(measured(5, 0, data), both(b"?")) is None
    assert hypotheses.disk_size_of(LogEvent(5, 0, both(b"?"), bytes(200)), both(b"?")) is None


def test_without_a_digest_nothing_holds() -> None:
    assert not hypotheses.holds(b"", {})
    assert hypotheses.holds(b"", both(b""))
    assert hypotheses.first_that_holds([(b"", "x")], {}) is None
