"""Google's public bucket on loopback: launch endorsements and firmware by name, or a status. For tests alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Bucket:
    """`objects` by path. `statuses` are given one by one before an object is; 302 leads to /elsewhere."""

    url: str
    objects: dict[str, bytes] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def put(self, mrtd: bytes, endorsement: bytes) -> None:
        self.objects[f"/tdx/{mrtd.hex()}.binarypb"] = endorsement

    def put_firmware(self, digest: bytes, content: bytes) -> None:
        self.objects[f"/{digest.hex()}.fd"] = content


@contextmanager
def serving() -> Iterator[Bucket]:
    """Serve a bucket until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            bucket.asked.append(self.path)
            status = bucket.statuses.pop(0) if bucket.statuses else 200
            body = bucket.objects.get(self.path, b"")
            if status == 200 and self.path not in bucket.objects:
                status = 403  # as the real one does, which nobody may list
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"{bucket.url}/elsewhere")
            self.send_header("Content-Length", str(len(body) if status == 200 else 0))
            self.end_headers()
            if status == 200:
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Tests read `Bucket.asked`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    bucket = Bucket(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield bucket
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
