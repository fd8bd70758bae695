"""PCK certificates: the SGX extension, DER to the letter, and certificates in PEM text."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats.pck import EXTENSION, MOST_CERTIFICATES, PckExtension, split_pem
from pluto_measure.formats.quote import Quote, unwrap
from simulators.intel import Authority, Machine, encode_members, octets, sgx_extension, sgx_members, tcb_members
from simulators.intel.der import Member, boolean, enumerated, identifier, integer, sequence, tlv
from simulators.intel.dissect import extension_of, machine_of

SGX_TYPES = {0: "standard", 1: "scalable", 2: "scalable with integrity"}
MEMBERS = sgx_members(Machine())
CONFIGURATION: list[Member] = [("7.1", boolean(True)), ("7.2", boolean(False)), ("7.3", boolean(True))]


def refused(der: bytes) -> str:
    with pytest.raises(FormatError) as caught:
        PckExtension.parse(der)
    return str(caught.value)


def extension(**changes: bytes | None) -> bytes:
    """The extension with members changed (_4=...) or, with None, left out."""
    wanted = {name.removeprefix("_"): value for name, value in changes.items()}
    members = [(name, wanted.get(name, value)) for name, value in MEMBERS]
    members += [(name, value) for name, value in wanted.items() if name not in dict(MEMBERS)]
    return encode_members([(name, value) for name, value in members if value is not None])


def tcb(**changes: bytes | None) -> bytes:
    """The TCB's value with members changed (_17=...) or left out."""
    wanted = {f"2.{name.removeprefix('_')}": value for name, value in changes.items()}
    members = [(name, wanted.get(name, value)) for name, value in tcb_members(Machine())]
    return encode_members([(name, value) for name, value in members if value is not None])


def check(read: PckExtension, machine: Machine) -> None:
    assert (read.ppid, read.pce_id, read.fmspc) == (machine.ppid, machine.pceid, machine.fmspc)
    assert (read.components, read.pce_svn) == (machine.components, machine.pcesvn)
    assert read.cpu_svn == (bytes(machine.components) if machine.cpusvn is None else machine.cpusvn)
    assert read.sgx_type == SGX_TYPES[machine.sgx_type]
    assert read.platform_instance == machine.platform_instance
    flags = (machine.dynamic_platform, machine.cached_keys, machine.smt)
    assert (read.dynamic_platform, read.cached_keys, read.smt) == flags


# Real certificates


def test_every_real_pck_certificate_is_read(vectors: Path) -> None:
    seen = set()
    for path in sorted((vectors / "quotes").rglob("*")):
        if not path.is_file() or path.suffix == ".json":
            continue
        with suppress(FormatError):
            quote = Quote.parse(unwrap(path.read_bytes()))
            ders = split_pem(quote.certificates, what="quote.certificates")
            leaf = next(each for each in map(x509.load_der_x509_certificate, ders) if "PCK Cert" in str(each.subject))
            der = extension_of(leaf)
            check(PckExtension.parse(der), machine_of(der))
            seen.add(PckExtension.parse(der).fmspc.hex())
    assert {"00806f050000", "50806f000000", "90c06f000000", "b0c06f000000"} <= seen


# Against the writer in tests/simulators

small, sixteen = st.integers(0, 255), st.binary(min_size=16, max_size=16)
machines = st.builds(
    Machine,
    fmspc=st.binary(min_size=6, max_size=6),
    pceid=st.binary(min_size=2, max_size=2),
    ppid=sixteen,
    components=st.tuples(*[small] * 16),
    pcesvn=st.integers(0, 0xFFFF),
    cpusvn=st.none() | sixteen,
    sgx_type=st.integers(0, 2),
    platform_instance=sixteen,
    dynamic_platform=st.booleans(),
    cached_keys=st.booleans(),
    smt=st.booleans(),
)
ABSENT: dict[str, Any] = {"platform_instance": None, "dynamic_platform": None, "cached_keys": None, "smt": None}


@settings(max_examples=100, deadline=None)
@given(machines, st.booleans(), st.randoms(use_true_random=False))
def test_what_the_writer_wrote_is_read_back_in_any_order(machine: Machine, of_processor: bool, shuffle: Any) -> None:
    machine = replace(machine, **ABSENT) if of_processor else machine
    check(PckExtension.parse(sgx_extension(machine)), machine)
    members = sgx_members(machine)
    shuffle.shuffle(members)
    check(PckExtension.parse(encode_members(members)), machine)


@pytest.mark.parametrize("ca", ["platform", "processor"])
def test_a_certificate_carries_its_extension(ca: Any) -> None:
    pck = Authority.make().pck(ca)
    value = extension_of(pck.certificate)
    assert pck.certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(EXTENSION)).value
    check(PckExtension.parse(value), pck.machine)


