"""The paravisor's report: read as it is written, every unknown form refused by name."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats.hcl import LIMIT, HclReport
from simulators.azure_evidence import PARAVISOR, VM_ID, AzureMachine, hcl_report, jwk, rsa_key, td_report
from simulators.intel import ABSENT
from simulators.intel.quotes import TD15, TdReport, pattern

BOUND = bytes(range(64))
MACHINE = AzureMachine()
RUNTIME = MACHINE.runtime(BOUND)
HARDWARE = MACHINE.quote_over(RUNTIME)[0]
GENUINE = hcl_report(HARDWARE, RUNTIME)
VECTORS = ("azure-cvm-tooling/hcl-report-tdx.bin", "attestation-rs/az_tdx/hcl-report.bin")


def problem(data: bytes) -> str:
    with pytest.raises(FormatError) as caught:
        HclReport.parse(data)
    return str(caught.value)


def made(**changes: Any) -> bytes:
    return hcl_report(HARDWARE, RUNTIME, **changes)


def with_runtime(**changes: Any) -> bytes:
    """Members of the runtime data changed; ABSENT removes one."""
    return dataclasses.replace(MACHINE, more=changes).hcl(BOUND)


def with_key(**changes: Any) -> bytes:
    key = {**jwk(rsa_key("ak")), **changes}
    return with_runtime(keys=[{name: value for name, value in key.items() if value is not ABSENT}])


def test_a_report_is_read_as_it_was_written() -> None:
    report = HclReport.parse(GENUINE)
    assert report.runtime_data == RUNTIME
    assert report.user_data == BOUND
    assert report.ak.modulus == rsa_key("ak").public_key().public_numbers().n
    assert report.ak.exponent == 65537
    assert report.configuration.to_json() == {
        "secureBoot": False,
        "tpmEnabled": True,
        "tpmPersisted": False,
        "console": True,
        "interactiveConsole": False,
        "filteredVpciDevices": False,
        "vmId": VM_ID.lower(),
        "otherSettings": [],
    }


def test_every_field_of_the_td_report_stands_in_its_place() -> None:
    names = [field.name for field in dataclasses.fields(TdReport)]
    sizes = {"mrseam": 48, "mrsignerseam": 48, "mrtd": 48, "mrconfigid": 48, "mrowner": 48, "mrownerconfig": 48}
    values: dict[str, Any] = {name: pattern(name, size) for name, size in sizes.items() if name in names}
    values |= {"seamattributes": pattern("sa", 8), "tdattributes": 0x1122334455667788, "xfam": 0x8877665544332211}
    values |= {"mrservicetd": pattern("s"), "tee_tcb_svn": pattern("svn", 16), "tee_tcb_svn2": pattern("svn2", 16)}
    values |= {"rtmrs": tuple(pattern(f"r{i}") for i in range(4)), "reportdata": pattern("data", 64)}
    found = HclReport.parse(hcl_report(td_report(TdReport(TD15, **values)), RUNTIME)).td_report
    assert (found.tee_tcb_svn, found.tee_tcb_svn_2) == (values["tee_tcb_svn"], values["tee_tcb_svn2"])
    assert (found.mr_seam, found.mr_signer_seam) == (values["mrseam"], values["mrsignerseam"])
    assert found.seam_attributes == values["seamattributes"]
    assert int.from_bytes(found.td_attributes, "little") == values["tdattributes"]
    assert int.from_bytes(found.xfam, "little") == values["xfam"]
    assert (found.mr_td, found.mr_config_id) == (values["mrtd"], values["mrconfigid"])
    assert (found.mr_owner, found.mr_owner_config) == (values["mrowner"], values["mrownerconfig"])
    assert (found.rtmr0, found.rtmr1, found.rtmr2, found.rtmr3) == values["rtmrs"]
    assert (found.report_data, found.mr_service_td) == (values["reportdata"], values["mrservicetd"])
    assert HclReport.parse(GENUINE).td_report.mr_td == PARAVISOR


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"magic": b"HCLB"}, "begins with"),
        ({"version": 1}, "version 1 with request type 2"),
        ({"version": 3}, "version 3"),
        ({"request": 1}, "request type 1"),
        ({"reserved": bytes(11) + b"\1"}, "is not known"),
        ({"size": 2600}, "said to be 2600"),
        ({"kind": 2}, "AMD SEV-SNP"),
        ({"kind": 3}, "is not TDX"),
        ({"kind": 9}, "an unknown kind"),
        ({"hash_type": 2}, "hash type 2"),
        ({"data_version": 2}, "data version 2"),
        ({"data_size": 5}, "said to have 5 bytes"),
        ({"length": 1 << 31}, "runtime data needs 2147483648 bytes"),
        ({"tail": b"\0\1"}, "not zero"),
        ({"padding": b"\1"}, "behind the TD report"),
        ({"tail": bytes(LIMIT)}, "more than"),
    ],
)
def test_a_form_that_is_not_known_is_refused(changes: dict[str, Any], words: str) -> None:
    assert words in problem(made(**changes))


def test_a_report_of_other_hardware_is_refused() -> None:
    assert "no TD report" in problem(hcl_report(b"\0" + HARDWARE[1:], RUNTIME))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (with_runtime(keys=ABSENT), "keys is missing"),
        (with_runtime(keys=[]), "0 keys are called HCLAkPub"),
        (with_runtime(keys=[jwk(rsa_key("ak"))] * 2), "2 keys are called HCLAkPub"),
        (with_runtime(keys=[jwk(rsa_key("ak"))] * 9), "9 keys are more"),
        (with_runtime(keys=["key"]), "must be an object"),
        (with_runtime(keys=[{"kid": 1}]), "kid must be str"),
        (with_runtime(**{"vm-configuration": ABSENT}), "vm-configuration is missing"),
        (with_runtime(**{"vm-configuration": {"secure-boot": "false"}}), "secure-boot must be bool"),
        (with_runtime(**{"vm-configuration": {"secure-boot": 0}}), "secure-boot must be bool"),
        (with_runtime(**{"vm-configuration": {"vmUniqueId": "x"}}), "no UUID"),
        (with_runtime(**{"vm-configuration": {"a b": 1}}), "is no name"),
        (with_runtime(**{"vm-configuration": {f"n{i}": 1 for i in range(33)}}), "33 members"),
        (with_runtime(**{"user-data": ABSENT}), "user-data is missing"),
        (with_runtime(**{"user-data": "00" * 63}), "64 bytes in hex"),
        (with_runtime(**{"user-data": "0x" + "00" * 63}), "64 bytes in hex"),
        (with_runtime(**{"user-data": " 0" * 64}), "64 bytes in hex"),
        (with_key(kty="EC"), "not RSA"),
        (with_key(key_ops=["encrypt"]), "not for signatures alone"),
        (with_key(key_ops=["sign", "encrypt"]), "not for signatures alone"),
        (with_key(n="AQ=="), "not base64url"),
        (with_key(n="A"), "not base64url"),
        (with_key(e="AAEAAQ"), "one spelling"),
        (with_key(e="AR"), "one spelling"),
        (with_key(d="AQ"), "unknown member d"),
        (hcl_report(HARDWARE, b"{}{}"), "not JSON"),
        (hcl_report(HARDWARE, b"[]"), "must be an object"),
        (hcl_report(HARDWARE, RUNTIME[:-1] + b',"keys":[]}'), "occurs twice"),
    ],
)
def test_runtime_data_of_another_form_are_refused(data: bytes, words: str) -> None:
    assert words in problem(data)


def test_what_is_not_known_is_named_and_what_is_not_said_is_none() -> None:
    told = {"interactive-console-enabled": ABSENT, "tpm-version": "138", "current-time": 1}
    report = HclReport.parse(dataclasses.replace(MACHINE, settings=told, more={"policy": {}}).hcl(BOUND))
    assert report.configuration.interactive_console is None
    assert report.configuration.others == ("policy", "tpm-version")
    upper = dataclasses.replace(MACHINE, more={"user-data": BOUND.hex().upper()})
    assert HclReport.parse(upper.hcl(BOUND)).user_data == BOUND


def test_every_cut_is_refused() -> None:
    end = 1236 + len(RUNTIME)
    for size in range(end):
        problem(GENUINE[:size])
    assert HclReport.parse(GENUINE[:end]) == HclReport.parse(GENUINE)


@settings(deadline=None)
@given(st.integers(0, len(GENUINE) - 1), st.integers(1, 255))
def test_another_byte_is_refused_or_read(at: int, change: int) -> None:
    """Nothing is signed here; what is read differs, or is covered by REPORTDATA, which the verifier compares."""
    changed = GENUINE[:at] + bytes([GENUINE[at] ^ change]) + GENUINE[at + 1 :]
    try:
        found = HclReport.parse(changed)
    except FormatError:
        return
    unused = 16 <= at < 20 or 34 <= at < 1056  # the status; of the TD report what no quote has
    assert found != HclReport.parse(GENUINE) or unused


@pytest.mark.parametrize("name", VECTORS)
def test_recorded_reports(vectors: Path, name: str) -> None:
    data = (vectors / "quotes" / name).read_bytes()
    report = HclReport.parse(data)
    assert json.loads(report.runtime_data)["user-data"] == report.user_data.hex()
    assert report.ak.modulus.bit_length() == 2048
    assert (report.configuration.tpm_enabled, report.configuration.others) == (True, ())
    assert report.td_report.mr_td != bytes(48)


def test_a_recorded_report_of_amds_is_refused_in_words(vectors: Path) -> None:
    data = (vectors / "quotes/azure-cvm-tooling/hcl-report-snp.bin").read_bytes()
    assert "report type 2 (AMD SEV-SNP) is not TDX" in problem(data)
