"""Make .venv from a locked requirements file with nothing but a Python 3.11+ standard library.

    python3 requirements/bootstrap.py run|dev
    python3 requirements/bootstrap.py run --bundle inputs.tar

With a bundle ('pluto-image bundle') nothing is fetched: all wheels, pip's among them, come out of it by the hashes
that this tree locks. Without one: where `venv` can install pip it does. Where it cannot (Debian and Ubuntu ship
ensurepip apart), pip's wheel is fetched by hash: from the package index that pip's own configuration names, else, as
a Debian package, from the mirror that the machine's apt configuration names. No host is named here. Nothing happens
when .venv is current.
"""

from __future__ import annotations

import argparse
import configparser
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import urllib.parse
import urllib.request
import venv
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
WINDOWS = os.name == "nt"
TIMEOUT = 60  # seconds for one request
LARGEST = 16 * 1024 * 1024  # bytes of one download
PIP = ["-m", "pip", "--disable-pip-version-check", "--no-input", "-q"]
HINT = "name a package index in PIP_INDEX_URL or pip's configuration, then run 'make run' again"

# pip's wheel as the index serves it.
WHEEL = "pip-26.2.1-py3-none-any.whl"
WHEEL_SHA256 = "71138adf1f4ca900cdb7d289c21b7494329f2332b6d85f0e1c42108c0384ed3e"
# The same as a Debian package (pool path, SHA-256), for machines that name an apt mirror and no index.
DEBS = (
    (
        "pool/main/p/python-pip/python3-pip-whl_25.1.1+dfsg-1_all.deb",
        "e65351935aa4af2b10ae2abb5744f5059e9abad51aea6cd0cb825702010763f7",
    ),
    (
        "pool/main/p/python-pip/python3-pip-whl_23.0.1+dfsg-1_all.deb",
        "cc373690a1cb469fb301b9fe0125048e3102f2e365d1b2d27cab091ec89fccdc",
    ),
)


def main(arguments: list[str]) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 - the one file that an older Python may meet
        say(f"error: Python {sys.version.split()[0]} is too old, 3.11 or newer is needed")
        return 2
    parser = argparse.ArgumentParser(prog="bootstrap.py", description="Make .venv.")
    parser.add_argument("wanted", choices=("run", "dev"), help="all that the commands need, or the tests' needs too")
    parser.add_argument("--bundle", type=Path, metavar="FILE", help="take everything from this file, without a network")
    options = parser.parse_args(arguments)
    if options.bundle is not None and options.wanted != "run":
        parser.error("a bundle holds what 'run' needs, not what 'dev' needs")
    if is_current(options.wanted):
        return 0
    try:
        if options.bundle is None:
            make(options.wanted)
        else:
            make_from(options.bundle)
    except (OSError, subprocess.CalledProcessError, LookupError) as error:
        say(f"error: {error}")
        say(f"hint: {HINT if options.bundle is None else fit()}")
        return 6
    return 0


def is_current(wanted: str) -> bool:
    """Whether .venv holds `wanted`; "dev" holds all of "run"."""
    return any(stamp(name).is_file() and stamp(name).read_text() == key(name) for name in {wanted, "dev"})


def make(wanted: str) -> None:
    """Make .venv by what pip's configuration names. Raises OSError, CalledProcessError, LookupError."""
    say(f"setting up .venv for '{wanted}' (about half a minute, once)")
    prepare()
    if wheel := pip_source(program("python")):
        install_pip(wheel)
    install(wanted, [])


def make_from(bundle: Path) -> None:
    """Make .venv for 'run' from a bundle alone. Raises the same, and SystemExit for a malformed bundle."""
    say(f"setting up .venv for 'run' from {bundle}, without a network (about half a minute, once)")
    with tempfile.TemporaryDirectory(prefix="pluto-wheels-") as name:
        folder = Path(name)
        lay_wheels(bundle, folder)
        wheel = folder / WHEEL
        if not wheel.is_file():
            raise LookupError(f"{bundle} holds no {WHEEL}")
        prepare()
        install_pip(wheel)
        install("run", ["--isolated", "--no-index", f"--find-links={folder}", "--only-binary=:all:"])


