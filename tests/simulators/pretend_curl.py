"""Stands in for `curl` where a document asks a notary for evidence: a trust domain of the pretend Intel answers.

pretend_curl.py NOW [options] -o FILE URL     NOW: RFC 3339; writes the envelope, prints the TLS certificate
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pluto_measure.evidence import parse_time
from simulators.intel import Authority, key_of, world
from simulators.trust_domains import TrustDomain

TLS_KEY = key_of("a notary's TLS")


def certificate(now: datetime) -> bytes:
    """The notary's own certificate, PEM."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "notary.example")])
    builder = x509.CertificateBuilder(name, name, TLS_KEY.public_key(), 1, now, now + timedelta(days=1))
    return builder.sign(TLS_KEY, SHA256()).public_bytes(Encoding.PEM)


def domain_at(now: datetime, **platform: str) -> TrustDomain:
    """A trust domain that holds that TLS key, at a time; `platform` as of `world`."""
    spki = TLS_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    of = world(authority=Authority.make(now=now), **platform)  # type: ignore[arg-type]
    return TrustDomain(world=of, outer_key_digest=hashlib.sha256(spki).digest(), issued_at=now)


def main(words: Sequence[str]) -> int:
    now, url = parse_time(words[0], what="now"), words[-1]
    nonce = bytes.fromhex(parse_qs(urlsplit(url).query)["nonce"][0])
    Path(words[words.index("-o") + 1]).write_text(domain_at(now).envelope(nonce).to_text())
    sys.stdout.buffer.write(b"subject:notary.example\n" + certificate(now))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
