"""The release flavour proves: its root's own program, in a network of its own, with one more root of certificates.

The notary of the release asks a site whose address is public by its number, of operators of time likewise, by names of
its image's resolver, and refuses what it must. Simulated are the other ends and the quote: nothing of the notary is
changed, and no rule weakened, but that this test build carries our authority beside Mozilla's.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from pluto_image import build, definition, source_tree, unpacked
from pluto_image.inputs.store import Store, default_root
from pluto_image.lock.lockfile import Lock
from pluto_image.recipe import tables
from pluto_image.tree import Entry
from pluto_notary import places, systemd
from pluto_notary.cli import main
from pluto_notary.limits import Limits
from pluto_notary.server import world
from pluto_notary.statement.proof import Proof
from pluto_notary.trusted_time.operators import OPERATORS
from simulators.launches import LAUNCH
from simulators.notary import isolated, today, whole
from simulators.notary.certificates import Authority
from simulators.notary.isolated import PublicSite, Release
from simulators.notary.sites import Net, Visit
from simulators.notary.sites import whole as answer
from simulators.trust_domains import TrustDomain

ROOT: Final = Path(__file__).resolve().parents[3]
PACKAGE: Final = "usr/lib/python3/dist-packages/pluto_notary"
WEAKER: Final = ("debug_world.py", "insecure.py")  # of pluto_notary; of the debug flavour alone
NOTARY: Final = "93.184.215.8"
SHOP, STRANGER = "shop.example", "stranger.example"
# Names that lead inside, where a site with a good certificate waits for whoever comes.
INNER: Final = {"host.example": "127.0.0.1", "neighbour.example": "10.0.0.1", "cloud.example": "169.254.169.254"}
SITES: Final = {SHOP: "93.184.215.14", STRANGER: "93.184.215.15", **INNER}
TIME: Final = {one.host: f"93.184.216.{10 + index}" for index, one in enumerate(OPERATORS)}
CANARY: Final = "canary-7f3a91d0c"
JSON_PAGE: Final = answer(b'{"price": "12.50", "left": 7}', ("content-type", "application/json"))
HTML_PAGE: Final = answer(b"<p id=level>Gold</p>", ("content-type", "text/html; charset=utf-8"))
EXTRACTORS: Final[Mapping[str, list[dict[str, Any]]]] = {
    "json": [
        {"id": "price", "selector": ["price"], "type": "string"},
        {"id": "left", "selector": ["left"], "type": "number"},
    ],
    "html": [{"id": "level", "selector": ["#level"], "type": "string"}],
}
VALUES: Final = {"json": {"price": "12.50", "left": 7}, "html": {"level": "Gold"}}

pytestmark = [pytest.mark.root, pytest.mark.slow]


def manifest(host: str, format: str = "json") -> dict[str, Any]:  # noqa: A002
    kind = "application/json" if format == "json" else "text/html"
    return {
        "manifestVersion": "2",
        "request": {
            "method": "GET",
            "url": f"https://{host}/{format}",
            "headers": {"authorization": "Bearer <% token %>"},
            "vars": {"token": {"pattern": "^[a-z0-9-]{16}$"}},
        },
        "response": {
            "status": "200",
            "headers": {"content-type": kind if format == "json" else f"{kind}; charset=utf-8"},
            "body": {"format": format, "extractors": EXTRACTORS[format]},
        },
    }


def page(visit: Visit) -> None:
    """An honest site with two pages."""
    asked = visit.read_request()
    visit.send(HTML_PAGE if asked.startswith(b"GET /html ") else JSON_PAGE)
    visit.goodbye()


class Verifier:
    """Somebody with the commands `prove` and `verify-proof`, and files that accept this trust domain."""

    def __init__(self, folder: Path, domain: TrustDomain, port: int = isolated.PORT) -> None:
        folder.mkdir()
        pretended = whole.Running(whole.TdProvider(domain), today.Clock(), Net({}), Limits())
        self.files = today.Folder(folder, pretended)
        self.port, self.proof = port, folder / "proof.json"
        self.manifest = folder / "manifest.json"
        self.variables = self.files.write("variables.json", json.dumps({"token": CANARY}))

    def __call__(self, *words: object) -> tuple[int, Any]:
        """A command's exit code and document."""
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            code = main([*map(str, words), *self.files.accepting, "--json"])
        assert out.getvalue(), err.getvalue()
        return code, json.loads(out.getvalue())

    def prove(self, host: str, format: str = "json", *more: str) -> tuple[int, Any]:  # noqa: A002
        self.proof.unlink(missing_ok=True)
        self.manifest.write_text(json.dumps(manifest(host, format)))
        words = ["--notary", f"https://{NOTARY}:{self.port}", "--manifest", self.manifest, "--out", self.proof]
        return self("prove", *words, "--variables", self.variables, *more)

    def refusal(self, host: str, *more: str) -> str:
        """The code by which the notary refuses; no proof was written."""
        code, document = self.prove(host, "json", *more)
        assert code != 0, document
        assert not self.proof.exists()
        return str(document["error"]["code"])


@dataclass(frozen=True)
class World:
    """A release that runs, and what is around it."""

    root: Path
    domain: TrustDomain
    helper: contextlib.ExitStack  # holds the evidence helper
    release: Release
    sites: Mapping[str, PublicSite]
    verifier: Verifier
    before: str  # why it refused while no operator of time had answered

    @contextlib.contextmanager
    def without_helper(self) -> Iterator[None]:
        self.helper.close()
        try:
            yield
        finally:
            self.helper.enter_context(isolated.helper(self.root, self.domain))


