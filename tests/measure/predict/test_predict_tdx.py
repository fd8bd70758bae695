"""Predictions for trust domains: real logs and quotes, and the same model as for a TPM."""

from __future__ import annotations

import lzma
from dataclasses import replace
from pathlib import Path

import pytest

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats import eventlog, uefi
from pluto_measure.formats.eventlog import EventLog, EventType
from pluto_measure.formats.tdvf import Section, SectionType
from pluto_measure.launch import Container, Launch
from pluto_measure.machine.firmware import Firmware
from pluto_measure.machine.inputs import Acpi
from pluto_measure.machine.platform import Platform, SecureBoot
from pluto_measure.measurements import Profile, profile_for
from pluto_measure.predict import ExpectedEvent, predict
from pluto_measure.registers.replay import replay
from simulators import machines
from simulators.launches import LAUNCH

UBUNTU = "firmware/ubuntu-25.10-ovmf_2025.02-8ubuntu3-OVMF.fd.xz"
QUOTED = 48 + 136  # MRTD in a quote of version 4; the four RTMRs begin 192 bytes later
# Where Google's firmware of 2 MiB has its sections: facts of its TDVF metadata, in its order.
GOOGLE_SECTIONS = (
    Section(0x20000, 0x1E0000, 0xFFE20000, 0x1E0000, SectionType.BFV, 1),
    Section(0, 0x20000, 0xFFE00000, 0x20000, SectionType.CFV, 0),
    Section(0, 0, 0x810000, 0x10000, SectionType.TEMP_MEM, 0),
    Section(0, 0, 0x80B000, 0x2000, SectionType.TEMP_MEM, 0),
    Section(0, 0, 0x809000, 0x2000, SectionType.TD_HOB, 0),
    Section(0, 0, 0x800000, 0x6000, SectionType.TEMP_MEM, 0),
)


def parsed(vectors: Path, name: str) -> EventLog:
    return eventlog.parse((vectors / "measure/ccel" / name).read_bytes())


def digests(log: EventLog, register: str) -> list[bytes]:
    return [e.digests["sha384"] for e in log.events if log.register(e) == register and e.type != 3]


def logged_acpi(log: EventLog) -> Acpi:
    found = [Digests(b"", e.digests["sha384"]) for e in log.events if e.data == b"ACPI DATA"]
    return Acpi(dict(zip(machines.BLOBS, found, strict=True)))


def of(events: tuple[ExpectedEvent, ...], register: str) -> list[bytes]:
    return [event.digests.get("sha384", b"") for event in events if event.register == register]


def roles(events: tuple[ExpectedEvent, ...], register: str) -> list[str]:
    return [event.role for event in events if event.register == register]


def values(profile: Profile) -> dict[str, bytes]:
    exact = {name: rule.values[0]["sha384"] for name, rule in profile.registers.items() if rule.match == "exact"}
    return exact | {name: bytes(48) for name, rule in profile.registers.items() if rule.match == "zero"}


def direct(log: EventLog) -> Launch:
    """The launch of a kernel whose digests a log shows. What the command line was, it does not show."""
    kernel = next(e for e in log.events if e.type == EventType.EV_EFI_BOOT_SERVICES_APPLICATION)
    initrd = next(e for e in log.events if e.type == EventType.EV_EVENT_TAG and b"initrd" in e.data)
    return replace(
        LAUNCH,
        stub="",
        sections=(),
        uki_authenticode=None,
        kernel_authenticode=Digests(b"", kernel.digests["sha384"]),
        handed_initrd=Digests(b"", initrd.digests["sha384"]),
    )


