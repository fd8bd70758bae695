"""What the operator wants of a host, as frozen values, strictly read. Pure."""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

from pluto_measure import toml
from pluto_measure.errors import FormatError, UsageError
from pluto_measure.formats.strict_json import Fields

Mode = Literal["routed", "bridge", "macvtap"]
MODES: Final = ("routed", "bridge", "macvtap")
_INTERFACE: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}")  # Linux has 15 characters
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")  # suites and components of an archive
_SUITE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._/-]*")
_URI: Final = re.compile(r"[!-~]+")
_API_KEY: Final = re.compile(r"[A-Za-z0-9_-]{16,128}")
_ARMOUR: Final = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
_MOST_RESOLVERS: Final = 3  # resolv.conf(5)
_WHAT: Final = "archive"


@dataclass(frozen=True, slots=True)
class Network:
    """How trust domains reach the world: behind the host's own address, or by `interface` with one of their own."""

    mode: Mode = "routed"
    interface: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """routed, bridge:INTERFACE or macvtap:INTERFACE. UsageError."""
        mode, colon, interface = text.partition(":")
        if text == "routed":
            return cls()
        if mode not in MODES[1:] or not colon or not _INTERFACE.fullmatch(interface):
            raise UsageError(f"network {text!r} is not routed, bridge:INTERFACE or macvtap:INTERFACE")
        return cls("bridge" if mode == "bridge" else "macvtap", interface)

    def __str__(self) -> str:
        return self.mode if self.interface is None else f"{self.mode}:{self.interface}"


@dataclass(frozen=True, slots=True)
class Archive:
    """Where the packages for quotes come from, beside the distribution's own. `key`: OpenPGP, armoured or binary."""

    uri: str
    suite: str
    components: tuple[str, ...]
    key: bytes = field(repr=False)

    @property
    def armoured(self) -> bool:
        """Whether the key is text."""
        return self.key.lstrip().startswith(_ARMOUR)

    @property
    def origin(self) -> str:
        """The name that apt pins by: the host of the URI, or nothing for files on the host."""
        return urllib.parse.urlsplit(self.uri).hostname or ""


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """An archive as a file of the operator's names it: its key is in another file beside it."""

    uri: str
    suite: str
    components: tuple[str, ...]
    key_file: str

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """`uri`, `suite`, `components` and `key`, the name of a file. FormatError."""
        fields = Fields(toml.table(text, what=_WHAT), what=_WHAT)
        uri, suite = fields.take("uri", str), fields.take("suite", str)
        components, key = fields.take("components", list), fields.take("key", str)
        fields.end()
        if urllib.parse.urlsplit(uri).scheme not in ("https", "http", "file") or not _URI.fullmatch(uri):
            raise FormatError(_WHAT, f"uri {uri!r} is not an https, http or file URI")
        if not _SUITE.fullmatch(suite):
            raise FormatError(_WHAT, f"suite {suite!r} is not the name of one")
        if suite.endswith("/") == bool(components) or not all(_is_word(one) for one in components):
            raise FormatError(_WHAT, "components are one or more names; a suite that ends in / has none")
        if not key:
            raise FormatError(_WHAT, "key is empty")
        return cls(uri, suite, tuple(components), key)

    def with_key(self, key: bytes) -> Archive:
        """The archive with the content of its key file. FormatError for what is no OpenPGP key."""
        # RFC 9580, section 4.2: a binary key begins with a public-key packet, in the old or the new form.
        if not key.lstrip().startswith(_ARMOUR) and key[:1] not in (b"\x98", b"\x99", b"\xc6"):
            raise FormatError(_WHAT, f"{self.key_file} is not an OpenPGP public key")
        return Archive(self.uri, self.suite, self.components, key)


