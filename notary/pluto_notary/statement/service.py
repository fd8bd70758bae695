"""What the notary answers to whoever posts a proof: what its bytes alone say, and all that they do not say. Pure.

It is no verdict: it comes from a notary, and a verifier trusts none. `pluto-notary verify-proof` gives verdicts.
Whoever does not ask for observed statements is told nothing of one, as what is observed can be forged by a client that
helps whoever has the path to the site.
"""

from __future__ import annotations

from pluto_measure.errors import RefusedError
from pluto_notary.statement.checks import checks, signer_of
from pluto_notary.statement.keys import address
from pluto_notary.statement.model import spelt
from pluto_notary.statement.proof import Proof

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Final

NOT_CHECKED: Final = (
    ("evidence", "whether the evidence of the key is genuine, and of which machine and platform state"),
    ("release", "whether the build is a release that anybody signed"),
    ("time", "whether the statement's time, and the evidence at that time, are acceptable"),
    ("manifest", "what the manifest demands, as a statement has its digest alone"),
    ("nonce", "whether the nonce, the recipient, the chain and the contract are those that you asked for"),
    ("replay", "whether the same proof was shown before"),
)


def verification(data: bytes, modes: Collection[str] = ("fetch",)) -> dict[str, object]:
    """The document for a posted proof. FormatError where it is none, RefusedError for a mode that is not asked for."""
    proof = Proof.parse(data)
    if proof.statement.mode not in modes:
        raise RefusedError(f"the statement is of mode {proof.statement.mode}, which was not asked for")
    found = checks(proof)
    digest = proof.statement.digest()
    public = signer_of(digest, proof.signature)
    shown = {opening.id for opening in proof.openings}
    return {
        "version": 2,
        "consistent": all(check.holds for check in found),
        "mode": proof.statement.mode,
        "digest": spelt(digest),
        "signer": None if public is None else spelt(address(public)),
        "checks": [{"id": check.id, "holds": check.holds, "text": check.text} for check in found],
        "notShown": [value.id for value in proof.statement.values if value.id not in shown],
        "notChecked": [{"id": name, "text": f"not checked: {text}"} for name, text in NOT_CHECKED],
    }