def test_every_truncation_and_every_tail_is_refused() -> None:
    der = extension()
    for size in range(len(der)):
        refused(der[:size])
    assert "1 bytes left over" in refused(der + b"\0")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=600), st.integers(0, 600), st.booleans())
def test_any_bytes_are_an_extension_or_a_format_error(data: bytes, at: int, alone: bool) -> None:
    der = extension()
    data = data if alone else der[:at] + data[:3] + der[at + len(data[:3]) :]
    with suppress(FormatError):
        read = PckExtension.parse(data)
        assert (len(read.fmspc), len(read.ppid), len(read.components)) == (6, 16, 16)


@pytest.mark.parametrize("byte", [0x00, 0x01, 0x7F, 0x80, 0xFF])
def test_any_byte_changed_is_an_extension_or_a_format_error(byte: int) -> None:
    der = extension()
    for at in range(len(der)):
        with suppress(FormatError):
            PckExtension.parse(der[:at] + bytes([byte]) + der[at + 1 :])


# DER


@pytest.mark.parametrize(
    ("der", "message"),
    [
        (b"", "at offset 0x0: an element is cut short"),
        (b"\x30", "at offset 0x0: an element is cut short"),
        (b"\x30\x01", "at offset 0x0: an element needs 1 bytes, 0 left"),
        (b"\x30\x80\x00\x00", "at offset 0x0: an element has a length of 0 bytes"),
        (b"\x30\x81", "at offset 0x0: an element has a length of 1 bytes"),
        (b"\x30\x82\x01", "at offset 0x0: an element has a length of 2 bytes"),
        (b"\x30\x83\x01\x00\x00" + bytes(65536), "at offset 0x0: an element has a length of 3 bytes"),
        (b"\x30\xff" + bytes(127), "at offset 0x0: an element has a length of 127 bytes"),
        (b"\x30\x81\x00", "at offset 0x0: a length is not spelled shortest"),
        (b"\x30\x81\x7f" + bytes(127), "at offset 0x0: a length is not spelled shortest"),
        (b"\x30\x82\x00\x80" + bytes(128), "at offset 0x0: a length is not spelled shortest"),
        (b"\x30\x82\x00\xff" + bytes(255), "at offset 0x0: a length is not spelled shortest"),
        (b"\x30\x81\x80" + bytes(127), "at offset 0x0: an element needs 128 bytes, 127 left"),
        (b"\x30\x82\x01\x00" + bytes(255), "at offset 0x0: an element needs 256 bytes, 255 left"),
        (b"\x31\x00", "at offset 0x2: tag 0x31 is not a sequence"),
        (b"\x30\x00", "TCB is missing"),
    ],
)
def test_der_is_read_to_the_letter(der: bytes, message: str) -> None:
    assert message in refused(der)


@pytest.mark.parametrize("size", [0x7F, 0x80, 0xFF, 0x100])
def test_lengths_in_each_of_the_three_forms_are_read(size: int) -> None:
    """The PPID becomes longer: the length itself is no error then."""
    assert f"PPID has {size} bytes, not 16" in refused(extension(_1=octets(bytes(size))))


def test_an_element_does_not_reach_out_of_the_one_around_it() -> None:
    inner = identifier(f"{EXTENSION}.1") + b"\x04\x10" + bytes(15)  # one byte short; the next member would supply it
    der = sequence(tlv(0x30, inner), sequence(identifier(f"{EXTENSION}.3"), octets(bytes(2))))
    assert "an element needs 16 bytes, 15 left" in refused(der)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (tlv(0x31, identifier(f"{EXTENSION}.1") + octets(bytes(16))), "does not begin with an identifier"),
        (sequence(), "does not begin with an identifier"),
        (sequence(octets(bytes(16))), "does not begin with an identifier"),
        (sequence(identifier("1.2.840.113741.1.13.2.1"), octets(bytes(16))), "does not begin with an identifier"),
        (sequence(identifier(EXTENSION), octets(bytes(16))), "does not begin with an identifier"),
        (sequence(identifier(f"{EXTENSION}.2.1"), octets(bytes(16))), "does not begin with an identifier"),
        (sequence(identifier(f"{EXTENSION}.200"), octets(bytes(16))), "does not begin with an identifier"),
        (sequence(identifier(f"{EXTENSION}.1")), "an element is cut short"),
        (sequence(identifier(f"{EXTENSION}.1")[:-1]), "an element is cut short"),
        (sequence(identifier(f"{EXTENSION}.1"), octets(bytes(16)), octets(b"")), "not an identifier and one value"),
    ],
)
def test_a_member_is_an_identifier_and_one_value(member: bytes, message: str) -> None:
    assert message in refused(tlv(0x30, member))


