"""[container]: what it may say, what it selects, and that the selection of the notary's image starts and answers."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import tarfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from pluto_image.outputs import container as containers_of
from pluto_image.recipe import tables
from pluto_image.recipe.model import Container
from pluto_image.tree import Entry, Kind
from pluto_measure.errors import FormatError
from pluto_notary import __version__, systemd
from pluto_notary.server import container as program
from simulators import containers, tiny_definition

FOREIGN_TABLES: Final = ("name", "version", "architecture", "epoch", "archive", "image", "tools")
NOTARY: Final = 990  # user and group of the notary's process
# What an engine does first: mounts below the root, which is $1, and a network. The rest is the command.
START: Final = """
set -e
mount --rbind /proc "$1/proc"
mount --bind /dev/null "$1/dev/null"
ip link set lo up
shift
exec "$@"
"""


def container(old: str = "", new: str = "") -> Container:
    """[container] of the tiny definition, with a text replaced."""
    text = tiny_definition.DEFINITION
    assert old in text
    document: dict[str, Any] = tomllib.loads(text.replace(old, new) if old else text + new)
    return tables.parse({name: table for name, table in document.items() if name not in FOREIGN_TABLES}).container


def test_the_table_is_read() -> None:
    found = container()
    assert (found.name, found.entrypoint, found.ports) == ("tiny", ("/init", "--serve"), (8443,))
    assert (found.user.uid, found.user.gid) == (0, 0)
    assert found.env == {"PATH": "/usr/bin"}
    assert found.labels == {"tee.launch_policy.log_redirect": "never"}


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('entrypoint = ["/init", "--serve"]', "entrypoint = []", "not an absolute path and its arguments"),
        ('entrypoint = ["/init", "--serve"]', 'entrypoint = ["init"]', "not an absolute path and its arguments"),
        ('entrypoint = ["/init", "--serve"]', 'entrypoint = ["/init", ""]', "not an absolute path and its arguments"),
        ('entrypoint = ["/init", "--serve"]', 'entrypoint = "/init"', "entrypoint must be list"),
        ('entrypoint = ["/init", "--serve"]', "", "entrypoint is missing"),
        ('name = "tiny"\nentrypoint', 'name = "Tiny"\nentrypoint', "not one component of a repository name"),
        ('name = "tiny"\nentrypoint', 'name = "a/b"\nentrypoint', "not one component of a repository name"),
        ('user = "root"', 'user = "nobody"', "user nobody is not in"),
        ('user = "root"', 'user = "root"\ncommand = []', "unknown member command"),
        ("ports = [8443]", "ports = [8443, 8443]", "not different port numbers"),
        ("ports = [8443]", "ports = [0]", "not different port numbers"),
        ("ports = [8443]", "ports = [65536]", "not different port numbers"),
        ("ports = [8443]", "ports = [true]", "not different port numbers"),
        ("ports = [8443]", 'ports = ["8443/tcp"]', "not different port numbers"),
        ('PATH = "/usr/bin"', 'A = "1"', "must set PATH"),
        ('PATH = "/usr/bin"', 'PATH = "/usr/bin"\nHOSTNAME = "x"', "must not set HOSTNAME"),
        ('PATH = "/usr/bin"', 'PATH = "/usr/bin"\n"A=B" = "x"', "A=B = 'x' does not fit an environment"),
        ('PATH = "/usr/bin"', 'PATH = "/usr/bin"\nA = "x\\n"', "does not fit an environment"),
        ('PATH = "/usr/bin"', 'PATH = "/usr/bin"\nA = 1', "does not fit an environment"),
        ('log_redirect" = "never"', 'log_redirect" = "sometimes"', "not a launch policy that may be set"),
        ('log_redirect" = "never"', 'log_redirekt" = "never"', "not a launch policy that may be set"),
        ('log_redirect" = "never"', 'allow_cmd_override" = "true"', "not a launch policy that may be set"),
        ('log_redirect" = "never"', 'allow_env_override" = "A"', "not a launch policy that may be set"),
        ('log_redirect" = "never"', 'allow_mount_destinations" = "/x"', "not a launch policy that may be set"),
        ('log_redirect" = "never"', 'monitoring_memory_allow" = "always"', "not a launch policy that may be set"),
        ('log_redirect" = "never"', 'log_redirect" = "never"\n"pluto-tee.build-id" = "x"', "is the builder's own"),
        ('log_redirect" = "never"', 'log_redirect" = "never"\n"x" = 1', "is not printable text"),
        ("", '\n[[container.keep]]\npaths = ["/etc"]\nreason = "x"\n', "not a relative path pattern"),
        ("", '\n[[container.keep]]\npaths = ["etc"]\nreason = " "\n', "reason is empty"),
        ("", '\n[[container.keep]]\npaths = ["etc"]\norigins = ["x"]\nreason = "x"\n', "unknown member origins"),
    ],
)
def test_a_table_that_says_something_else_is_refused_by_name(old: str, new: str, match: str) -> None:
    with pytest.raises(FormatError) as refused:
        container(old, new)
    assert match in str(refused.value)


def test_a_recipe_without_the_table_is_refused() -> None:
    text = tiny_definition.DEFINITION.partition("[container]")[0]
    document = {name: table for name, table in tomllib.loads(text).items() if name not in FOREIGN_TABLES}
    with pytest.raises(FormatError, match="container is missing"):
        tables.parse(document)


def entry(path: str, data: bytes = b"", *, mode: int = 0o644, kind: Kind = Kind.FILE) -> Entry:
    return Entry(path, kind, mode, data, "recipe:test")


TREE: Final = (
    entry("init", b"usr/lib/systemd/systemd", kind=Kind.SYMLINK, mode=0o777),
    entry("tmp", kind=Kind.DIRECTORY, mode=0o1777),
    *(entry(path, kind=Kind.DIRECTORY, mode=0o755) for path in ("usr", "usr/lib")),
    entry("usr/lib/os-release"),
    entry("usr/lib/python3", kind=Kind.DIRECTORY, mode=0o755),
    entry("usr/lib/python3/dist-packages", kind=Kind.DIRECTORY, mode=0o755),
    entry("usr/lib/python3/dist-packages/a.py"),
    entry("usr/lib/systemd", kind=Kind.DIRECTORY, mode=0o755),
    entry("usr/lib/systemd/systemd", mode=0o755),
    entry("usr/share", kind=Kind.DIRECTORY, mode=0o755),
    entry("usr/share/out"),
)


def test_kept_paths_come_with_their_parents_and_nothing_else() -> None:
    kept = containers_of.select(container(), TREE[::-1])
    assert list(kept) == [one for one in TREE if not one.path.startswith("usr/share")]


def without(path: str, *others: Entry) -> list[Entry]:
    return [*(one for one in TREE if one.path != path), *others]


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        (without("usr/lib/os-release"), "pattern 'usr/lib/os-release' matches nothing"),
        (
            without("init", entry("init", b"usr/share/left-out", kind=Kind.SYMLINK)),
            "links to usr/share/left-out, which",
        ),
        (without("init", entry("init", b"tmp", kind=Kind.SYMLINK)), "/init is no program that is kept"),
        (without("init", entry("init", b"/proc/self/exe", kind=Kind.SYMLINK)), "/init is no program that is kept"),
        (without("init", entry("init")), "/init is no program that is kept"),
        (without("init", entry("init", b"init", kind=Kind.SYMLINK)), "links to init, which is not kept"),
        (without("usr/lib/os-release", entry("usr/lib/os-release", b"\x7fELF")), "usr/lib/os-release: ELF"),
    ],
)
def test_a_selection_that_cannot_stand_alone_is_refused_by_name(entries: Sequence[Entry], match: str) -> None:
    with pytest.raises(FormatError) as refused:
        containers_of.select(container(), entries)
    assert match in str(refused.value)


def test_a_root_that_is_of_no_build_does_not_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "os-release").write_text("ID=debian\n")
    monkeypatch.setattr(systemd, "OS_RELEASE", str(tmp_path / "os-release"))
    monkeypatch.setattr(program, "PORT", 0)
    with pytest.raises(FormatError, match="BUILD_ID is missing"):
        program.serve("\0nobody")


@pytest.fixture(scope="module")
def root() -> tuple[Entry, ...]:
    return containers.locked_root()


@pytest.mark.slow
class TestTheNotarysContainer:
    def test_it_is_a_part_of_the_machine_and_has_none_of_its_system(self, root: tuple[Entry, ...]) -> None:
        kept = containers_of.select(containers.recipe().container, root)
        assert set(kept) < set(root)
        paths = {one.path for one in kept}
        for absent in ("usr/lib/modules", "usr/lib/systemd", "usr/lib/udev", "usr/bin/mount", "etc/shadow", "init"):
            assert absent not in paths
        assert not any(path.endswith((".ko", ".service", ".socket", ".rules")) for path in paths)
        assert {one.mode & 0o6002 for one in kept if one.kind is Kind.FILE} == {0}
        programs = {one.path for one in kept if "bin/" in one.path}
        assert programs == {"usr/bin/python3", "usr/bin/python3.13"}

    def test_every_library_is_needed(self, root: tuple[Entry, ...]) -> None:
        recipe = containers.recipe().container
        patterns = [path for keep in recipe.keep for path in keep.paths if "x86_64-linux-gnu/" in path]
        assert len(patterns) == 14
        for pattern in patterns:
            keep = tuple(replace(one, paths=tuple(p for p in one.paths if p != pattern)) for one in recipe.keep)
            with pytest.raises(FormatError) as refused:
                containers_of.select(replace(recipe, keep=keep), root)
            assert pattern.rpartition("/")[2].partition("*")[0] in str(refused.value)

    @pytest.mark.parametrize("flavour", ["release", "debug"])
    def test_it_says_what_it_is_a_build_of(self, flavour: str, root: tuple[Entry, ...]) -> None:
        entries = root if flavour == "debug" else containers.locked_root(flavour)
        files = containers.layout(entries, flavour).files
        with tarfile.open(fileobj=io.BytesIO(containers.layer(files))) as archive:
            release = archive.extractfile("etc/os-release")  # a link, which the reader follows
            users = archive.extractfile("etc/passwd")
            assert release is not None
            assert users is not None
            lines, accounts = release.read().decode().splitlines(), users.read().decode()
        assert f'BUILD_ID="{containers.BUILD_ID}"' in lines
        assert f'VARIANT_ID="{flavour}"' in lines
        config = containers.config(files)["config"]
        assert config["Labels"]["pluto-tee.flavour"] == flavour
        uid, gid = config["User"].split(":")
        # The launcher gives its socket to root; the program makes a process of the notary's own user, known by name.
        assert (uid, gid) == ("0", "0")
        assert f"{program.USER}:x:{NOTARY}:{NOTARY}:" in accounts

    def test_no_label_lets_an_operator_in(self) -> None:
        labels = containers.recipe().container.labels
        assert not any("allow" in name for name in labels)
        assert labels["tee.launch_policy.hardened_monitoring"] == "none"

    def test_it_starts_in_a_root_of_its_own_and_answers(self, root: tuple[Entry, ...], tmp_path: Path) -> None:
        again = ["--user", f"--map-user={NOTARY}", f"--map-group={NOTARY}", "--keep-caps", "--"]
        self.check(root, tmp_path, ["--user", "--map-root-user"], again)

    @pytest.mark.root
    def test_as_root_it_becomes_two_processes_of_which_the_notary_is_its_own_user(
        self, root: tuple[Entry, ...], tmp_path: Path
    ) -> None:
        if os.geteuid() != 0:
            pytest.skip("needs root")
        helper, notary = self.check(root, tmp_path, [], [])
        assert [_ids(helper, name) for name in ("Uid", "Gid")] == [["0"] * 4] * 2
        assert [_ids(notary, name) for name in ("Uid", "Gid")] == [[str(NOTARY)] * 4] * 2
        assert [_ids(notary, name) for name in ("Groups", "CapPrm", "CapEff")] == [[], ["0" * 16], ["0" * 16]]

    def check(self, root: tuple[Entry, ...], place: Path, namespaces: list[str], again: list[str]) -> list[str]:
        """Start it, ask it, end it; what /proc says of its processes, the notary's last."""
        layout = containers.layout(root)
        with running(layout.files, place, namespaces, again) as process:
            answers = containers.ask(process.pid, "/health", "/v1/evidence?nonce=00", "/x", owned=bool(namespaces))
            (notary,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            found = [Path(f"/proc/{one}/status").read_text() for one in (process.pid, notary)]
            words = Path(f"/proc/{notary}/fd/2").stat().st_rdev
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=20)
        assert answers["/health"] == (200, {"status": "ok", "version": __version__, "buildId": containers.BUILD_ID})
        assert answers["/v1/evidence?nonce=00"] == (
            503,
            {"error": {"code": "device", "message": "evidence cannot be had now"}},
        )
        assert answers["/x"][0] == 404
        assert words == os.makedev(1, 3), "what leaves is events, and no exception that may quote a client"
        assert (process.returncode, err) == (0, b"")
        # The epoch's evidence is refused like the client's, whenever that is asked for.
        assert list(dict.fromkeys(out.decode().splitlines())) == [
            f"pluto: started component=notary version={__version__}",
            f"pluto: ready port=8443 buildid={containers.BUILD_ID}",
            "pluto: refused code=device",
            "pluto: refused code=path",
            "pluto: stopping component=notary",
        ]
        return found


