"""A registrar's folder of today: keys, policy, reference values, collateral, and a key's evidence. For tests alone.

The pretend Intel has to be the real one for the programs that are tested: `believe(monkeypatch, folder)`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from pluto_measure.appraise import platform_parts, tdx
from pluto_measure.commands import quote_inputs
from pluto_notary.registry import judge
from pluto_notary.statement.keccak import keccak256
from pluto_notary.statement.keys import SigningKey
from pluto_notary.statement.proof import KeyEvidence, Proof
from pluto_notary.statement.values import digests
from simulators.notary import proofs, today
from simulators.policies import ROOT, TDX_TEXT
from simulators.trust_domains import REFERENCE, TrustDomain

PASSWORD: Final = b"correct horse"


def secret(number: int) -> bytes:
    """As the registrars of `simulators.notary.registrars` are made, before they are sorted."""
    return keccak256(b"registrar %d" % number)


class RegistrarFolder:
    """What one who runs registrars has; `now` is a whole second."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.domain = folder, today.domain()
        self.now = int(self.domain.issued_at.timestamp())
        self.root = hashlib.sha256(self.domain.world.authority.root_der).digest()
        self.policy = self.write("policy.toml", TDX_TEXT.replace(f'"{ROOT.hex()}"', ""))
        self.reference = self.write("measurements.json", REFERENCE.to_text())
        self.collateral = self.write("collateral.json", json.dumps(self.domain.world.collateral))

    @property
    def accepting(self) -> list[str]:
        options = {"--policy": self.policy, "--reference": self.reference, "--collateral": self.collateral}
        return [str(word) for pair in options.items() for word in pair]

    def write(self, name: str, content: str | bytes, *, mode: int = 0o644) -> Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path

    def key(self, number: int, *, curve: type[ec.EllipticCurve] = ec.SECP256K1, password: bytes | None = None) -> Path:
        """A registrar's key file."""
        key = ec.derive_private_key(int.from_bytes(secret(number), "big"), curve())
        how: KeySerializationEncryption = NoEncryption() if password is None else BestAvailableEncryption(password)
        return self.write(
            f"registrar{number}.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how), mode=0o600
        )

    def proof(self, machine: TrustDomain | None = None, openings: Sequence[Any] | None = None, **changes: Any) -> Proof:
        """A proof of a second ago, whose key this trust domain has; `changes` are fields of the statement."""
        shown = tuple(proofs.openings() if openings is None else openings)
        times = {"not_before": self.now - 2, "not_after": self.now - 1}
        statement = proofs.statement(**{"values": digests(shown), **times, **changes})
        evidence = KeyEvidence.of(proofs.envelope(machine or self.domain), None)
        return Proof.sign(statement, shown, key=proofs.KEY, key_evidence=evidence)


def account(number: int) -> bytes:
    return SigningKey(secret(number)).address


def believe(monkeypatch: pytest.MonkeyPatch, folder: RegistrarFolder) -> None:
    """That folder's Intel is the only one."""
    for module in (platform_parts, tdx, quote_inputs, judge):
        monkeypatch.setattr(module, "INTEL_ROOTS", frozenset({folder.root}))
