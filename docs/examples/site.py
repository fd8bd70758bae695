"""A small HTTPS site for trying the notary: serves while the command behind `--` runs, and ends with its exit code.

python3 docs/examples/site.py --certificate FILE --key FILE --port 8444 -- COMMAND...
"""

from __future__ import annotations

import argparse
import http.server
import json
import ssl
import subprocess
import sys
import threading
from typing import Final

ITEM: Final = {"item": 7, "name": "a teapot", "price": "12.50", "stock": 3}


class Shop(http.server.BaseHTTPRequestHandler):
    """Answers /item/7."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        found = self.path == "/item/7"
        body = json.dumps(ITEM if found else {"error": "there is no such item"}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def finish(self) -> None:
        super().finish()
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.unwrap()  # the notary takes no end that is not authenticated

    def log_message(self, *_: object) -> None:
        """Nothing: the command has the terminal."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--port", type=int, default=8444)
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments.certificate, arguments.key)
    with http.server.ThreadingHTTPServer(("127.0.0.1", arguments.port), Shop) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code = subprocess.run(arguments.command, check=False).returncode
        server.shutdown()
    return code


if __name__ == "__main__":
    sys.exit(main())
