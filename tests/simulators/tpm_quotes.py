"""A machine with a TPM in memory: it measures events, keeps a log, and quotes like a real one. For tests alone.

Its keys are made here and vouch for nothing; what it signs has the form of what a TPM signs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pluto_measure.digests import ALGORITHMS
from pluto_measure.evidence import BANKS, REGISTERS, Claims, Envelope, TpmEvidence, TpmQuote, tpm_extra_data
from pluto_measure.formats import tpm
from pluto_measure.measurements import Measurements, Profile
from pluto_measure.predict.events import ExpectedEvent
from pluto_measure.registers.replay import ima_boot_aggregate
from pluto_measure.registers.rules import RegisterRule

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
AK_ATTRIBUTES = (
    tpm.RESTRICTED | tpm.SIGN | tpm.FIXED_TPM | tpm.FIXED_PARENT | tpm.SENSITIVE_DATA_ORIGIN | tpm.USER_WITH_AUTH
)
EV_NO_ACTION, EV_SEPARATOR, EV_IPL = 3, 4, 13
AK_USAGE = x509.ObjectIdentifier("2.23.133.8.3")

Event = tuple[int, int, bytes]  # PCR, type, data that is measured
Registers = dict[str, dict[str, bytes]]
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

# A boot like that of our images: firmware in PCR 0 and 1, the UKI in PCR 4, its sections in PCR 11.
BOOT: tuple[Event, ...] = (
    (0, 8, b"firmware 1"),
    (7, 0x80000001, b"SecureBoot 0"),
    (1, 0x80000002, b"BootOrder"),
    (4, 0x80000003, b"the UKI"),
    *((index, EV_SEPARATOR, bytes(4)) for index in range(8)),
    (4, 0x80000007, b"Calling EFI Application from Boot Option"),
    (11, EV_IPL, b".linux\0"),
    (11, EV_IPL, b"the kernel"),
    (9, 6, b"command line"),
    (9, 6, b"initrd"),
)


def registers_of(events: Sequence[Event]) -> Registers:
    """What a TPM holds after these events and the kernel's boot aggregate."""
    banks: Registers = {}
    for bank in BANKS:
        size = ALGORITHMS[bank][1]
        values = {name: (b"\xff" if 17 <= i <= 22 else b"\0") * size for i, name in enumerate(REGISTERS)}
        for index, kind, data in events:
            if kind != EV_NO_ACTION:
                extended = values[f"pcr{index}"] + hashlib.new(bank, data).digest()
                values[f"pcr{index}"] = hashlib.new(bank, extended).digest()
        banks[bank] = values
    for bank in BANKS:
        banks[bank]["pcr10"] = ima_boot_aggregate(banks["sha256"], bank)
    return banks


def log_of(events: Sequence[Event], banks: Sequence[str] = BANKS) -> bytes:
    """The log as firmware writes it: TCG PC Client Platform Firmware Profile, section 10."""
    numbers = [number for bank in banks for number in ALGORITHMS[bank]]
    sizes = b"".join(number.to_bytes(2, "little") for number in numbers)
    spec = b"Spec ID Event03\0" + bytes(4) + b"\0\2\0\2" + len(banks).to_bytes(4, "little") + sizes + b"\0"
    log = bytes(4) + (3).to_bytes(4, "little") + bytes(20) + len(spec).to_bytes(4, "little") + spec
    for index, kind, data in events:
        log += index.to_bytes(4, "little") + kind.to_bytes(4, "little") + len(banks).to_bytes(4, "little")
        for bank in banks:
            digest = hashlib.new(bank, data).digest() if kind != EV_NO_ACTION else bytes(ALGORITHMS[bank][1])
            log += ALGORITHMS[bank][0].to_bytes(2, "little") + digest
        log += len(data).to_bytes(4, "little") + data
    return log


def ecc_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public_of(key: Key, attributes: int = AK_ATTRIBUTES) -> tpm.Public:
    """The public area of a key, with the scheme that the simulator signs with."""
    numbers = key.public_key().public_numbers()
    if isinstance(numbers, ec.EllipticCurvePublicNumbers):
        scheme = tpm.Scheme(tpm.ALG_ECDSA, "sha256")
        return tpm.EccPublic(
            "sha256", attributes, b"", scheme, tpm.CURVE_P256, numbers.x.to_bytes(32), numbers.y.to_bytes(32)
        )
    bits = numbers.n.bit_length()
    scheme = tpm.Scheme(tpm.ALG_RSASSA, "sha256")
    return tpm.RsaPublic("sha256", attributes, b"", scheme, bits, 0, numbers.n.to_bytes(bits // 8))


def sign(key: Key, data: bytes, algorithm: str = "sha256") -> bytes:
    """TPMT_SIGNATURE over `data`."""
    chosen = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256(), "sha384": hashes.SHA384()}[algorithm]
    if isinstance(key, rsa.RSAPrivateKey):
        return tpm.RsassaSignature(algorithm, key.sign(data, padding.PKCS1v15(), chosen)).marshal()
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(chosen)))
    size = key.curve.key_size // 8
    return tpm.EcdsaSignature(algorithm, r.to_bytes(size), s.to_bytes(size)).marshal()


