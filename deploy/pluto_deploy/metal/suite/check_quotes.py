"""Quotes: the service runs, listens at its socket for its group, and at nothing that a guest could reach."""

from __future__ import annotations

import re

from testinfra.host import Host

from pluto_deploy.metal import layout
from pluto_deploy.metal.prepare import places
from pluto_deploy.metal.suite.promises import QCNL, lines, only_local_pccs, only_tdx, owned, roots_alone, running

SOCKET = str(layout.QUOTE_SOCKET)


def test_service(host: Host) -> None:
    """QGS runs, now and after a reboot."""
    only_tdx(host)
    running(host, places.QUOTE_SERVICE)


def test_registration(host: Host) -> None:
    """The service that registers the machine with Intel starts with every boot."""
    only_tdx(host)
    assert host.service(places.REGISTRATION_SERVICE).is_enabled, f"{places.REGISTRATION_SERVICE} is not enabled"


def test_no_port(host: Host) -> None:
    """QGS is not told a port, which would be one of vsock."""
    only_tdx(host)
    roots_alone(host, "/etc/qgs.conf")
    text = host.file("/etc/qgs.conf").content_string
    assert not re.search(r"^\s*port\b", text, re.MULTILINE), "/etc/qgs.conf has a port"


def test_no_vsock(host: Host) -> None:
    """Nothing on the host listens at vsock, where every guest could reach it."""
    listening = lines(host, "ss", "--no-header", "--listening", "--vsock")
    assert listening == [], f"at vsock listens: {listening[0]}"


def test_folder(host: Host) -> None:
    """The folder of the socket is for its group alone."""
    only_tdx(host)
    assert owned(host, str(layout.QUOTE_SOCKET.parent)) == f"0710 {places.QUOTE_USER}:{layout.QUOTE_GROUP}"


def test_socket_is_reached(host: Host) -> None:
    """The user of the trust domains reaches the socket."""
    only_tdx(host)
    assert host.file(SOCKET).exists, f"{SOCKET} is not there"
    assert _may(host, layout.USER), f"{layout.USER} may not write to {SOCKET}"


def test_socket_is_closed(host: Host) -> None:
    """Nobody else reaches the socket."""
    only_tdx(host)
    assert not _may(host, "nobody"), f"nobody may write to {SOCKET}"


def test_certificates_are_configured(host: Host) -> None:
    """Where certificates come from is root's to say."""
    only_tdx(host)
    roots_alone(host, QCNL)


def test_pccs(host: Host) -> None:
    """The PCCS of the host runs, now and after a reboot."""
    only_local_pccs(host)
    running(host, places.PCCS_SERVICE)


def test_pccs_is_local(host: Host) -> None:
    """The PCCS of the host listens at the loopback interface alone."""
    only_local_pccs(host)
    listening = lines(host, "ss", "-H", "-l", "-n", "-t", f"sport = :{places.PCCS_PORT}")
    assert listening, f"nothing listens at port {places.PCCS_PORT}"
    for line in listening:
        address = line.split()[3].rpartition(":")[0].strip("[]")
        assert address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"), f"the PCCS listens at {address}"


def test_secret(host: Host) -> None:
    """The file with the API key is not for everybody."""
    only_local_pccs(host)
    path = str(places.PCCS_FOLDER / "config/default.json")
    assert owned(host, path) == f"0640 {places.PCCS_USER}:{places.PCCS_USER}"


def _may(host: Host, user: str) -> bool:
    return bool(host.run("runuser -u %s -- test -w %s", user, SOCKET).rc == 0)
