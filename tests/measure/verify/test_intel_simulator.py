"""The pretend Intel writes what the real one writes: certificates, CRLs, documents and quotes hold together.

Offsets and shapes are spelled out here once more; nothing of the project's parsers is used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from simulators.intel import (
    ABSENT,
    BODY_SIZES,
    EARLY_LEVELS,
    MODULE,
    NOW,
    PLATFORM,
    QE,
    TD10,
    TD15,
    TD15EX,
    Authority,
    EnclaveReport,
    Issued,
    Machine,
    ModuleIdentity,
    Quote,
    SvnLevel,
    TcbLevel,
    TdReport,
    encode_members,
    healthy,
    key_of,
    pcs_response,
    qe_identity,
    quote,
    sgx_extension,
    sgx_members,
    tcb_info,
    tee_tcb_svn,
    world,
)
from simulators.intel.dissect import Parts, extension_of, holds, machine_of, point, values_of

INTEL = Authority.make()


# Certificates and CRLs


@pytest.mark.parametrize(
    "issued", [INTEL.root, INTEL.platform, INTEL.processor, INTEL.tcb_signing, INTEL.pck(), INTEL.pck("processor")]
)
def test_every_certificate_is_signed_by_the_one_above_and_formed_like_intels(issued: Issued) -> None:
    certificate = issued.certificate
    above = (issued.issuer or issued).certificate
    certificate.verify_directly_issued_by(above)
    authority = issued in (INTEL.root, INTEL.platform, INTEL.processor)
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    own = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    aki = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert basic.critical
    assert usage.critical
    assert basic.value.ca is authority
    assert basic.value.path_length == (None if not authority else 1 if issued is INTEL.root else 0)
    assert (usage.value.key_cert_sign, usage.value.crl_sign) == (authority, authority)
    assert (usage.value.digital_signature, usage.value.content_commitment) == (not authority, not authority)
    assert own == x509.SubjectKeyIdentifier.from_public_key(issued.key.public_key())
    assert aki.key_identifier == above.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints)
    assert certificate.not_valid_before_utc < NOW < certificate.not_valid_after_utc
    assert certificate.subject.rfc4514_string().startswith("C=US,ST=CA,L=Santa Clara,O=Intel Corporation,CN=Intel SGX ")


def test_a_root_is_known_by_its_key_and_a_foreign_one_has_its_name_alone() -> None:
    foreign = Authority.make(1)
    info = INTEL.root.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert INTEL.root_key_digest == hashlib.sha256(info).digest()
    assert Authority.make() is INTEL
    assert foreign.root.certificate.subject == INTEL.root.certificate.subject
    assert foreign.root_key_digest != INTEL.root_key_digest
    with pytest.raises(InvalidSignature):
        foreign.platform.certificate.verify_directly_issued_by(INTEL.root.certificate)


def test_a_certificate_with_a_defect_keeps_its_key_and_its_place() -> None:
    late = INTEL.with_certificate("platform", not_after=NOW, common_name="Other CA", path_length=None)
    assert late.platform.certificate.not_valid_after_utc == NOW
    assert "Other CA" in late.pck().certificate.issuer.rfc4514_string()
    assert point(late.platform.certificate) == point(INTEL.platform.certificate)
    rooted = INTEL.with_certificate("root", path_length=0)
    assert rooted.pck().chain[-1].der == rooted.root_der != INTEL.root_der
    assert rooted.root_key_digest == INTEL.root_key_digest
    forged = INTEL.pck(sign_with=key_of("mallory"))
    with pytest.raises(InvalidSignature):
        forged.certificate.verify_directly_issued_by(INTEL.platform.certificate)


def test_crls_list_what_is_revoked() -> None:
    for role in ("root", "platform", "processor"):
        issuer = INTEL.issued(role).certificate
        crl = x509.load_der_x509_crl(INTEL.crl(role, [5, INTEL.pck().serial], number=7))
        assert crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
        assert crl.issuer == issuer.subject
        assert [entry.serial_number for entry in crl] == [5, INTEL.pck().serial]
        assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7
    end = NOW - timedelta(days=3)
    old = INTEL.crl("root", this_update=end - timedelta(days=1), next_update=end, number=None, issuer_name="Nobody")
    crl = x509.load_der_x509_crl(old)
    assert crl.next_update_utc == end
    assert crl.issuer != INTEL.root.certificate.subject
    assert len(crl.extensions) == 1


# The SGX extension


def test_a_pck_certificate_says_of_its_machine_what_was_asked() -> None:
    components = tuple(range(120, 136))
    pck = INTEL.pck(fmspc=b"fmspc!", components=components, pcesvn=300, smt=None, ppid=b"p" * 16)
    der = extension_of(pck.certificate)
    assert der[:2] == b"\x30\x82"
    assert int.from_bytes(der[2:4], "big") == len(der) - 4
    machine = machine_of(der)
    assert machine.components == components
    assert machine.cpusvn == bytes(components)
    assert (machine.fmspc, machine.pcesvn, machine.smt) == (b"fmspc!", 300, None)
    assert (machine.dynamic_platform, machine.cached_keys, machine.sgx_type) == (True, False, 1)
    processor = values_of(extension_of(INTEL.pck("processor").certificate))
    assert "6" not in processor
    assert "7" not in processor
    bare = INTEL.pck(extension=encode_members(sgx_members(Machine())[:1]))
    assert list(values_of(extension_of(bare.certificate))) == ["1"]


# Documents


@pytest.mark.parametrize("text", [tcb_info(), qe_identity()])
def test_documents_are_signed_as_they_are(text: str) -> None:
    assert json.dumps(json.loads(text), separators=(",", ":")) == text, "compact"
    point_ = point(INTEL.tcb_signing.certificate)
    assert holds(point_, bytes.fromhex(INTEL.sign(text)), text.encode())
    assert not holds(point_, bytes.fromhex(INTEL.sign(text)), text.encode() + b" ")


def test_levels_descend_and_each_status_has_its_own_date() -> None:
    info, identity = json.loads(tcb_info()), json.loads(qe_identity())
    svns = [level["tcb"]["sgxtcbcomponents"][0]["svn"] for level in info["tcbLevels"]]
    assert [level["tcbStatus"] for level in info["tcbLevels"]] == list(PLATFORM)
    assert svns == sorted(svns, reverse=True) == list(PLATFORM.values())
    module = next(entry for entry in info["tdxModuleIdentities"] if entry["id"] == "TDX_01")
    for levels, table in ((module["tcbLevels"], MODULE), (identity["tcbLevels"], QE)):
        assert {level["tcbStatus"]: level["tcb"]["isvsvn"] for level in levels} == table
    dates = [level["tcbDate"] for part in (info, module, identity) for level in part["tcbLevels"]]
    assert len(set(dates)) == len(dates) == len(PLATFORM) + len(MODULE) + len(QE)
    assert [level.status for level in EARLY_LEVELS[:3]] == ["UpToDate", "OutOfDate", "SWHardeningNeeded"]


def test_members_are_changed_added_and_left_out() -> None:
    level = TcbLevel(members={"tcbDate": ABSENT, "tcbStatus": 5}, tcb={"pcesvn": ABSENT}, advisories=("INTEL-SA-1",))
    module = ModuleIdentity(0x1F, (SvnLevel(9, members={"more": None}),), members={"mrsigner": "zz"})
    info = json.loads(tcb_info(levels=[level], modules=[module], members={"nextUpdate": ABSENT, "id": "SGX"}))
    assert "nextUpdate" not in info
    assert info["id"] == "SGX"
    assert list(info["tcbLevels"][0]) == ["tcb", "tcbStatus", "advisoryIDs"]
    assert list(info["tcbLevels"][0]["tcb"]) == ["sgxtcbcomponents", "tdxtcbcomponents"]
    assert info["tdxModuleIdentities"][0]["id"] == "TDX_1F"
    assert info["tdxModuleIdentities"][0]["mrsigner"] == "zz"
    assert info["tdxModuleIdentities"][0]["tcbLevels"][0]["more"] is None
    assert "mrsigner" not in json.loads(qe_identity(members={"mrsigner": ABSENT}))


def test_a_collateral_service_answers_with_chains_in_headers() -> None:
    bundle = healthy().collateral
    for kind, wrapper, member, header in (
        ("tcb", "tcbInfo", "tcb_info", "TCB-Info-Issuer-Chain"),
        ("qe_identity", "enclaveIdentity", "qe_identity", "SGX-Enclave-Identity-Issuer-Chain"),
    ):
        headers, body = pcs_response(kind, bundle)  # type: ignore[arg-type]
        text = f'{{"{wrapper}":{bundle[member]},"signature":"{bundle[f"{member}_signature"]}"}}'
        assert body.decode() == text
        assert list(json.loads(body)) == [wrapper, "signature"]
        assert unquote(headers[header]) == bundle[f"{member}_issuer_chain"]
        assert "\n" not in headers[header]
        assert headers["Content-Length"] == str(len(body))
    headers, body = pcs_response("pck_crl", bundle)
    assert unquote(headers["SGX-PCK-CRL-Issuer-Chain"]) == bundle["pck_crl_issuer_chain"]
    assert body.hex() == bundle["pck_crl"]
    assert "SGX-TCB-Info-Issuer-Chain" in pcs_response("tcb", bundle, old_header=True)[0]
    headers, body = pcs_response("root_crl", bundle, crl_form="hex")
    assert not [name for name in headers if name.endswith("Chain")]
    assert body.decode() == bundle["root_ca_crl"]
    pem = pcs_response("root_crl", bundle, crl_form="pem")[1]
    assert x509.load_pem_x509_crl(pem).public_bytes(Encoding.DER).hex() == bundle["root_ca_crl"]


# Quotes


@pytest.mark.parametrize(("version", "kind"), [(4, TD10), (5, TD10), (5, TD15), (5, TD15EX)])
def test_a_quote_is_signed_and_bound_from_the_body_to_the_root(version: int, kind: int) -> None:
    parts = Parts(world(version=version, kind=kind).quote)
    assert parts.genuine()
    assert (parts.version, parts.outer_type, parts.inner_type, parts.trailing) == (version, 6, 5, b"")
    assert len(parts.signed) == (48 if version == 4 else 54) + BODY_SIZES[kind]
    assert parts.signed[12:28].hex() == "939a7233f79c4ca9940a0db3957f0607"
    leaf, middle, root = x509.load_pem_x509_certificates(parts.certificates)
    leaf.verify_directly_issued_by(middle)
    middle.verify_directly_issued_by(root)
    assert root.public_bytes(Encoding.DER) == INTEL.root_der


def test_fields_stand_at_the_offsets_of_the_specification() -> None:
    report = TdReport(
        TD15EX,
        tdattributes=0x8000000000000001,
        xfam=0x207,
        mrseam=b"s" * 48,
        mrtd=b"t" * 48,
        rtmrs=(b"0" * 48, b"1" * 48, b"2" * 48, b"3" * 48),
        reportdata=b"r" * 64,
        tee_tcb_svn2=b"n" * 16,
        mrservicetd=b"m" * 48,
        vm_id=7,
        td_id=b"i" * 32,
        initial_fmspc=b"f" * 12,
        current_service_td_attributes=b"c" * 8,
    ).encode()
    assert report[:16] == bytes([7, 1, 5]) + bytes(13)
    assert report[16:64] == b"s" * 48
    assert report[120:136].hex() == "0100000000000080" + "0702000000000000"
    assert report[136:184] == b"t" * 48
    assert report[328:520] == b"".join(digit * 48 for digit in (b"0", b"1", b"2", b"3"))
    assert report[520:584] == b"r" * 64
    assert report[584:600] == b"n" * 16
    assert report[600:648] == b"m" * 48
    assert report[648:681] == b"\x07" + b"i" * 32
    assert report[801:817] == report[:16]
    assert report[817:829] == b"f" * 12
    assert report[877:] == b"c" * 8
    qe = EnclaveReport(miscselect=1, attributes=b"a" * 16, mrsigner=b"s" * 32, isvprodid=2, isvsvn=0x0103).encode()
    assert len(qe) == 384
    assert (qe[16:20], qe[48:64], qe[128:160]) == (b"\1\0\0\0", b"a" * 16, b"s" * 32)
    assert qe[256:260] == b"\x02\x00\x03\x01"


@pytest.mark.parametrize(
    "lie",
    [
        {"sign_with": key_of("mallory")},
        {"qe_sign_with": key_of("mallory")},
        {"qe_report_data": bytes(64)},
        {"signature": bytes(63) + b"\x01"},
        {"qe_signature": bytes(63) + b"\x01"},
        {"public_key": key_of("mallory").public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]},
        {"chain": Authority.make(1).pck().chain},
    ],
    ids=lambda lie: next(iter(lie)),
)
def test_each_lie_breaks_a_signature_or_a_binding(lie: dict[str, Any]) -> None:
    assert not Parts(healthy().with_quote(**lie).quote).genuine()


def test_structure_can_be_wrong_on_purpose() -> None:
    pck = INTEL.pck()
    honest = quote(pck)
    assert quote(pck, trailing=b"tail") == honest + b"tail"
    assert len(x509.load_pem_x509_certificates(Parts(quote(pck, chain=[*pck.chain, pck])).certificates)) == 4
    assert Parts(quote(pck, chain=[b"no certificate"], pem_end=b"")).certificates == b"no certificate"
    assert Parts(quote(pck, inner_type=1, inner_data=b"ppid")).certificates == b"ppid"
    assert Parts(quote(pck, EnclaveReport(), version=3)).genuine()
    assert quote(pck, tee_type=0)[4:8] == bytes(4)
    assert quote(pck, version=5, body_type=3, body_size=9)[48:54] == b"\x03\x00\x09\x00\x00\x00"
    assert quote(pck, body=b"short")[48:53] == b"short"
    for delta in ("signature_data_delta", "outer_length_delta", "auth_data_delta", "inner_length_delta"):
        changes: dict[str, Any] = {delta: 1}
        other = quote(pck, **changes)
        different = [index for index, pair in enumerate(zip(honest, other, strict=True)) if pair[0] != pair[1]]
        assert len(different) <= 2, "a length field alone"
        assert different


def test_every_field_of_a_quote_is_reachable_by_name() -> None:
    with pytest.raises(TypeError):
        quote(INTEL.pck(), no_such_field=1)
    assert Quote(INTEL.pck()).encode() == quote(INTEL.pck())


# Worlds


def test_a_world_is_the_same_each_time_and_changes_in_one_place() -> None:
    one = healthy()
    assert world().quote == one.quote
    assert world().collateral == one.collateral
    debug = one.with_report(tdattributes=1)
    assert Parts(debug.quote).genuine()
    assert debug.collateral is one.collateral
    assert one.with_qe(isvsvn=3).parts.qe_report.isvsvn == 3
    revoked = one.with_collateral(revoked=[one.pck.serial]).collateral
    assert [name for name in revoked if revoked[name] != one.collateral[name]] == ["pck_crl"]
    assert "pck_crl" not in one.with_members(pck_crl=ABSENT).collateral
    other = one.with_pck(INTEL.pck("processor"))
    assert Parts(other.quote).genuine()


def test_statuses_are_chosen_by_svns() -> None:
    made = world(platform="Revoked", module="OutOfDate", module_now="UpToDate", qe="Revoked")
    assert made.pck.machine.components[0] == PLATFORM["Revoked"]
    assert made.report.kind == TD15
    assert made.report.tee_tcb_svn == tee_tcb_svn(MODULE["OutOfDate"])
    assert made.report.tee_tcb_svn2 == tee_tcb_svn(MODULE["UpToDate"])
    assert made.parts.qe_report.isvsvn == QE["Revoked"]
    assert made.collateral == healthy().collateral


# Held against real data


def real_quotes(folder: Path) -> Iterator[bytes]:
    for path in sorted((folder / "quotes").rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        quoted = data[:8].hex() in ("0400020081000000", "0500020081000000")
        if quoted and b"-----BEGIN CERTIFICATE" in data:
            yield data


def test_real_quotes_have_this_structure_and_real_extensions_these_bytes(vectors: Path) -> None:
    seen = 0
    for data in real_quotes(vectors):
        parts = Parts(data)
        assert parts.genuine()
        certificates = x509.load_pem_x509_certificates(parts.certificates.rstrip(b"\0"))
        leaf = next(each for each in certificates if "PCK Certificate" in each.subject.rfc4514_string())
        der = extension_of(leaf)
        assert sgx_extension(machine_of(der)) == der
        ours = INTEL.pck().certificate
        assert [each.oid for each in leaf.extensions] == [each.oid for each in ours.extensions]
        assert leaf.subject == ours.subject
        seen += 1
    assert seen > 10


def test_real_documents_have_these_members_in_this_order(vectors: Path) -> None:
    def shape(document: Any) -> Any:
        if isinstance(document, dict):
            return [(name, value if name in ("category", "type") else shape(value)) for name, value in document.items()]
        return [shape(document[0])] if isinstance(document, list) and document else type(document).__name__

    info, identity = json.loads(tcb_info()), json.loads(qe_identity())
    for path in sorted((vectors / "quotes/derived/collateral").glob("*.json")):
        real = json.loads(path.read_text())
        document = json.loads(real["tcb_info"])
        for name in document:
            assert shape(document[name]) == shape(info[name])
        assert [name for name in info if name in document] == list(document)
        for level in document["tcbLevels"]:
            for member in ("sgxtcbcomponents", "tdxtcbcomponents"):
                mine = info["tcbLevels"][0]["tcb"][member]
                kinds = [[{**each, "svn": 0} for each in part] for part in (level["tcb"][member], mine)]
                assert kinds[0] == kinds[1]
        assert shape(json.loads(real["qe_identity"])) == shape(identity)
        assert set(healthy().collateral) == {name for name in real if not name.startswith("_")}