# Members


@pytest.mark.parametrize(
    ("der", "message"),
    [
        (extension(_1=None), "PPID is missing"),
        (extension(_2=None), "TCB is missing"),
        (extension(_3=None), "PCEID is missing"),
        (extension(_4=None), "FMSPC is missing"),
        (extension(_5=None), "SGX type is missing"),
        (extension(_6=None), "has one of platform instance and configuration, not both or neither"),
        (extension(_7=None), "has one of platform instance and configuration, not both or neither"),
        (extension(_8=octets(b"")), "member 8 is not known"),
        (extension(_0=octets(b"")), "member 0 is not known"),
        (encode_members([*MEMBERS, MEMBERS[3]]), "member 4 occurs twice"),
        (extension(_1=octets(bytes(15))), "PPID has 15 bytes, not 16"),
        (extension(_3=octets(bytes(3))), "PCEID has 3 bytes, not 2"),
        (extension(_4=octets(bytes(5))), "FMSPC has 5 bytes, not 6"),
        (extension(_6=octets(bytes(17))), "platform instance has 17 bytes, not 16"),
        (extension(_1=tlv(0x0C, bytes(16))), "PPID has tag 0xc, not 0x4"),
        (extension(_2=octets(b"")), "tag 0x4 is not a sequence"),
        (extension(_7=octets(b"")), "tag 0x4 is not a sequence"),
        (extension(_5=integer(1)), "SGX type has tag 0x2, not 0xa"),
        (extension(_5=enumerated(3)), "SGX type 03 is not known"),
        (extension(_5=tlv(0x0A, b"")), "SGX type  is not known"),
        (extension(_5=tlv(0x0A, b"\0\1")), "SGX type 0001 is not known"),
        (extension(_7=encode_members(CONFIGURATION[:2])), "configuration has 2 members, not 3"),
        (extension(_7=sequence()), "configuration has 0 members, not 3"),
        (extension(_7=encode_members([*CONFIGURATION, ("7.4", boolean(True))])), "configuration 4 with ff"),
        (extension(_7=encode_members([("7.0", boolean(True)), *CONFIGURATION[1:]])), "configuration 0 with ff"),
        (extension(_7=encode_members([*CONFIGURATION, CONFIGURATION[0]])), "member 1 occurs twice"),
        (extension(_7=encode_members([*CONFIGURATION[:2], ("7.3", tlv(1, b"\1"))])), "configuration 3 with 01"),
        (extension(_7=encode_members([*CONFIGURATION[:2], ("7.3", tlv(1, b""))])), "configuration 3 with "),
        (extension(_7=encode_members([*CONFIGURATION[:2], ("7.3", integer(1))])), "configuration 3 has tag 0x2"),
        (extension(_7=encode_members([*CONFIGURATION[:2], ("2.3", boolean(True))])), "does not begin with"),
    ],
)  # fmt: skip
def test_each_member_has_its_kind_and_its_size(der: bytes, message: str) -> None:
    assert message in refused(der)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (tcb(_1=None), "component 1 is missing"),
        (tcb(_16=None), "component 16 is missing"),
        (tcb(_17=None), "PCESVN is missing"),
        (tcb(_18=None), "CPUSVN is missing"),
        (tcb(_18=octets(bytes(15))), "CPUSVN has 15 bytes, not 16"),
        (tcb(_3=octets(b"\1")), "component 3 has tag 0x4, not 0x2"),
        (tcb(_3=tlv(2, b"")), "component 3 is not an integer of 0 to 255"),
        (tcb(_3=integer(-1)), "component 3 is not an integer of 0 to 255"),
        (tcb(_3=tlv(2, b"\xff")), "component 3 is not an integer of 0 to 255"),
        (tcb(_3=integer(256)), "component 3 is not an integer of 0 to 255"),
        (tcb(_3=tlv(2, b"\0\1")), "component 3 is not an integer of 0 to 255"),
        (tcb(_3=tlv(2, b"\0\0\xff")), "component 3 is not an integer of 0 to 255"),
        (tcb(_3=tlv(2, b"\0\0\0\1")), "component 3 is not an integer of 0 to 255"),
        (tcb(_17=integer(65536)), "PCESVN is not an integer of 0 to 65535"),
        (tcb(_17=tlv(2, b"\xff\xff")), "PCESVN is not an integer of 0 to 65535"),
        (encode_members([*tcb_members(Machine()), ("2.19", integer(1))]), "member 19 is not known"),
        (encode_members([*tcb_members(Machine()), ("2.1", integer(1))]), "member 1 occurs twice"),
    ],
)
def test_each_svn_has_its_kind_and_its_range(value: bytes, message: str) -> None:
    assert message in refused(extension(_2=value))


