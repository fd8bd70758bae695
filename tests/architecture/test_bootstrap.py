"""requirements/bootstrap.py: where pip comes from when Python cannot install it, and what is refused."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from pluto_image.inputs import bundle
from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import Lock

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
        archive.writestr(zipfile.ZipInfo("pip/__init__.py"), "")  # a fixed date: the same bytes, whenever it is called
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


class TestBundle:
    """`--bundle`: what is refused, and with which exit code. It works: tests/image/inputs/test_builder_wheels.py."""

    @pytest.fixture(autouse=True)
    def own_path(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)

    @staticmethod
    def bundle(path: Path, contents: list[bytes]) -> Path:
        store = Store(path.parent / "store")
        names = [store.put(data) for data in contents]
        bundle.write(path, Lock(1, "ab" * 32, (), (), (), (), ()), {}, names, store)
        return path

    def test_one_without_the_wheels_is_refused_with_those_it_should_be_for(
        self, bootstrap: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = self.bundle(tmp_path / "in.tar", [b"a package"])
        assert bootstrap.main(["run", "--bundle", str(path)]) == 6
        said = capsys.readouterr().err
        assert f"{path} holds no {bootstrap.WHEEL}" in said
        assert "it is for Python 3.11, 3.12, 3.13, 3.14 on linux-aarch64, linux-x86_64" in said
        assert not (tmp_path / "bin").exists()

    def test_wheels_are_laid_by_the_names_of_this_tree(
        self, bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known = {"wheels": [{"file": "a-1-py3-none-any.whl", "sha256": hashlib.sha256(b"a").hexdigest()}]}
        monkeypatch.setattr(bootstrap, "wheels_json", lambda: known)
        (tmp_path / "wheels").mkdir()
        bootstrap.lay_wheels(self.bundle(tmp_path / "in.tar", [b"a", b"b"]), tmp_path / "wheels")
        assert [(one.name, one.read_bytes()) for one in (tmp_path / "wheels").glob("*.whl")] == [
            ("a-1-py3-none-any.whl", b"a")
        ]

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            (lambda data: data[:700], 3),
            (lambda data: b"x" * 10240, 3),
            (lambda data: data.replace(b"pip's wheel", b"an attack!!"), 4),
        ],
    )
    def test_a_wrong_one_is_refused_before_anything_is_made(
        self,
        change: Callable[[bytes], bytes],
        code: int,
        bootstrap: ModuleType,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        known = {"wheels": [{"file": bootstrap.WHEEL, "sha256": hashlib.sha256(b"pip's wheel").hexdigest()}]}
        monkeypatch.setattr(bootstrap, "wheels_json", lambda: known)
        monkeypatch.setattr(bootstrap, "prepare", lambda: pytest.fail("made .venv"))
        path = self.bundle(tmp_path / "in.tar", [b"pip's wheel"])
        path.write_bytes(change(path.read_bytes()))
        with pytest.raises(SystemExit) as stopped:
            bootstrap.main(["run", "--bundle", str(path)])
        assert stopped.value.code == code

    @pytest.mark.parametrize("words", [["dev", "--bundle", "x"], ["run", "--bundle"], ["all"], []])
    def test_mistakes_are_usage_errors(self, bootstrap: ModuleType, words: list[str]) -> None:
        with pytest.raises(SystemExit) as stopped:
            bootstrap.main(words)
        assert stopped.value.code == 2

    def test_one_that_does_not_exist_is_named(
        self, bootstrap: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as stopped:
            bootstrap.main(["run", "--bundle", str(tmp_path / "nowhere.tar")])
        assert stopped.value.code == 6
        assert "nowhere.tar" in capsys.readouterr().err

    def test_its_reader_needs_the_standard_library_only(self) -> None:
        code = (
            "import sys; sys.path[:0] = sys.argv[1:]; import pluto_image.inputs.bundle, pluto_image.inputs.store\n"
            "print(*{name.split('.')[0] for name in sys.modules} - sys.stdlib_module_names)"
        )
        argv = [sys.executable, "-I", "-S", "-B", "-c", code, str(ROOT / "image"), str(ROOT / "measure")]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert set(done.stdout.split()) <= {"pluto_image", "pluto_measure", "__main__"}

    def test_programs_lie_elsewhere_on_windows(self, bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        assert bootstrap.program("python") == bootstrap.VENV / "bin/python"
        monkeypatch.setattr(bootstrap, "WINDOWS", True)
        assert bootstrap.program("python") == bootstrap.VENV / "Scripts/python.exe"


def test_pip_out_of_a_wheel_stays_in_the_environment(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[tuple[str, str]] = []

    def run(argv: list[str], *, check: bool, env: dict[str, str] | None = None) -> None:
        assert check
        started.append((argv[-1], (env or {}).get("PYTHONPATH", "")))

    monkeypatch.setattr(bootstrap, "prepare", lambda: None)
    monkeypatch.setattr(bootstrap, "pip_source", lambda _: tmp_path / "pip.whl")
    monkeypatch.setattr(bootstrap.subprocess, "run", run)
    bootstrap.make("run")
    wheel = str(tmp_path / "pip.whl")
    assert started == [(wheel, wheel), (str(ROOT / "requirements/run.txt"), ""), (str(ROOT), "")]
    assert bootstrap.is_current("run")


def test_every_requirement_has_a_hash_and_no_index_is_named() -> None:
    for name in ("run", "dev"):
        text = (ROOT / f"requirements/{name}.txt").read_text()
        requirements = re.split(r"\n(?=\S)", text.strip())
        assert requirements
        assert [one for one in requirements if "==" not in one or "--hash=sha256:" not in one] == []
        assert "://" not in text
