"""/etc/pluto/host.json: what `host prepare` made of a host, for `plan` to read. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads, pretty

VERSION: Final = 1  # of the preparation: greater when a host must be prepared again
_WHAT: Final = "host.json"
_NETWORK: Final = re.compile(r"routed|(bridge|macvtap):[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
TEES: Final = ("tdx", "insecure_none")


@dataclass(frozen=True, slots=True)
class Record:
    """`tee`: tdx, or insecure_none on a host for tests. `tools`: digests of the tools trees that were there."""

    network: str
    tee: str
    ipv6: bool = False
    addresses: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    profile: str | None = None
    tools: tuple[str, ...] = ()
    version: int = VERSION

    @classmethod
    def parse(cls, text: bytes | str) -> Self:
        """FormatError."""
        fields = Fields(loads(text, what=_WHAT, limit=1 << 20), what=_WHAT)
        version = fields.take("version", int)
        if version != VERSION:
            raise FormatError(_WHAT, f"version {version} is not {VERSION}", hint="run 'pluto-deploy host prepare'")
        found = cls(
            network=fields.take("network", str),
            tee=fields.take("tee", str),
            ipv6=fields.take("ipv6", bool),
            addresses=_texts(fields, "addresses"),
            resolvers=_texts(fields, "resolvers"),
            profile=fields.take("profile", str, type(None)),
            tools=_texts(fields, "tools"),
        )
        fields.end()
        if not _NETWORK.fullmatch(found.network) or found.tee not in TEES:
            raise FormatError(_WHAT, f"network {found.network!r} or tee {found.tee!r} is not known")
        if not all(_DIGEST.fullmatch(one) for one in found.tools):
            raise FormatError(_WHAT, "tools must hold SHA-256 digests")
        return found

    def to_text(self) -> str:
        """The file."""
        return pretty(
            {
                "version": self.version,
                "network": self.network,
                "tee": self.tee,
                "ipv6": self.ipv6,
                "addresses": list(self.addresses),
                "resolvers": list(self.resolvers),
                "profile": self.profile,
                "tools": list(self.tools),
            }
        )


def _texts(fields: Fields, name: str) -> tuple[str, ...]:
    values = fields.take(name, list)
    if not all(isinstance(one, str) for one in values):
        raise FormatError(_WHAT, f"{name} must hold texts")
    return tuple(values)
