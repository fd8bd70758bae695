"""A pretend Sigstore: an authority, a certificate log, transparency logs of both generations, a timestamp authority.

The real library accepts what it signs. It shares no code with what it tests. Begin with a good bundle, then change one
thing, at signing (a field of `Form`) or afterwards (`edited`):

    here = PretendSigstore()
    keyless.verify(here.sign(payload), root=here.root())
    here.sign(payload, workflow(ref="refs/heads/main"), sct=None)
    here.sign(payload, generation=2, checkpoint=Checkpointing(origin="elsewhere"))
    edited(here.sign(payload), "dsseEnvelope.payload", "e30=")

`authority` has Fulcio and its signers, `logs` Rekor, `timestamps` RFC 3161, `world` all of it together, `services` the
answers that a real client gets when it signs.
"""

from .authority import GITHUB, LIFETIME, Fulcio, Signer, person, workflow
from .logs import Checkpointing, Rekor, b64, note_key_id
from .services import PretendServices
from .timestamps import TimestampAuthority
from .world import ABSENT, AT, BEGIN, RELEASE, Form, PretendSigstore, edited, statement

__all__ = [
    "ABSENT",
    "AT",
    "BEGIN",
    "GITHUB",
    "LIFETIME",
    "RELEASE",
    "Checkpointing",
    "Form",
    "Fulcio",
    "PretendServices",
    "PretendSigstore",
    "Rekor",
    "Signer",
    "TimestampAuthority",
    "b64",
    "edited",
    "note_key_id",
    "person",
    "statement",
    "workflow",
]
