"""The files of a prepared host, from the templates. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import PurePosixPath
from typing import Any, Final

import jinja2

from pluto_deploy.metal import layout
from pluto_deploy.metal.prepare import places
from pluto_deploy.metal.prepare.options import Archive, LocalPccs, Options, RemotePccs
from pluto_deploy.metal.prepare.preparation import Device, Folder, Placed, placed

_NETWORKD: Final = PurePosixPath("/etc/systemd/network")
_KEYRINGS: Final = PurePosixPath("/etc/apt/keyrings")
SOURCES: Final = "/etc/apt/sources.list.d/pluto-quotes.sources"
PACKAGES: Final = ("tdx-*", "libtdx-*", "sgx-*", "libsgx-*")  # that the archive for quotes may give
_NOBODY: Final = "0" * 128  # as the SHA-512 of a token: nobody has that token


def archive(wanted: Archive) -> tuple[Placed, ...]:
    """Key, sources (deb822, signed-by) and pins of the archive for quotes."""
    key = _KEYRINGS / f"pluto-quotes.{'asc' if wanted.armoured else 'gpg'}"
    return (
        placed(key, wanted.key),
        placed(SOURCES, _text("archive.sources", archive=wanted, key=key)),
        placed("/etc/apt/preferences.d/pluto-quotes", _text("archive.pref", archive=wanted, packages=PACKAGES)),
    )


def kernel(words: Sequence[str]) -> tuple[Placed, ...]:
    """GRUB's drop-in with words for the kernel's command line."""
    return (placed("/etc/default/grub.d/60-pluto.cfg", _text("grub.cfg", words=words)),)


def quotes(pccs: LocalPccs | RemotePccs) -> tuple[Placed, ...]:
    """QGS at a Unix socket for one group, and where its library gets certificates."""
    local = isinstance(pccs, LocalPccs)
    url = f"https://localhost:{places.PCCS_PORT}/sgx/certification/v4/" if isinstance(pccs, LocalPccs) else pccs.url
    drop_in = layout.UNITS / f"{places.QUOTE_SERVICE}.d" / "zz-pluto.conf"  # after the package's own
    unit = _text("qgsd.conf", user=places.QUOTE_USER, group=layout.QUOTE_GROUP, socket=layout.QUOTE_SOCKET)
    return (
        placed("/etc/qgs.conf", _text("qgs.conf")),
        placed(drop_in, unit),
        # A PCCS on this very host has a certificate of its own making, and is reached by the loopback interface alone.
        placed("/etc/sgx_default_qcnl.conf", _text("qcnl.conf", url=url, secure=not local)),
    )


def local_pccs(pccs: LocalPccs) -> tuple[Placed, ...]:
    """The members of the PCCS's configuration that are ours; the others stay as its package has them. Holds the key."""
    text = _text("pccs.json", port=places.PCCS_PORT, api_key=pccs.api_key, nobody=_NOBODY)
    path = places.PCCS_FOLDER / "config" / "default.json"
    return (placed(path, text, owner=places.PCCS_USER, group=places.PCCS_USER, mode=0o640),)


def network(options: Options) -> tuple[Placed, ...]:
    """networkd's files: the bridge in routed mode, hands off the taps in any mode that has them."""
    if options.network.mode == "macvtap":
        return ()
    taps = placed(_NETWORKD / "50-pluto-taps.network", _text("taps.network", tap_prefix=places.TAP_PREFIX))
    if options.network.mode == "bridge":
        return (taps,)
    bridge = _text("pluto0.netdev", bridge=layout.BRIDGE, mac=places.BRIDGE_MAC)
    end = _text(
        "pluto0.network",
        bridge=layout.BRIDGE,
        rules=places.BASE_RULES,
        address=layout.HOST_ADDRESS,
        prefix=layout.NETWORK.prefixlen,
        address6=places.HOST_ADDRESS6,
        prefix6=places.NETWORK6.prefixlen,
        network6=places.NETWORK6,
        addresses=options.addresses,
        resolvers4=[one for one in options.resolvers if ":" not in one],
        resolvers6=[one for one in options.resolvers if ":" in one],
        ipv6=options.ipv6,
        leases=places.leases(),
        first=layout.FIRST_LEASE,
        last=layout.LAST_LEASE,
    )
    return (taps, placed(_NETWORKD / f"{layout.BRIDGE}.netdev", bridge), placed(_NETWORKD / layout.NETWORK_FILE, end))


def firewall(options: Options, uplink: str | None) -> tuple[Placed, ...]:
    """The rules and the services that put them in force."""
    mode = options.network.mode
    if mode == "macvtap":
        return ()
    routed = mode == "routed"
    files = {"rules": places.RULES, "base": places.BASE_RULES, "traffic": layout.TRAFFIC, "routed": routed}
    service = _text("pluto-traffic.service", **files, forwarding_service=places.FORWARDING_SERVICE)
    others = _text("nftables.conf", traffic_service=places.TRAFFIC_SERVICE)
    found = (
        placed(places.BASE_RULES, rules(routed=routed, resolvers=options.resolvers)),
        placed(places.RULES, _text("rules.nft", **files)),
        placed(layout.UNITS / places.TRAFFIC_SERVICE, service),
        placed(layout.UNITS / "nftables.service.d" / "pluto.conf", others),
    )
    if not routed:
        return found
    forwarding = _text(
        "pluto-forwarding.service",
        bridge=layout.BRIDGE,
        uplink=uplink,
        ipv6=options.ipv6,
        table=layout.TABLE,
        rules=places.RULES,
        marks=places.MARKS,
        traffic_service=places.TRAFFIC_SERVICE,
    )
    return (*found, placed(layout.UNITS / places.FORWARDING_SERVICE, forwarding))


def rules(*, routed: bool, resolvers: Sequence[str] = ()) -> str:
    """The base rules, nft(8)."""
    return _text(
        "nftables.nft",
        table=layout.TABLE,
        bridge=layout.BRIDGE,
        network=layout.NETWORK,
        network6=places.NETWORK6,
        entry=places.RULES,
        traffic=layout.TRAFFIC,
        marks=places.MARKS,
        forwarding=places.FORWARDING_SERVICE,
        inside=places.INSIDE,
        inside6=places.INSIDE6,
        resolvers=resolvers,
        leases=places.leases(),
        tap_prefix=places.TAP_PREFIX,
        routed=routed,
    )


def modules(devices: Sequence[Device], folders: Sequence[Folder]) -> tuple[Placed, ...]:
    """What there is from every boot on: modules, who may open devices, folders below /run."""
    names = sorted({device.module for device in devices if device.module})
    return (
        placed("/etc/modules-load.d/pluto.conf", _text("modules.conf", modules=names)),
        placed(
            "/etc/udev/rules.d/60-pluto.rules", _text("devices.rules", devices=[one for one in devices if one.group])
        ),
        placed("/etc/tmpfiles.d/pluto.conf", _text("tmpfiles.conf", folders=folders)),
        placed("/etc/needrestart/conf.d/60-pluto.conf", _text("needrestart.conf")),
    )


def journal() -> tuple[Placed, ...]:
    """That the journal is kept."""
    return (placed("/etc/systemd/journald.conf.d/60-pluto.conf", _text("journald.conf")),)


def _text(name: str, **values: Any) -> str:
    return _environment().get_template(f"{name}.j2").render(**values)


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(  # noqa: S701 - no HTML; whatever goes in is validated where it is read
        loader=jinja2.PackageLoader("pluto_deploy.metal"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
