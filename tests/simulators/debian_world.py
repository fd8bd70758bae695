"""A tiny definition, the archives that it names, and a mirror that serves them: what a lock needs, offline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pluto_image.definition import Definition, load
from pluto_image.inputs.download import Limits
from pluto_image.inputs.fetch import Sources
from pluto_image.inputs.store import Store
from pluto_image.lock import making as locks
from pluto_image.lock.making import Locked
from simulators.debian_mirror import FakeDeb, Mirror, Signer, archive_files, serving

NOW = datetime(2026, 9, 2, tzinfo=UTC)
QUICK = Limits(connect=1, read=0.5, total=2, attempts=1, pause=0.01)

DEFINITION = """
name = "tiny"
version = "1"
architecture = "amd64"
epoch = 1793491200
{archives}
[image]
archives = ["main", "security"]
install = ["app"]
exclude = [{{ name = "shell", reason = "no shell" }}]
[tools]
archives = ["main", "security"]
install = ["tool"]
"""
ARCHIVE = """
[[archive]]
id = "{id}"
suite = "{suite}"
components = ["main"]
path = "{path}"
fingerprints = ["{fingerprint}"]
"""


def app(version: str = "1.0", **more: Any) -> FakeDeb:
    return FakeDeb("app", version, {"Depends": "lib (>= 1), shell"}, {"usr/bin/app": b"app"}, **more)


def lib(version: str = "1.0", **more: Any) -> FakeDeb:
    return FakeDeb("lib", version, {}, {"usr/lib/lib.so": version.encode()}, **more)


def tool(version: str = "1.0") -> FakeDeb:
    return FakeDeb("tool", version, {"Source": "tools (0.9)"}, {"usr/bin/tool": b"#!tool"})


@dataclass
class World:
    """`main` and `security` may be changed; `publish` puts them on the mirror, signed, at `date`."""

    folder: Path
    signer: Signer
    mirror: Mirror
    store: Store
    main: list[FakeDeb] = field(default_factory=lambda: [app(), lib(), tool(), FakeDeb("shell", "5")])
    security: list[FakeDeb] = field(default_factory=list)

    @property
    def definition(self) -> Definition:
        return load(self.folder)

    @property
    def sources(self) -> Sources:
        urls = {"main": (f"{self.mirror.url}/debian",), "security": (f"{self.mirror.url}/debian-security",)}
        return Sources(snapshot="", mirrors=urls, limits=QUICK)

    def publish(self, date: datetime = NOW - timedelta(days=1), *, valid: timedelta | None = timedelta(days=7)) -> None:
        """Replace everything on the mirror: old files are gone, as on real mirrors."""
        until = date + valid if valid is not None else None
        files = archive_files(self.signer, "debian", "trixie", self.main, date=date, valid_until=until)
        more = archive_files(
            self.signer, "debian-security", "trixie-security", self.security, date=date, valid_until=until
        )
        self.mirror.files = {**files, **more}

    def lock(self, **how: Any) -> Locked:
        """Lock as it is now."""
        how = {"at": NOW, **how}
        return locks.make(self.definition, self.folder / "keys", self.store, self.sources, **how)


@contextmanager
def world(folder: Path, signer: Signer) -> Iterator[World]:
    """A world below `folder`, served until the block ends."""
    place = folder / "tiny"
    (place / "keys").mkdir(parents=True)
    (place / "keys" / f"{signer.fingerprint}.asc").write_bytes(signer.certificate)
    archives = [("main", "trixie", "debian"), ("security", "trixie-security", "debian-security")]
    text = "".join(
        ARCHIVE.format(id=name, suite=suite, path=path, fingerprint=signer.fingerprint)
        for name, suite, path in archives
    )
    (place / "image.toml").write_text(DEFINITION.format(archives=text))
    with serving({}) as mirror:
        made = World(place, signer, mirror, Store(folder / "store"))
        made.publish()
        yield made
