"""A virtual machine of Confidential Space in memory, and a pretend Google that signs its tokens. For tests alone.

`Space()` is honest and its tokens are those of a hardened image; change its fields to make it lie:

    Space(claims={"dbgstat": "enabled"})                claims of the token; None leaves one out, "a.b" is nested
    Space(form="oidc")                                  a key id in the place of a chain
    Space(head={"alg": "none"})                         members of the header; None leaves one out
    Space(signed_by=rsa_key())                          somebody else's signature
    Space(google=Google(root_days=(-9, -1)))            certificates of other dates, or of other kinds

`POLICY` and `RULES` accept it; `appraised(...)` is the way from the machine to a verdict.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from pluto_measure.appraise import Appraisal, Expected, NodeExpected
from pluto_measure.appraise.confidential_space import appraise_envelope
from pluto_measure.appraise.request import NO_SPACE, SpaceInputs
from pluto_measure.appraise.space_claims import InstanceExpected
from pluto_measure.binding import SPACE_AUDIENCE
from pluto_measure.claims import AnyClaims, Claims
from pluto_measure.evidence import Envelope, TokenEvidence
from pluto_measure.formats.jwks import JwksDocument, RsaJwk
from pluto_measure.launch import Container
from pluto_measure.machine.platform import Platform
from pluto_measure.measurements import Measurements, measure
from pluto_measure.policy import Policy
from pluto_measure.policy.confidential_space import STRICT_CONFIDENTIAL_SPACE, ConfidentialSpacePolicy
from pluto_measure.verify.confidential_space import ISSUER, token_nonce
from simulators.google_pki import NOW, Google, rsa_key
from simulators.launches import LAUNCH

NONCE: Final = b"\x5a" * 16
OUTER_KEY: Final = bytes(range(32))
CONFIG: Final = hashlib.sha256(b"").digest()  # a container has no run-time configuration
KEY_ID: Final = "4676c490dc43829636595442e93cdc5d27aaa279"
CONTAINER: Final = Container(
    "sha256:" + "ab" * 32, "sha256:" + "cd" * 32, ("/usr/bin/python3", "-m", "pluto"), (("PATH", "/usr/bin"),)
)
INSTANCE: Final = InstanceExpected(
    project_id="notary-1", zone="us-central1-a", instance_id="6256007950053693934", instance_name="pluto-a"
)
REFERENCE: Final = measure(
    dataclasses.replace(LAUNCH, container=CONTAINER), Platform.default("gcp-confidential-space"), "space"
)


@cache
def pretend() -> Google:
    return Google()


@cache
def _chain_of_pretend() -> tuple[bytes, ...]:
    """Made once: serial numbers are random, and its root is pinned."""
    return tuple(pretend().chain())


def root_hash(chain: Sequence[bytes] | None = None) -> bytes:
    """SHA-256 of the root of a chain; of the pretend Google's own."""
    return hashlib.sha256((chain or _chain_of_pretend())[-1]).digest()


ROOTS: Final = frozenset({root_hash()})


def rules_for(root: bytes) -> ConfidentialSpacePolicy:
    """The strict rules, but for a root that is not Google's."""
    return dataclasses.replace(STRICT_CONFIDENTIAL_SPACE, insecure_roots=(root,))


RULES: Final = rules_for(root_hash())
POLICY: Final = Policy(
    platforms=("gcp-confidential-space",),
    evidence_types=("confidential-space",),
    insecure_software_tpm=False,
    ak_trust=(),
    machines="any",
    allow_debug=False,
    allow_unsigned_reference=True,
    minimum_sequence="any",
    max_evidence_age=600,
    clock_skew=60,
    config_digest=CONFIG,
    outer_key_digest="required",
)


@dataclass(frozen=True, kw_only=True)
class Space:
    """A virtual machine that runs the notary's container, and the tokens that Google signs for it."""

    form: Literal["pki", "oidc"] = "pki"
    claims: Mapping[str, Any] = field(default_factory=dict)
    head: Mapping[str, Any] = field(default_factory=dict)
    google: Google = field(default_factory=pretend)
    chain: Sequence[bytes] | None = None  # shown instead of Google's
    pem: bool = False  # the spelling of 2024
    signed_by: rsa.RSAPrivateKey | None = None
    issued_at: datetime = NOW
    outer_key_digest: bytes = OUTER_KEY
    config_digest: bytes = CONFIG
    build_id: bytes = bytes.fromhex(LAUNCH.build_id)
    platform: str = "gcp-confidential-space"

    def certificates(self) -> Sequence[bytes]:
        if self.chain is not None:
            return self.chain
        return _chain_of_pretend() if self.google is pretend() else self.google.chain()

    def token(self, nonce: str | list[str]) -> str:
        """Google's token for a nonce of the launcher's socket."""
        payload = changed(payload_of(nonce, self.issued_at), self.claims)
        spelled = pem if self.pem else lambda der: base64.b64encode(der).decode()
        head: dict[str, Any] = {"alg": "RS256", "kid": KEY_ID, "typ": "JWT"}
        if self.form == "pki":
            head["x5c"] = [spelled(der) for der in self.certificates()]
        leaf = self.google.leaf_key if self.form == "pki" else rsa_key("oidc")
        key = self.signed_by or (leaf if isinstance(leaf, rsa.RSAPrivateKey) else rsa_key())
        return signed_token(changed(head, self.head), payload, key)

    def node(self, nonce: bytes = NONCE) -> Claims:
        return Claims("node", nonce, self.config_digest, self.outer_key_digest, self.build_id)

    def envelope(self, claims: AnyClaims | None = None, *, token: str | None = None) -> Envelope:
        """Evidence; for the purpose `node` unless other claims are given."""
        made_for = claims or self.node()
        token = token or self.token(token_nonce(made_for.binding()))
        epoch = getattr(made_for, "epoch", 0)
        return Envelope(self.platform, epoch, self.issued_at, TokenEvidence(token), made_for)


