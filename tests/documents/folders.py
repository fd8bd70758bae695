"""The folders that two tutorials begin with.

    make tutorial-verifier    a release, a proof by a pretended trust domain, keys, collateral
    make tutorial-operator    three releases of this very tree, which two organisations signed

They are made anew below build/tutorial. The operator's second release is a signed lie: its launch.json says that it
boots another image.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pluto_measure.digests import Digests
from pluto_measure.launch import Launch
from pluto_measure.publish.digest_list import SUMS, format_sums, parse_sums
from pluto_measure.publish.keys import PrivateKey, pem_of
from pluto_measure.publish.statement import Statement, Subject
from pluto_notary.cli import main as notary
from simulators import policies, releases
from simulators.notary import sites, today
from simulators.notary.certificates import Authority

ROOT: Final = Path(__file__).resolve().parents[2]
HOST: Final = "shop.example"
MANIFEST: Final = """\
{"manifestVersion": "2", "id": "price", "title": "A price",
 "request": {"method": "GET", "url": "https://shop.example/item/7", "headers": {}},
 "response": {"status": "200", "headers": {"content-type": "application/json"},
  "body": {"format": "json", "extractors": [{"id": "price", "selector": ["price"], "type": "string"}]}}}
"""
SIGNERS: Final[Mapping[str, PrivateKey]] = {
    "publisher": releases.ED25519, "north": releases.OTHER, "south": releases.P256
}  # fmt: skip
VERSIONS: Final = ("0.1.0", "0.2.0", "0.3.0")
_COMMIT: Final = (
    *("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org", "-c", "commit.gpgsign=false"),
    *("commit", "--quiet", "--allow-empty", "--all"),
)


def verifier(folder: Path) -> None:
    """What lies in the verifier's folder. The trust domain is pretended, and so is the root that vouches for it."""
    folder.mkdir(parents=True)
    now = datetime.now(UTC).replace(microsecond=0)
    made = releases.write(folder / "release", issued_at=now - timedelta(days=1), not_after=now + timedelta(days=300))
    for name, key in SIGNERS.items():
        releases.sign(made, key)
        (folder / f"{name}.pub").write_text(pem_of(key.public_key()))
    (folder / "manifest.json").write_text(MANIFEST)
    authority = Authority()
    page = sites.page(b'{"price": "12.50"}', ("content-type", "application/json"))
    with sites.Site(authority.issue(HOST), page) as site, today.running(authority, {HOST: site}) as running:
        given = today.Folder(folder, running)
        words = ["prove", "--notary", f"https://127.0.0.1:{running.port}", *given.accepting]
        words += ["--manifest", str(folder / "manifest.json"), "--out", str(folder / "proof.json")]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
            code = notary(words)
    if code != 0:
        raise RuntimeError(f"no proof was made: {said.getvalue()}")
    (folder / "measurements.json").unlink()
    policy = (folder / "policy.toml").read_text()
    (folder / "policy.toml").write_text(policies.changed(policy, allowUnsignedReference="false"))


def operator(folder: Path) -> None:
    """What lies in the operator's folder: releases of this tree in three versions, built here, signed twice."""
    folder.mkdir(parents=True)
    sources = folder / "sources"
    run("git", "clone", "--quiet", ROOT, sources)
    for name in ("publisher", "north"):
        run("openssl", "genpkey", "-algorithm", "ed25519", "-out", folder / f"{name}.pem")
        (folder / f"{name}.pem").chmod(0o600)
        run("openssl", "pkey", "-in", folder / f"{name}.pem", "-pubout", "-out", folder / f"{name}.pub")
    for number, version in enumerate(VERSIONS, 1):
        say(f"building release {number} of {len(VERSIONS)}")
        _set(sources / "image/notary/image.toml", "version", f'"{version}"')
        _set(sources / "image/notary/release.toml", "sequence", str(number))
        run("git", "-C", sources, *_COMMIT, "--message", version)
        out, relock = folder / f"release-{number}", ROOT / "build/relock"
        run("pluto-image", "build", sources / "image/notary", "--out", out, "--flavour", "release", "--relock", relock)
        if number == 2:
            _lie(out, folder / "release-1")
        for name in ("publisher", "north"):
            run("pluto-measure", "sign", out / "release.json", "--key", folder / f"{name}.pem")
    keys = [f"--key={name}={folder / name}.pub" for name in ("publisher", "north")]
    (folder / "trust.toml").write_text(run("pluto-measure", "trust", *keys, "-k", "2"))
    policy = (ROOT / "docs/examples/local-policy.toml").read_text().replace(", with no run-time configuration.", ".")
    config = '"any" # pluto-deploy demands that of the deployment file in any case'
    (folder / "policy.toml").write_text(policies.changed(policy, allowUnsignedReference="false", configDigest=config))


def _lie(release: Path, other: Path) -> None:
    """Let a release say that it boots another one's image, everywhere alike, before it is signed."""
    theirs = Launch.parse((other / "launch.json").read_bytes())
    launch = Launch.parse((release / "launch.json").read_bytes())
    data = {"launch.json": replace(launch, uki_authenticode=theirs.uki_authenticode).to_text().encode()}
    told = Digests.of(data["launch.json"])
    statement = Statement.parse((release / "release.json").read_bytes())
    subjects = tuple(Subject(one.name, told) if one.name in data else one for one in statement.subjects)
    data["release.json"] = replace(statement, subjects=subjects).to_text().encode()
    sums = parse_sums((release / SUMS).read_bytes())
    for name, content in data.items():
        (release / name).write_bytes(content)
        sums[name] = hashlib.sha256(content).hexdigest()
    (release / SUMS).write_text(format_sums(sums))


def _set(path: Path, name: str, value: str) -> None:
    said = re.compile(rf"^{name} = (\"[^\"]*\"|\d+)", re.MULTILINE)
    text, count = said.subn(f"{name} = {value}", path.read_text(), count=1)
    if count != 1:
        raise RuntimeError(f"{path.name} has no {name}")
    path.write_text(text)


def run(*words: object) -> str:
    """Run a program; what it said on stdout. RuntimeError with what it said on stderr."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = [str(word) for word in words]
    done = subprocess.run(program, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(program)}: {done.stderr}")
    return done.stdout


def say(text: str) -> None:
    """Progress, for whoever waits."""
    print(f"tutorial: {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Make one of the folders anew, and say where it is."""
    parser = argparse.ArgumentParser(description="Make the folder that a tutorial begins with.")
    parser.add_argument("reader", choices=("verifier", "operator"))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    {"verifier": verifier, "operator": operator}[arguments.reader](arguments.folder.absolute())
    say(f"made {arguments.folder}; go there, and read docs/tutorials/{arguments.reader}.md")


if __name__ == "__main__":
    main()