SELECTION = tuple(tpm.PcrSelection(bank, tuple(range(24))) for bank in BANKS)


def attest_of(public: tpm.Public, registers: Registers, extra_data: bytes) -> tpm.Attest:
    """What the TPM would sign."""
    values = b"".join(registers[bank][name] for bank in BANKS for name in REGISTERS)
    return tpm.Attest(
        qualified_signer=tpm.qualified_name(tpm.RH_OWNER, public),
        extra_data=extra_data,
        clock=123456,
        reset_count=1,
        restart_count=0,
        safe=True,
        firmware_version=0x20191023_00163636,
        selections=SELECTION,
        pcr_digest=hashlib.new(public.scheme.hash if public.scheme else "sha256", values).digest(),
    )


def reference_of(
    events: Sequence[Event] = BOOT, *, build_id: bytes = b"\xb1" * 32, flavour: str = "release", name: str = "simulated"
) -> Measurements:
    """Reference values that expect these events: PCR 0, 1 and 10 replay, all others are known."""
    values, extended = registers_of(events), {index for index, _, _ in events}
    rules = {}
    for i, register in enumerate(REGISTERS):
        known = i in extended or 17 <= i <= 22
        exact = RegisterRule("exact", ({bank: values[bank][register] for bank in BANKS},), "computed")
        rules[register] = exact if known else RegisterRule("zero", (), "computed")
    for register in ("pcr0", "pcr1", "pcr10"):
        rules[register] = RegisterRule("replay", (), "observed")
    expected = tuple(
        ExpectedEvent(f"pcr{i}", kind, {bank: hashlib.new(bank, data).digest() for bank in BANKS}, repr(data), "-", "-")
        for i, kind, data in events
        if i > 1
    )
    return Measurements(build_id.hex(), flavour, (Profile(name, "qemu-vtpm", {}, rules, expected),))


@dataclass(slots=True)
class Machine:
    """A booted machine. Change its fields to make it lie."""

    events: tuple[Event, ...] = BOOT
    key: Key = field(default_factory=ecc_key)
    certificates: tuple[bytes, ...] = ()
    outer_key_digest: bytes = bytes(range(32))
    config_digest: bytes = hashlib.sha256(b"").digest()
    build_id: bytes = b"\xb1" * 32
    platform: str = "qemu-vtpm"
    issued_at: datetime = NOW
    log: bytes | None = None  # instead of the log of `events`
    registers: Registers | None = None  # instead of those of `events`

    def evidence(self, nonce: bytes) -> Envelope:
        """Evidence for the purpose `node`."""
        claims = Claims("node", nonce, self.config_digest, self.outer_key_digest, self.build_id)
        registers = self.registers or registers_of(self.events)
        public = public_of(self.key)
        attest = attest_of(public, registers, tpm_extra_data(claims.binding())).marshal()
        return Envelope(
            platform=self.platform,
            epoch=0,
            issued_at=self.issued_at,
            evidence=TpmEvidence(
                quote=TpmQuote(attest, sign(self.key, attest), registers),
                ak_public=public.marshal(),
                ak_certificates=self.certificates,
                log=log_of(self.events) if self.log is None else self.log,
            ),
            claims=claims,
        )


def tpm_evidence(envelope: Envelope) -> TpmEvidence:
    """The evidence in an envelope that is known to hold a TPM's."""
    assert isinstance(envelope.evidence, TpmEvidence)
    return envelope.evidence


def certificate(
    subject: str,
    key: Key,
    issuer: str,
    issuer_key: Key,
    *,
    ca: bool,
    path_length: int | None = None,
    usage: x509.ObjectIdentifier | None = None,
    days: int = 30,
) -> bytes:
    """An X.509 certificate (DER) valid around NOW."""
    builder = x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer))
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(NOW - timedelta(days=days)).not_valid_after(NOW + timedelta(days=days))
    builder = builder.add_extension(x509.BasicConstraints(ca, path_length if ca else None), critical=True)
    allowed = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    usages = x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **allowed)
    builder = builder.add_extension(usages, critical=True)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.DER)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
