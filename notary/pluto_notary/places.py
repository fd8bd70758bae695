"""Where the programs of a trust domain leave things for each other. Constants only."""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

CONFIG_DIRECTORY: Final = "/run/pluto/config"  # made by pluto-config.service
CONFIG_FILE: Final = f"{CONFIG_DIRECTORY}/config.json"  # the payload, empty if the configuration is empty
DIGEST_FILE: Final = f"{CONFIG_DIRECTORY}/config.digest"  # SHA-256 of the payload in hex, and a line end
DEBUG_WORLD: Final = "/usr/share/pluto/debug-world.json"  # measured; debug images alone have it
VENDOR: Final = "/sys/class/dmi/id/sys_vendor"
ASSET_TAG: Final = "/sys/class/dmi/id/chassis_asset_tag"
EVIDENCE_SOCKET: Final = "/run/pluto/evidence.sock"  # made by pluto-evidence.socket