def test_a_direct_boot_on_a_tdx_host_is_predicted_up_to_the_quote(vectors: Path) -> None:
    log = parsed(vectors, "qemu-ubuntu2510-direct.ccel.bin")
    firmware = Firmware.of(lzma.decompress((vectors / "measure" / UBUNTU).read_bytes()), "interleaved")
    machine = machines.bare_metal(
        firmware=firmware, memory=2 << 30, boot="direct", vmm_version="10.1", acpi=(logged_acpi(log),)
    )
    events = predict(direct(log), machine)
    assert of(events, "rtmr0") == digests(log, "rtmr0")
    assert of(events, "rtmr1") == digests(log, "rtmr1")
    assert of(events, "rtmr2")[1:] == digests(log, "rtmr2")[1:]
    assert [event.type for event in events] == [event.type for event in log.events[1:]]
    quote = (vectors / "measure/ccel/qemu-ubuntu2510-direct.quote.bin").read_bytes()
    predicted = values(profile_for(direct(log), machine))
    assert predicted["mrtd"] == quote[QUOTED : QUOTED + 48]
    for index, name in ((0, "rtmr0"), (1, "rtmr1"), (3, "rtmr3")):
        at = QUOTED + 192 + 48 * index
        assert predicted[name] == quote[at : at + 48]


def test_firmware_and_machine_alone_give_mrtd_and_rtmr0(vectors: Path) -> None:
    log = parsed(vectors, "qemu-ubuntu2510-direct.ccel.bin")
    firmware = Firmware.of(lzma.decompress((vectors / "measure" / UBUNTU).read_bytes()), "interleaved")
    machine = machines.bare_metal(firmware=firmware, memory=2 << 30, boot="direct", acpi=(logged_acpi(log),))
    profile = profile_for(None, machine)
    assert profile.registers["rtmr0"].values == ({"sha384": replay(log)["sha384"]["rtmr0"]},)
    assert {event.register for event in profile.events} == {"rtmr0"}
    for name in ("rtmr1", "rtmr2", "rtmr3"):
        assert profile.registers[name].accepted(name, "sha384", {}) == ()


def test_older_firmware_measures_the_ready_separator_into_rtmr0(vectors: Path) -> None:
    log = parsed(vectors, "trustee-CCEL_data_ovmf")
    inteltdx = vectors / "measure/firmware/ubuntu-25.10-ovmf-inteltdx_2025.02-8ubuntu3-OVMF.inteltdx.fd.xz"
    firmware = Firmware.of(lzma.decompress(inteltdx.read_bytes()), "interleaved")  # the same layout, an older log
    machine = machines.bare_metal(
        firmware=firmware, memory=2 << 30, boot="direct", edk2_generation=202402, acpi=(logged_acpi(log),)
    )
    assert of(predict(None, machine), "rtmr0") == digests(log, "rtmr0")


@pytest.mark.parametrize("memory", [16])
def test_googles_rtmr0_is_that_of_a_real_log_until_shim(vectors: Path, memory: int) -> None:
    log = parsed(vectors, "gcp-cos113.ccel.bin")
    kind = EventType.EV_EFI_VARIABLE_DRIVER_CONFIG
    held = [uefi.parse_variable(event.data) for event in log.events if event.type == kind]
    cfv = next(e.digests["sha384"] for e in log.events if e.type == EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB2)
    keys = {variable.name: variable.data for variable in held if variable.name != "SecureBoot"}
    machine = machines.google(
        firmware=Firmware(Digests(b"", bytes(48)), sections=GOOGLE_SECTIONS, cfv=cfv, mrtds={}),
        memory=memory << 30,
        secure_boot=SecureBoot("off", keys),
        acpi=(logged_acpi(log),),
    )
    ours = of(predict(None, machine), "rtmr0")
    assert ours == digests(log, "rtmr0")[: len(ours)]
    by_digest = {name: Digests(b"", e.digests["sha384"]) for name, e in zip(keys, log.events[4:], strict=False)}
    assert of(predict(None, replace(machine, secure_boot=SecureBoot("off", by_digest))), "rtmr0") == ours


