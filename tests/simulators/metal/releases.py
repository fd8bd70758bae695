"""What a host's distribution calls itself: /etc/os-release."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Release:
    """One distribution release, by the keys of os-release(5)."""

    identity: str
    version: str
    codename: str
    name: str

    def files(self) -> dict[str, bytes]:
        """The files that say so, by path from the root."""
        version = f"{self.version} ({self.codename})"
        lines = {
            "PRETTY_NAME": f"{self.name} {version}", "NAME": self.name, "VERSION_ID": self.version,
            "VERSION": version, "VERSION_CODENAME": self.codename, "ID": self.identity,
        }  # fmt: skip
        if self.identity == "ubuntu":
            lines |= {"ID_LIKE": "debian", "UBUNTU_CODENAME": self.codename}
        text = "".join(f'{key}="{value}"\n' for key, value in lines.items()).encode()
        return {"usr/lib/os-release": text}


DEBIAN_13 = Release("debian", "13", "trixie", "Debian GNU/Linux")
UBUNTU_25_10 = Release("ubuntu", "25.10", "questing", "Ubuntu")
UBUNTU_26_04 = Release("ubuntu", "26.04", "resolute", "Ubuntu")
UBUNTU_24_04 = Release("ubuntu", "24.04", "noble", "Ubuntu")
