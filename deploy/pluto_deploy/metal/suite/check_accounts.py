"""Who runs trust domains, and who may ask for quotes."""

from __future__ import annotations

from testinfra.host import Host

from pluto_deploy.metal import layout
from pluto_deploy.metal.suite.promises import lines

NO_SHELLS = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false")


def test_user(host: Host) -> None:
    """The user of the trust domains is a system's and has no shell."""
    user = host.user(layout.USER)
    assert user.exists, f"there is no user {layout.USER}"
    assert 0 < user.uid < 1000, f"{layout.USER} has uid {user.uid}"
    assert user.shell in NO_SHELLS, f"{layout.USER} has the shell {user.shell}"


def test_password(host: Host) -> None:
    """The user of the trust domains has no password."""
    (line,) = lines(host, "getent", "shadow", layout.USER)
    assert line.split(":")[1][:1] in ("!", "*"), f"{layout.USER} has a password"


def test_groups(host: Host) -> None:
    """The groups of KVM and of quotes are there."""
    for name in (layout.KVM_GROUP, layout.QUOTE_GROUP):
        assert host.group(name).exists, f"there is no group {name}"


def test_quotes_are_for_few(host: Host) -> None:
    """Nobody else is in the group that may ask for quotes."""
    (line,) = lines(host, "getent", "group", layout.QUOTE_GROUP)
    others = set(filter(None, line.split(":")[3].split(","))) - {layout.USER, "qgsd"}
    assert not others, f"{layout.QUOTE_GROUP} has also {', '.join(sorted(others))}"


def test_no_privilege(host: Host) -> None:
    """The user of the trust domains may do nothing by sudo."""
    done = host.run("sudo -n -l -U %s", layout.USER)
    assert "may run the following" not in done.stdout, f"{layout.USER} may use sudo"