def test_a_uki_started_by_kernel_or_from_disk_extends_rtmr1_in_the_firmwares_order() -> None:
    kernel, disk = predict(LAUNCH, machines.bare_metal()), predict(LAUNCH, machines.bare_metal_disk())
    tail = ["image:kernel", "exit-invoked", "exit-done"]
    assert roles(kernel, "rtmr1") == ["image:uki", "calling", "separator:ready", *tail]
    assert roles(disk, "rtmr1") == ["calling", "separator:ready", "gpt", "image:uki", *tail]
    assert roles(kernel, "rtmr2")[-2:] == ["load-options", "initrd"]
    assert roles(kernel, "rtmr2")[:2] == ["section-name:.linux", "section:.linux"]
    assert roles(kernel, "rtmr0")[-2:] == ["boot-order", "boot-option:0000"]
    assert roles(disk, "rtmr0")[-4:] == ["boot-order", "boot-option:0001", "boot-option:0000", "boot-option:0002"]


@pytest.mark.parametrize("boot", ["uki-kernel", "disk"])
def test_a_trust_domain_measures_what_a_tpm_measures_into_other_registers(boot: str) -> None:
    """One model: RTMR[1] is PCR 4 and 5, RTMR[2] PCR 9 and 11, digest by digest in the order of the log."""
    make = machines.bare_metal if boot == "uki-kernel" else machines.bare_metal_disk
    tdx, tpm = predict(LAUNCH, make()), predict(LAUNCH, machines.laptop(boot=boot, disk=make().disk))
    for rtmr, pcrs in (("rtmr1", ("pcr4", "pcr5")), ("rtmr2", ("pcr9", "pcr11"))):
        ours = [(e.role, e.digests["sha384"]) for e in tdx if e.register == rtmr and e.role != "separator:ready"]
        theirs = [(e.role, e.digests["sha384"]) for e in tpm if e.register in pcrs and e.role != "separator:ready"]
        assert ours == theirs
    for role in ("boot-order", "variable:db", "separator:secure-boot"):
        (ours_one,), (theirs_one,) = ([e for e in events if e.role == role] for events in (tdx, tpm))
        assert ours_one.register == "rtmr0"
        assert ours_one.digests["sha384"] == theirs_one.digests["sha384"]


def test_pcr_1_is_exact_where_the_tables_are_known() -> None:
    profile = profile_for(LAUNCH, machines.laptop())
    assert profile.registers["pcr1"].match == "exact"
    assert roles(profile.events, "pcr1") == [
        *(f"acpi:{name}" for name in ("loader", "rsdp", "tpmLog", "tables")),
        "boot-order",
        "boot-option:0000",
        "separator:ready",
    ]
    assert profile_for(LAUNCH, Platform()).registers["pcr1"].match == "replay"


@pytest.mark.parametrize(("generation", "register"), [(202302, "rtmr0"), (202408, "rtmr0"), (202411, "rtmr1")])
def test_the_ready_separator_moved_with_a_generation(generation: int, register: str) -> None:
    events = predict(LAUNCH, machines.bare_metal(edk2_generation=generation))
    assert [e.register for e in events if e.role == "separator:ready"] == [register]


NEW = {"edk2_generation": 202505, "boot_variables": machines.variables(BootOrder=b"\0\0", Boot0000=b"menu")}


def test_from_202505_settings_of_the_vmm_and_smbios_are_measured() -> None:
    events = predict(LAUNCH, machines.bare_metal(**NEW, smbios=Digests.of(b"smbios")))
    assert roles(events, "rtmr0")[:4] == ["td-hob", "cfv", "fw-cfg:BootMenu", "fw-cfg:bootorder"]
    assert roles(events, "rtmr0")[-4:] == ["acpi:tables", "smbios", "boot-order", "boot-option:0000"]
    given = machines.variables(bootorder=b"disk", BootMenu=b"\0\0")
    changed = predict(LAUNCH, machines.bare_metal(**NEW, smbios=Digests.of(b"smbios"), fw_cfg=given))
    assert [role for role in roles(changed, "rtmr0") if role.startswith("fw-cfg")] == [
        "fw-cfg:BootMenu",
        "fw-cfg:bootorder",
    ]


