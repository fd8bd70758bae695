"""A TLS 1.3 server of another library, with any certificate and any key: python false_server.py CERTIFICATE KEY

Prints its port and serves one connection. Where the key is not the certificate's, only the handshake's signature tells.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from tlslite.api import X509, HandshakeSettings, TLSConnection, X509CertChain, parsePEMKey
from tlslite.errors import TLSError

certificate = X509()
certificate.parseBinary(bytearray(Path(sys.argv[1]).read_bytes()))
key = parsePEMKey(Path(sys.argv[2]).read_text(), private=True)
settings = HandshakeSettings()
settings.minVersion = settings.maxVersion = (3, 4)
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    accepted, _ = listener.accept()
    try:
        TLSConnection(accepted).handshakeServer(
            certChain=X509CertChain([certificate]),
            privateKey=key,
            settings=settings,
            alpn=[bytearray(b"pluto-notary/2")],
        )
    except TLSError as error:
        print(error, file=sys.stderr)
