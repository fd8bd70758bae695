"""What a verifier brings to a TDX quote or a token beside policy, references, time and nonce. Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pluto_measure.collateral.endorsement_memory import EndorsementMemory
from pluto_measure.formats.collateral import Collateral

if TYPE_CHECKING:
    from pluto_measure.appraise.space_claims import InstanceExpected
    from pluto_measure.formats.jwks import JwksDocument


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxInputs:
    """Each is None where the verifier does not have it; a finding says so.

    collateral   by which the quote is judged
    early        Intel's next set, which will count in a while: it can only warn
    rollbacks    what of the collateral is older than once seen, in words; None: nobody remembers what was seen
    report_data  REPORTDATA (64 bytes) that a bare quote must carry; an envelope's follows from its claims
    log          the event log of a bare quote (any form that replay reads); an envelope has its own
    endorsements         Google's launch endorsements, which judge MRTD of its machines
    endorsement_memory   what was seen of these before
    ak_issuers           certificates (DER) from the key of an Azure machine's TPM up to a root, and the root
    """

    collateral: Collateral | None = None
    early: Collateral | None = None
    rollbacks: tuple[str, ...] | None = None
    report_data: bytes | None = None
    log: bytes | None = None
    endorsements: tuple[bytes, ...] = ()
    endorsement_memory: EndorsementMemory | None = None
    ak_issuers: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceInputs:
    """The same for a token of Confidential Space.

    keys      Google's keys, for tokens without a chain; None: such a token is refused
    instance  the virtual machine that it must be; None: the policy's lists alone say whose it may be
    """

    keys: JwksDocument | None = None
    instance: InstanceExpected | None = None


NOTHING: Final = TdxInputs()
NO_SPACE: Final = SpaceInputs()