@pytest.mark.parametrize(
    ("platform", "problem"),
    [
        (machines.bare_metal(**NEW), "smbios is not given"),
        (machines.bare_metal(edk2_generation=202505, smbios=Digests.of(b"")), "bootVariables are not given"),
        (
            machines.bare_metal(**NEW, smbios=Digests.of(b""), fw_cfg=machines.variables(other=b"")),
            "fwCfg.other is not an item",
        ),
        (
            machines.bare_metal_disk(**NEW, smbios=Digests.of(b"")),
            "fwCfg is not given, and firmware of 202505 measures where the disk stands",
        ),
        (machines.bare_metal(acpi=()), "acpi is not given, and nothing computes what QEMU 11.1 makes for 2 vCPUs"),
        (machines.bare_metal(firmware=None), "does not say which edk2 it is"),
        (machines.bare_metal(firmware=None, edk2_generation=202502), "MRTD cannot be computed"),
        (machines.bare_metal_disk(disk=None), "neither disk nor bootVariables"),
        (
            machines.bare_metal(boot_variables=machines.variables(Boot0000=b"")),
            "bootVariables has no BootOrder",
        ),
        (
            machines.bare_metal(boot_variables=machines.variables(BootOrder=b"\1\0", Boot0000=b"")),
            "BootOrder names Boot0001",
        ),
        (
            machines.google(acpi=(machines.acpi(), machines.acpi("x", tpm=True))),
            "do not name the same blobs",
        ),
        (
            machines.bare_metal(secure_boot=machines.keys(*(bytes([i]) for i in range(65)))),
            "db has 65 entries",
        ),
    ],
)  # fmt: skip
def test_what_no_default_can_be_right_for_is_asked_for_by_name(platform: Platform, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        profile_for(LAUNCH, platform)


@pytest.mark.parametrize(
    ("launch", "platform", "problem"),
    [
        (replace(LAUNCH, gpt_event=None), machines.bare_metal_disk(), "has no disk"),
        (replace(LAUNCH, uki_authenticode=None), machines.bare_metal(), "has no UKI"),
        (LAUNCH, machines.bare_metal(vmm_version="9.2"), "may write into a UKI"),
        (LAUNCH, Platform.default("gcp-confidential-space"), "has no container"),
    ],
)
def test_a_launch_that_does_not_fit_the_machine_is_refused(launch: Launch, platform: Platform, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        profile_for(launch, platform)


def test_an_allow_list_gives_an_event_its_digests_and_the_register_one_value_for_each_machine() -> None:
    """Blobs of one machine belong together: two loaders and two tables are two values, not four."""
    machine = machines.google(acpi=(machines.acpi("a"), machines.acpi("b"), machines.acpi("a")))
    profile = profile_for(LAUNCH, machine)
    tables = next(event for event in profile.events if event.role == "acpi:tables")
    assert (tables.digests, len(tables.allowed), tables.is_open) == ({}, 2, False)
    rule = profile.registers["rtmr0"]
    assert (rule.match, len(rule.values)) == ("oneOf", 2)
    for seed in "ab":
        alone = profile_for(LAUNCH, machines.google(acpi=(machines.acpi(seed),)))
        assert alone.registers["rtmr0"].values[0] in rule.values


def test_several_keys_are_an_allow_list_of_which_the_log_tells() -> None:
    profile = profile_for(LAUNCH, machines.bare_metal_disk(secure_boot=machines.keys(b"one", b"two")))
    authority = next(event for event in profile.events if event.role == "authority:db")
    assert len(authority.allowed) == 2
    assert (profile.registers["rtmr0"].match, len(profile.registers["rtmr0"].values)) == ("oneOf", 2)
    assert "image:kernel" not in roles(profile.events, "rtmr1")
    one = profile_for(LAUNCH, machines.bare_metal_disk(secure_boot=machines.keys(b"two")))
    assert one.registers["rtmr0"].match == "exact"


def test_a_list_that_would_explode_is_refused() -> None:
    machine = machines.google(
        acpi=tuple(machines.acpi(str(i)) for i in range(5)), secure_boot=machines.keys(*(bytes([i]) for i in range(60)))
    )
    with pytest.raises(FormatError, match="more than 256 allowed values"):
        profile_for(LAUNCH, machine)


@pytest.mark.parametrize(
    ("changes", "match", "accepts"),
    [
        ({}, "exact", 1),
        ({"acpi": ()}, "oneOf", 0),
        ({"acpi": (), "insecure_unmeasured_acpi": True}, "replay", 0),
        ({"acpi": (), "insecure_unmeasured_acpi": True, "firmware": None}, "oneOf", 0),
        ({"firmware": None}, "oneOf", 0),
        ({"secure_boot": SecureBoot("off", known=False)}, "oneOf", 0),
    ],
)
def test_on_google_what_is_not_known_accepts_nothing(changes: dict[str, object], match: str, accepts: int) -> None:
    profile = profile_for(LAUNCH, machines.google(**changes))
    rule = profile.registers["rtmr0"]
    assert (rule.match, len(rule.accepted("rtmr0", "sha384", {}) or ())) == (match, accepts)
    assert profile.registers["rtmr1"].match == "exact"
    assert "rtmr0" in profile.logged


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"firmware": None, "endorsed_mrtds": (b"1" * 48, b"2" * 48)}, ("oneOf", 2, "endorsed")),
        ({"firmware": None}, ("oneOf", 0, "endorsed")),
        ({}, ("exact", 1, "computed")),
    ],
)
def test_googles_mrtd_is_computed_or_endorsed(changes: dict[str, object], rule: tuple[str, int, str]) -> None:
    found = profile_for(LAUNCH, machines.google(**changes)).registers["mrtd"]
    assert (found.match, len(found.values), found.source) == rule


