"""The TPM commands against a device in memory: what it answers well is verified, what it answers badly is survived."""

from __future__ import annotations

import os
import socket
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.evidence import Claims, Envelope, tpm_extra_data
from pluto_measure.formats import tpm
from pluto_measure.verify.tpm import verify_tpm
from pluto_notary.errors import EvidenceError, TpmError
from pluto_notary.evidence import tpm_commands
from pluto_notary.evidence.helper import Helper, Sources
from pluto_notary.evidence.messages import NodeRequest, TpmParts
from pluto_notary.evidence.provider import Issue, tpm_envelope
from pluto_notary.evidence.tpm_device import DescriptorTransport, Tpm
from pluto_notary.limits import TokenBucket
from simulators import tpm_device
from simulators.tpm_quotes import BOOT, NOW, log_of, registers_of

CONFIG = b"\7" * 32
REQUEST = NodeRequest(b"nonce", b"\5" * 32)
ISSUE = Issue(0, NOW, b"\xb1" * 32)


def sources_of(device: Tpm, config: bytes = CONFIG) -> Sources:
    return Sources(device.quote, device.public, lambda: log_of(BOOT), lambda: config)


def helper_of(sources: Sources, burst: int = 100) -> Helper:
    return Helper(sources, bucket=TokenBucket(rate=0.001, burst=burst, now=0.0), clock=lambda: 0.0)


def quiet(device: tpm_device.TpmDevice) -> Tpm:
    return Tpm(device, sleep=lambda _: None)


def code_of(body: bytes) -> str:
    with pytest.raises(EvidenceError) as caught:
        TpmParts.parse(body)
    return caught.value.code


def envelope_of(device: Tpm) -> Envelope:
    parts = TpmParts.parse(helper_of(sources_of(device)).answer(REQUEST.to_body()))
    return tpm_envelope(REQUEST, ISSUE, parts, platform="qemu-vtpm")


@pytest.mark.parametrize("at_once", [1, 5, 8, 48])
def test_evidence_of_the_device_verifies_and_is_bound_to_the_claims(at_once: int) -> None:
    envelope = envelope_of(quiet(tpm_device.TpmDevice(at_once=at_once)))
    verified = verify_tpm(Envelope.parse(envelope.to_text()), at=NOW)
    assert verified.claims == Claims("node", b"nonce", CONFIG, b"\5" * 32, b"\xb1" * 32)
    assert verified.registers == registers_of(BOOT)


def test_the_key_is_made_once_and_unloaded_at_the_end() -> None:
    device = tpm_device.TpmDevice()
    machine = quiet(device)
    machine.quote(bytes(32))
    machine.quote(bytes(32))
    machine.close()
    machine.close()
    assert device.seen.count(tpm_device.CREATE_PRIMARY) == 1
    assert device.seen.count(tpm_device.FLUSH_CONTEXT) == 1
    assert not device.loaded


def test_a_key_that_the_device_lost_is_made_again() -> None:
    device = tpm_device.TpmDevice()
    machine = quiet(device)
    machine.quote(bytes(32))
    device.loaded = False
    machine.quote(bytes(32))
    assert device.seen.count(tpm_device.CREATE_PRIMARY) == 2


@pytest.mark.parametrize("code", sorted(tpm_commands.RC_AGAIN))
def test_a_command_that_shall_be_sent_again_is_sent_again_with_growing_waits(code: int) -> None:
    waits: list[float] = []
    device = tpm_device.TpmDevice(codes=[code] * 3)
    Tpm(device, sleep=waits.append).quote(bytes(32))
    assert waits == sorted(waits)
    assert len(waits) == 3


def test_a_device_that_is_always_busy_is_given_up() -> None:
    with pytest.raises(TpmError) as caught:
        quiet(tpm_device.TpmDevice(codes=[0x922] * 100)).public()
    assert (caught.value.response_code, caught.value.command) == (0x922, "TPM2_CreatePrimary")


@pytest.mark.parametrize("code", [0x101, 0x921, 0x98E, 0x143, 0xFFFFFFFF])
def test_an_error_of_the_device_is_one_with_its_code_and_the_helper_goes_on(code: int) -> None:
    device = tpm_device.TpmDevice(codes=[code])
    helper = helper_of(sources_of(quiet(device)))
    assert code_of(helper.answer(REQUEST.to_body())) == "device"
    TpmParts.parse(helper.answer(REQUEST.to_body()))


def test_a_device_without_one_of_the_banks_is_refused() -> None:
    device = tpm_device.TpmDevice()
    del device.registers["sha384"]
    with pytest.raises(EvidenceError) as caught:
        quiet(device).quote(bytes(32))
    assert caught.value.code == "device"


