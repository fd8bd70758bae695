"""What the notary is compared with: a relay that ends the same two layers of TLS and passes bytes on to a site.

    notary_relay.py FILE        FILE: {"roots":PEM, "host":NAME, "port":n, "tls":bool}

The outer TLS is the standard library's in asyncio, the inner one pyOpenSSL's over memory; there is no HTTP, no limit,
no deadline, no evidence, and nothing is looked at. With `tls` the site is reached by TLS, with its name and chain
checked, as the notary does; without, its bytes go on in the clear. Tells its port on standard output.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import sys
from pathlib import Path
from typing import Any

from OpenSSL import SSL

from pluto_notary import certificate
from pluto_notary.certificate import make_identity
from pluto_notary.fetch.target import client_context
from pluto_notary.protocol import inner

_READ = 64 * 1024


class Inner:
    """The inner TLS of one connection, over memory."""

    def __init__(self, context: SSL.Context, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tls = SSL.Connection(context)
        self._tls.set_accept_state()
        self._reader, self._writer = reader, writer

    async def handshake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except SSL.WantReadError:
                self._flush()
                self._tls.bio_write(await self._more())
            else:
                self._flush()
                return

    async def read(self) -> bytes:
        while True:
            try:
                return self._tls.recv(_READ)
            except SSL.WantReadError:
                self._tls.bio_write(await self._more())
            except SSL.ZeroReturnError:
                return b""

    async def write(self, data: bytes) -> None:
        self._tls.sendall(data)
        self._flush()
        await self._writer.drain()

    def _flush(self) -> None:
        with contextlib.suppress(SSL.WantReadError):
            while data := self._tls.bio_read(_READ):
                self._writer.write(data)

    async def _more(self) -> bytes:
        if not (data := await self._reader.read(_READ)):
            raise EOFError
        return data


async def relay(wanted: dict[str, Any]) -> None:
    context = inner.server_context(make_identity(os.urandom))
    target: ssl.SSLContext | None = None
    if wanted["tls"]:
        target = client_context(wanted["roots"])
        target.set_alpn_protocols(["http/1.1"])
    name = wanted["host"] if wanted["tls"] else None

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Inner(context, reader, writer)
        with contextlib.suppress(OSError, EOFError):
            await client.handshake()
            asked = await client.read()
            site, to_site = await asyncio.open_connection("127.0.0.1", wanted["port"], ssl=target, server_hostname=name)
            forth = asyncio.ensure_future(_forth(client, asked, to_site))
            while data := await site.read(_READ):
                await client.write(data)
            forth.cancel()
            to_site.close()
        writer.close()

    outer = certificate.server_context(make_identity(os.urandom))
    server = await asyncio.start_server(served, "127.0.0.1", 0, ssl=outer, backlog=1024)
    sys.stdout.write(json.dumps({"port": server.sockets[0].getsockname()[1]}) + "\n")
    sys.stdout.flush()
    await server.serve_forever()


async def _forth(client: Inner, asked: bytes, to_site: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, EOFError):
        while asked:
            to_site.write(asked)
            await to_site.drain()
            asked = await client.read()
    to_site.close()


if __name__ == "__main__":
    asyncio.run(relay(json.loads(Path(sys.argv[1]).read_bytes())))