def test_azure_holds_the_boot_in_three_pcrs_and_nothing_in_the_rtmrs() -> None:
    profile = profile_for(LAUNCH, Platform.default("azure-tdx"))
    exact = {name for name, rule in profile.registers.items() if rule.match == "exact"}
    assert exact == {"pcr4", "pcr9", "pcr11", *(f"pcr{i}" for i in range(17, 23))}
    assert roles(profile.events, "pcr4") == ["calling", "separator:ready", "image:uki", "image:kernel"]
    assert {profile.registers[f"rtmr{i}"].match for i in range(4)} == {"zero"}
    assert (profile.registers["mrtd"].match, profile.registers["mrtd"].source) == ("any", "observed")
    assert {name for name, rule in profile.registers.items() if rule.match == "zero"} >= {"pcr12", "pcr13", "pcr15"}
    signed = profile_for(LAUNCH, replace(Platform.default("azure-tdx"), secure_boot=SecureBoot("on", known=False)))
    assert roles(signed.events, "pcr4") == ["calling", "separator:ready", "image:uki"]


@pytest.mark.parametrize(
    ("stub", "sections_in_rtmr2", "kernel_in_rtmr1", "initrd_open"),
    [
        ("252.39", 0, True, False),
        ("257.13", 8, True, False),
        ("258", 8, False, False),
        ("261", 8, False, False),
        ("262", 8, False, False),
    ],
)
def test_the_stub_decides_what_a_trust_domain_sees_of_a_uki(
    stub: str, sections_in_rtmr2: int, kernel_in_rtmr1: bool, initrd_open: bool
) -> None:
    launch = replace(LAUNCH, stub=stub)
    profile = profile_for(launch, machines.bare_metal())
    assert sum(role.startswith("section") for role in roles(profile.events, "rtmr2")) == sections_in_rtmr2
    assert ("image:kernel" in roles(profile.events, "rtmr1")) == kernel_in_rtmr1
    initrd = next(event for event in profile.events if event.role == "initrd")
    assert initrd.is_open == initrd_open
    assert profile.registers["rtmr2"].match == "exact"
    # From a disk, 261 and later hand over a secret that lies beside the UKI.
    from_disk = profile_for(launch, machines.bare_metal_disk())
    assert from_disk.registers["rtmr2"].match == ("oneOf" if int(stub[:3]) >= 261 else "exact")
    assert from_disk.registers["rtmr0"].match == ("oneOf" if int(stub[:3]) >= 262 else "exact")


