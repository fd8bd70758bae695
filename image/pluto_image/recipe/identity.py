"""Identity files that maintainer scripts would write: users, groups, os-release. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from pluto_image.recipe.model import Files, User
from pluto_image.tree import Entry, Kind
from pluto_measure.errors import FormatError

_NOBODY_MAY_LOG_IN = "/usr/sbin/nologin"


def identity(files: Files, *, build_id: str, flavour: str, dirty: bool) -> Iterator[Entry]:
    """passwd, group, shadow and os-release. FormatError if names or numbers occur twice or a group is missing."""
    _check(files)
    yield _text("etc/passwd", passwd(files), "users")
    yield _text("etc/group", group(files), "groups")
    yield _text("etc/shadow", "".join(f"{user.name}:!*:::::::\n" for user in _sorted_users(files)), "users", 0o600)
    text = os_release(files, build_id=build_id, flavour=flavour, dirty=dirty)
    yield _text("usr/lib/os-release", text, "os_release")
    yield Entry("etc/os-release", Kind.SYMLINK, 0o777, b"../usr/lib/os-release", "recipe:files.os_release")


def os_release(files: Files, *, build_id: str, flavour: str, dirty: bool) -> str:
    """os-release(5) of the image; BUILD_ID is 64 hex digits, VARIANT_ID the flavour."""
    lines = {**files.os_release, "BUILD_ID": build_id, "VARIANT_ID": flavour}
    if dirty:
        lines["PLUTO_SOURCE"] = "dirty"
    return "".join(f'{key}="{value}"\n' for key, value in lines.items())


def passwd(files: Files) -> str:
    """passwd(5), sorted by number; nobody has a shell or a home of their own."""
    rows = (f"{u.name}:x:{u.uid}:{u.gid}:{u.gecos}:/:{_NOBODY_MAY_LOG_IN}\n" for u in _sorted_users(files))
    return "".join(rows)


def group(files: Files) -> str:
    """group(5), sorted by number."""
    ordered = sorted(files.groups, key=lambda item: item.gid)
    return "".join(f"{item.name}:x:{item.gid}:{','.join(item.members)}\n" for item in ordered)


def _sorted_users(files: Files) -> list[User]:
    return sorted(files.users, key=lambda user: user.uid)


def _text(path: str, text: str, line: str, mode: int = 0o644) -> Entry:
    return Entry(path, Kind.FILE, mode, text.encode(), f"recipe:files.{line}")


def _check(files: Files) -> None:
    for what, values in (
        ("user name", [user.name for user in files.users]),
        ("uid", [user.uid for user in files.users]),
        ("group name", [item.name for item in files.groups]),
        ("gid", [item.gid for item in files.groups]),
    ):
        if len(set(values)) != len(values):
            raise FormatError("image.toml [files]", f"a {what} occurs twice")
    known, names = {item.gid for item in files.groups}, {user.name for user in files.users}
    for user in files.users:
        if user.gid not in known:
            raise FormatError("image.toml [files]", f"user {user.name} is in group {user.gid}, which is not listed")
    for item in files.groups:
        if missing := set(item.members) - names:
            raise FormatError("image.toml [files]", f"group {item.name} has unknown member {sorted(missing)[0]}")