def test_registers_that_change_once_are_read_again_and_those_that_never_rest_are_refused() -> None:
    changes = [3]

    def extend(device: tpm_device.TpmDevice) -> None:
        if changes[0]:
            changes[0] -= 1
            device.registers = registers_of((*BOOT, (16, 13, bytes([changes[0]]))))

    device = tpm_device.TpmDevice(before_quote=extend)
    with pytest.raises(EvidenceError):
        quiet(device).quote(bytes(32))
    changes[0] = 1
    assert quiet(device).quote(bytes(32)).registers == device.registers


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 2))
def test_any_bytes_from_a_device_are_a_failure_and_not_a_crash(garbage: bytes, which: int) -> None:
    body = helper_of(sources_of(Tpm(lambda _: garbage, sleep=lambda _: None))).answer(REQUEST.to_body())
    assert code_of(body) == "device"
    parser = (tpm_commands.created, tpm_commands.quoted, tpm_commands.pcr_values)[which]
    with pytest.raises((FormatError, TpmError)):
        parser(tpm_device.response(0, garbage[:60], tag=0x8002))


@pytest.mark.parametrize("config", [b"\7" * 32, b"\x08" * 32])
def test_the_binding_follows_the_configuration_that_the_helper_reads_itself(config: bytes) -> None:
    machine = quiet(tpm_device.TpmDevice())
    parts = TpmParts.parse(helper_of(sources_of(machine, config)).answer(REQUEST.to_body()))
    claims = tpm_envelope(REQUEST, ISSUE, parts, platform="qemu-vtpm").claims
    assert parts.config_digest == config
    assert tpm.Attest.parse(parts.quote.attest).extra_data == tpm_extra_data(claims.binding())


def test_the_helper_refuses_requests_beyond_its_rate_and_malformed_ones_cost_nothing() -> None:
    device = tpm_device.TpmDevice()
    helper = helper_of(sources_of(quiet(device)), burst=1)
    assert code_of(helper.answer(b"nonsense")) == "request"
    assert device.seen == []
    TpmParts.parse(helper.answer(REQUEST.to_body()))
    assert code_of(helper.answer(REQUEST.to_body())) == "busy"


def test_without_configuration_the_device_is_not_even_asked() -> None:
    device = tpm_device.TpmDevice()
    machine = quiet(device)

    def missing() -> bytes:
        raise EvidenceError("config", "none")

    sources = Sources(machine.quote, machine.public, lambda: b"", missing)
    assert code_of(helper_of(sources).answer(REQUEST.to_body())) == "config"
    assert device.seen == []


@pytest.mark.parametrize("failing", ["quote", "ak_public", "log"])
def test_a_failing_source_is_a_device_error(failing: str) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    machine = quiet(tpm_device.TpmDevice())
    good = {"quote": machine.quote, "ak_public": machine.public, "log": lambda: b"", "config_digest": lambda: CONFIG}
    sources = Sources(**{**good, failing: fail})  # type: ignore[arg-type]
    assert code_of(helper_of(sources).answer(REQUEST.to_body())) == "device"


@pytest.mark.parametrize(
    ("pieces", "works"),
    [
        ([tpm_device.response(0, b"abc")], True),
        ([tpm_device.response(0, b"abc")[:7], tpm_device.response(0, b"abc")[7:]], True),
        ([tpm_device.response(0, b"abc")[:7]], False),
        ([tpm_device.response(0, bytes(5000))], False),
    ],
)
def test_a_response_is_read_whole_from_pieces_and_never_without_end(pieces: list[bytes], works: bool) -> None:
    ours, theirs = socket.socketpair()

    def answer() -> None:
        theirs.recv(100)
        for piece in pieces:
            theirs.sendall(piece)
        theirs.close()

    thread = threading.Thread(target=answer)
    thread.start()
    with ours:
        if works:
            assert DescriptorTransport(ours.fileno())(b"command") == b"".join(pieces)
        else:
            with pytest.raises(OSError, match="TPM"):
                DescriptorTransport(ours.fileno())(b"command")
    thread.join()


def test_a_descriptor_that_is_closed_is_an_error() -> None:
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    with pytest.raises(OSError):
        DescriptorTransport(write)(b"command")


def test_the_template_asks_for_a_restricted_signing_key_that_never_leaves_the_tpm() -> None:
    assert tpm.parse_public(tpm_commands.AK_TEMPLATE) == tpm.EccPublic(
        name_algorithm="sha256",
        attributes=tpm.FIXED_TPM
        | tpm.FIXED_PARENT
        | tpm.SENSITIVE_DATA_ORIGIN
        | tpm.USER_WITH_AUTH
        | tpm.NO_DA
        | tpm.RESTRICTED
        | tpm.SIGN,
        auth_policy=b"",
        scheme=tpm.Scheme(tpm.ALG_ECDSA, "sha256"),
        curve=tpm.CURVE_P256,
        x=b"",
        y=b"",
    )
