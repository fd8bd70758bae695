"""`pluto-notary serve` with a configuration that names an authority, as a program, before an authority of our own."""

from __future__ import annotations

import datetime
import json
import signal
import ssl
import subprocess
import sys
import threading
from pathlib import Path

from pluto_notary.config import Acme, encode_payload
from simulators.acme_ca import AcmeCa, over_tls, shown_by_name
from simulators.notary.certificates import Authority
from simulators.notary.sites import Site, Visit


def test_serve_has_its_key_certified_and_shows_it(tmp_path: Path) -> None:
    authority, ready = Authority(), threading.Event()
    ports: list[int] = []

    def port() -> int:
        assert ready.wait(30)
        return ports[0]

    made: list[AcmeCa] = []
    with Site(authority.issue("ca.example"), lambda visit: act(visit)) as site:
        base = f"https://ca.example:{site.port}"
        made.append(AcmeCa(now=datetime.datetime.now(datetime.UTC), look=over_tls(port), base=base))

        def act(visit: Visit) -> None:
            made[0].act(visit)

        payload = encode_payload(acme=Acme(f"{base}/directory", "notary.example"))
        (tmp_path / "config.json").write_bytes(payload)
        world = {"version": 1, "roots": authority.pem, "hosts": {"ca.example": "127.0.0.1"}, "ports": [site.port]}
        (tmp_path / "world.json").write_text(json.dumps({**world, "allowPrivate": True, "wallClock": True}))
        command = [sys.executable, "-m", "pluto_notary.cli", "serve", "--insecure-evidence", "--port", "0"]
        files = ["--config", str(tmp_path / "config.json"), "--insecure-world", str(tmp_path / "world.json")]
        with subprocess.Popen([*command, *files], stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if "answering on port" in line:
                    ports.append(int(line.split("port ")[1].split(",")[0]))
                    ready.set()
                    shown_by_name(("127.0.0.1", ports[0]), "notary.example")
                if line.startswith("pluto: certificate") and "asked" not in line:
                    break
            shown = ssl.get_server_certificate(("127.0.0.1", ports[0]), timeout=20)
            process.send_signal(signal.SIGTERM)
            rest = process.communicate(timeout=30)[1]
    assert process.returncode == 0, rest
    assert said[-1] == "pluto: certificate state=shown code=none\n"
    assert ssl.PEM_cert_to_DER_cert(shown) == made[0].issued[0]
    assert made[0].wrongs == []