def prepare() -> None:
    """An interpreter in .venv, and no claim that what it needs is there."""
    if not program("python").exists():
        shutil.rmtree(VENV, ignore_errors=True)
        venv.EnvBuilder(symlinks=not WINDOWS, with_pip=False).create(VENV)
    for name in ("run", "dev"):
        stamp(name).unlink(missing_ok=True)


def install_pip(wheel: Path) -> None:
    """pip installs itself into .venv out of its wheel, as ensurepip does it."""
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    argv = [*PIP, "install", "--isolated", "--no-index", "--no-deps", str(wheel)]
    subprocess.run([str(program("python")), *argv], check=True, env=environment)


def install(wanted: str, options: list[str]) -> None:
    """The locked requirements, then the project itself in place; the stamp last."""
    pip = [str(program("python")), *PIP, "install"]
    subprocess.run([*pip, *options, "--require-hashes", "-r", str(ROOT / f"requirements/{wanted}.txt")], check=True)
    project = ["--no-deps", "--no-build-isolation", "--no-index", "-e", str(ROOT)]
    subprocess.run([*pip, *options, *project], check=True)
    stamp(wanted).write_text(key(wanted))


def lay_wheels(bundle: Path, folder: Path) -> None:
    """Put the builder's wheels of a bundle into a folder by the names, sizes and hashes of requirements/wheels.json."""
    names = {one["sha256"]: one["file"] for one in wheels_json()["wheels"]}
    sys.dont_write_bytecode = True  # the tree stays as it was unpacked
    sys.path[:0] = [str(ROOT / "image"), str(ROOT / "measure")]
    from pluto_image.inputs.bundle import unpack  # the tree's own reader, which needs the standard library only
    from pluto_image.inputs.store import Store
    from pluto_measure.errors import PlutoError

    store = Store(folder)
    try:
        found = unpack(bundle, store, set(names))
    except PlutoError as error:
        say(f"error: {error}")
        raise SystemExit(error.exit_code) from error
    for sha256 in found:
        store.path(sha256).replace(folder / names[sha256])


def wheels_json() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "requirements/wheels.json").read_text(encoding="utf-8"))
    return found


def fit() -> str:
    """For whom a bundle of this tree is made."""
    known, here = wheels_json(), f"this is Python {sys.version.split()[0]} on {sysconfig.get_platform()}"
    pythons, platforms = (", ".join(known[name]) for name in ("pythons", "platforms"))
    return f"take the bundle of this tree's release; it is for Python {pythons} on {platforms}, and {here}"


def program(name: str) -> Path:
    """A program of .venv."""
    return VENV / (f"Scripts/{name}.exe" if WINDOWS else f"bin/{name}")


def stamp(name: str) -> Path:
    return VENV / f".pluto-{name}"