def test_confidential_space_is_claims_and_no_register() -> None:
    container = Container("sha256:" + "ab" * 32, "sha256:" + "cd" * 32, ("serve",), (("A", "b"),))
    profile = profile_for(replace(LAUNCH, container=container), Platform.default("gcp-confidential-space"))
    assert (profile.events, profile.registers) == ((), {})
    assert profile.claims["hwmodel"] == "GCP_INTEL_TDX"
    assert profile.claims["dbgstat"] == "disabled-since-boot"
    submods = profile.claims["submods"]
    assert isinstance(submods, dict)
    assert submods["container"]["image_digest"] == "sha256:" + "ab" * 32
    assert submods["container"]["args"] == ["serve"]


def test_a_kernel_by_its_digest_is_the_one_that_the_firmware_gets() -> None:
    launch = replace(LAUNCH, uki_authenticode=None, sections=(), stub="")
    events = predict(launch, machines.bare_metal(boot="direct", vmm_version="8.2.2"))
    kernel = next(event for event in events if event.role == "image:kernel")
    assert kernel.digests["sha384"] == launch.kernel_authenticode.sha384


def test_a_command_line_may_be_known_by_the_digest_of_its_event() -> None:
    launch = Launch.parse(replace(LAUNCH, command_line="", load_options=Digests.of(b"options")).to_text())
    options = next(event for event in predict(launch, machines.bare_metal()) if event.role == "load-options")
    assert options.digests["sha384"] == Digests.of(b"options").sha384


def test_a_db_by_its_digest_leaves_the_key_that_was_used_open() -> None:
    content = dict.fromkeys(("PK", "KEK", "db"), Digests.of(b""))
    profile = profile_for(LAUNCH, machines.bare_metal(secure_boot=SecureBoot("on", content)))
    assert next(event for event in profile.events if event.role == "authority:db").is_open
    assert profile.registers["rtmr0"].accepted("rtmr0", "sha384", {}) == ()


@pytest.mark.parametrize(
    "machine",
    [machines.google(memory=352 << 30), machines.bare_metal(vmm="cloud-hypervisor", vmm_version="40")],
)
def test_a_list_of_memory_that_nobody_has_seen_is_open(machine: Platform) -> None:
    profile = profile_for(LAUNCH, machine)
    assert profile.events[0].is_open
    assert profile.registers["rtmr0"].accepted("rtmr0", "sha384", {}) == ()


def test_what_a_prediction_says_of_firmware_stands_for_the_image() -> None:
    for make in (machines.bare_metal, machines.google):
        machine = make()
        assert machine.firmware is not None
        again = replace(machine, firmware=Firmware.from_json(machine.firmware.to_json()))
        assert profile_for(LAUNCH, again).registers == profile_for(LAUNCH, machine).registers


def test_a_uki_without_an_initrd_hands_none_over() -> None:
    launch = replace(LAUNCH, sections=LAUNCH.sections[:1], command_line="", handed_initrd=None)
    assert roles(predict(launch, machines.bare_metal()), "rtmr2") == ["section-name:.linux", "section:.linux"]
