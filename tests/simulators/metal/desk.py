"""An operator's desk: releases, trust file, policy, collateral, deployment files, and `pluto-deploy`. For tests.

    with desk.at(host, folder) as mine:
        first = mine.release(5)
        file = mine.deployment(release=first)
        done = mine.call("apply", file)          # in this process; done.code, done.document, done.out, done.err
        mine.process("apply", file)              # the same as a process of its own

Evidence is of the pretended hardware `mine.hardware`, whose machine is `PPID`, and of whatever runs on the host.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.client
import io
import json
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pluto_deploy.cli import main
from pluto_image.inputs.store import Store
from pluto_measure.publish.facts import Revoked
from simulators import policies, releases
from simulators.intel import EARLY_LEVELS, Authority, Machine, World, collateral, qe_identity, tcb_info, world
from simulators.intel.documents import AGE
from simulators.metal import inside, prepared, td_releases
from simulators.metal.host import Host
from simulators.metal.inside import Inside
from simulators.verifier_files import bundle

PPID = f"ppid:{Machine.ppid.hex()}"
JUDGING = ("plan", "apply", "verify", "watch", "rollback", "render")
WITHOUT_STORE = ("destroy", "logs", "render", "status", "verify", "watch")
POLL = 0.02  # seconds between two requests of a client


@dataclasses.dataclass(frozen=True)
class Called:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Of a call with --json."""
        return json.loads(self.out)

    @property
    def findings(self) -> set[str]:
        """The ids of what refused, from the document or from its error."""
        listed = self.document.get("findings", []) or self.document.get("error", {}).get("findings", [])
        return {one["id"] for one in listed if one["verdict"] == "fail"}


class Desk:
    """See the module."""

    def __init__(self, host: Host, folder: Path, answers: Inside, hardware: World) -> None:
        self.host, self.folder, self.inside, self.hardware = host, folder, answers, hardware
        self.store = Store(folder / "store")
        self.store_root = self.store.root
        self.state = folder / "state"
        self.trust = self._write("trust.toml", releases.trust_text(releases.ED25519))
        self.policy = self._write("policy.toml", self.policy_text())
        self.collateral = self._write("collateral.json", json.dumps(hardware.collateral))
        self.files = 0
        self.names: dict[str, Path] = {}

    def release(self, sequence: int, pretend: str = "honest", **changes: Any) -> Path:
        """A signed release; made once for the same arguments."""
        known = hashlib.sha256(repr((sequence, pretend, sorted(changes.items()))).encode()).hexdigest()[:12]
        folder = self.folder / "releases" / f"{sequence}-{pretend}-{known}"
        if not folder.exists():
            td_releases.make(folder, self.store, sequence=sequence, pretend=pretend, **changes)
        return folder

    def deployment(self, release: Path, *, name: str = "shop", **changes: str) -> Path:
        """A deployment file. `changes` are members by name, as TOML: `strategy='"replace"'`."""
        login = f"{changes.pop('user', 'root')}@{self.host.address}:{self.host.port}"
        members = {
            "knownHosts": f'"{self.host.known_hosts}"', "tee": '"tdx"', "machine": f'"{PPID}"', "cpus": "2",
            "memory": '"1G"', "ports": "[443]", "egress": "[]", "strategy": '"blue-green"', "timeout": "20",
            "label": f'"{name}"', "policy": f'"{self.policy}"', **changes,
        }  # fmt: skip
        text = f"""\
version = 1
name = "{name}"
release = "{release}"
trust = "{self.trust}"
policy = {members["policy"]}
[platform]
kind = "bare-metal"
host = "{login}"
key = "{self.host.key}"
knownHosts = {members["knownHosts"]}
tee = {members["tee"]}
machine = {members["machine"]}
[size]
cpus = {members["cpus"]}
memory = {members["memory"]}
[network]
ports = {members["ports"]}
egress = {members["egress"]}
[notary]
deployment = {members["label"]}
[update]
strategy = {members["strategy"]}
timeout = {members["timeout"]}
"""
        self.files += 1
        self.names[name] = self._write(f"{name}-{self.files}.toml", text)
        return self.names[name]

    def policy_text(self, **changes: str) -> str:
        """The policy that accepts this hardware and signed releases alone; `changes` as TOML by field."""
        root = hashlib.sha256(self.hardware.authority.root_der).hexdigest()
        honest = {"allowUnsignedReference": "false", "insecure_roots": f'["{root}"]', "outerKeyDigest": '"required"'}
        return policies.changed(policies.TDX_TEXT, **{**honest, **changes})

    def early_collateral(self) -> Path:
        """Today's collateral with Intel's next set, in which this hardware is out of date."""
        authority = self.hardware.authority
        info = tcb_info(evaluation=21, levels=EARLY_LEVELS, issued=authority.now - AGE)
        identity = qe_identity(evaluation=21, issued=authority.now - AGE)
        early = collateral(authority, info=info, identity=identity)
        return self._write("early.json", json.dumps(bundle(self.hardware.collateral, early).to_json()))

    def words(self, command: str, file: Path, *more: str | Path) -> list[str]:
        """The arguments of a command."""
        words: list[str | Path] = [command, file, "--state", self.state]
        if command not in WITHOUT_STORE:
            words += ["--store", self.store_root, "--offline"]
        if command in JUDGING and "--collateral" not in more:
            words += ["--collateral", self.collateral]
        return [str(word) for word in (*words, *more)]

    def call(self, command: str, file: Path, *more: str | Path, text: bool = False) -> Called:
        """Run a command in this process; with --json unless `text`."""
        out, err = io.StringIO(), io.StringIO()
        words = self.words(command, file, *more, *(() if text else ("--json",)))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
        assert "Traceback" not in err.getvalue(), err.getvalue()
        return Called(code, out.getvalue(), err.getvalue())

    def ok(self, command: str, file: Path, *more: str | Path) -> Any:
        """The document of a command that has to succeed."""
        done = self.call(command, file, *more)
        assert done.code == 0, f"{command} ended with {done.code}:\n{done.out}{done.err}\n{self.host.journal()[-6000:]}"
        return done.document

    def process(self, command: str, file: Path, *more: str | Path, **how: Any) -> subprocess.Popen[str]:
        """Start a command as a process of its own; `how` as subprocess.Popen takes it."""
        script = "import sys; from pluto_deploy.cli import main; sys.exit(main())"
        argv = [sys.executable, "-c", script, *self.words(command, file, *more, "--json")]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)

    def wait_for(self, unit: str) -> None:
        """Wait until a unit of the host runs."""
        for _ in range(200):
            if self.host.run(["systemctl", "is-active", unit], check=False).stdout == "active\n":
                return
            time.sleep(0.05)
        raise AssertionError(f"{unit} does not run")

    def health(self, port: int = 443) -> str:
        """The build id that whoever serves says of itself. OSError, also where nobody answers."""
        return health(self.host.address, port)

    def inventory(self) -> str:
        """All that a deployment could leave on the host: files with their digests, units, interfaces, rules."""
        script = """
            find /etc /opt /usr/local /var/lib/pluto -xdev | sort
            find /etc /opt /usr/local /var/lib/pluto -xdev -type f -exec sha256sum {} + | sort
            find /run/pluto /run/lock/pluto ! -name '*.lock' | sort
            systemctl list-units --all --plain --no-legend 'pluto*' | cut -d' ' -f1
            ls /sys/class/net
            nft list table inet pluto | grep -v counter
        """
        return self.host.run(["sh", "-c", script]).stdout

    def clear(self) -> None:
        """Every deployment away, and what the state directory remembers."""
        for file in self.names.values():
            self.ok("destroy", file)
        self.names.clear()
        shutil.rmtree(self.state, ignore_errors=True)

    @contextlib.contextmanager
    def client(self, port: int = 443) -> Iterator[Client]:
        """Ask all the time while the block runs."""
        client = Client(self.host.address, port)
        client.start()
        try:
            yield client
        finally:
            client.over.set()
            client.join()

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path