def _ids(status: str, name: str) -> list[str]:
    return next(line.split()[1:] for line in status.splitlines() if line.startswith(f"{name}:"))


@contextlib.contextmanager
def running(
    files: Mapping[str, bytes], place: Path, namespaces: list[str], again: list[str]
) -> Iterator[subprocess.Popen[bytes]]:
    """The entry point in the unpacked layer, with the image's environment; skips where namespaces are not to be had.

    `again`: further namespaces, once all is mounted.
    """
    config, root = containers.config(files)["config"], str(place / "root")
    try:
        unshare = [containers.tool("unshare"), *namespaces, "--mount", "--net", "--"]
        shell, chroot, tar = map(containers.tool, ("sh", "chroot", "tar"))
        path = f"{Path(containers.tool('ip')).parent}:{Path(containers.tool('mount')).parent}:/usr/bin"
    except LookupError as error:
        pytest.skip(f"no peer: {error}")
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no peer: namespaces are not to be had here")
    Path(root).mkdir(mode=0o755)
    subprocess.run([tar, "--extract", "--preserve-permissions", "-C", root], input=containers.layer(files), check=True)
    (place / "root/dev/null").touch()
    further = [unshare[0], *again] if again else []
    program = [*further, "env", "-i", *config["Env"], chroot, root, *config["Entrypoint"]]
    process = subprocess.Popen(
        [*unshare, shell, "-c", START, "sh", root, *program],
        env={"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        # A busy machine may let us look before it left our own namespaces, which nobody can enter again.
        own, its = Path("/proc/self/ns/mnt").readlink(), Path(f"/proc/{process.pid}/ns/mnt")
        assert containers.wait_until(lambda: its.readlink() != own, process), "it ended before it began"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)
