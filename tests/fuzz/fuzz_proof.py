"""Any bytes are a proof that means the same when written again and can be judged by itself, or a FormatError."""

from __future__ import annotations

from pluto_measure.errors import FormatError
from pluto_notary.statement.proof import Proof
from pluto_notary.statement.service import verification
from simulators.notary.proofs import KEY, made, made_by


def target(data: bytes) -> None:
    try:
        proof = Proof.parse(data)
    except FormatError:
        return
    written = proof.to_bytes()
    assert Proof.parse(written) == proof
    assert verification(written) == verification(data)


def seeds() -> list[bytes]:
    return [made_by(KEY).to_bytes(), made(legacy=True, hidden=True).to_bytes(), made(values=()).to_bytes()]
