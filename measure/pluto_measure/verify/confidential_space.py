"""Verify a token of Google's Confidential Space: who signed it, when it holds, and what it was made for. Pure.

RFC 7515 and RFC 7519; Google Cloud, Confidential Space, "Attestation token claims" and "Validate PKI tokens". Either a
token has its chain (PKI: leaf, intermediate, root in `x5c`), and the root is pinned by its hash; or it names a key
(OIDC), which the verifier brings. Nothing is fetched, whatever a token says. A token is Google's word: it holds no TDX
quote that anybody else could check.

All checks run, and NotAuthentic has every finding. A token is bound to its purpose by one audience and one nonce:
"pt2-" and SHA-256 of the binding in hex, and nothing beside it.
"""

from __future__ import annotations

import hashlib
from dataclasses import InitVar, dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pluto_measure.binding import SPACE_AUDIENCE
from pluto_measure.claims import AnyClaims
from pluto_measure.evidence import Envelope, TokenEvidence, format_time
from pluto_measure.findings import Finding, NotAuthentic, failures, judge
from pluto_measure.formats.confidential_space import PLATFORM, SpaceClaims
from pluto_measure.formats.jwks import JwksDocument
from pluto_measure.formats.jwt import Jwt
from pluto_measure.verify.google_pki import GOOGLE_ROOTS, Roots, TokenChain, token_chain

ISSUER: Final = "https://confidentialcomputing.googleapis.com"
NONCE_PREFIX: Final = "pt2-"
KEYS_GIVEN: Final = "token.keys_given"  # the one check that fails without accusing anybody
_LONGEST_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """Claims that Google signed, of a token that was made for the claims beside it. Only verify_token() makes one."""

    claims: SpaceClaims
    form: str  # "pki" or "oidc"
    key_id: str | None
    root: bytes | None  # SHA-256 of the root certificate; None: the key came from a set
    keys_fetched_at: datetime | None  # None: the key came from the chain
    platform: str  # the machine's word; of a bare token the one that tokens are of
    bound_claims: AnyClaims | None  # all but build_id are bound; None: the verifier brought the binding himself
    findings: tuple[Finding, ...]
    _mint: InitVar[object]  # not kept, so that dataclasses.replace() has none to hand on

    def __post_init__(self, _mint: object) -> None:
        if _mint is not _MINT:
            raise TypeError("only verify_token() makes a VerifiedToken")


_MINT = object()


def token_nonce(bound: bytes) -> str:
    """What a token carries for a binding B: 68 characters."""
    return NONCE_PREFIX + hashlib.sha256(bound).hexdigest()


def verify_token(
    given: Envelope | str,
    *,
    at: datetime,
    keys: JwksDocument | None = None,
    roots: Roots = GOOGLE_ROOTS,
    skew: int = 0,
    bound: bytes | None = None,
) -> VerifiedToken:
    """Verify an envelope's token, or a bare one, at the time `at` (aware).

    `keys`: for tokens without a chain; `skew`: seconds that Google's clock may differ by; `bound`: the binding B that a
    bare token must be made for, as it has no claims beside it. FormatError for malformed tokens, NotAuthentic with all
    findings. ValueError where the envelope holds other evidence, or claims of a session that are not opened.
    """
    envelope = given if isinstance(given, Envelope) else None
    token = Jwt.parse(_token_of(given, bound))
    claims = SpaceClaims.parse(token.payload)
    chain = None if token.certificates is None else token_chain(token.certificates, roots)
    signed = _by_chain(token, chain, claims, at) if chain else _by_keys(token, keys)
    findings = (
        *signed,
        _check_time(claims, at, timedelta(seconds=skew)),
        _check_issuer(claims),
        _check_audience(claims),
        _check_nonce(claims, bound if envelope is None else envelope.claims.binding()),
    )
    if failures(findings):
        raise NotAuthentic(findings)
    return VerifiedToken(
        claims=claims,
        form="oidc" if chain is None else "pki",
        key_id=token.key_id,
        root=None if chain is None else chain.root,
        keys_fetched_at=keys.fetched_at if chain is None and keys else None,
        platform=PLATFORM if envelope is None else envelope.platform,
        bound_claims=None if envelope is None else envelope.claims,
        findings=findings,
        _mint=_MINT,
    )


def _token_of(given: Envelope | str, bound: bytes | None) -> str:
    if isinstance(given, str):
        return given
    if bound is not None:
        raise ValueError("an envelope's binding is that of its claims")
    if not isinstance(given.evidence, TokenEvidence):
        raise ValueError(f"evidence of type {given.type} is not a token")
    return given.evidence.token


