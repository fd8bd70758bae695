"""A project for the workflows to run on: our own code and workflows, and a tiny definition whose archives we sign.

The definition lies where the workflows expect the notary's, so that they run unchanged and within seconds.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from simulators import debs, tiny_definition
from simulators.debian_mirror import FakeDeb, Mirror, Signer, archive_files, serving

ROOT: Final = Path(__file__).resolve().parents[2]
REPOSITORY: Final = "example/pluto"
DEFINITION: Final = "image/notary"
_COPIED: Final = ("image/pluto_image", "measure", "notary", "deploy", "requirements", ".github")
_FILES: Final = (".gitattributes", ".gitignore", "LICENSE", "README.md", "pyproject.toml")
_GIT: Final = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")


class Package(FakeDeb):
    """A package of the tiny definition as an archive offers it, in any version and with any scripts."""

    def data(self) -> bytes:
        files = tiny_definition.PACKAGES[self.name][1]
        entries = [debs.entry(f"./{path}", data, mode=mode) for path, (mode, data) in files.items()]
        control = debs.control_tar(self.name, self.version, self.scripts)
        return debs.ar([("debian-binary", b"2.0\n"), ("control.tar", control), ("data.tar", debs.tar(entries))])


def packages() -> dict[str, FakeDeb]:
    """All of them, in the versions that the tiny definition has."""
    return {name: Package(name, version) for name, (version, _) in tiny_definition.PACKAGES.items()}


@dataclass
class Project:
    """`origin`: the repository that is pushed to; `work`: a developer's clone of it; the mirror serves `debs`."""

    folder: Path
    signer: Signer
    mirror: Mirror
    debs: dict[str, FakeDeb] = field(default_factory=packages)

    @property
    def origin(self) -> Path:
        return self.folder / "origin.git"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def definition(self) -> Path:
        return self.work / DEFINITION

    def publish(self, ago: timedelta = timedelta(hours=2)) -> None:
        """Put the packages on the mirror, signed; what was there before is gone."""
        date = datetime.now(UTC) - ago
        listed = list(self.debs.values())
        until = date + timedelta(days=7)
        self.mirror.files = archive_files(self.signer, "debian", "trixie", listed, date=date, valid_until=until)

    def upgrade(self, name: str, version: str, scripts: Mapping[str, bytes] | None = None) -> None:
        """A newer version of a package appears on the mirror."""
        old = self.debs[name]
        self.debs[name] = replace(old, version=version, scripts=scripts or old.scripts)
        self.publish(timedelta(hours=1))

    def git(self, *words: str) -> str:
        """Run git in the developer's clone."""
        done = subprocess.run(["git", *_GIT, *words], cwd=self.work, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, message: str = "a change") -> str:
        """Commit and push all that changed; the new commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        self.git("push", "--quiet", "origin", "main")
        return self.git("rev-parse", "HEAD")

    def tag(self, name: str) -> None:
        self.git("tag", "--annotate", "--message", name, name)
        self.git("push", "--quiet", "origin", name)


@contextmanager
def project(folder: Path) -> Iterator[Project]:
    """A project below `folder`, pushed, not yet locked; its mirror is served until the block ends."""
    signer = Signer()
    with serving({}) as mirror:
        made = Project(folder, signer, mirror)
        _lay(made)
        made.publish()
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", made.origin], check=True)
        _guard(made.origin)
        made.git("init", "--quiet", "--initial-branch=main")
        made.git("remote", "add", "origin", str(made.origin))
        yield made


def _lay(made: Project) -> None:
    for name in _COPIED:
        # Without the builder's locked wheels, which a bundle would take from an index.
        shutil.copytree(ROOT / name, made.work / name, ignore=shutil.ignore_patterns("__pycache__", "wheels.json"))
    for name in _FILES:
        shutil.copy(ROOT / name, made.work / name)
    text = tiny_definition.DEFINITION.replace("0" * 40, made.signer.fingerprint)
    wanted = [name for name in tiny_definition.PACKAGES if name != "ovmf"]
    text = text.replace('install = ["init"]', f"install = {wanted}".replace("'", '"'))
    text = text.replace('["**.py"]', '["server/*.py"]')  # what is for debug images stays out of a release
    files = {path: data for path, data in tiny_definition.SOURCES.items() if path.startswith("image/tiny/")}
    for path, data in {**files, "image/tiny/image.toml": text.encode()}.items():
        place = made.work / path.replace("image/tiny", DEFINITION)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    (made.definition / "keys").mkdir()
    (made.definition / f"keys/{made.signer.fingerprint}.asc").write_bytes(made.signer.certificate)


def _guard(origin: Path) -> None:
    """A push from a job is taken only with credentials that may write; `fake_gh` lays them."""
    hook = origin / "hooks/pre-receive"
    hook.write_text(
        '#!/bin/sh\ntest -z "$GITHUB_ACTIONS" && exit 0\n'
        'test "$(git config --global pluto.credentials)" = true || { echo "no credentials" >&2; exit 1; }\n'
        'case "$GH_TOKEN" in *\'"contents": "write"\'*) exit 0;; esac\necho "403" >&2\nexit 1\n'
    )
    hook.chmod(0o755)
