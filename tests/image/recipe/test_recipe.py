"""Recipe parts for themselves: patterns, identity files, unit links, merged /usr, the kernel's module list."""

from __future__ import annotations

import lzma

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_image.recipe import identity, kernel, root
from pluto_image.recipe.model import Certificates, Enable, Files, Group, Kernel, Mask, Modules, Units, User
from pluto_image.recipe.patterns import Selection, matches, select
from pluto_image.tree import Entry, Kind
from pluto_measure.errors import FormatError
from simulators.kernel_modules import module

USERS = (User("root", 0, 0, ""), User("pluto-notary", 990, 990, "Pluto notary"))
GROUPS = (Group("pluto-notary", 990, ()), Group("disk", 6, ("pluto-notary",)), Group("root", 0, ()))


def files(users: tuple[User, ...] = USERS, groups: tuple[Group, ...] = GROUPS) -> Files:
    return Files("rootfs", {"ID": "tiny"}, (), (), (), (), users, groups, None, None)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("usr/bin/*", "usr/bin/mount", True),
        ("usr/bin/*", "usr/bin/a/b", False),
        ("usr/**.py", "usr/lib/python3/x.py", True),
        ("usr/lib/lib*.so.*", "usr/lib/libz.so.1", True),
        ("usr/lib/lib*.so.*", "usr/lib/libz_so_1", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("a.c", "abc", False),
    ],
)
def test_a_pattern_means_what_it_says(pattern: str, path: str, expected: bool) -> None:
    assert matches(pattern, path) is expected
    assert Selection([pattern]).wants(path) is expected


@pytest.mark.parametrize("pattern", ["", "/usr/bin/x", "usr/../etc"])
def test_a_pattern_that_cannot_match_is_refused(pattern: str) -> None:
    with pytest.raises(FormatError):
        matches(pattern, "x")


def test_a_pattern_without_a_match_is_an_error() -> None:
    assert select(["b/*", "a"], ["a", "b/c", "b/d"], what="test") == ("a", "b/c", "b/d")
    with pytest.raises(FormatError, match="'gone' matches nothing"):
        select(["a", "gone"], ["a"], what="test")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text("abc/*?", min_size=1, max_size=6), max_size=4), st.text("abc/", max_size=8))
def test_a_selection_agrees_with_its_patterns(patterns: list[str], path: str) -> None:
    usable = [p for p in patterns if not p.startswith("/")]
    assert Selection(usable).wants(path) == any(matches(pattern, path) for pattern in usable)


def test_identity_files_are_sorted_and_nobody_can_log_in() -> None:
    assert identity.passwd(files()).splitlines() == [
        "root:x:0:0::/:/usr/sbin/nologin",
        "pluto-notary:x:990:990:Pluto notary:/:/usr/sbin/nologin",
    ]
    assert identity.group(files()).splitlines() == ["root:x:0:", "disk:x:6:pluto-notary", "pluto-notary:x:990:"]
    written = {e.path: e for e in identity.identity(files(), build_id="ab", flavour="debug", dirty=True)}
    assert written["etc/shadow"].mode == 0o600
    assert written["usr/lib/os-release"].data.splitlines() == [
        b'ID="tiny"', b'BUILD_ID="ab"', b'VARIANT_ID="debug"', b'PLUTO_SOURCE="dirty"',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("users", "groups", "match"),
    [
        ((*USERS, User("other", 990, 0, "")), GROUPS, "a uid occurs twice"),
        ((*USERS, User("root", 1, 0, "")), GROUPS, "a user name occurs twice"),
        (USERS, (*GROUPS, Group("x", 6, ())), "a gid occurs twice"),
        ((User("root", 0, 7, ""),), GROUPS, "in group 7, which is not listed"),
        (USERS[:1], GROUPS, "unknown member pluto-notary"),
    ],
)
def test_identities_that_do_not_fit_together_are_refused(
    users: tuple[User, ...], groups: tuple[Group, ...], match: str
) -> None:
    with pytest.raises(FormatError, match=match):
        list(identity.identity(files(users, groups), build_id="", flavour="release", dirty=False))