def _by_chain(token: Jwt, chain: TokenChain, claims: SpaceClaims, at: datetime) -> tuple[Finding, ...]:
    """PKI: the chain, its dates, and the leaf's signature."""
    root = chain.root.hex()
    found = judge(
        "token.chain",
        chain.problem is None,
        "the certificates lead from the token's signer to a pinned root",
        otherwise=chain.problem or "",
        actual=root,
    )
    return (found, _check_dates(chain, claims, at), _check_signature(token, chain.key))


def _check_dates(chain: TokenChain, claims: SpaceClaims, at: datetime) -> Finding:
    """Each certificate was valid when the token was signed, and is now."""
    problems = [
        f"the {name} certificate was not valid when the token was {what}"
        for what, moment in (("signed", claims.issued_at), ("judged", at))
        for name, begin, end in chain.windows
        if not begin <= moment <= end
    ]
    return judge(
        "token.certificate_dates",
        not problems,
        "all certificates were valid when the token was signed, and are",
        otherwise="; ".join(problems),
        expected=", ".join(f"{format_time(begin)} to {format_time(end)}" for _, begin, end in chain.windows),
        actual=f"signed {format_time(claims.issued_at)}, judged {format_time(at)}",
    )


def _by_keys(token: Jwt, keys: JwksDocument | None) -> tuple[Finding, ...]:
    """OIDC: the key of that name in the set that the verifier brought."""
    if keys is None:
        text = "the token has no chain, and no key set of Google's was given (--google-keys)"
        return (Finding(KEYS_GIVEN, "fail", text, None, token.key_id),)
    key = None if token.key_id is None else keys.key(token.key_id)
    found = judge(
        "token.key",
        key is not None,
        "the key set has the key that the token names",
        otherwise="the key set has no key of the name that the token gives; Google changes its keys, fetch them again",
        expected=" ".join(item.key_id for item in keys.keys),
        actual=token.key_id,
    )
    if key is None:
        return (found,)
    return (found, _check_signature(token, rsa.RSAPublicNumbers(65537, int.from_bytes(key.modulus)).public_key()))


def _check_signature(token: Jwt, key: rsa.RSAPublicKey | None) -> Finding:
    """RSASSA-PKCS1-v1_5 with SHA-256, RFC 7518 section 3.3; the token has no say in that."""
    check, otherwise = "token.signature", "the token's signer did not sign it as it stands"
    if key is None:
        return Finding(check, "fail", "the first certificate has no RSA key of 2048 to 4096 bits")
    try:
        key.verify(token.signature, token.signed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return Finding(check, "fail", otherwise)
    return Finding(check, "pass", "the signer signed the token as it stands")


def _check_time(claims: SpaceClaims, at: datetime, skew: timedelta) -> Finding:
    begin, end = max(claims.issued_at, claims.not_before), claims.expires_at
    early, late = at + skew < begin, at - skew >= end
    problem = "the token does not hold yet" if early else "the token has expired" if late else None
    if begin >= end:
        problem = "the token ends before it begins"
    return judge(
        "token.time",
        problem is None,
        "the token holds at the time that it is judged by",
        otherwise=problem or "",
        expected=f"{format_time(begin)} to {format_time(end)}",
        actual=format_time(at),
    )


def _check_issuer(claims: SpaceClaims) -> Finding:
    return judge(
        "token.issuer",
        claims.issuer == ISSUER,
        "the token says that Google's attestation service issued it",
        otherwise="the token was issued by another service than Google's",
        expected=ISSUER,
        actual=shown(claims.issuer),
    )


def _check_audience(claims: SpaceClaims) -> Finding:
    return judge(
        "token.audience",
        claims.audiences == (SPACE_AUDIENCE,),
        "the token is for verifiers of this notary's evidence",
        otherwise="the token was made for another audience, so it is no evidence",
        expected=SPACE_AUDIENCE,
        actual=shown(" ".join(claims.audiences)),
    )


def _check_nonce(claims: SpaceClaims, bound: bytes | None) -> Finding:
    check, actual = "binding.token_nonce", shown(" ".join(claims.nonces))
    if bound is None:
        return Finding(check, "fail", "a bare token does not say what it was made for", None, actual)
    expected = token_nonce(bound)
    return judge(
        check,
        claims.nonces == (expected,),
        "the token is bound to the claims, and to nothing else",
        otherwise="the token was made for other claims than those beside it",
        expected=expected,
        actual=actual,
    )


def shown(text: str) -> str:
    """A claim as a finding shows it: short, and on one line."""
    line = text if text.isprintable() else repr(text)
    return line if len(line) <= _LONGEST_SHOWN else line[:_LONGEST_SHOWN] + "…"
