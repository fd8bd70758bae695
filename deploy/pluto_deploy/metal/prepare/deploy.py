"""The operations that make a host what a Preparation says, in their order. Runs in the worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pyinfra.operations import apt, server, systemd

from pluto_deploy.metal.prepare import files, operations, places
from pluto_deploy.metal.prepare.preparation import Preparation
from pluto_deploy.metal.worker.jobs import Steps

_LOCK: Final = "-o DPkg::Lock::Timeout=300"  # a new host may be at its own upgrades
_PACKAGES_SECONDS: Final = 1800
_REBOOT_DELAY: Final = 5  # below 4, pyinfra can meet the host as it goes down
_REBOOT_SECONDS: Final = 1200  # servers with much memory take many minutes
_RELOAD: Final = "systemctl daemon-reload"
_KEY_SCRIPT: Final = (
    'set -eu; umask 077; mkdir -p "$1"; openssl req -x509 -newkey rsa:3072 -nodes -sha256 -days 3650 '
    '-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$1/private.pem" '
    '-out "$1/file.crt.new" 2>/dev/null; chown "$2" "$1" "$1/private.pem" "$1/file.crt.new"; chmod 0750 "$1"; '
    'chmod 0640 "$1/private.pem" "$1/file.crt.new"; mv "$1/file.crt.new" "$1/file.crt"'
)


def prepare(steps: Steps, parameters: Mapping[str, Any]) -> None:
    """Add all operations."""
    wanted = Preparation.from_json(parameters)
    _packages(steps, wanted)
    _kernel(steps, wanted)
    _ground(steps, wanted)
    if wanted.quotes:
        _quotes(steps, wanted)
    if wanted.firewall:
        _traffic(steps, wanted)
    steps.add("record of the preparation", operations.place, [wanted.record])


def _packages(steps: Steps, wanted: Preparation) -> None:
    if wanted.archive:
        steps.add("archive of packages for quotes", operations.place, wanted.archive)
        # By itself and strictly: an archive that cannot be verified must end this, and not be passed over.
        command = (
            f"apt-get {_LOCK} update -o Dir::Etc::sourcelist={files.SOURCES} -o Dir::Etc::sourceparts=- "
            "-o APT::Get::List-Cleanup=0 -o APT::Update::Error-Mode=any"
        )
        steps.add("what that archive has", operations.refresh, command, wanted.packages, timeout=300)
    update = f"apt-get {_LOCK} update"
    steps.add("what the archives have", operations.refresh, update, wanted.packages, timeout=600)
    steps.add("packages that were left half installed", operations.mend_packages, timeout=_PACKAGES_SECONDS)
    steps.add(
        "packages",
        apt.packages,
        packages=list(wanted.packages),
        no_recommends=True,
        extra_install_args=_LOCK,
        timeout=_PACKAGES_SECONDS,
    )
    if wanted.held:
        steps.add("packages that stay at their version", operations.hold, wanted.held)


def _kernel(steps: Steps, wanted: Preparation) -> None:
    if wanted.kernel:
        drop_in = steps.add("kernel's command line", operations.place, wanted.kernel, ["kernel"])
        steps.add("boot loader", operations.follow_up, "kernel", ["update-grub"], causes=[drop_in], timeout=300)
    if wanted.reboot:
        steps.add(
            "reboot",
            server.reboot,
            delay=_REBOOT_DELAY,
            reboot_timeout=_REBOOT_SECONDS,
            timeout=_REBOOT_SECONDS + 300,
        )
        steps.add("kernel has what it needs", operations.require_words, wanted.words)


def _ground(steps: Steps, wanted: Preparation) -> None:
    """Users, folders, devices, the journal."""
    for group in wanted.groups:
        steps.add(f"group {group}", server.group, group=group, system=True)
    for user, groups in wanted.users.items():
        steps.add(f"group {user}", server.group, group=user, system=True)
        steps.add(  # noqa: S604 - the login shell of a user
            f"user {user}",
            server.user,
            user=user,
            system=True,
            group=user,
            groups=list(groups),
            home="/nonexistent",
            ensure_home=False,
            shell="/usr/sbin/nologin",
        )
    steps.add("folders", operations.folders, wanted.folders)
    steps.add("what every boot sets up", operations.place, wanted.modules)
    steps.add("devices", operations.devices, wanted.devices)
    journal = steps.add("journal's settings", operations.place, wanted.journal, ["journal"])
    restart = "systemctl restart systemd-journald.service"
    steps.add("journal", operations.follow_up, "journal", [restart], causes=[journal])


def _quotes(steps: Steps, wanted: Preparation) -> None:
    if wanted.pccs:
        owner = f"{places.PCCS_USER}:{places.PCCS_USER}"
        keys = str(places.PCCS_FOLDER / "ssl_key")
        words = ["sh", "-c", _KEY_SCRIPT, "sh", keys, owner]
        steps.add("certificate of the PCCS", operations.unless_there, f"{keys}/file.crt", words)
        settings = steps.add("settings of the PCCS", operations.merge_json, wanted.pccs, ["pccs"])
        restart = f"systemctl restart {places.PCCS_SERVICE}"
        steps.add("PCCS with its settings", operations.follow_up, "pccs", [restart], causes=[settings])
        steps.add("PCCS", systemd.service, service=places.PCCS_SERVICE, enabled=True)
    settings = steps.add("settings of QGS", operations.place, wanted.quotes, ["quotes"])
    restart = f"systemctl restart {places.QUOTE_SERVICE}"
    steps.add("QGS with its settings", operations.follow_up, "quotes", [_RELOAD, restart], causes=[settings])
    steps.add("QGS", systemd.service, service=places.QUOTE_SERVICE, enabled=True)
    steps.add("registration", systemd.service, service=places.REGISTRATION_SERVICE, running=None, enabled=True)


def _traffic(steps: Steps, wanted: Preparation) -> None:
    """The rules first, then what they are about, and forwarding last."""
    traffic, forwarding = places.TRAFFIC_SERVICE, places.FORWARDING_SERVICE
    rules = steps.add("rules for traffic", operations.place, wanted.firewall, ["traffic", "forwarding"])
    in_force = [_RELOAD, f"systemctl reload-or-restart {traffic}"]
    steps.add("rules in force", operations.follow_up, "traffic", in_force, causes=[rules])
    steps.add("traffic", systemd.service, service=traffic, enabled=True)
    network = steps.add("network's settings", operations.place, wanted.network, ["network"])
    steps.add("systemd-networkd", systemd.service, service="systemd-networkd.service", enabled=True)
    steps.add("network", operations.follow_up, "network", ["networkctl reload"], causes=[network])
    if wanted.ufw:
        steps.add("rules of ufw", operations.ufw, wanted.ufw)
    if wanted.routed:
        anew = f"systemctl restart {forwarding}"
        steps.add("forwarding anew", operations.follow_up, "forwarding", [anew], causes=[rules])
        steps.add("forwarding", systemd.service, service=forwarding, enabled=True)