def payload_of(nonce: str | list[str], issued_at: datetime = NOW) -> dict[str, Any]:
    """The claims of a hardened image on TDX, as Google spells them."""
    at = int(issued_at.timestamp())
    place = f"projects/{INSTANCE.project_id}/zones/{INSTANCE.zone}/instances/{INSTANCE.instance_name}"
    return {
        "aud": SPACE_AUDIENCE,
        "exp": at + 3600,
        "iat": at,
        "iss": ISSUER,
        "nbf": at,
        "sub": f"https://www.googleapis.com/compute/v1/{place}",
        "eat_nonce": nonce,
        "eat_profile": "https://cloud.google.com/confidential-computing/confidential-space/docs/reference/token-claims",
        "secboot": True,
        "oemid": 11129,
        "hwmodel": "GCP_INTEL_TDX",
        "swname": "CONFIDENTIAL_SPACE",
        "swversion": ["260800"],
        "attester_tcb": ["INTEL"],
        "dbgstat": "disabled-since-boot",
        "submods": {
            "confidential_space": {
                "monitoring_enabled": {"memory": False},
                "support_attributes": ["LATEST", "STABLE", "USABLE"],
            },
            "container": {
                "image_reference": f"europe-docker.pkg.dev/notary-1/pluto/notary@{CONTAINER.manifest_digest}",
                "image_digest": CONTAINER.manifest_digest,
                "restart_policy": "Never",
                "image_id": CONTAINER.image_id,
                "env": {"HOSTNAME": INSTANCE.instance_name, **dict(CONTAINER.env)},
                "args": list(CONTAINER.args),
            },
            "gce": {**dataclasses.asdict(INSTANCE), "project_number": "691249393555"},
        },
        "tdx": {"gcp_attester_tcb_status": "UpToDate", "gcp_attester_tcb_date": "2024-03-13T00:00:00Z"},
        "google_service_accounts": ["notary@notary-1.iam.gserviceaccount.com"],
    }


def changed(document: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The document with members set by dotted path; None leaves one out."""
    for path, value in changes.items():
        *above, name = path.split("/") if "/" in path else path.split(".")
        found = document
        for part in above:
            found = found[part]
        if value is None:
            found.pop(name)
        else:
            found[name] = value
    return document


def signed_token(head: Mapping[str, Any], payload: Mapping[str, Any] | bytes, key: rsa.RSAPrivateKey) -> str:
    """A compact JWS, by RSASSA-PKCS1-v1_5 with SHA-256 whatever the header says."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signed = f"{base64url(json.dumps(head).encode())}.{base64url(body)}"
    return f"{signed}.{base64url(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def pem(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()


def jwk(key_id: str, key: rsa.RSAPrivateKey) -> RsaJwk:
    numbers = key.public_key().public_numbers()
    return RsaJwk(key_id, numbers.n.to_bytes(numbers.n.bit_length() // 8))


def keys(fetched_at: datetime = NOW) -> JwksDocument:
    """The set that the key of `form="oidc"` is found in."""
    return JwksDocument("https://keys.example/jwk", fetched_at, (jwk(KEY_ID, rsa_key("oidc")),))


def expected(nonce: bytes = NONCE, outer_key: bytes = OUTER_KEY) -> NodeExpected:
    return NodeExpected(nonce, outer_key)


def appraised(
    space: Space | Envelope | None = None,
    *,
    references: Sequence[Measurements] = (REFERENCE,),
    policy: Policy | None = POLICY,
    rules: ConfidentialSpacePolicy | None = RULES,
    at: datetime = NOW,
    wanted: Expected | None = None,
    inputs: SpaceInputs = NO_SPACE,
) -> Appraisal:
    """The verdict on a machine's evidence, or on an envelope."""
    envelope = space if isinstance(space, Envelope) else (space or Space()).envelope()
    return appraise_envelope(envelope, references, policy, rules, at=at, expected=wanted or expected(), space=inputs)