@pytest.fixture(scope="module")
def entries() -> tuple[Entry, ...]:
    """The root of the release, of the locked inputs."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder = ROOT / "image/notary"
    lock, found = Lock.parse((folder / "lock.json").read_bytes()), definition.load(folder)
    source, recipe = source_tree.read(folder), tables.parse(found.recipe)
    return build.assemble(recipe, lock, Store(default_root()), source, "release", LAUNCH.build_id).entries


@pytest.fixture(scope="module")
def running(entries: tuple[Entry, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    place, authority, domain = tmp_path_factory.mktemp("release"), Authority(), today.domain()
    root = lay(place / "root", entries, authority)
    # Not of the authority that the build carries, but of one with the same name.
    identities = {host: (Authority() if host == STRANGER else authority).issue(host) for host in SITES}
    with contextlib.ExitStack() as stack:
        stack.enter_context(isolated.entered())
        isolated.add_addresses(NOTARY, *TIME.values(), *(one for one in SITES.values() if one != "127.0.0.1"))
        stack.enter_context(isolated.names({**SITES, **TIME}))
        made = {host: PublicSite(SITES[host], identity, page) for host, identity in identities.items()}
        for one in made.values():
            stack.enter_context(one)
        operators = stack.enter_context(isolated.operators(authority, TIME))
        helper = stack.enter_context(contextlib.ExitStack())
        helper.enter_context(isolated.helper(root, domain))
        release = stack.enter_context(isolated.started(root, place))
        verifier = Verifier(place / "verifier", domain)
        before = verifier.refusal(SHOP)
        operators.answer()
        release.soon("pluto: time state=known")
        yield World(root, domain, helper, release, made, verifier, before)
        assert release.end() == 0, release.said[1].read_text()


def lay(root: Path, entries: tuple[Entry, ...], authority: Authority) -> Path:
    """The root on disk, with our authority, as after a start: an empty configuration was accepted."""
    root.mkdir(mode=0o755)
    certificates = world.ROOTS.lstrip("/")
    unpacked.lay(
        root,
        (
            replace(one, data=one.data + authority.pem.encode()) if one.path == certificates else one
            for one in entries
            if not one.path.startswith("usr/lib/modules/")
        ),
    )
    built = definition.load(ROOT / "image/notary").epoch
    os.utime(root / systemd.OS_RELEASE.lstrip("/"), (built, built))
    config = root / places.CONFIG_FILE.lstrip("/")
    config.parent.mkdir(parents=True)
    config.touch()
    return root


def test_the_release_has_no_code_for_another_world(entries: tuple[Entry, ...]) -> None:
    paths = {entry.path for entry in entries}
    assert f"{PACKAGE}/server/world.py" in paths
    for name in WEAKER:
        assert (ROOT / "notary/pluto_notary" / name).is_file()
        assert not [path for path in paths if Path(path).name in (name, f"{name}c")]
    assert places.DEBUG_WORLD.lstrip("/") not in paths


@pytest.mark.parametrize(("format", "more"), [("json", []), ("html", []), ("json", ["--fresh"])])
def test_it_proves_what_a_public_site_says(running: World, format: str, more: list[str]) -> None:  # noqa: A002
    shop, verifier = running.sites[SHOP], running.verifier
    visits, begin = shop.visits, time.time()
    code, document = verifier.prove(SHOP, format, *more)
    assert code == 0, (document, running.release.lines)
    assert document["appraisal"]["accepted"] is True
    proof = Proof.parse(verifier.proof.read_bytes())
    said = proof.statement
    assert {one.id: json.loads(one.text) for one in proof.openings} == VALUES[format]
    assert (said.host, said.certificate) == (SHOP, hashlib.sha256(shop.identity.der).digest())
    assert said.build.hex() == LAUNCH.build_id
    assert shop.visits == visits + 1
    assert begin - 2 < said.not_before <= shop.at[-1] <= said.not_after < time.time() + 2
    code, verdict = verifier("verify-proof", verifier.proof, "--manifest", verifier.manifest)
    assert (code, verdict["accepted"]) == (0, True), verdict


def test_it_proves_nothing_before_it_knows_the_time(running: World) -> None:
    assert running.before == "clock"


@pytest.mark.parametrize("host", INNER)
def test_it_does_not_ask_who_is_inside(running: World, host: str) -> None:
    assert running.verifier.refusal(host) == "egress"
    assert running.sites[host].visits == 0


def test_it_believes_no_other_authority(running: World) -> None:
    assert running.verifier.refusal(STRANGER) == "certificate"
    assert running.sites[STRANGER].requests == []


def test_it_is_its_own_user_and_says_no_secret(running: World) -> None:
    assert running.verifier.prove(SHOP)[0] == 0
    assert CANARY.encode() in running.sites[SHOP].requests[-1]
    status = running.release.status()
    assert status["Uid"].split() == status["Gid"].split() == [str(isolated.USER)] * 4
    assert (status["Groups"], status["CapEff"], status["CapPrm"]) == ("", "0" * 16, "0" * 16)
    out, err = (path.read_text() for path in running.release.said)
    assert out.splitlines()[1] == f"pluto: ready port={isolated.PORT} buildid={LAUNCH.build_id}"
    assert err == ""
    assert CANARY not in out


def test_it_proves_nothing_without_its_evidence_helper(running: World, tmp_path: Path) -> None:
    port, shop = isolated.PORT + 1, running.sites[SHOP]
    asked = len(shop.requests)
    with running.without_helper():
        assert running.verifier.refusal(SHOP, "--fresh") == "fresh"
        with isolated.started(running.root, tmp_path, port):
            assert Verifier(tmp_path / "verifier", running.domain, port).refusal(SHOP) == "evidence"
    assert len(shop.requests) == asked
