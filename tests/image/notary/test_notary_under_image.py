"""The notary's tests under the interpreter and libraries of the image, started from its unpacked root.

Interpreter, C libraries, OpenSSL and all libraries of the notary are those of the root. The rest of the standard
library, which the root leaves out and pytest wants, comes from the same locked packages; pytest itself from this
environment.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pluto_image import build, definition, source_tree, unpacked
from pluto_image.debian import deb
from pluto_image.inputs.store import Store, default_root
from pluto_image.lock.lockfile import Lock
from pluto_image.recipe import tables
from pluto_image.tree import Kind

ROOT = Path(__file__).resolve().parents[3]
STANDARD_LIBRARY = ("libpython3.13-minimal", "libpython3.13-stdlib")
# Pure packages that the tests bring along; none of them may bring a library of the notary.
TEST_PACKAGES = ("pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments", "pytest_timeout", "rfc8785")
# Peers that have native code for one version of Python: tests that compare with them are skipped.
PEERS = ("jsonschema",)
ABSENT = """
import pytest

pytest.skip("no peer: {name} for the image's interpreter", allow_module_level=True)
"""
# What simulators ask of cryptography and the image's does not have yet: certificates that are signed alike each time.
OLDER = """
from cryptography import x509

def _lenient(sign):
    def lenient(self, *args, ecdsa_deterministic=None, **kwargs):
        return sign(self, *args, **kwargs)
    return lenient

for _builder in (x509.CertificateBuilder, x509.CertificateRevocationListBuilder, x509.CertificateSigningRequestBuilder):
    _builder.sign = _lenient(_builder.sign)
"""
# hypothesis has native code for one version of Python, so properties are left out and counted as skipped.
HYPOTHESIS = """
import pytest

class _Any:
    def __getattr__(self, name):
        return self
    def __call__(self, *args, **kwargs):
        return self
    def __or__(self, other):
        return self

strategies = HealthCheck = assume = example = note = _Any()

def given(*args, **kwargs):
    def decorate(function):
        @pytest.mark.skip(reason="no peer: hypothesis for the image's interpreter")
        def left_out():
            raise AssertionError
        return left_out
    return decorate

class settings:
    def __init__(self, *args, **kwargs):
        pass
    def __call__(self, function):
        return function
"""
LEFT_OUT = (
    "test_import_closure.py",  # starts isolated interpreters of its own, which ignore PYTHONHOME
    # What is about commands and clients, which no image has.
    "test_notary_document.py",
    "client",
    "client_tls",
    "contracts",
    "registry",
    "protocol/test_strangers.py",
    "protocol/test_strangers_whole.py",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="no peer: Linux on x86-64"),
]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A script that starts the image's interpreter as any program would start `python3`."""
    work = tmp_path_factory.mktemp("image")
    lock = Lock.parse((ROOT / "image/notary/lock.json").read_bytes())
    store = Store(default_root())
    folder = ROOT / "image/notary"
    given = definition.load(folder)
    recipe = tables.parse(given.recipe)
    parts = build.assemble(recipe, lock, store, source_tree.read(folder), "debug", "0" * 64)
    root, home = work / "root", work / "home/lib"
    root.mkdir()
    unpacked.lay(root, (entry for entry in parts.entries if not entry.path.startswith("usr/lib/modules/")))
    for package in lock.image:
        if package.name in STANDARD_LIBRARY:
            _lay_standard_library(store.path(package.sha256).read_bytes(), home)
    (home / "python3").symlink_to(root / "usr/lib/python3")
    _lay_test_packages(work / "tests")
    script = work / "python"
    argv = " ".join(unpacked.command(root, "usr/bin/python3.13"))
    script.write_text(f'#!/bin/sh\nexec {argv} "$@"\n')
    script.chmod(0o755)
    return script


def test_the_libraries_of_the_image_do_what_the_notary_asks_of_them(python: Path, tmp_path: Path) -> None:
    """What has to do with TLS, HTTP, curves, brotli and sockets; the rest in the next test."""
    names = ("protocol", "statement", "fetch", "server/test_outer.py", "server/test_whole.py", "test_selfcheck.py")
    assert passed(python, tmp_path, *names) > 500


@pytest.mark.more_image
def test_the_notarys_tests_pass_under_the_image(python: Path, tmp_path: Path) -> None:
    assert passed(python, tmp_path, "") > 2500


def passed(python: Path, home: Path, *names: str) -> int:
    """How many tests of tests/notary pass there; all of them must."""
    plugins = ("no:cacheprovider", "pytest_timeout", "older_cryptography")
    # Other people's tools are asked once, under the other interpreter.
    words = ["-q", "-m", "not interop and not root"]
    words += [word for name in plugins for word in ("-p", name)]
    words += [f"--ignore=tests/notary/{name}" for name in LEFT_OUT]
    words += [f"tests/notary/{name}" for name in names]
    program = f"import sys, pytest; sys.executable = {str(python)!r}; sys.exit(pytest.main({words!r}))"
    done = subprocess.run(
        [python, "-B", "-c", program], cwd=ROOT, env=_environment(python, home), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    found = re.search(r"(\d+) passed", done.stdout)
    assert found is not None
    return int(found[1])


def test_interpreter_and_libraries_are_those_of_the_image(python: Path, tmp_path: Path) -> None:
    program = "import cryptography, h11, ssl, sys; print(sys.version_info[:2], cryptography.__file__, h11.__file__)"
    done = subprocess.run(
        [python, "-B", "-c", program], env=_environment(python, tmp_path), capture_output=True, text=True, check=True
    )
    version, cryptography, h11 = done.stdout.strip().rsplit(" ", 2)
    assert version == "(3, 13)"
    assert Path(cryptography).is_relative_to(python.parent)
    assert Path(h11).is_relative_to(python.parent)


def _environment(python: Path, home: Path) -> dict[str, str]:
    paths = [python.parent / "tests", *(ROOT / name for name in ("notary", "measure", "image", "tests"))]
    return {
        "PYTHONHOME": str(python.parent / "home"),
        "PYTHONPATH": ":".join(map(str, paths)),
        "CRYPTOGRAPHY_OPENSSL_NO_LEGACY": "1",  # as the image's service manager sets it
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(home),
        "XDG_CACHE_HOME": str(default_root().parent),
        **{name: os.environ[name] for name in ("PLUTO_VECTORS",) if name in os.environ},
    }


def _lay_standard_library(package: bytes, home: Path) -> None:
    for member in deb.read(package, want=lambda path: path.startswith("usr/lib/python3.13/")).members:
        if member.kind is Kind.FILE and member.path.startswith("usr/lib/python3.13/"):
            path = home / member.path.removeprefix("usr/lib/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(member.data)


def _lay_test_packages(folder: Path) -> None:
    (folder / "hypothesis").mkdir(parents=True)
    (folder / "hypothesis/__init__.py").write_text(HYPOTHESIS)
    (folder / "hypothesis/strategies.py").write_text(
        "from hypothesis import strategies\n__getattr__ = strategies.__getattr__\n"
    )
    (folder / "older_cryptography.py").write_text(OLDER)
    for name in PEERS:
        (folder / f"{name}.py").write_text(ABSENT.format(name=name))
    for name in TEST_PACKAGES:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        found = Path(spec.origin)
        found = found.parent if found.name == "__init__.py" else found
        (folder / found.name).symlink_to(found)
