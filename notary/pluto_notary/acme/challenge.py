"""What proves to an authority that a name leads here (RFC 8737, 3), and what is asked of it (PKCS #10, RFC 2986).

The proof is a certificate with the extension acmeIdentifier (1.3.6.1.5.5.7.1.31), critical, whose value is an OCTET
STRING of 32 bytes: SHA-256 of the key authorization. Beside it stands the name, and nothing else.
"""

from __future__ import annotations

import datetime
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pluto_notary.acme.client_hello import PROTOCOL
from pluto_notary.certificate import load_chain

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

ACME_IDENTIFIER: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
_OCTETS: Final = b"\x04\x20"  # DER: an OCTET STRING of 32 bytes
# Nobody looks at the dates, and what time it is is nobody's business here.
_FIRST: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_LAST: Final = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


def signing_request(key: ec.EllipticCurvePrivateKey, domain: str) -> bytes:
    """The request for a certificate of this key and name, in DER."""
    builder = x509.CertificateSigningRequestBuilder(subject_name=x509.Name([]))
    asked = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(domain)]), critical=False)
    return asked.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def challenge_context(domain: str, digest: bytes) -> ssl.SSLContext:
    """TLS that speaks acme-tls/1 alone and shows the challenge's certificate, with a key of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "acme-tls/1")])
    proof = x509.UnrecognizedExtension(ACME_IDENTIFIER, _OCTETS + digest)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), _FIRST, _LAST)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(domain)]), critical=False)
        .add_extension(proof, critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8737, 3; nothing is said over it
    context.num_tickets = 0
    context.set_alpn_protocols([PROTOCOL.decode("ascii")])
    load_chain(context, secret + certificate.public_bytes(Encoding.PEM))
    return context