def key(name: str) -> str:
    """What .venv depends on: the interpreter, the place, the locked file and the project's own declaration."""
    parts = [sys.version, str(ROOT)]
    parts += [(ROOT / path).read_text("utf-8") for path in (f"requirements/{name}.txt", "pyproject.toml")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def pip_source(python: Path) -> Path | None:
    """None where .venv has pip of its own now; else a verified wheel that runs by PYTHONPATH."""
    if program("pip").exists():
        return None
    if importlib.util.find_spec("ensurepip") and not os.environ.get("PLUTO_BOOTSTRAP_WITHOUT_ENSUREPIP"):
        done = subprocess.run([str(python), "-m", "ensurepip", "--default-pip"], check=False, capture_output=True)
        if done.returncode == 0:
            return None
    say("this Python cannot install pip by itself: fetching its wheel by hash")
    return wheel_from_index() or wheel_from_debian()


def wheel_from_index() -> Path | None:
    index = index_url()
    if index is None:
        return None
    page = f"{index.rstrip('/')}/pip/"
    text = fetch(page).decode("utf-8", "replace")
    links = re.findall(r'href="([^"]*' + re.escape(WHEEL) + r'[^"]*)"', text)
    if not links:
        return None
    address = urllib.parse.urldefrag(urllib.parse.urljoin(page, links[0])).url
    return keep(WHEEL, checked(fetch(address), WHEEL_SHA256, WHEEL))


def index_url() -> str | None:
    """The index of pip's configuration: environment first, then pip's files, user before system."""
    if from_environment := os.environ.get("PIP_INDEX_URL"):
        return from_environment
    home = Path.home()
    files = [os.environ.get("PIP_CONFIG_FILE", ""), f"{home}/.config/pip/pip.conf", f"{home}/.pip/pip.conf"]
    for name in [*files, "/etc/xdg/pip/pip.conf", "/etc/pip.conf"]:
        parser = configparser.RawConfigParser()
        if name and Path(name).is_file() and parser.read(name) and parser.has_option("global", "index-url"):
            return parser.get("global", "index-url")
    return None


def wheel_from_debian() -> Path:
    """pip's wheel out of the Debian package that carries it for venv."""
    tried = []
    for mirror in apt_mirrors():
        for path, sha256 in DEBS:
            try:
                package = checked(fetch(f"{mirror.rstrip('/')}/{path}"), sha256, path)
            except OSError as error:
                tried.append(f"{mirror}: {error}")
                continue
            name, wheel = wheel_in_deb(package)
            return keep(name, wheel)
    raise LookupError(f"no source of pip was found ({'; '.join(tried) or 'neither an index nor an apt mirror'})")


def apt_mirrors() -> list[str]:
    """Base addresses of the machine's apt configuration, one-line and deb822 files alike, in file order."""
    folder = Path("/etc/apt")
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    found: list[str] = []
    for path in files:
        if not path.is_file() or path.suffix not in {".list", ".sources"}:
            continue
        lines = [line for line in path.read_text(errors="replace").splitlines() if not line.startswith("#")]
        for line in lines:
            if line.startswith(("deb ", "deb-src ", "URIs:")):
                found += [word for word in line.split() if word.startswith(("http://", "https://"))]
    return list(dict.fromkeys(found))


def wheel_in_deb(package: bytes) -> tuple[str, bytes]:
    """Name and bytes of the pip wheel in a .deb: an ar archive whose data member is a tar (deb(5))."""
    at = 8
    while at + 60 <= len(package):
        name, size = package[at : at + 16].decode().strip(), int(package[at + 48 : at + 58])
        body = package[at + 60 : at + 60 + size]
        if name.startswith("data.tar"):
            with tarfile.open(fileobj=io.BytesIO(body)) as archive:
                for member in archive:
                    file = archive.extractfile(member) if Path(member.name).match("pip-*.whl") else None
                    if file is not None:
                        return Path(member.name).name, file.read()
        at += 60 + size + size % 2
    raise LookupError("the package holds no pip wheel")


def checked(data: bytes, sha256: str, what: str) -> bytes:
    actual = hashlib.sha256(data).hexdigest()
    if actual != sha256:
        raise OSError(f"{what} has SHA-256 {actual}, expected {sha256}")
    return data


def keep(name: str, wheel: bytes) -> Path:
    """Store the wheel in .venv; refuse what is not a zip file."""
    if not zipfile.is_zipfile(io.BytesIO(wheel)):
        raise OSError(f"{name} is not a wheel")
    path = VENV / name
    path.write_bytes(wheel)
    return path


def fetch(url: str) -> bytes:
    if not url.startswith(("http://", "https://")):
        raise OSError(f"{url} is not an http or https address")
    request = urllib.request.Request(url, headers={"Accept": "text/html, */*;q=0.1"})  # noqa: S310 - checked above
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
        data: bytes = answer.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise OSError(f"{url} is larger than {LARGEST} bytes")
    return data


def say(text: str) -> None:
    print(f"bootstrap: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
