"""A provisioning cache (PCCS) with nothing behind it; on a host, part of the fake package. Standard library alone.

It reads what Intel's reads (config/default.json: hosts, HTTPS_PORT; ssl_key/), and answers for the root CRL. A file
pckcert.pem beside it is this machine's certificate; without one it answers 404, as for a machine not registered.
"""

from __future__ import annotations

import json
import ssl
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path("/opt/intel/sgx-dcap-pccs")


class Pccs(BaseHTTPRequestHandler):
    """The paths below /sgx/certification/v4/."""

    def do_GET(self) -> None:
        path = urllib.parse.urlsplit(self.path).path
        certificate = FOLDER / "pckcert.pem"
        if path == "/sgx/certification/v4/rootcacrl":
            self._answer(200, b"30")
        elif path == "/sgx/certification/v4/pckcert" and certificate.exists():
            self._answer(200, certificate.read_bytes())
        else:
            self._answer(404, b"No cache data for this platform.")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until killed."""
    config = json.loads((FOLDER / "config/default.json").read_text())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / "ssl_key/file.crt", FOLDER / "ssl_key/private.pem")
    server = ThreadingHTTPServer((config["hosts"], int(config["HTTPS_PORT"])), Pccs)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    main()