@pytest.mark.parametrize(
    ("svn", "pce_svn"), [(0, 0), (127, 127), (128, 128), (255, 255), (1, 256), (1, 0x8000), (1, 0xFFFF)]
)
def test_svns_on_the_edges_of_their_encoding(svn: int, pce_svn: int) -> None:
    read = PckExtension.parse(extension(_2=tcb(_3=integer(svn), _17=integer(pce_svn))))
    assert (read.components[2], read.pce_svn) == (svn, pce_svn)


# PEM

CHAIN = Authority.make().pck().chain
DERS = tuple(issued.der for issued in CHAIN)
TEXT = "".join(issued.pem for issued in CHAIN).encode()


def block(content: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----" + content + b"-----END CERTIFICATE-----"


@pytest.mark.parametrize(
    "write",
    [
        bytes,
        lambda text: text + b"\0",
        lambda text: text.rstrip(),
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.replace(b"\n", b""),
        lambda text: text.replace(b"\n", b" \t\n\n"),
        lambda text: b"subject=CN = x\n\xff\xfe" + text + b"after",
        lambda text: b"-----BEGIN CERTIFICATE-----\n" + text,
        lambda text: b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n" + text,
    ],
)
def test_pem_text_in_every_form_holds_the_same_certificates(write: Callable[[bytes], bytes]) -> None:
    assert split_pem(write(TEXT), what="chain") == DERS


@pytest.mark.parametrize(
    "write",
    [bytes, lambda text: text + b"\0\0", lambda text: text.rstrip(), lambda text: text.replace(b"\n", b"\r\n")],
)
def test_a_quotes_chain_may_differ_in_line_ends_and_nul_at_its_end(write: Callable[[bytes], bytes]) -> None:
    assert split_pem(write(TEXT), what="chain", exact=True) == DERS


@pytest.mark.parametrize(
    "write",
    [
        lambda text: text.replace(b"\n", b" \n"),
        lambda text: text.replace(b"\n", b"\v", 1),
        lambda text: text.replace(b"\n", b"\t"),
        lambda text: text + b" ",
        lambda text: text + b"\0\n",
        lambda text: b"\0" + text,
        lambda text: b"subject=CN = x\n" + text,
        lambda text: text + b"after",
    ],
)
def test_a_quotes_chain_has_no_other_freedom(write: Callable[[bytes], bytes]) -> None:
    assert split_pem(write(TEXT), what="chain") == DERS
    with pytest.raises(FormatError):
        split_pem(write(TEXT), what="chain", exact=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "chain: holds no certificate in PEM"),
        (block(b"AAB="), "chain at offset 0x0: is not the one spelling of its base64"),
        (TEXT.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE"), "chain: holds no certificate in PEM"),
        (TEXT[:200], "chain: holds no certificate in PEM"),
        (block(b"AA-AA="), "chain: holds no certificate in PEM"),
        (b"ab" + block(b"AAA"), "chain at offset 0x2: is not base64 within its PEM block"),
        (block(b"AA==AA=="), "chain at offset 0x0: is not base64 within its PEM block"),
        (block(b"AA_A"), "chain at offset 0x0: is not base64 within its PEM block"),
        (block(b"AA\0A"), "chain at offset 0x0: is not base64 within its PEM block"),
        (block(b"AA\xe4\xe4"), "chain at offset 0x0: is not base64 within its PEM block"),
    ],
)
def test_text_without_whole_certificates_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        split_pem(text, what="chain")
    assert str(caught.value) == message


def test_eight_certificates_are_read_and_nine_refused() -> None:
    one = block(base64.b64encode(DERS[0]))
    assert split_pem(one * MOST_CERTIFICATES, what="chain") == DERS[:1] * 8
    with pytest.raises(FormatError, match="chain: holds more than 8 certificates"):
        split_pem(one * (MOST_CERTIFICATES + 1), what="chain")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8), st.binary(max_size=40))
def test_what_is_written_as_pem_is_read_back(ders: list[bytes], between: bytes) -> None:
    between = between.replace(b"-", b"")
    text = between.join(block(b"\n" + base64.encodebytes(der)) for der in ders)
    assert split_pem(between + text + between, what="chain") == tuple(ders)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100), st.integers(0, len(TEXT)))
def test_any_bytes_are_certificates_or_a_format_error(data: bytes, at: int) -> None:
    for text in (data, block(data), TEXT[:at] + data + TEXT[at:]):
        with suppress(FormatError):
            assert 0 < len(split_pem(text, what="chain")) <= MOST_CERTIFICATES