@dataclass(frozen=True, slots=True)
class LocalPccs:
    """A PCCS on the host itself, with the operator's API key for Intel's service."""

    api_key: str = field(repr=False)

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """From a key file: one line. UsageError, which does not show it."""
        try:
            key = text.decode("ascii").strip()
        except UnicodeDecodeError:
            key = ""
        if not _API_KEY.fullmatch(key):
            raise UsageError("the file of the PCCS API key does not hold one key of letters and digits")
        return cls(key)


@dataclass(frozen=True, slots=True)
class RemotePccs:
    """A PCCS elsewhere, whose certificate is checked."""

    url: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The base of its API, such as https://HOST:8081/sgx/certification/v4/. UsageError."""
        try:
            parts = urllib.parse.urlsplit(text)
            plain = parts.scheme == "https" and bool(parts.hostname) and not (parts.query or parts.fragment)
        except ValueError:
            plain = False
        if not plain or parts.username is not None or not _URI.fullmatch(text) or set('"\\') & set(text):
            raise UsageError(f"PCCS address {text!r} is not an https URL")
        return cls(text if text.endswith("/") else f"{text}/")


@dataclass(frozen=True, slots=True)
class Options:
    """All of it.

    pccs      where certificates come from; None only with `insecure_no_tdx`
    archive   beside the distribution's own; None: those alone
    addresses further addresses of the host, for deployments to be reached at (routed only)
    resolvers that trust domains are told of and may ask (routed only)
    ipv6      whether trust domains are led to and from by IPv6 too, for which the host becomes a router
    reboot    whether prepare may reboot the host
    uplink    the interface to the world; None: that of the default route
    insecure_no_tdx   a host for tests: no trust domains, machines that are emulated, whose owner sees everything
    """

    network: Network = field(default_factory=Network)
    archive: Archive | None = None
    pccs: LocalPccs | RemotePccs | None = None
    addresses: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    ipv6: bool = False
    reboot: bool = False
    uplink: str | None = None
    profile: str | None = None
    insecure_no_tdx: bool = False

    def __post_init__(self) -> None:
        routed = self.network.mode == "routed"
        if not routed and (self.addresses or self.resolvers or self.ipv6 or self.uplink):
            problem = f"with {self.network} the host routes nothing"
            raise UsageError(f"{problem}: --address, --resolver, --ipv6 and --uplink are for --network routed")
        if (self.pccs is None) != self.insecure_no_tdx:
            if self.pccs is None:
                raise UsageError("where quotes get their certificates is not said: --pccs URL or --pccs-key-file FILE")
            raise UsageError("a host without TDX gives no quotes, so it has no PCCS")
        if self.insecure_no_tdx and self.archive is not None:
            raise UsageError("a host without TDX needs no archive of packages for quotes")
        if any(":" in one for one in (*self.addresses, *self.resolvers)) and not self.ipv6:
            raise UsageError("an IPv6 address is of no use without --ipv6")


def public_address(text: str) -> str:
    """An address that is the host's own beside its first, in its one spelling. UsageError."""
    address = _address(text)
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        raise UsageError(f"{text} cannot be an address of a host's")
    return str(address)


def resolver(text: str) -> str:
    """The address of a resolver; a private one is fine. UsageError for this machine's own and for metadata services."""
    address = _address(text)
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        raise UsageError(f"{text} cannot be a resolver of a trust domain's")
    return str(address)


def resolvers(texts: Sequence[str]) -> tuple[str, ...]:
    """Up to three. UsageError."""
    if len(texts) > _MOST_RESOLVERS:
        raise UsageError(f"more than {_MOST_RESOLVERS} resolvers are not asked by anybody")
    return tuple(resolver(text) for text in texts)


def interface(text: str) -> str:
    """The name of an interface. UsageError."""
    if not _INTERFACE.fullmatch(text):
        raise UsageError(f"{text!r} is not the name of an interface")
    return text


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        found = ipaddress.ip_address(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is not an IP address") from error
    if "%" in text:  # a zone would be an interface of whose host?
        raise UsageError(f"{text!r} has a zone, which is an interface of some host")
    return found


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and bool(_WORD.fullmatch(value))