class Client(threading.Thread):
    """Somebody out there. `builds`: who answered, in order, without repetition; `failures`: what did not work."""

    def __init__(self, address: str, port: int) -> None:
        super().__init__(daemon=True)
        self.address, self.port = address, port
        self.over = threading.Event()
        self.asked = 0
        self.builds: list[str] = []
        self.failures: list[str] = []

    def run(self) -> None:
        while not self.over.wait(POLL):
            self.asked += 1
            try:
                build = health(self.address, self.port)
            except OSError as error:
                self.failures.append(f"{time.monotonic():.2f} {error!r}")
                continue
            if self.builds[-1:] != [build]:
                self.builds.append(build)


def health(address: str, port: int) -> str:
    """GET /health; OSError for whatever goes wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection(address, port, timeout=5, context=context)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        return str(json.loads(answer.read())["buildId"])
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"no answer: {error!r}") from error
    finally:
        connection.close()


def hardware(**changes: Any) -> World:
    """A machine whose certificates and collateral are of today; `changes` as `intel.world` takes them."""
    return world(authority=Authority.make(now=datetime.now(UTC).replace(minute=0, second=0, microsecond=0)), **changes)


def steps(document: Any) -> list[str]:
    """The plan of a document: actions and slots."""
    return [f"{one['action']} {one['slot'] or ''}".strip() for one in document["plan"]["steps"]]


def states(document: Any) -> dict[str, str]:
    """The machines that a document shows by slot, and which of them serves."""
    found = {one["slot"]: one["state"] + (", refused" * one["refused"]) for one in document["target"]["machines"]}
    return {**found, "serves": document["target"]["serving"]}


def revoked(sequence: int) -> Revoked:
    """What a release says of an earlier one that must not run any more."""
    return Revoked(sequence, "a fault")


@contextlib.contextmanager
def at(host: Host, folder: Path, *, ready: bool = True) -> Iterator[Desk]:
    """A desk for a host, which is prepared first unless not `ready`."""
    machine = hardware()
    with inside.serving(host, machine) as (answers, port):
        if ready:
            prepared.make(host, folder, port)
        yield Desk(host, folder, answers, machine)
