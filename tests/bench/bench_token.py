"""Verify tokens of Confidential Space: from scratch, one more of a leaf, appraised; beside PyJWT and bare signatures.

The tokens are made here, by the pretend Google of the tests, with keys as long as Google's: 4096 bits for root and
intermediate, 2048 for the leaf. "From scratch" is from the token's text to a verdict, with everything forgotten that we
remember between tokens. PyJWT checks the token alone, so its chain is checked by two signatures beside it; what
`cryptography` takes for the same three signatures is the floor. Neither judges a date of a certificate, a pinned root
or a claim of Confidential Space.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from bench_verify import forget, times
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from figures import Row

from pluto_measure.binding import SPACE_AUDIENCE
from pluto_measure.evidence import Envelope, TokenEvidence
from pluto_measure.formats.jwt import Jwt
from pluto_measure.verify.confidential_space import ISSUER, verify_token
from simulators.confidential_space import Space, appraised, keys, root_hash, rules_for
from simulators.google_pki import NOW, Google, rsa_key

RUNS = 301
MOST = 2.0  # ms


def rows(work: Path) -> Iterator[Row]:
    google = Google(intermediate_key=rsa_key("long intermediate", 4096), root_key=rsa_key("long root", 4096))
    space = Space(google=google, chain=tuple(google.chain()))
    envelope, roots = space.envelope(), frozenset({root_hash(space.certificates())})
    token = token_of(envelope)

    def verified() -> object:
        return verify_token(envelope, at=NOW, roots=roots)

    own = times(verified, runs=RUNS, before=forget)
    floor = times(lambda: bare(token), runs=RUNS)
    yield Row("verify a token from scratch", "ms", own, MOST, "cryptography, three signatures alone", floor)
    try:
        peer = by_pyjwt(token)
    except ImportError:
        print("bench: PyJWT left out: it is not installed", file=sys.stderr)
    else:
        name = f"PyJWT {version()}, and two signatures"
        yield Row("verify a token from scratch", "ms", own, MOST, name, times(peer, runs=RUNS))
    yield Row("verify one more token of a leaf", "ms", times(verified, runs=RUNS), MOST)
    rules = rules_for(root_hash(space.certificates()))
    yield Row("verify and appraise one more", "ms", times(lambda: appraised(envelope, rules=rules), runs=RUNS), MOST)
    keyed, given = Space(form="oidc").envelope(), keys()
    again = times(lambda: verify_token(keyed, at=NOW, keys=given), runs=RUNS)
    yield Row("verify a token by a key set", "ms", again, MOST)


def token_of(envelope: Envelope) -> str:
    assert isinstance(envelope.evidence, TokenEvidence)
    return envelope.evidence.token


def bare(token: str) -> None:
    """The chain's two signatures and the token's, nothing else."""
    parsed = Jwt.parse(token)
    leaf, intermediate, root = [x509.load_der_x509_certificate(der) for der in parsed.certificates or ()]
    leaf.verify_directly_issued_by(intermediate)
    intermediate.verify_directly_issued_by(root)
    key = leaf.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(parsed.signature, parsed.signed, padding.PKCS1v15(), hashes.SHA256())


def version() -> str:
    import jwt

    return jwt.__version__


def by_pyjwt(token: str) -> Callable[[], object]:
    """ImportError where it is not installed."""
    import jwt

    def verified() -> object:
        chain = jwt.get_unverified_header(token)["x5c"]
        leaf, intermediate, root = [x509.load_der_x509_certificate(base64.b64decode(text)) for text in chain]
        leaf.verify_directly_issued_by(intermediate)
        intermediate.verify_directly_issued_by(root)
        key = leaf.public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}  # by a clock that is not ours
        return jwt.decode(token, key, algorithms=["RS256"], audience=SPACE_AUDIENCE, issuer=ISSUER, options=options)  # type: ignore[arg-type]

    verified()
    return verified