def test_unit_links_are_those_that_systemctl_would_write() -> None:
    units = Units("a.target", (Enable("b.target", ("c.service", "d@eth0.service"), "x"),), (Mask(("e.socket",), "x"),))
    assert [(entry.path, entry.data) for entry in root.unit_links(units)] == [
        ("etc/systemd/system/default.target", b"/usr/lib/systemd/system/a.target"),
        ("etc/systemd/system/b.target.wants/c.service", b"/usr/lib/systemd/system/c.service"),
        ("etc/systemd/system/b.target.wants/d@eth0.service", b"/usr/lib/systemd/system/d@.service"),
        ("etc/systemd/system/e.socket", b"/dev/null"),
    ]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("bin/x", "usr/bin/x"),
        ("lib64/ld.so", "usr/lib64/ld.so"),
        ("bin", "bin"),
        ("binx/y", "binx/y"),
        ("etc/x", "etc/x"),
    ],
)
def test_paths_of_old_places_move_below_usr(path: str, expected: str) -> None:
    assert root.merged(path) == expected


def test_parents_are_made_and_a_file_is_no_parent() -> None:
    tree = root.Root()
    tree.add([Entry("a/b/c", Kind.FILE, 0o644, b"", "recipe:x"), Entry("a-b", Kind.FILE, 0o644, b"", "recipe:x")])
    assert [(e.path, e.kind) for e in tree.complete()] == [
        ("a", Kind.DIRECTORY), ("a-b", Kind.FILE), ("a/b", Kind.DIRECTORY), ("a/b/c", Kind.FILE),
    ]  # fmt: skip
    tree.add([Entry("a-b/d", Kind.FILE, 0o644, b"", "recipe:x")])
    with pytest.raises(FormatError, match="lies below a-b"):
        tree.complete()


def test_a_certificate_that_is_none_stops_the_bundle() -> None:
    table = Certificates("*.crt", "etc/bundle")
    entry = Entry("x.crt", Kind.FILE, 0o644, b"-----BEGIN RSA PRIVATE KEY-----", "package:x")
    with pytest.raises(FormatError, match="not one certificate"):
        root.certificate_bundle(table, [entry])
    with pytest.raises(FormatError, match="no certificate matches"):
        root.certificate_bundle(table, [])


FOLDER = "usr/lib/modules/6.1-cloud-amd64/"
BUILTIN = [
    Entry(FOLDER + name, Kind.FILE, 0o644, b"", "package:linux")
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order")
]


def packed(name: str, data: bytes) -> Entry:
    return Entry(f"{FOLDER}kernel/{name}.ko.xz", Kind.FILE, 0o644, data, "package:linux")


def listed(*names: str) -> Kernel:
    return Kernel("linux-*", "boot/vmlinuz-*", (Modules(names, True, "x"),))


def test_modules_are_unpacked_indexed_and_loaded_by_name() -> None:
    entries = [*BUILTIN, packed("net/tsm-core", lzma.compress(module("tsm_core")))]
    found = {e.path: e for e in kernel.modules(listed("tsm-core"), entries, "6.1-cloud-amd64")}
    assert found[f"{FOLDER}kernel/net/tsm-core.ko"].data == module("tsm_core")
    assert f"{FOLDER}modules.dep.bin" in found
    assert found["usr/lib/modules-load.d/pluto.conf"].data == b"tsm-core\n"
    assert kernel.wants(listed("tsm-core"), f"{FOLDER}kernel/net/tsm-core.ko.xz")
    assert not kernel.wants(listed("tsm-core"), f"{FOLDER}kernel/net/other.ko.xz")


@pytest.mark.parametrize(
    ("names", "entries", "match"),
    [
        (("a",), BUILTIN, "module a is not in the kernel package"),
        (("a",), [*BUILTIN, packed("a", lzma.compress(module("a", depends=["b"])))], "needs b, which is not listed"),
        (("a",), [*BUILTIN, packed("a", b"not xz")], "not xz"),
        (("a",), [*BUILTIN, packed("a", lzma.compress(module("a"))[:-3])], "xz stream is cut"),
        ((), BUILTIN[:2], "modules.order is missing"),
        ((), [Entry("usr/lib/modules/5.0/x.ko", Kind.FILE, 0, b"", "")], "does not belong to kernel"),
    ],
)
def test_a_module_list_that_is_not_the_whole_truth_is_refused(
    names: tuple[str, ...], entries: list[Entry], match: str
) -> None:
    with pytest.raises(FormatError, match=match):
        list(kernel.modules(listed(*names), entries, "6.1-cloud-amd64"))
