"""Prepare the peers: other people's programs that compute the same from the same bytes, or check the workflows.

    python tests/interop/prepare.py [go] [rust] [python] [go-sigstore] [go-actionlint] [zizmor] [channel] [python-eth]
                                    [openapi] [python-gcs] [azurite] [go-pebble] [go-tls] [solc] [python-evm]

Everything is pinned: go.sum, crates.lock, mosaik.sha256, package-lock.json, requirements.txt with hashes. What comes
out lies in build/peers and is not made again while its inputs stay the same. A tool chain that is not on this machine
is left out (the tests then skip with "no peer"); one that is there and fails is an error.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from interop.peers import BUILD, HERE, stamp

# Of mosaik one module alone is built, with nothing of what the crate depends on, which is a network stack.
MODULE = "src/tee/tdx/builder/mrtd.rs"


class AbsentError(Exception):
    """This machine has no such tool chain."""


def go(folder: str = "go", out: str = "peer-go", package: str = ".") -> None:
    environment = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false"}
    program = tool("go", Path("/usr/local/go/bin/go"))
    run([program, "build", "-o", BUILD / "bin" / out, package], HERE / folder, environment)


def sigstore() -> None:
    go("go-sigstore", "peer-sigstore")


def actionlint() -> None:
    go("go-actionlint", "actionlint")


def pebble() -> None:
    """The certification authority that Let's Encrypt gives to those who test ACME clients."""
    go("go-pebble", "pebble", "github.com/letsencrypt/pebble/v2/cmd/pebble")


def tls() -> None:
    """A web site with Go's own TLS."""
    go("go-tls", "peer-tls")


def rust() -> None:
    cargo = tool("cargo", Path.home() / ".cargo/bin/cargo")
    tree, target = BUILD / "rust", BUILD / "target"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(HERE / "rust", tree)
    (tree / "src/mosaik.rs").write_bytes(module_of_crate(cargo))
    (tree / "Cargo.lock").write_text(lock_of_crates(cargo, tree))
    # The compiler may lie beside cargo and nowhere else.
    environment = {"CARGO_TARGET_DIR": str(target), "PATH": f"{cargo.parent}{os.pathsep}{os.environ['PATH']}"}
    run([cargo, "build", "-q", "--release", "--locked"], tree, environment)
    shutil.copy(target / "release/peer-rust", BUILD / "bin/peer-rust")
    shutil.rmtree(target)
    shutil.rmtree(tree)


def python(name: str = "python") -> None:
    folder = BUILD / name
    shutil.rmtree(folder, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "-q", "install"]
    how = ["--no-deps", "--no-compile", "--require-hashes", "--only-binary", ":all:"]
    # Where venv could not install pip, requirements/bootstrap.py left its wheel.
    wheels = [] if importlib.util.find_spec("pip") else sorted(Path(sys.prefix).glob("pip-*.whl"))
    environment = {"PYTHONPATH": str(wheels[0])} if wheels else {}
    run([*pip, *how, "--target", folder, "-r", HERE / name / "requirements.txt"], HERE, environment)


def zizmor() -> None:
    python("zizmor")


def channel() -> None:
    """The TLS, signatures and WebSocket of a stranger's client."""
    python("channel")


def ethereum() -> None:
    """What wallets sign and contracts check, by Ethereum's own library."""
    python("python-eth")


def openapi() -> None:
    """What asks a server for all that its document promises, and what reads such documents."""
    python("openapi")


def gcs() -> None:
    """Cloud Storage as somebody else understands it, and CRC-32C as Google computes it."""
    python("python-gcs")


def evm() -> None:
    """The machine of Ethereum, as its own researchers wrote it."""
    python("python-evm")


def azurite() -> None:
    """Azure Storage, as Microsoft gives it to developers, for Node.js."""
    node("azurite")


def solc() -> None:
    """The compiler of Solidity, for Node.js."""
    node("solc")


def node(name: str) -> None:
    """Packages of Node.js. Their scripts are not run."""
    npm, folder = tool("npm", Path("/usr/bin/npm")), BUILD / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HERE / name, folder)
    run([npm, "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"], folder, {})


PEERS: Mapping[str, Callable[[], None]] = {
    "go": go, "rust": rust, "python": python, "go-sigstore": sigstore, "go-actionlint": actionlint, "zizmor": zizmor,
    "channel": channel, "python-eth": ethereum, "openapi": openapi, "python-gcs": gcs, "azurite": azurite,
    "go-pebble": pebble, "go-tls": tls, "solc": solc, "python-evm": evm,
}  # fmt: skip


def main(names: list[str]) -> int:
    if unknown := set(names) - PEERS.keys():
        print(f"no peer is called {sorted(unknown)[0]!r}; there are {', '.join(PEERS)}", file=sys.stderr)
        return 2
    (BUILD / "bin").mkdir(parents=True, exist_ok=True)
    failed = False
    for name in names or PEERS:
        mark = BUILD / f"{name}.stamp"
        if mark.is_file() and mark.read_text() == stamp(name):
            continue
        mark.unlink(missing_ok=True)
        try:
            PEERS[name]()
        except AbsentError as error:
            say(f"{name} is left out: {error}")
        except (OSError, subprocess.CalledProcessError, LookupError) as error:
            say(f"{name} failed: {error}")
            failed = True
        else:
            mark.write_text(stamp(name))
            say(f"{name} is ready")
    return 1 if failed else 0


def tool(name: str, usual: Path) -> Path:
    """The program from PATH, or from where its installer puts it."""
    found = shutil.which(name)
    if found is None and not os.access(usual, os.X_OK):
        raise AbsentError(f"no {name}")
    return usual if found is None else Path(found)


def lock_of_crates(cargo: Path, tree: Path) -> str:
    """Our pins as cargo's lock: the name of its registry, which is not written down here, cargo knows itself."""
    pins = tree / "crates.lock"
    text = pins.read_text()
    pins.unlink()
    run([cargo, "generate-lockfile", "-q"], tree, {})
    made = (tree / "Cargo.lock").read_text()
    source = next(line for line in made.splitlines() if line.startswith("source = "))
    return text.replace('source = "REGISTRY"', source)


def module_of_crate(cargo: Path) -> bytes:
    """The module out of the crate as cargo keeps it; `cargo info` fetches a crate without its dependencies."""
    sha256, name = (HERE / "rust/mosaik.sha256").read_text().split()
    crate = name.removesuffix(".crate")
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    pattern = f"registry/cache/*/{name}"
    if not list(home.glob(pattern)):
        run([cargo, "info", "-q", "@".join(crate.rsplit("-", 1))], BUILD, {}, stdout=subprocess.DEVNULL)
    for path in home.glob(pattern):
        if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise LookupError(f"{name} has another SHA-256 than {sha256}")
        with tarfile.open(path) as archive:
            file = archive.extractfile(f"{crate}/{MODULE}")
            if file is not None:
                return file.read()
    raise LookupError(f"cargo keeps no {name} with {MODULE}")


def run(argv: Sequence[str | Path], folder: Path, environment: Mapping[str, str], stdout: int | None = None) -> None:
    words = [str(word) for word in argv]
    subprocess.run(words, cwd=folder, env={**os.environ, **environment}, stdout=stdout, check=True)


def say(text: str) -> None:
    print(f"peers: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
