"""requirements/bootstrap.py: where pip comes from when Python cannot install it, and what is refused."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import re
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "requirements/bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "VENV", tmp_path)
    for name in ("PIP_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return module


def wheel() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("pip/__init__.py", "")
    return data.getvalue()


def package(content: bytes, path: str = "./usr/share/python-wheels/pip-1.0-py3-none-any.whl") -> bytes:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:xz") as archive:
        info = tarfile.TarInfo(path)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    out = b"!<arch>\n"
    for name, body in (("debian-binary", b"2.0\n"), ("control.tar.xz", b""), ("data.tar.xz", tar.getvalue())):
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(body):<10}`\n".encode() + body + b"\n" * (len(body) % 2)
    return out


def serve(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, pages: dict[str, bytes]) -> list[str]:
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        if url not in pages:
            raise OSError("404")
        return pages[url]

    monkeypatch.setattr(bootstrap, "fetch", fetch)
    return asked


def test_the_wheel_comes_from_the_index_that_pip_is_configured_with(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".config/pip").mkdir(parents=True)
    (tmp_path / ".config/pip/pip.conf").write_text("[global]\nindex-url = http://index.test/simple/\n")
    monkeypatch.setattr(bootstrap, "WHEEL_SHA256", hashlib.sha256(wheel()).hexdigest())
    page = f'<a href="../../files/{bootstrap.WHEEL}#sha256=0">pip</a>'.encode()
    pages = {"http://index.test/simple/pip/": page, f"http://index.test/files/{bootstrap.WHEEL}": wheel()}
    serve(bootstrap, monkeypatch, pages)

    assert bootstrap.wheel_from_index() == tmp_path / bootstrap.WHEEL
    assert (tmp_path / bootstrap.WHEEL).read_bytes() == wheel()


def test_a_wheel_with_another_hash_is_refused_and_not_kept(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://index.test/simple")
    page = f'<a href="/{bootstrap.WHEEL}">pip</a>'.encode()
    serve(bootstrap, monkeypatch, {"http://index.test/simple/pip/": page, f"http://index.test/{bootstrap.WHEEL}": b"x"})
    with pytest.raises(OSError, match="has SHA-256"):
        bootstrap.wheel_from_index()
    assert not list(tmp_path.glob("*.whl"))


def test_without_an_index_the_wheel_comes_out_of_a_debian_package(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    deb = package(wheel())
    monkeypatch.setattr(bootstrap, "DEBS", (("pool/pip.deb", hashlib.sha256(deb).hexdigest()),))
    monkeypatch.setattr(bootstrap, "apt_mirrors", lambda: ["http://gone.test/debian", "http://mirror.test/debian/"])
    asked = serve(bootstrap, monkeypatch, {"http://mirror.test/debian/pool/pip.deb": deb})

    assert bootstrap.index_url() is None
    assert bootstrap.wheel_from_debian().read_bytes() == wheel()
    assert asked == ["http://gone.test/debian/pool/pip.deb", "http://mirror.test/debian/pool/pip.deb"]


def test_a_package_without_the_wheel_is_refused(bootstrap: ModuleType) -> None:
    with pytest.raises(LookupError, match="no pip wheel"):
        bootstrap.wheel_in_deb(package(b"", path="./usr/share/doc/readme"))


def test_without_any_source_the_reason_is_said(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "apt_mirrors", list)
    with pytest.raises(LookupError, match="neither an index nor an apt mirror"):
        bootstrap.wheel_from_debian()


def test_a_current_environment_is_left_alone(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    bootstrap.stamp("dev").write_text(bootstrap.key("dev"))
    monkeypatch.setattr(bootstrap, "make", lambda wanted: pytest.fail("made anew"))
    assert bootstrap.main(["run"]) == 0
    assert bootstrap.main(["dev"]) == 0


def test_changed_requirements_make_it_anew(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    bootstrap.stamp("run").write_text("of another day")
    made: list[str] = []
    monkeypatch.setattr(bootstrap, "make", made.append)
    assert bootstrap.main(["run"]) == 0
    assert made == ["run"]


def test_every_requirement_has_a_hash_and_no_index_is_named() -> None:
    for name in ("run", "dev"):
        text = (ROOT / f"requirements/{name}.txt").read_text()
        requirements = re.split(r"\n(?=\S)", text.strip())
        assert requirements
        assert [one for one in requirements if "==" not in one or "--hash=sha256:" not in one] == []
        assert "://" not in text
