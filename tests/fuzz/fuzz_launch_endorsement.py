"""Any bytes are a genuine endorsement, byte for byte what was signed, or are refused with findings or as malformed."""

from __future__ import annotations

from contextlib import suppress

from pluto_measure.errors import FormatError
from pluto_measure.findings import Finding, NotAuthentic, failures
from pluto_measure.formats import endorsement
from pluto_measure.verify.launch_endorsement import verify_endorsement
from simulators.endorsements import MADE, NOW, ROOTS, Form, key_of, launch_endorsement, pem, root

GENUINE = launch_endorsement()
SIGNED = endorsement.parse(GENUINE).golden


def target(data: bytes) -> None:
    with suppress(FormatError):
        found = None
        refused: tuple[Finding, ...] = ()
        try:
            found = verify_endorsement(data, at=NOW, roots=ROOTS)
        except NotAuthentic as error:
            refused = error.findings
        if found is None:
            assert failures(refused)
            return
        assert endorsement.parse(data).golden == SIGNED
        assert (found.svn, found.timestamp) == (2, MADE)


def seeds() -> list[bytes]:
    return [
        GENUINE,
        launch_endorsement(ca_bundle=b""),
        launch_endorsement(ca_bundle=pem(root("other")), issuer="other"),
        launch_endorsement(certificate=b"certificate"),
        launch_endorsement(form=Form(critical="1.2.3.4")),
        launch_endorsement(sign_with=key_of("mallory"), made=None),
    ]
